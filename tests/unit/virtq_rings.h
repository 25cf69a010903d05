// SPDX-License-Identifier: BSD-3-Clause
// A guest of vmm/virtq.c's: a little memory on the heap, of its exact size, with rings in it and a
// device around. Used by test_vmm_virtq.c and fuzz_vmm_virtq.c.
#pragma once
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "vmm/virtq.h"

enum {
	RINGS_DESCRIPTORS = 0x1000,
	RINGS_AVAILABLE = 0x3000,
	RINGS_USED = 0x4000,
	RINGS_TABLE = 0x6000,
	RINGS_DATA = 0x8000,
	RINGS_MEMORY = 0x10000,
	RINGS_SIZE_MAX = 256,
};

struct rings {
	struct guest_memory memory;
	struct virtio_device device;
	struct vring_desc *descriptors, *table;
	struct vring_avail *available;
	struct vring_used *used;
	unsigned int n_broken;
	struct virtq q;
	struct iovec storage[RINGS_SIZE_MAX];
	struct virtq_chain chain;
};

static inline void rings_broken(struct virtio_device *d)
{
	struct rings *r = (struct rings *)((uint8_t *)d - offsetof(struct rings, device));

	r->n_broken++;
}

// Not started. False: no memory.
static inline bool rings_begin(struct rings *r, uint16_t size, uint64_t features)
{
	uint8_t *ram = calloc(1, RINGS_MEMORY);

	*r = (struct rings){ .memory = { .size = RINGS_MEMORY, .n_regions = 1 } };
	r->memory.regions[0] = (struct guest_region){ .size = RINGS_MEMORY, .host = ram };
	if (!ram)
		return false;
	r->device = (struct virtio_device){
		.memory = &r->memory, .features = features, .n_queues = 1, .broken = rings_broken
	};
	r->device.queues[0] = (struct virtio_queue){ .size = size,
		.size_max = RINGS_SIZE_MAX,
		.enabled = true,
		.descriptors = RINGS_DESCRIPTORS,
		.available = RINGS_AVAILABLE,
		.used = RINGS_USED,
		.kick = -1,
		.call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	r->descriptors = (struct vring_desc *)(ram + RINGS_DESCRIPTORS);
	r->available = (struct vring_avail *)(ram + RINGS_AVAILABLE);
	r->used = (struct vring_used *)(ram + RINGS_USED);
	r->table = (struct vring_desc *)(ram + RINGS_TABLE);
	r->chain = (struct virtq_chain){ .storage = r->storage, .max = RINGS_SIZE_MAX };
	return r->device.queues[0].call >= 0;
}

static inline void rings_end(struct rings *r)
{
	close(r->device.queues[0].call);
	free(r->memory.regions[0].host);
}

static inline void rings_offer(struct rings *r, uint16_t head)
{
	r->available->ring[r->available->idx % r->device.queues[0].size] = head;
	r->available->idx++;
}
