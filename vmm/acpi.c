// SPDX-License-Identifier: BSD-3-Clause
// The registers; see acpi.h. Tables: acpi_tables.c.
#include "vmm/acpi.h"

#include <stddef.h>

enum { SLEEP_ENABLE = 1 << 5, SLEEP_TYPE_SHIFT = 2, SLEEP_TYPE_MASK = 7, SOFT_OFF = 5 };

static uint64_t sleep_read(void *arg, uint64_t offset, unsigned int size)
{
	return 0;
}

// 4.8.3.7: the DSDT's \_S5 says that type 5 is soft off.
static void sleep_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct acpi *a = arg;

	if (offset == 0 && value & SLEEP_ENABLE &&
		(value >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK) == SOFT_OFF)
		a->power_off(a->arg);
}

static uint64_t event_read(void *arg, uint64_t offset, unsigned int size)
{
	struct acpi *a = arg;
	uint32_t events = a->events;

	if (offset || size != 4)
		return 0;
	a->events = 0;
	return events;
}

static uint64_t plug_read(void *arg, uint64_t offset, unsigned int size)
{
	struct acpi *a = arg;
	uint32_t *slots = offset ? &a->unplug : &a->plugged;
	const uint32_t told = *slots;

	if (size != 4 || offset % 4 || offset > 4)
		return 0;
	*slots = 0;
	return told;
}

// 6.3.3: what the DSDT's _EJ0 writes.
static void plug_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct acpi *a = arg;

	for (unsigned int slot = 1; offset == 8 && size == 4 && slot < 32; slot++)
		if (value >> slot & 1 && a->eject)
			a->eject(a->arg, slot);
}

static uint64_t panic_read(void *arg, uint64_t offset, unsigned int size)
{
	return ACPI_PANICKED;
}

static void panic_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct acpi *a = arg;

	if (value & ACPI_PANICKED && a->panicked)
		a->panicked(a->arg);
}

int acpi_init(
	struct acpi *a, struct bus *pio, struct irqs *irqs, void (*power_off)(void *arg), void *arg)
{
	const struct bus_range sleep = { ACPI_SLEEP_PORT, 2, sleep_read, sleep_write, a };
	const struct bus_range event = { ACPI_EVENT_PORT, 4, event_read, NULL, a };
	const struct bus_range plug = { ACPI_PLUG_PORT, 12, plug_read, plug_write, a };
	const struct bus_range panic = { ACPI_PANIC_PORT, 1, panic_read, panic_write, a };
	int err;

	*a = (struct acpi){ .irqs = irqs, .power_off = power_off, .arg = arg };
	err = bus_add(pio, &sleep);
	if (err == 0)
		err = bus_add(pio, &event);
	if (err == 0)
		err = bus_add(pio, &panic);
	return err < 0 ? err : bus_add(pio, &plug);
}

void acpi_reset(struct acpi *a)
{
	a->events = a->plugged = a->unplug = 0;
}

void acpi_tell_plugged(struct acpi *a, unsigned int slot)
{
	a->plugged |= 1u << slot;
	acpi_tell(a, ACPI_EVENT_PCI);
}

void acpi_ask_eject(struct acpi *a, unsigned int slot)
{
	a->unplug |= 1u << slot;
	acpi_tell(a, ACPI_EVENT_PCI);
}

void acpi_tell(struct acpi *a, uint32_t events)
{
	a->events |= events;
	irq_line(a->irqs, ACPI_EVENT_IRQ, true); // edge
	irq_line(a->irqs, ACPI_EVENT_IRQ, false);
}
