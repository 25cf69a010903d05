// SPDX-License-Identifier: BSD-3-Clause
// ACPI tables in guest memory (ACPI 6.5), and the registers that they name: sleep and events
// (reset is pci.h's).
// Registers are called with the machine's lock held.
#pragma once
#include <stdint.h>
#include "vmm/bus.h"
#include "vmm/error.h"
#include "vmm/irq.h"
#include "vmm/memory.h"

enum {
	ACPI_TABLES_BEGIN = 0xe0000, // where operating systems look for the RSDP
	ACPI_TABLES_END = 0xffff0, // the reset vector
	ACPI_SLEEP_PORT = 0x600, // control; status behind it
	ACPI_EVENT_PORT = 0x610,
	ACPI_PLUG_PORT = 0x620, // slots plugged, slots to be let go of; slots let go of
	ACPI_PANIC_PORT = 0x505, // pvpanic's usual one
	ACPI_RESET_PORT = 0xcf9,
	ACPI_RESET_VALUE = 6, // what is written there
	ACPI_RESET_NOW = 4, // the bit of it that does it
	ACPI_EVENT_IRQ = 5,
};

// What the event register tells; the DSDT's _EVT has the same bits.
enum { ACPI_EVENT_POWER_BUTTON = 1 << 0, ACPI_EVENT_PCI = 1 << 1 };

// What a guest's kernel says by the panic port, and reads there that it may (QEMU's
// docs/specs/pvpanic). The other bit is of one that has a crash kernel, which goes on.
enum { ACPI_PANICKED = 1 << 0 };

struct acpi {
	struct irqs *irqs;
	uint32_t events; // not yet read by the guest, as the next two
	uint32_t plugged, unplug; // a bit for each slot of the PCI bus
	// The guest lets go of a slot, asked or not; on a vCPU's thread.
	void (*eject)(void *arg, unsigned int slot);
	void (*power_off)(void *arg);
	void (*panicked)(void *arg); // the guest's kernel has; as power_off
	void *arg;
};

// power_off: what the guest asks for by S5, on a vCPU's thread.
int acpi_init(struct acpi *a, struct bus *pio, struct irqs *irqs, void (*power_off)(void *arg),
	void *arg);
// Writes the tables for `cpus` processors. *ret_rsdp: where they begin.
int acpi_write_tables(
	struct guest_memory *m, unsigned int cpus, uint64_t *ret_rsdp, struct error *e);
// As at power-on: nothing is to be told.
void acpi_reset(struct acpi *a);
// Tells the guest of a device in the slot, resp. asks it to let go of it.
void acpi_tell_plugged(struct acpi *a, unsigned int slot);
void acpi_ask_eject(struct acpi *a, unsigned int slot);
// Tells the guest of ACPI_EVENT_ bits.
void acpi_tell(struct acpi *a, uint32_t events);
