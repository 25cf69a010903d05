// SPDX-License-Identifier: BSD-3-Clause
// Bus 0 of the PCI machine: configuration space by ECAM where the command line gives it
// (ecam=BASE), else by ports 0xcf8 and 0xcfc; windows, assigned where firmware has not done it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	PCI_ID = 0x00,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM = 0x2c,
	PCI_CAPABILITIES = 0x34,
	PCI_CAP_MSIX = 0x11,
	PCI_CAP_VENDOR = 0x09,
	PCI_N_FUNCTIONS = 256, // device * 8 + function
	PCI_N_BARS = 6,
};

struct pci_bar {
	uint64_t address; // 0: none, or I/O ports
	uint64_t size;
};

void pci_init(void);
uint32_t pci_read(uint8_t function, unsigned at, unsigned size);
void pci_write(uint8_t function, unsigned at, unsigned size, uint32_t v);
bool pci_present(uint8_t function);
// The first capability with the id at or behind `after` (0: from the start); 0 if there is none.
uint8_t pci_capability(uint8_t function, uint8_t id, uint8_t after);
// Finds, assigns from window=BASE where they are 0, and maps all memory windows, and switches the
// device's memory and bus mastering on.
void pci_enable(uint8_t function, struct pci_bar ret_bars[PCI_N_BARS]);
