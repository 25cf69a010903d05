// SPDX-License-Identifier: BSD-3-Clause
// See virtio_pci.h. The structures' places and the capabilities; virtio_pci_common.c has the
// registers.
#include "vmm/virtio_pci.h"

#include <errno.h>
#include <linux/kvm.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "vmm/virtio_pci_common.h"

enum {
	BAR_SIZE = 0x8000,
	COMMON_AT = 0x0000,
	STATUS_AT = 0x1000,
	DEVICE_AT = 0x2000,
	NOTIFY_AT = 0x4000,
	TABLE_AT = 0x6000,
	PENDING_AT = 0x7000,
	STRUCTURE_SIZE = 0x1000,
	WINDOW_SIZE = 12, // offset, length, data
	VENDOR_VIRTIO = 0x1af4,
	FIRST_MODERN_DEVICE = 0x1040,
	CLASS_OTHER = 0xff0000,
	CLASS_NETWORK = 0x020000,
	CLASS_STORAGE = 0x018000,
};

static uint64_t bar_read(void *arg, uint64_t offset, unsigned int size)
{
	struct virtio_pci *t = arg;
	uint64_t value = 0;

	switch (offset & ~(uint64_t)(STRUCTURE_SIZE - 1)) {
	case COMMON_AT:
		return virtio_pci_common_read(t, offset - COMMON_AT, size);
	case STATUS_AT: // 4.1.4.5: reading takes it back
		if (offset != STATUS_AT)
			return 0;
		return __atomic_exchange_n(&t->interrupt_status, 0, __ATOMIC_ACQUIRE);
	case DEVICE_AT:
		offset -= DEVICE_AT;
		if (offset + size <= t->device->ops->config_size)
			t->device->ops->config_read(t->device, (uint32_t)offset, &value, size);
		return value;
	case TABLE_AT:
		return msix_table_read(&t->msix, offset - TABLE_AT, size);
	case PENDING_AT:
		return msix_pending_read(&t->msix, offset - PENDING_AT, size);
	default:
		return 0;
	}
}

static void notify(struct virtio_pci *t, uint64_t queue)
{
	const uint64_t one = 1;

	if (queue < t->device->n_queues &&
		write(t->device->queues[queue].kick, &one, sizeof(one)) < 0)
		return; // full: it is signalled already
}

static void bar_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct virtio_pci *t = arg;

	switch (offset & ~(uint64_t)(STRUCTURE_SIZE - 1)) {
	case COMMON_AT:
		virtio_pci_common_write(t, offset - COMMON_AT, size, value);
		break;
	case DEVICE_AT:
		offset -= DEVICE_AT;
		if (offset + size <= t->device->ops->config_size && t->device->ops->config_write)
			t->device->ops->config_write(t->device, (uint32_t)offset, &value, size);
		break;
	case NOTIFY_AT: // where KVM's ioeventfd did not take it
		notify(t, (offset - NOTIFY_AT) / 4);
		break;
	case TABLE_AT:
		msix_table_write(&t->msix, offset - TABLE_AT, size, value);
		break;
	default:
		break;
	}
}

static void ioeventfds(struct virtio_pci *t, uint64_t base, uint32_t flags)
{
	for (uint16_t i = 0; i < t->device->n_queues; i++) {
		struct kvm_ioeventfd k = { .addr = base + NOTIFY_AT + i * 4u,
			.fd = t->device->queues[i].kick,
			.flags = flags };

		// an error means that bar_write is asked instead
		ioctl(t->vm, KVM_IOEVENTFD, &k);
	}
}

static void bar_moved(void *arg)
{
	struct virtio_pci *t = arg;

	if (t->notified_at)
		ioeventfds(t, t->notified_at, KVM_IOEVENTFD_FLAG_DEASSIGN);
	t->notified_at = t->pci.bar_base;
	if (t->notified_at)
		ioeventfds(t, t->notified_at, 0);
}

