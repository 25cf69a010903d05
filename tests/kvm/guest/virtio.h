// SPDX-License-Identifier: BSD-3-Clause
// The driver's side of virtio 1.2 over PCI: a device's capabilities, status, features, queues.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

enum { VIRTIO_VENDOR = 0x1af4, VIRTIO_MODERN = 0x1040, VIRTQ_MAX_SIZE = 1024 };

struct virtio {
	uint8_t function;
	uint16_t type; // VIRTIO_ID_*
	uint64_t common, notify, isr, config; // addresses of the four structures, or 0
	uint32_t config_size, notify_size, notify_multiplier;
	uint64_t msix_table; // 0: none
	uint8_t msix_capability;
	uint16_t n_vectors;
	uint64_t features; // as negotiated
};

// The nth device of a type, or -ENODEV; -EINVAL if its capabilities make no sense, which is said.
int virtio_find(uint16_t type, unsigned nth, struct virtio *ret_device);
// Reset, ACKNOWLEDGE, DRIVER, FEATURES_OK: takes what the device offers of `wanted` and of the ring
// features; the command line's features=MASK takes some away. -ENOTSUP if the device refuses.
int virtio_negotiate(struct virtio *device, uint64_t wanted);
// DRIVER_OK; queues are set up before.
void virtio_start(struct virtio *device);
uint8_t virtio_status(const struct virtio *device);
// Writes 0 and waits until the device says 0.
int virtio_reset(struct virtio *device);

static inline bool virtio_has(const struct virtio *device, unsigned bit)
{
	return device->features >> bit & 1;
}

// Prints a line for each virtio device: "ok device FUNCTION TYPE ...".
void virtio_list(void);
