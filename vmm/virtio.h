// SPDX-License-Identifier: BSD-3-Clause
// A virtio device as its transport sees it (Virtual I/O Device 1.2, section 2). virtio_pci.c keeps
// status, features and queues as the guest sets them, and calls the device with the machine's lock
// held; a device's own threads touch its queues only between start and stop.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "vmm/memory.h"

enum { VIRTIO_QUEUES = 65, VIRTIO_ID_SIZE = 32, VIRTIO_QUEUE_SIZE_MAX = 1024 };

// Ring addresses are the guest's own words: checked by who maps them.
struct virtio_queue {
	uint16_t size, size_max; // entries; a power of two
	bool enabled;
	uint64_t descriptors, available, used;
	int kick; // eventfd: the guest has offered buffers
	int call; // eventfd: the guest is to be interrupted
	// Of who serves it in this process: requests done, and bytes that the guest has read by
	// them, and written, as it would say itself; atomic.
	uint64_t n_requests, n_read, n_written;
	uint64_t n_errors; // requests that the host could not do; a disk's, atomic
};

struct confine;
struct virtio_device;

struct virtio_ops {
	const char *name;
	uint16_t type; // 5, Device Types
	uint32_t config_size;
	// offset + size <= config_size.
	void (*config_read)(struct virtio_device *d, uint32_t offset, void *data, uint32_t size);
	void (*config_write)(
		struct virtio_device *d, uint32_t offset, const void *data, uint32_t size);
	// Once, on the device thread, before the guest runs: the device's threads start here, by
	// confine_start_thread; neither sooner (they would keep privileges) nor in `start` (on a
	// processor's thread, whose calls would be all they have). NULL: it has none. -errno.
	int (*begin)(struct virtio_device *d, const struct confine *confine);
	// DRIVER_OK: d->features and enabled queues are final. An error sets DEVICE_NEEDS_RESET.
	int (*start)(struct virtio_device *d);
	// The processors are halted: its queues take nothing new from the guest until they are let
	// go, and do then as if each had been kicked. Between start and stop, which lets them go
	// too. NULL: another process serves them.
	void (*hold)(struct virtio_device *d, bool held);
	// After it, no queue is touched and no call is made. Only after a start.
	void (*stop)(struct virtio_device *d);
};

struct virtio_device {
	const struct virtio_ops *ops;
	char id[VIRTIO_ID_SIZE]; // what the API calls it; constant
	const struct guest_memory *memory;
	uint64_t offered, features; // features: what driver and device agreed on
	uint16_t n_queues;
	struct virtio_queue queues[VIRTIO_QUEUES];
	bool started;
	bool removable; // the guest may let go of it; constant
	void *transport; // struct virtio_pci
	// Both on any thread, without the lock, while the device is started; in `start` too.
	// The configuration has changed, by the device itself: the guest is told.
	void (*config_changed)(struct virtio_device *d);
	// The guest has broken a rule of the device's (2.1.2): it may only reset it now.
	void (*broken)(struct virtio_device *d);
};

// One of virtio_config.h's and the device type's feature bits.
static inline bool virtio_has(const struct virtio_device *d, unsigned int feature)
{
	return d->features >> feature & 1;
}
