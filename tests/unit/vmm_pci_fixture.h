// SPDX-License-Identifier: BSD-3-Clause
// A PCI bus without KVM and virtio devices on it that do nothing but count, and a guest's way to
// them. Included by one file of a program (vmm_fake_irq.h).
#pragma once
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/vmm_fake_irq.h"
#include "vmm/pci.h"
#include "vmm/virtio_pci.h"

enum { FIXTURE_CONFIG_SIZE = 13 };

struct fixture_bus {
	struct bus pio, mmio;
	struct pci pci;
	struct irqs irqs;
	unsigned int n_resets;
};

struct fixture_device {
	struct virtio_device device; // first
	struct virtio_pci transport;
	unsigned int n_starts, n_stops;
	int start_error;
	bool wrong; // a rule of virtio.h was broken
	struct virtio_queue at_start[VIRTIO_QUEUES];
	uint8_t config[FIXTURE_CONFIG_SIZE];
};

static void fixture_config_read(struct virtio_device *d, uint32_t offset, void *data, uint32_t size)
{
	struct fixture_device *f = (struct fixture_device *)d;

	f->wrong |= offset > FIXTURE_CONFIG_SIZE || size > FIXTURE_CONFIG_SIZE - offset;
	if (!f->wrong)
		memcpy(data, f->config + offset, size);
}

static void fixture_config_write(
	struct virtio_device *d, uint32_t offset, const void *data, uint32_t size)
{
	struct fixture_device *f = (struct fixture_device *)d;

	f->wrong |= offset > FIXTURE_CONFIG_SIZE || size > FIXTURE_CONFIG_SIZE - offset;
	if (!f->wrong)
		memcpy(f->config + offset, data, size);
}

static int fixture_start(struct virtio_device *d)
{
	struct fixture_device *f = (struct fixture_device *)d;

	f->wrong |= f->n_starts != f->n_stops || !(d->features >> VIRTIO_F_VERSION_1 & 1);
	if (f->start_error)
		return f->start_error;
	f->n_starts++;
	memcpy(f->at_start, d->queues, sizeof(f->at_start));
	return 0;
}

static void fixture_stop(struct virtio_device *d)
{
	struct fixture_device *f = (struct fixture_device *)d;

	f->n_stops++;
	f->wrong |= f->n_starts != f->n_stops;
}

static const struct virtio_ops FIXTURE_OPS = { .name = "fixture",
	.type = 1,
	.config_size = FIXTURE_CONFIG_SIZE,
	.config_read = fixture_config_read,
	.config_write = fixture_config_write,
	.start = fixture_start,
	.stop = fixture_stop };

static void fixture_reset_control(void *arg, uint8_t value)
{
	struct fixture_bus *b = arg;

	b->n_resets++;
}

// 0 or -errno, as the next one.
static inline int fixture_bus_init(struct fixture_bus *b)
{
	int err;

	memset(&fake, 0, sizeof(fake));
	memset(b, 0, sizeof(*b));
	err = pci_init(&b->pci, &b->mmio, &b->pio);
	b->pci.reset_control = fixture_reset_control;
	b->pci.arg = b;
	return err;
}

static inline int fixture_plug(
	struct fixture_bus *b, struct fixture_device *f, uint16_t n_queues, uint64_t offered)
{
	memset(f, 0, sizeof(*f));
	f->device.ops = &FIXTURE_OPS;
	f->device.n_queues = n_queues;
	f->device.offered = offered;
	for (uint16_t i = 0; i < n_queues; i++)
		f->device.queues[i].size_max = 256;
	for (uint8_t i = 0; i < FIXTURE_CONFIG_SIZE; i++)
		f->config[i] = (uint8_t)(i + 1);
	return virtio_pci_init(&f->transport, &f->device, &b->pci, &b->irqs, -1);
}

static inline uint64_t ecam(unsigned int slot, unsigned int at)
{
	return PCI_ECAM_BEGIN + slot * 0x8000 + at;
}

static inline uint64_t config_get(
	struct fixture_bus *b, unsigned int slot, unsigned int at, unsigned int size)
{
	return bus_read(&b->mmio, ecam(slot, at), size);
}

static inline void config_put(struct fixture_bus *b, unsigned int slot, unsigned int at,
	unsigned int size, uint64_t value)
{
	bus_write(&b->mmio, ecam(slot, at), size, value);
}

static inline void decode(struct fixture_bus *b, unsigned int slot, bool on)
{
	config_put(b, slot, PCI_COMMAND, 2, on ? PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER : 0);
}
