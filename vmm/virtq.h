// SPDX-License-Identifier: BSD-3-Clause
// A split virtqueue (virtio 1.2, 2.7) of a device that this process serves. The guest changes its
// memory while we look: each word of it is read once, checked, then used. What breaks a MUST of 2.7
// breaks the device (2.1.2): the queue then stays empty until the guest has reset it.
//
// A queue is one thread's at a time, and lives from the device's start to its stop:
//	again:	virtq_suppress(q);
//		while (virtq_next(q, &chain) == 1) {
//			... chain.iov[0 .. n_out): read; [n_out .. n_out + n_in): write ...
//			virtq_push(q, chain.head, written); // in any order, at any later time
//		}
//		virtq_call(q);
//		if (virtq_arm(q)) goto again;
//		... wait for q->kick, read it empty ...
#pragma once
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include "vmm/virtio.h"

// What a device offers if virtq serves all its queues.
#define VIRTQ_FEATURES (1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC)

struct virtq {
	struct virtio_device *device;
	const struct vring_desc *descriptors;
	const struct vring_avail *available;
	struct vring_used *used;
	uint16_t size;
	uint16_t next; // in the available ring
	uint16_t used_next, called_at; // in the used ring; as it was when the guest was last called
	bool event_index, indirect, broken;
	struct virtio_queue *counted; // the device's, for its counters
	// Who serves it counts the bytes itself; set after virtq_start. Else they are all those of
	// the chains, with what headers the device has.
	bool counts_none;
	uint64_t last_out; // bytes to read of the last chain, if it may be put back
	int kick, call; // the device's, see virtio.h
	uint64_t taken[VIRTIO_QUEUE_SIZE_MAX / 64]; // heads between virtq_next and virtq_push
};

// One request of the guest's: all within its memory. storage and max (>= q->size) are the caller's,
// the rest is virtq_next's.
struct virtq_chain {
	struct iovec *storage;
	unsigned int max;
	struct iovec *iov; // in storage: first n_out to read, then n_in to write
	unsigned int n_out, n_in;
	uint64_t size_out, size_in; // bytes
	uint16_t head;
};

// Maps the rings of an enabled queue, between start and stop, and asks for kicks. -EINVAL if they
// are unaligned or not within RAM.
int virtq_start(struct virtq *q, struct virtio_device *device, unsigned int queue);
// 1: one; 0: none waits; -EPROTO: the queue is broken.
int virtq_next(struct virtq *q, struct virtq_chain *chain);
// The last one that virtq_next gave is to be given again.
void virtq_put_back(struct virtq *q, uint16_t head);
// The guest's again. written: bytes from the beginning of what it may read.
void virtq_push(struct virtq *q, uint16_t head, uint32_t written);
// Interrupts the guest if it wants to know of what was pushed since the last call.
void virtq_call(struct virtq *q);
// Whether virtq_call would; asking counts as a call.
bool virtq_should_call(struct virtq *q);
// Kicks are not needed.
void virtq_suppress(struct virtq *q);
// Kicks are needed from here on. True if something waits already.
bool virtq_arm(struct virtq *q);
// Something is wrong with what a request says: the device is broken. Returns -EPROTO.
int virtq_break(struct virtq *q);

// Copies the chain's next bytes to read, resp. to write, and takes them off its front. False, and
// nothing done, if there are fewer.
bool virtq_chain_read(struct virtq_chain *chain, void *to, size_t size);
bool virtq_chain_write(struct virtq_chain *chain, const void *from, size_t size);
