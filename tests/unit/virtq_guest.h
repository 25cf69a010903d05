// SPDX-License-Identifier: BSD-3-Clause
// A guest for tests of virtq.h: plain heap memory in regions of their exact size (ASan sees every
// byte too far), rings in a region of their own each, and a driver that says just what it is told
// to. One guest at a time.
#pragma once

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <linux/virtio_net.h>
#include "vswitch/virtq.h"

enum {
	GUEST_SIZE = 64, // of the ring
	GUEST_DATA = 0x100000, // guest address of the buffers: two regions side by side
	GUEST_DATA_SIZE = 0x20000,
	GUEST_MORE_SIZE = 0x1000,
	GUEST_DESC = 0x1000000, // guest addresses of the rings
	GUEST_AVAIL = 0x2000000,
	GUEST_USED = 0x3000000,
};

struct guest {
	struct virtq q;
	struct virtq_memory memory;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint8_t *data, *more; // at GUEST_DATA and behind it
	uint32_t size;
	int call_fd;
	uint16_t n_avail;
};

#define GUEST_FEATURE(name) (1ULL << (name))
#define GUEST_FEATURES \
	(GUEST_FEATURE(VIRTIO_F_VERSION_1) | GUEST_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | \
		GUEST_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | GUEST_FEATURE(VIRTIO_NET_F_CSUM) | \
		GUEST_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | GUEST_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | \
		GUEST_FEATURE(VIRTIO_NET_F_HOST_TSO4))

static inline void *guest_region(struct guest *g, uint64_t at, size_t size)
{
	uint8_t *host = calloc(1, size); // on 16 bytes, as rings must be

	if (host == NULL)
		abort();
	g->memory.regions[g->memory.n++] = (struct virtq_region){ at, size, host };
	return host;
}

static inline int guest_begin(struct guest *g, uint64_t features, uint32_t size, uint16_t next)
{
	size_t event = features & GUEST_FEATURE(VIRTIO_RING_F_EVENT_IDX) ? 2 : 0;

	*g = (struct guest){ .size = size, .n_avail = next };
	g->data = guest_region(g, GUEST_DATA, GUEST_DATA_SIZE);
	g->more = guest_region(g, GUEST_DATA + GUEST_DATA_SIZE, GUEST_MORE_SIZE);
	g->desc = guest_region(g, GUEST_DESC, size * sizeof(struct vring_desc));
	g->avail = guest_region(
		g, GUEST_AVAIL, sizeof(struct vring_avail) + size * sizeof(uint16_t) + event);
	g->used = guest_region(g, GUEST_USED,
		sizeof(struct vring_used) + size * sizeof(struct vring_used_elem) + event);
	g->avail->idx = next;
	g->used->idx = next;
	g->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return virtq_start(&g->q, &(struct virtq_setup){ .desc = g->desc,
					  .avail = g->avail,
					  .used = g->used,
					  .size = size,
					  .next = next,
					  .features = features,
					  .call_fd = g->call_fd,
					  .in_port = 7,
					  .in_queue = 1,
					  .memory = &g->memory });
}

static inline void guest_end(struct guest *g)
{
	for (unsigned i = 0; i < g->memory.n; i++)
		free(g->memory.regions[i].host);
	close(g->call_fd);
}

static inline void guest_desc(
	struct guest *g, unsigned i, uint64_t at, uint32_t size, unsigned flags, unsigned next)
{
	g->desc[i] = (struct vring_desc){ at, size, (uint16_t)flags, (uint16_t)next };
}

static inline void guest_offer(struct guest *g, unsigned head)
{
	g->avail->ring[g->n_avail & (g->size - 1)] = (uint16_t)head;
	g->avail->idx = ++g->n_avail;
}

// Times it was called since the last question.
static inline uint64_t guest_calls(struct guest *g)
{
	uint64_t n = 0;

	return read(g->call_fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}
