// SPDX-License-Identifier: BSD-3-Clause
// PCI: one bus with a host bridge and up to 31 devices of one function, configured through 0xCF8
// and through memory (ECAM). Each device has one memory BAR, placed by us before the guest starts
// and movable by it within the window. Called with the machine's lock held.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "vmm/bus.h"

enum {
	PCI_SLOTS = 32,
	PCI_CONFIG_SIZE = 256,
	PCI_WINDOW_BEGIN = 0xc0000000,
	PCI_WINDOW_END = 0xe0000000,
	PCI_ECAM_BEGIN = 0xe0000000,
	PCI_ECAM_SIZE = 1 << 20, // one bus
};

struct pci_device {
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; // bits that the guest may change
	uint32_t bar_size; // a power of two from 4 KiB; 0: none
	uint64_t bar_base; // where it answers; 0: nowhere
	uint8_t config_size_end; // next free byte for a capability
	void *arg;
	uint64_t (*bar_read)(void *arg, uint64_t offset, unsigned int size);
	void (*bar_write)(void *arg, uint64_t offset, unsigned int size, uint64_t value);
	// After bar_base has changed; NULL if nothing depends on it.
	void (*bar_moved)(void *arg);
	// After a write to [offset, offset + size) of the configuration, before the guest goes on.
	void (*config_written)(void *arg, uint8_t offset, unsigned int size);
	// Before a read: what is not constant is put into config. NULL: all is.
	void (*config_read)(void *arg, uint8_t offset, unsigned int size);
	void (*reset)(void *arg);
};

struct pci {
	struct bus *mmio;
	struct pci_device *slots[PCI_SLOTS];
	struct pci_device bridge;
	uint32_t address; // 0xCF8
	// A byte written to 0xCF9, which lies within that register: reset control of PCs.
	void (*reset_control)(void *arg, uint8_t value);
	void *arg;
};

int pci_init(struct pci *p, struct bus *mmio, struct bus *pio);
// Vendor, device and so on, with no BAR and no capability.
void pci_device_init(struct pci_device *d, uint16_t vendor, uint16_t device, uint32_t class_,
	uint16_t subsystem);
// Appends a capability (its id and `size` bytes after the two of the header, read-only) and returns
// where it begins; -ENOSPC.
int pci_add_capability(struct pci_device *d, uint8_t id, const void *body, unsigned int size);
// Puts the device into the first free slot, and its BAR into the window. Returns the slot or
// -ENOSPC; -EINVAL if the BAR's size is none that it can have.
int pci_plug(struct pci *p, struct pci_device *d);
void pci_unplug(struct pci *p, struct pci_device *d);
// As after a reset of the machine: BARs are placed, bus mastering is off.
void pci_reset(struct pci *p);
