// SPDX-License-Identifier: BSD-3-Clause
// A socket device without KVM, its guest's rings in a little memory, and the host's ends of its
// connections: socket pairs. The loop is run until nothing is left to do. Used by test_vmm_vsock.c
// and fuzz_vmm_vsock.c; what fails in here ends the process.
#pragma once
#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "vmm/virtio_vsock.h"

enum {
	RIG_SIZE = 64,
	RIG_RING = 0x1000,
	RIG_DATA = 0x10000,
	RIG_STEP = 0x4000,
	RIG_MEMORY = 2 << 20,
	RIG_CID = 7,
	RIG_ENDS = 8,
	RIG_REFUSED = 13, // a port of the host's that nobody listens at
};

struct rig {
	struct machine machine;
	struct virtio_vsock vsock;
	int ends[RIG_ENDS]; // the host's; -1
	uint16_t seen; // used entries of the receive queue
	char path[64];
};

static inline void rig_must(bool holds)
{
	if (!holds)
		abort();
}

static inline void *rig_at(struct rig *r, uint64_t address)
{
	return guest_memory_at(&r->machine.memory, address, 1);
}

static inline int rig_connect(struct virtio_vsock *v, uint32_t port)
{
	struct rig *r = (struct rig *)((uint8_t *)v - offsetof(struct rig, vsock));
	int pair[2];

	if (port == RIG_REFUSED)
		return -ECONNREFUSED;
	rig_must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	for (unsigned int i = 0; i < RIG_ENDS; i++)
		if (r->ends[i] < 0) {
			r->ends[i] = pair[1];
			return pair[0];
		}
	close(pair[1]);
	return pair[0];
}

static inline void rig_init(struct rig *r)
{
	struct virtio_vsock_options o = { .cid = RIG_CID, .path = r->path };
	struct machine *m = &r->machine;
	struct error e;

	memset(r, 0, sizeof(*r));
	m->vm = -1;
	snprintf(r->path, sizeof(r->path), "/tmp/insula-vsock-%d", getpid());
	pthread_mutex_init(&m->lock, NULL);
	rig_must(guest_memory_init(&m->memory, RIG_MEMORY, false, NULL) == 0);
	rig_must(pci_init(&m->pci, &m->mmio, &m->pio) == 0);
	rig_must(virtio_vsock_init(&r->vsock, m, &o, &e) == 0);
	r->vsock.connect = rig_connect;
	for (unsigned int i = 0; i < RIG_ENDS; i++)
		r->ends[i] = -1;
}

static inline void rig_start(struct rig *r)
{
	struct virtio_device *d = &r->vsock.device;

	memset(rig_at(r, 0), 0, RIG_DATA);
	for (unsigned int i = 0; i < d->n_queues; i++) {
		struct virtio_queue *q = &d->queues[i];

		q->size = RIG_SIZE;
		q->enabled = true;
		q->descriptors = i * 4 * RIG_RING;
		q->available = q->descriptors + RIG_RING;
		q->used = q->descriptors + 2 * RIG_RING;
	}
	r->seen = 0;
	rig_must(d->ops->start(d) == 0);
	d->started = true;
}

static inline void rig_end(struct rig *r, unsigned int end)
{
	if (r->ends[end] >= 0)
		close(r->ends[end]);
	r->ends[end] = -1;
}

static inline void rig_stop(struct rig *r)
{
	r->vsock.device.ops->stop(&r->vsock.device);
	r->vsock.device.started = false;
	for (unsigned int i = 0; i < RIG_ENDS; i++)
		rig_end(r, i);
}

static inline void rig_free(struct rig *r)
{
	struct machine *m = &r->machine;

	virtio_pci_free(m->devices[0]);
	free(m->devices[0]);
	virtio_vsock_free(&r->vsock);
	guest_memory_free(&m->memory);
}

// Until there is no event.
static inline void rig_settle(struct rig *r)
{
	struct loop *l = &r->vsock.loop;
	struct pollfd p = { .fd = l->epoll, .events = POLLIN };
	uint64_t count;

	do {
		loop_stop(l);
		rig_must(loop_run(l) == 0);
		rig_must(read(l->stop, &count, sizeof(count)) == sizeof(count));
	} while (poll(&p, 1, 0) == 1);
}

static inline void rig_offer(struct rig *r, unsigned int queue, uint32_t size, uint16_t flags)
{
	uint8_t *ring = rig_at(r, queue * 4 * RIG_RING);
	struct vring_desc *descriptors = (struct vring_desc *)ring;
	struct vring_avail *a = (struct vring_avail *)(ring + RIG_RING);
	const uint16_t head = a->idx % RIG_SIZE;

	descriptors[head] = (struct vring_desc){
		RIG_DATA +
			(queue == VSOCK_TRANSMIT ? RIG_SIZE * RIG_STEP : head * (uint64_t)RIG_STEP),
		size, flags, 0
	};
	a->ring[head] = head;
	a->idx++;
	loop_queue_kick(&r->vsock.queues[queue]);
}

// A packet of the guest's with `size` bytes behind the header, which are there already.
static inline void rig_send(struct rig *r, const struct virtio_vsock_hdr *h, uint32_t size)
{
	memcpy(rig_at(r, RIG_DATA + RIG_SIZE * RIG_STEP), h, sizeof(*h));
	rig_offer(r, VSOCK_TRANSMIT, (uint32_t)sizeof(*h) + size, 0);
	rig_settle(r);
}

// Room for a packet with so much data.
static inline void rig_room(struct rig *r, uint32_t size)
{
	rig_offer(r, VSOCK_RECEIVE, (uint32_t)sizeof(struct virtio_vsock_hdr) + size,
		VRING_DESC_F_WRITE);
	rig_settle(r);
}

// The next packet to the guest, NULL: none; its data is behind it.
static inline const struct virtio_vsock_hdr *rig_receive(struct rig *r, uint32_t *ret_size)
{
	const struct vring_used *u = rig_at(r, 2 * RIG_RING);

	if (r->seen == u->idx)
		return NULL;
	*ret_size = u->ring[r->seen % RIG_SIZE].len;
	return rig_at(r, RIG_DATA + u->ring[r->seen++ % RIG_SIZE].id * (uint64_t)RIG_STEP);
}

static inline bool rig_broken(const struct rig *r)
{
	const struct virtio_pci *t = r->vsock.device.transport;

	return t->status & VIRTIO_CONFIG_S_NEEDS_RESET;
}
