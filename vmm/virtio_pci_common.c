// SPDX-License-Identifier: BSD-3-Clause
// See virtio_pci_common.h.
#include "vmm/virtio_pci_common.h"

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <unistd.h>
#include "vmm/virtio_pci.h"

enum { INTERRUPT_CONFIG = 2 }; // 4.1.4.5
static const uint64_t TRANSPORT_FEATURES = 1ull << VIRTIO_F_VERSION_1;

// NULL if the driver has selected a queue that there is not.
static struct virtio_queue *selected(struct virtio_pci *t)
{
	return t->queue_select < t->device->n_queues ? &t->device->queues[t->queue_select] : NULL;
}

static void tell_config(struct virtio_pci *t)
{
	const uint64_t one = 1;

	__atomic_fetch_add(&t->generation, 1, __ATOMIC_RELEASE);
	__atomic_fetch_or(&t->interrupt_status, INTERRUPT_CONFIG, __ATOMIC_RELEASE);
	if (write(t->msix.sources[0].fd, &one, sizeof(one)) < 0)
		return; // full: it is signalled already
}

void virtio_pci_config_changed(struct virtio_device *d)
{
	tell_config(d->transport);
}

void virtio_pci_broken(struct virtio_device *d)
{
	struct virtio_pci *t = d->transport;

	const uint8_t before =
		__atomic_fetch_or(&t->status, VIRTIO_CONFIG_S_NEEDS_RESET, __ATOMIC_RELEASE);

	if (before & VIRTIO_CONFIG_S_DRIVER_OK)
		tell_config(t);
}

void virtio_pci_reset(struct virtio_pci *t)
{
	struct virtio_device *d = t->device;
	uint64_t count;

	if (d->started)
		d->ops->stop(d);
	d->started = false;
	d->features = t->driver_features = 0;
	t->status = t->interrupt_status = 0;
	t->queue_select = 0;
	t->feature_select = t->driver_feature_select = 0;
	msix_set_vector(&t->msix, 0, MSIX_NO_VECTOR);
	for (uint16_t i = 0; i < d->n_queues; i++) {
		struct virtio_queue *q = &d->queues[i];

		q->size = q->size_max;
		q->enabled = false;
		q->descriptors = q->available = q->used = 0;
		msix_set_vector(&t->msix, (uint16_t)(i + 1), MSIX_NO_VECTOR);
		while (read(q->kick, &count, sizeof(count)) == sizeof(count))
			;
	}
}

// The device's own threads set bits too.
static void set_bits(struct virtio_pci *t, unsigned int bits)
{
	__atomic_fetch_or(&t->status, (uint8_t)bits, __ATOMIC_RELAXED);
}

// 3.1.1: in its order only, never back but by a reset; a bit once set stays.
static void set_status(struct virtio_pci *t, uint8_t status)
{
	struct virtio_device *d = t->device;
	uint8_t new = status &(uint8_t)~t->status;

	if (status == 0) {
		virtio_pci_reset(t);
		return;
	}
	if (new &VIRTIO_CONFIG_S_FEATURES_OK && t->driver_features &(1ull << VIRTIO_F_VERSION_1) &&
		!(t->driver_features & ~(d->offered | TRANSPORT_FEATURES))) {
		d->features = t->driver_features;
		set_bits(t, VIRTIO_CONFIG_S_FEATURES_OK);
	}
	set_bits(t, new &(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			    VIRTIO_CONFIG_S_FAILED));
	if (!(new &VIRTIO_CONFIG_S_DRIVER_OK) || !(t->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return;
	set_bits(t, VIRTIO_CONFIG_S_DRIVER_OK);
	d->started = d->ops->start(d) == 0;
	if (!d->started)
		virtio_pci_broken(d);
}

static uint64_t queue_read(struct virtio_pci *t, uint64_t offset)
{
	const struct virtio_queue *q = selected(t);

	if (!q) // 4.1.4.3.1: size 0 tells that there is none
		return offset == VIRTIO_PCI_COMMON_Q_MSIX ? MSIX_NO_VECTOR : 0;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return q->size;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		return t->msix.sources[t->queue_select + 1].vector;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return q->enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return t->queue_select;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
		return q->descriptors;
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		return q->descriptors >> 32;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
		return q->available;
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		return q->available >> 32;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
		return q->used;
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		return q->used >> 32;
	default:
		return 0;
	}
}

static uint64_t field_read(struct virtio_pci *t, uint64_t offset)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		return t->feature_select;
	case VIRTIO_PCI_COMMON_DF:
		return t->feature_select > 1 ? 0
					     : (t->device->offered | TRANSPORT_FEATURES) >>
						       32 * t->feature_select;
	case VIRTIO_PCI_COMMON_GFSELECT:
		return t->driver_feature_select;
	case VIRTIO_PCI_COMMON_GF:
		return t->driver_feature_select > 1
			       ? 0
			       : t->driver_features >> 32 * t->driver_feature_select;
	case VIRTIO_PCI_COMMON_MSIX:
		return t->msix.sources[0].vector;
	case VIRTIO_PCI_COMMON_NUMQ:
		return t->device->n_queues;
	case VIRTIO_PCI_COMMON_STATUS:
		return __atomic_load_n(&t->status, __ATOMIC_ACQUIRE);
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return __atomic_load_n(&t->generation, __ATOMIC_ACQUIRE);
	case VIRTIO_PCI_COMMON_Q_SELECT:
		return t->queue_select;
	default:
		return queue_read(t, offset);
	}
}