// 4.1.4.9: a window into the BAR for who cannot map it. True if it points somewhere.
static bool window(struct virtio_pci *t, uint32_t *ret_offset, uint32_t *ret_length)
{
	struct virtio_pci_cap cap;

	memcpy(&cap, t->pci.config + t->window_at, sizeof(cap));
	*ret_offset = cap.offset;
	*ret_length = cap.length;
	return cap.bar == 0 && (cap.length == 1 || cap.length == 2 || cap.length == 4) &&
	       cap.offset % cap.length == 0 && cap.offset < BAR_SIZE;
}

static bool is_window_data(const struct virtio_pci *t, uint8_t offset, unsigned int size)
{
	const unsigned int data = t->window_at + (unsigned int)sizeof(struct virtio_pci_cap);

	return offset < data + 4 && offset + size > data;
}

static void config_read(void *arg, uint8_t offset, unsigned int size)
{
	struct virtio_pci *t = arg;
	uint32_t at, length;
	uint64_t value;

	if (!is_window_data(t, offset, size) || !window(t, &at, &length))
		return;
	value = bar_read(t, at, length);
	memcpy(t->pci.config + t->window_at + sizeof(struct virtio_pci_cap), &value, length);
}

static void config_written(void *arg, uint8_t offset, unsigned int size)
{
	struct virtio_pci *t = arg;
	uint32_t at, length, value = 0;
	uint16_t control;

	memcpy(&control, t->pci.config + t->msix_at + PCI_MSIX_FLAGS, sizeof(control));
	if (offset <= t->msix_at + 3 && offset + size > t->msix_at + 2u)
		msix_set_control(&t->msix, control);
	if (!is_window_data(t, offset, size) || !window(t, &at, &length))
		return;
	memcpy(&value, t->pci.config + t->window_at + sizeof(struct virtio_pci_cap), length);
	bar_write(t, at, length, value);
}

static void reset(void *arg)
{
	struct virtio_pci *t = arg;

	virtio_pci_reset(t);
	t->pci.config[t->msix_at + PCI_MSIX_FLAGS + 1] = 0;
	t->pci.config[t->window_at + VIRTIO_PCI_CAP_BAR] = 0;
	memset(t->pci.config + t->window_at + VIRTIO_PCI_CAP_OFFSET, 0, WINDOW_SIZE);
	msix_reset(&t->msix);
}

static int add_structure(struct virtio_pci *t, uint8_t type, uint32_t at, uint32_t length)
{
	struct virtio_pci_notify_cap cap = { .cap = { .cap_len = sizeof(cap.cap),
						     .cfg_type = type,
						     .offset = at,
						     .length = length },
		.notify_off_multiplier = 4 };

	if (type == VIRTIO_PCI_CAP_NOTIFY_CFG || type == VIRTIO_PCI_CAP_PCI_CFG)
		cap.cap.cap_len = sizeof(cap); // resp. the four bytes of the window
	return pci_add_capability(
		&t->pci, PCI_CAP_ID_VNDR, (const uint8_t *)&cap + 2, cap.cap.cap_len - 2u);
}

