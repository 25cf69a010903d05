// SPDX-License-Identifier: BSD-3-Clause
// The driver's side of virtio 1.2 over PCI: see virtio.h.
#include <errno.h>
#include "base.h"
#include "cpu.h"
#include "io.h"
#include "pci.h"
#include "virtio.h"

enum {
	MSIX_CONTROL = 2,
	MSIX_TABLE = 4,
	MSIX_ENABLE = 0x8000,
	MSIX_ENTRY_SIZE = 16,
	RESET_PATIENCE_NS = 1000000000,
};

#define RING_FEATURES \
	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX | \
		1ull << VIRTIO_RING_F_INDIRECT_DESC)

// Takes one vendor capability (virtio 1.2, 4.1.4); false if it lies outside its window.
static bool capability_take(struct virtio *d, uint8_t at, const struct pci_bar bars[PCI_N_BARS])
{
	uint8_t f = d->function, length = (uint8_t)pci_read(f, at + 2u, 1);
	uint8_t type = (uint8_t)pci_read(f, at + 3u, 1), bar = (uint8_t)pci_read(f, at + 4u, 1);
	uint32_t offset = pci_read(f, at + 8u, 4), size = pci_read(f, at + 12u, 4);
	uint64_t place;

	if (type < VIRTIO_PCI_CAP_COMMON_CFG || type > VIRTIO_PCI_CAP_DEVICE_CFG)
		return true;
	if (bar >= PCI_N_BARS || bars[bar].address == 0 ||
		(uint64_t)offset + size > bars[bar].size || length < 16)
		return false;
	place = bars[bar].address + offset;
	if (type == VIRTIO_PCI_CAP_COMMON_CFG && !d->common) {
		d->common = place;
	} else if (type == VIRTIO_PCI_CAP_NOTIFY_CFG && !d->notify) {
		d->notify = place;
		d->notify_size = size;
		d->notify_multiplier = pci_read(f, at + 16u, 4);
	} else if (type == VIRTIO_PCI_CAP_ISR_CFG && !d->isr) {
		d->isr = place;
	} else if (type == VIRTIO_PCI_CAP_DEVICE_CFG && !d->config) {
		d->config = place;
		d->config_size = size;
	}
	return true;
}

// All vectors do the same here: end a sleep.
static bool msix_enable(struct virtio *d, const struct pci_bar bars[PCI_N_BARS])
{
	uint8_t at = pci_capability(d->function, PCI_CAP_MSIX, 0);
	uint32_t control, table;

	if (!at)
		return true;
	control = pci_read(d->function, at + MSIX_CONTROL, 2);
	table = pci_read(d->function, at + MSIX_TABLE, 4);
	d->n_vectors = (control & 0x7ff) + 1;
	if (table % 8 >= PCI_N_BARS || bars[table % 8].address == 0 ||
		(table & ~7u) + (uint64_t)d->n_vectors * MSIX_ENTRY_SIZE > bars[table % 8].size)
		return false;
	d->msix_capability = at;
	d->msix_table = bars[table % 8].address + (table & ~7u);
	pci_write(d->function, at + MSIX_CONTROL, 2, control | MSIX_ENABLE);
	for (unsigned i = 0; i < d->n_vectors; i++) {
		uint64_t entry = d->msix_table + i * MSIX_ENTRY_SIZE;

		mmio_write32(entry, cpu_msi_address());
		mmio_write32(entry + 4, 0);
		mmio_write32(entry + 8, VECTOR_DEVICE);
		mmio_write32(entry + 12, 0); // not masked
	}
	return true;
}

static int device_open(uint8_t function, struct virtio *ret_device)
{
	struct virtio d = { .function = function };
	struct pci_bar bars[PCI_N_BARS];

	d.type = (uint16_t)(pci_read(function, PCI_ID + 2, 2) - VIRTIO_MODERN);
	pci_enable(function, bars);
	for (uint8_t at = 0; (at = pci_capability(function, PCI_CAP_VENDOR, at)) != 0;) {
		if (!capability_take(&d, at, bars)) {
			say("fail device %02x: capability at %02x outside its window", function,
				at);
			return -EINVAL;
		}
	}
	if (!d.common || !d.notify || !d.isr || !msix_enable(&d, bars)) {
		say("fail device %02x: a structure is missing", function);
		return -EINVAL;
	}
	*ret_device = d;
	return 0;
}

