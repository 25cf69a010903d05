// SPDX-License-Identifier: BSD-3-Clause
// See pci.h.
#include "vmm/pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

enum { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc, CONFIG_ENABLE = 1u << 31 };
enum { BAR_SMALLEST = 4096, BAR_LARGEST = (PCI_WINDOW_END - PCI_WINDOW_BEGIN) / PCI_SLOTS };
enum { VENDOR_RED_HAT = 0x1b36, DEVICE_HOST_BRIDGE = 0x0008, CLASS_HOST_BRIDGE = 0x060000 };

static void put16(struct pci_device *d, unsigned int at, uint16_t value)
{
	memcpy(d->config + at, &value, sizeof(value));
}

static uint16_t get16(const struct pci_device *d, unsigned int at)
{
	uint16_t value;

	memcpy(&value, d->config + at, sizeof(value));
	return value;
}

void pci_device_init(
	struct pci_device *d, uint16_t vendor, uint16_t device, uint32_t class_, uint16_t subsystem)
{
	memset(d->config, 0, sizeof(d->config));
	memset(d->writable, 0, sizeof(d->writable));
	put16(d, PCI_VENDOR_ID, vendor);
	put16(d, PCI_DEVICE_ID, device);
	d->config[PCI_CLASS_REVISION] = 1;
	for (unsigned int i = 0; i < 3; i++)
		d->config[PCI_CLASS_PROG + i] = (uint8_t)(class_ >> 8 * i);
	put16(d, PCI_SUBSYSTEM_VENDOR_ID, vendor);
	put16(d, PCI_SUBSYSTEM_ID, subsystem);
	d->writable[PCI_COMMAND] = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	d->writable[PCI_COMMAND + 1] = PCI_COMMAND_INTX_DISABLE >> 8;
	d->writable[PCI_INTERRUPT_LINE] = 0xff;
	d->config_size_end = PCI_STD_HEADER_SIZEOF;
}

int pci_add_capability(struct pci_device *d, uint8_t id, const void *body, unsigned int size)
{
	unsigned int at = d->config_size_end, last = PCI_CAPABILITY_LIST;

	if (at + 2 + size > PCI_CONFIG_SIZE - 4) // the end must stay a number of 8 bits
		return -ENOSPC;
	if (d->config[last])
		for (last = d->config[last]; d->config[last + 1]; last = d->config[last + 1])
			;
	else
		last--;
	d->config[last + 1] = (uint8_t)at;
	d->config[at] = id;
	memcpy(d->config + at + 2, body, size);
	d->config_size_end = (uint8_t)((at + 2 + size + 3) & ~3u);
	put16(d, PCI_STATUS, get16(d, PCI_STATUS) | PCI_STATUS_CAP_LIST);
	return (int)at;
}

static uint32_t bar_register(const struct pci_device *d)
{
	uint32_t value;

	memcpy(&value, d->config + PCI_BASE_ADDRESS_0, sizeof(value));
	return value;
}

// The BAR answers where its register says while memory decoding is on, and within the window: RAM
// and other devices cannot be hidden by it. 0: nowhere.
static uint64_t bar_wanted(const struct pci_device *d)
{
	uint64_t base = bar_register(d);

	return d->bar_size && d->config[PCI_COMMAND] & PCI_COMMAND_MEMORY &&
			       base >= PCI_WINDOW_BEGIN && base + d->bar_size <= PCI_WINDOW_END
		       ? base
		       : 0;
}

static void bar_leave(struct pci *p, struct pci_device *d)
{
	bus_remove(p->mmio, d->bar_base);
	d->bar_base = 0;
	if (d->bar_moved)
		d->bar_moved(d->arg);
}

static void bar_enter(struct pci *p, struct pci_device *d)
{
	struct bus_range r = { bar_wanted(d), d->bar_size, d->bar_read, d->bar_write, d->arg };

	if (bus_add(p->mmio, &r) < 0)
		return; // over another one: that stays, until it leaves
	d->bar_base = r.base;
	if (d->bar_moved)
		d->bar_moved(d->arg);
}

// Of two that want one place the first has it. Who waited for it is asked too: a guest that swaps
// two BARs while they answer finds both.
static void place_bars(struct pci *p)
{
	for (unsigned int i = 0; i < PCI_SLOTS; i++)
		if (p->slots[i] && p->slots[i]->bar_base &&
			p->slots[i]->bar_base != bar_wanted(p->slots[i]))
			bar_leave(p, p->slots[i]);
	for (unsigned int i = 0; i < PCI_SLOTS; i++)
		if (p->slots[i] && !p->slots[i]->bar_base && bar_wanted(p->slots[i]))
			bar_enter(p, p->slots[i]);
}

// A place for each slot that no other can have: up to 16 MiB each.
static void assign_bar(struct pci_device *d, unsigned int slot)
{
	uint32_t base = PCI_WINDOW_BEGIN + slot * BAR_LARGEST;

	if (d->bar_size)
		memcpy(d->config + PCI_BASE_ADDRESS_0, &base, sizeof(base));
}

