// SPDX-License-Identifier: BSD-3-Clause
// The virtio transport over PCI, modern (Virtual I/O Device 1.2, 4.1): one memory BAR with the
// common, interrupt status, device and notification structures and the MSI-X table. Kicks go by
// ioeventfd past this process's vCPU threads, calls by irqfd past the device's.
#pragma once
#include <pthread.h>
#include "vmm/msix.h"
#include "vmm/pci.h"
#include "vmm/virtio.h"

struct virtio_pci {
	struct pci_device pci;
	struct msix msix;
	struct virtio_device *device;
	int vm; // KVM, for ioeventfds; not owned
	struct pci *bus; // NULL: not plugged in
	unsigned int slot;
	uint8_t msix_at, window_at; // where the capabilities are
	uint8_t status, generation,
		interrupt_status; // atomic: the device's threads change them too
	uint16_t queue_select;
	uint32_t feature_select, driver_feature_select;
	uint64_t driver_features;
	uint64_t notified_at; // where the ioeventfds are; 0: nowhere
};

// device: with ops, memory, offered, n_queues and each queue's size_max set. Makes the queues'
// eventfds and plugs it in.
int virtio_pci_init(struct virtio_pci *t, struct virtio_device *device, struct pci *bus,
	struct irqs *irqs, int vm);
// Without plugging it in.
int virtio_pci_make(struct virtio_pci *t, struct virtio_device *device, struct irqs *irqs, int vm);
// As after power-on, in the first free slot. -errno: as pci_plug.
int virtio_pci_plug(struct virtio_pci *t, struct pci *bus);
// Stops the device and pulls it out, as if it were new; on a vCPU's thread too.
void virtio_pci_unplug(struct virtio_pci *t);
// Stops the device, unplugs it, and closes what init made.
void virtio_pci_free(struct virtio_pci *t);
