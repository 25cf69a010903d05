// SPDX-License-Identifier: BSD-3-Clause
// A split virtqueue (virtio 1.2, 2.7), driver's side: polled, and armed before a sleep. With event
// index and indirect descriptors where negotiated.
#pragma once

#include "virtio.h"

enum { VIRTQ_MAX_PIECES = 8 };

struct piece {
	void *data;
	uint32_t size;
};

struct virtq {
	uint16_t index, size, size_taken; // the latter: that there is memory for
	uint16_t n_free, free_head;
	uint16_t avail_next, avail_told; // the device was last notified of
	uint16_t used_next;
	bool event_index, has_vector;
	uint64_t notify_at;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	struct vring_desc *tables; // VIRTQ_MAX_PIECES for each head
	struct vring_desc *indirect; // the same, or NULL if not negotiated
	void **owners; // by head
};

// Sets a queue up, of max_size entries or fewer. *q is zero, or was set up before: its memory is
// used again. -ENOENT if the device has no such queue; -EINVAL if it has become larger.
int virtq_init(struct virtio *device, uint16_t index, uint16_t max_size, struct virtq *q);
// Offers a chain: first what the device reads, then what it writes; owner is not NULL. -EAGAIN if
// the ring has no room.
int virtq_add(
	struct virtq *q, const struct piece *pieces, unsigned n_out, unsigned n_in, void *owner);
// Notifies the device of what was added, if it wants to know.
void virtq_kick(struct virtq *q);
// The owner of a chain that the device is done with, and how much it wrote; NULL if there is none.
void *virtq_take(struct virtq *q, uint32_t *ret_size);
// Asks for an interrupt at the next chain done; returns true if one is done already.
bool virtq_arm(struct virtq *q);
void virtq_disarm(struct virtq *q);