static int add_capabilities(struct virtio_pci *t)
{
	const uint16_t last_vector = (uint16_t)(t->msix.n_vectors - 1);
	const uint32_t table = TABLE_AT, pending = PENDING_AT;
	uint8_t body[PCI_CAP_MSIX_SIZEOF - 2];
	int at;

	memcpy(body, &last_vector, 2);
	memcpy(body + 2, &table, 4);
	memcpy(body + 6, &pending, 4);
	at = pci_add_capability(&t->pci, PCI_CAP_ID_MSIX, body, sizeof(body));
	if (at < 0)
		return at;
	t->msix_at = (uint8_t)at;
	t->pci.writable[at + PCI_MSIX_FLAGS + 1] =
		(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
	if (add_structure(t, VIRTIO_PCI_CAP_COMMON_CFG, COMMON_AT, VIRTIO_PCI_COMMON_SIZE) < 0 ||
		add_structure(t, VIRTIO_PCI_CAP_ISR_CFG, STATUS_AT, 1) < 0 ||
		add_structure(t, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY_AT, t->device->n_queues * 4u) <
			0 ||
		(t->device->ops->config_size &&
			add_structure(t, VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE_AT,
				t->device->ops->config_size) < 0))
		return -ENOSPC;
	at = add_structure(t, VIRTIO_PCI_CAP_PCI_CFG, 0, 0);
	if (at < 0)
		return at;
	t->window_at = (uint8_t)at;
	t->pci.writable[at + VIRTIO_PCI_CAP_BAR] = 0xff;
	memset(t->pci.writable + at + VIRTIO_PCI_CAP_OFFSET, 0xff, WINDOW_SIZE);
	return 0;
}

static uint32_t class_of(const struct virtio_device *d)
{
	return d->ops->type == 1 ? CLASS_NETWORK : d->ops->type == 2 ? CLASS_STORAGE : CLASS_OTHER;
}

static int open_queues(struct virtio_pci *t)
{
	struct virtio_device *d = t->device;

	for (uint16_t i = 0; i < d->n_queues; i++) {
		d->queues[i].kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (d->queues[i].kick < 0) {
			int err = -errno;

			while (i-- > 0)
				close(d->queues[i].kick);
			return err;
		}
		d->queues[i].call = t->msix.sources[i + 1].fd; // source 0 is the configuration's
	}
	return 0;
}

int virtio_pci_make(struct virtio_pci *t, struct virtio_device *device, struct irqs *irqs, int vm)
{
	int err;

	*t = (struct virtio_pci){ .device = device, .vm = vm };
	err = msix_init(&t->msix, irqs, (uint16_t)(device->n_queues + 1));
	if (err < 0)
		return err;
	err = open_queues(t);
	if (err < 0)
		goto fail_msix;
	pci_device_init(&t->pci, VENDOR_VIRTIO, (uint16_t)(FIRST_MODERN_DEVICE + device->ops->type),
		class_of(device), (uint16_t)(FIRST_MODERN_DEVICE + device->ops->type)); // 4.1.2.1
	t->pci.bar_size = BAR_SIZE;
	t->pci.arg = t;
	t->pci.bar_read = bar_read;
	t->pci.bar_write = bar_write;
	t->pci.bar_moved = bar_moved;
	t->pci.config_read = config_read;
	t->pci.config_written = config_written;
	t->pci.reset = reset;
	err = add_capabilities(t);
	if (err < 0)
		goto fail_queues;
	device->transport = t;
	device->config_changed = virtio_pci_config_changed;
	device->broken = virtio_pci_broken;
	virtio_pci_reset(t);
	return 0;
fail_queues:
	for (uint16_t i = 0; i < device->n_queues; i++)
		close(device->queues[i].kick);
fail_msix:
	msix_free(&t->msix);
	return err;
}

static void free_queues(struct virtio_pci *t)
{
	msix_free(&t->msix);
	for (uint16_t i = 0; i < t->device->n_queues; i++)
		close(t->device->queues[i].kick);
}

int virtio_pci_plug(struct virtio_pci *t, struct pci *bus)
{
	int slot;

	reset(t);
	slot = pci_plug(bus, &t->pci);
	if (slot < 0)
		return slot;
	t->bus = bus;
	t->slot = (unsigned int)slot;
	return 0;
}

void virtio_pci_unplug(struct virtio_pci *t)
{
	reset(t);
	if (t->bus)
		pci_unplug(t->bus, &t->pci);
	t->bus = NULL;
}

int virtio_pci_init(struct virtio_pci *t, struct virtio_device *device, struct pci *bus,
	struct irqs *irqs, int vm)
{
	int err = virtio_pci_make(t, device, irqs, vm);

	if (err < 0)
		return err;
	err = virtio_pci_plug(t, bus);
	if (err < 0)
		free_queues(t);
	return err;
}

void virtio_pci_free(struct virtio_pci *t)
{
	virtio_pci_unplug(t);
	free_queues(t);
}