int pci_plug(struct pci *p, struct pci_device *d)
{
	if (d->bar_size & (d->bar_size - 1) || d->bar_size > BAR_LARGEST ||
		(d->bar_size && d->bar_size < BAR_SMALLEST))
		return -EINVAL;
	for (unsigned int i = 0; i < PCI_SLOTS; i++)
		if (!p->slots[i]) {
			uint32_t mask = d->bar_size ? ~(d->bar_size - 1) : 0;

			p->slots[i] = d;
			put16(d, PCI_COMMAND, 0);
			d->config[PCI_INTERRUPT_LINE] = 0;
			memcpy(d->writable + PCI_BASE_ADDRESS_0, &mask, sizeof(mask));
			assign_bar(d, i);
			return (int)i;
		}
	return -ENOSPC;
}

void pci_unplug(struct pci *p, struct pci_device *d)
{
	d->config[PCI_COMMAND] &= (uint8_t)~PCI_COMMAND_MEMORY;
	place_bars(p);
	for (unsigned int i = 0; i < PCI_SLOTS; i++)
		if (p->slots[i] == d)
			p->slots[i] = NULL;
}

void pci_reset(struct pci *p)
{
	p->address = 0;
	for (unsigned int i = 0; i < PCI_SLOTS; i++) {
		struct pci_device *d = p->slots[i];

		if (!d)
			continue;
		put16(d, PCI_COMMAND, 0);
		d->config[PCI_INTERRUPT_LINE] = 0;
		if (d->bar_base)
			bar_leave(p, d);
		if (d->reset)
			d->reset(d->arg);
		assign_bar(d, i);
	}
}

static uint64_t config_read(struct pci *p, unsigned int slot, unsigned int at, unsigned int size)
{
	struct pci_device *d = p->slots[slot];
	uint64_t value = 0;

	if (!d)
		return UINT64_MAX;
	if (at + size > PCI_CONFIG_SIZE) // no extended capabilities
		return 0;
	if (d->config_read)
		d->config_read(d->arg, (uint8_t)at, size);
	memcpy(&value, d->config + at, size);
	return value;
}

static void config_write(
	struct pci *p, unsigned int slot, unsigned int at, unsigned int size, uint64_t value)
{
	struct pci_device *d = p->slots[slot];

	if (!d || at + size > PCI_CONFIG_SIZE)
		return;
	for (unsigned int i = 0; i < size; i++) {
		uint8_t mask = d->writable[at + i];

		d->config[at + i] =
			(uint8_t)((d->config[at + i] & ~mask) | ((value >> 8 * i) & mask));
	}
	place_bars(p);
	if (d->config_written)
		d->config_written(d->arg, (uint8_t)at, size);
}

// PCI 3.0, 3.2.2.3.2: bus, device, function and register in one word.
static bool cf8_target(const struct pci *p, uint64_t offset, unsigned int size,
	unsigned int *ret_slot, unsigned int *ret_at)
{
	*ret_slot = p->address >> 11 & 0x1f;
	*ret_at = (p->address & 0xfc) + (unsigned int)offset;
	return p->address & CONFIG_ENABLE && !(p->address & 0x00ff0700) && offset + size <= 4;
}

static uint64_t address_read(void *arg, uint64_t offset, unsigned int size)
{
	struct pci *p = arg;

	return size == 4 ? p->address : UINT64_MAX;
}

static void address_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pci *p = arg;

	if (size == 4)
		p->address = (uint32_t)value & ~3u;
	else if (size == 1 && offset == 1 && p->reset_control)
		p->reset_control(p->arg, (uint8_t)value);
}

static uint64_t data_read(void *arg, uint64_t offset, unsigned int size)
{
	unsigned int slot, at;

	return cf8_target(arg, offset, size, &slot, &at) ? config_read(arg, slot, at, size)
							 : UINT64_MAX;
}

static void data_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	unsigned int slot, at;

	if (cf8_target(arg, offset, size, &slot, &at))
		config_write(arg, slot, at, size, value);
}

// PCI Express 5.0, 7.2.2: 4 KiB for each function, 8 functions for each device.
static uint64_t ecam_read(void *arg, uint64_t offset, unsigned int size)
{
	if (offset >> 12 & 7 || size == 8)
		return UINT64_MAX;
	return config_read(arg, offset >> 15 & 0x1f, offset & 0xfff, size);
}

static void ecam_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	if (!(offset >> 12 & 7) && size != 8)
		config_write(arg, offset >> 15 & 0x1f, offset & 0xfff, size, value);
}

int pci_init(struct pci *p, struct bus *mmio, struct bus *pio)
{
	const struct bus_range address = { CONFIG_ADDRESS, 4, address_read, address_write, p };
	const struct bus_range data = { CONFIG_DATA, 4, data_read, data_write, p };
	const struct bus_range ecam = { PCI_ECAM_BEGIN, PCI_ECAM_SIZE, ecam_read, ecam_write, p };
	int err;

	*p = (struct pci){ .mmio = mmio };
	pci_device_init(&p->bridge, VENDOR_RED_HAT, DEVICE_HOST_BRIDGE, CLASS_HOST_BRIDGE, 0x1100);
	pci_plug(p, &p->bridge);
	err = bus_add(pio, &address);
	if (err == 0)
		err = bus_add(pio, &data);
	return err < 0 ? err : bus_add(mmio, &ecam);
}
