// SPDX-License-Identifier: BSD-3-Clause
// The common configuration structure of a virtio device (Virtual I/O Device 1.2, 4.1.4.3): status,
// features and queues as the driver sets them, checked. Called by virtio_pci.c.
#pragma once
#include <stdint.h>

struct virtio_pci;
struct virtio_device;

enum { VIRTIO_PCI_COMMON_SIZE = 0x40 };

uint64_t virtio_pci_common_read(struct virtio_pci *t, uint64_t offset, unsigned int size);
void virtio_pci_common_write(
	struct virtio_pci *t, uint64_t offset, unsigned int size, uint64_t value);
// 2.4: stops the device and forgets what the driver has set.
void virtio_pci_reset(struct virtio_pci *t);
void virtio_pci_config_changed(struct virtio_device *d);
void virtio_pci_broken(struct virtio_device *d);