// 4.1.3.1: fields are accessed by their own width, 64-bit ones also by halves. 0: there is no
// field.
static unsigned int width(uint64_t offset)
{
	if (offset >= VIRTIO_PCI_COMMON_Q_DESCLO)
		return offset < VIRTIO_PCI_COMMON_Q_USEDHI + 4 && offset % 4 == 0 ? 4 : 0;
	if (offset < VIRTIO_PCI_COMMON_MSIX)
		return offset % 4 == 0 ? 4 : 0;
	if (offset == VIRTIO_PCI_COMMON_STATUS || offset == VIRTIO_PCI_COMMON_CFGGENERATION)
		return 1;
	return offset % 2 == 0 ? 2 : 0;
}

uint64_t virtio_pci_common_read(struct virtio_pci *t, uint64_t offset, unsigned int size)
{
	if (size == 8 && width(offset) == 4 && width(offset + 4) == 4)
		return (field_read(t, offset) & UINT32_MAX) | field_read(t, offset + 4) << 32;
	return size == width(offset) ? field_read(t, offset) : 0;
}

static void set_low(uint64_t *address, uint64_t value)
{
	*address = (*address & ~(uint64_t)UINT32_MAX) | (value & UINT32_MAX);
}

static void set_high(uint64_t *address, uint64_t value)
{
	*address = (*address & UINT32_MAX) | value << 32;
}

// 4.1.4.3.2: neither after DRIVER_OK nor after the queue was enabled (CVE-2026-5747's class).
static void queue_write(struct virtio_pci *t, uint64_t offset, uint64_t value)
{
	struct virtio_queue *q = selected(t);

	if (q && offset == VIRTIO_PCI_COMMON_Q_MSIX) // 4.1.5.1.2: at any time
		msix_set_vector(&t->msix, (uint16_t)(t->queue_select + 1), (uint16_t)value);
	if (!q || q->enabled || t->status & VIRTIO_CONFIG_S_DRIVER_OK)
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		if (value && value <= q->size_max && !(value & (value - 1)))
			q->size = (uint16_t)value;
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		q->enabled = value == 1 && t->status & VIRTIO_CONFIG_S_FEATURES_OK;
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
		set_low(&q->descriptors, value);
		break;
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		set_high(&q->descriptors, value);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
		set_low(&q->available, value);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		set_high(&q->available, value);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
		set_low(&q->used, value);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		set_high(&q->used, value);
		break;
	default:
		break;
	}
}

static void set_driver_features(struct virtio_pci *t, uint64_t value)
{
	if (t->status & VIRTIO_CONFIG_S_FEATURES_OK)
		return;
	if (t->driver_feature_select == 0)
		set_low(&t->driver_features, value);
	else if (t->driver_feature_select == 1)
		set_high(&t->driver_features, value);
}

static void field_write(struct virtio_pci *t, uint64_t offset, uint64_t value)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		t->feature_select = (uint32_t)value;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		t->driver_feature_select = (uint32_t)value;
		break;
	case VIRTIO_PCI_COMMON_GF:
		set_driver_features(t, value);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		msix_set_vector(&t->msix, 0, (uint16_t)value);
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		set_status(t, (uint8_t)value);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		t->queue_select = (uint16_t)value;
		break;
	default:
		queue_write(t, offset, value);
		break;
	}
}

void virtio_pci_common_write(
	struct virtio_pci *t, uint64_t offset, unsigned int size, uint64_t value)
{
	if (size == 8 && width(offset) == 4 && width(offset + 4) == 4) {
		field_write(t, offset, value & UINT32_MAX);
		field_write(t, offset + 4, value >> 32);
	} else if (size == width(offset)) {
		field_write(t, offset, value);
	}
}