static bool is_virtio(uint8_t function)
{
	return pci_present(function) && pci_read(function, PCI_ID, 2) == VIRTIO_VENDOR &&
	       pci_read(function, PCI_ID + 2, 2) >= VIRTIO_MODERN;
}

int virtio_find(uint16_t type, unsigned nth, struct virtio *ret_device)
{
	for (unsigned f = 0; f < PCI_N_FUNCTIONS; f++) {
		if (is_virtio((uint8_t)f) &&
			pci_read((uint8_t)f, PCI_ID + 2, 2) == (uint32_t)VIRTIO_MODERN + type &&
			nth-- == 0)
			return device_open((uint8_t)f, ret_device);
	}
	return -ENODEV;
}

static uint64_t common_at(const struct virtio *d, size_t field)
{
	return d->common + field;
}

#define COMMON(d, field) common_at(d, offsetof(struct virtio_pci_common_cfg, field))

uint8_t virtio_status(const struct virtio *d)
{
	return mmio_read8(COMMON(d, device_status));
}

static void status_add(struct virtio *d, uint8_t bits)
{
	mmio_write8(COMMON(d, device_status), virtio_status(d) | bits);
}

int virtio_reset(struct virtio *d)
{
	uint64_t until = time_ns() + RESET_PATIENCE_NS;

	mmio_write8(COMMON(d, device_status), 0);
	while (virtio_status(d) != 0) {
		if (time_ns() > until)
			return -ETIMEDOUT;
	}
	return 0;
}

static uint64_t features_offered(struct virtio *d)
{
	uint64_t low;

	mmio_write32(COMMON(d, device_feature_select), 0);
	low = mmio_read32(COMMON(d, device_feature));
	mmio_write32(COMMON(d, device_feature_select), 1);
	return low | (uint64_t)mmio_read32(COMMON(d, device_feature)) << 32;
}

int virtio_negotiate(struct virtio *d, uint64_t wanted)
{
	uint64_t mask = cmdline_number("features", UINT64_MAX) | 1ull << VIRTIO_F_VERSION_1;
	int r = virtio_reset(d);

	if (r < 0)
		return r;
	status_add(d, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	status_add(d, VIRTIO_CONFIG_S_DRIVER);
	d->features = features_offered(d) & (wanted | RING_FEATURES) & mask;
	mmio_write32(COMMON(d, guest_feature_select), 0);
	mmio_write32(COMMON(d, guest_feature), (uint32_t)d->features);
	mmio_write32(COMMON(d, guest_feature_select), 1);
	mmio_write32(COMMON(d, guest_feature), (uint32_t)(d->features >> 32));
	status_add(d, VIRTIO_CONFIG_S_FEATURES_OK);
	if (!virtio_has(d, VIRTIO_F_VERSION_1) || !(virtio_status(d) & VIRTIO_CONFIG_S_FEATURES_OK))
		return -ENOTSUP;
	if (d->msix_table)
		mmio_write16(COMMON(d, msix_config), VIRTIO_MSI_NO_VECTOR);
	return 0;
}

void virtio_start(struct virtio *d)
{
	status_add(d, VIRTIO_CONFIG_S_DRIVER_OK);
}

void virtio_list(void)
{
	struct virtio d;

	for (unsigned f = 0; f < PCI_N_FUNCTIONS; f++) {
		if (!is_virtio((uint8_t)f) || device_open((uint8_t)f, &d) < 0)
			continue;
		say("ok device %02x type %u queues %u vectors %u features 0x%lx config %u", f,
			d.type, mmio_read16(COMMON(&d, num_queues)), d.n_vectors,
			features_offered(&d), d.config_size);
	}
}
