// SPDX-License-Identifier: BSD-3-Clause
// One request to a disk (Virtual I/O Device 1.2, 5.2.6): what its chain asks for, checked against
// the disk. Pure but for the bytes of the guest's that it reads; called by blk_queue.c.
#pragma once
#include "vmm/virtio_blk.h"
#include "vmm/virtq.h"

enum blk_action {
	BLK_ANSWER, // nothing is to be done but to tell the status
	BLK_READ,
	BLK_WRITE,
	BLK_FLUSH,
	BLK_DISCARD,
	BLK_ZERO, // and give the space back
	BLK_ZERO_KEEP, // and keep the space
};

enum { BLK_FILE_ENDS = -1 }; // no errno: before the disk does

struct blk_request {
	struct virtq_chain chain;
	struct iovec storage[VIRTIO_BLK_QUEUE_SIZE];
	enum blk_action action, asked; // done next; what the guest asked for
	bool durable; // not to be answered before it is on the disk: there is no cache to flush
	uint8_t status; // VIRTIO_BLK_S_*
	int error; // errno of what the host could not do; 0: nothing
	uint8_t *ret_status; // where in the guest's memory that goes
	uint64_t at, size; // bytes, within the disk; size > 0
	uint64_t done; // of them
	uint64_t size_in; // of what the guest may read, before the status
	uint64_t written; // of it, from its beginning
	struct iovec *iov; // what is left of the data: n_iov of them, size - done bytes
	unsigned int n_iov;
	void *bounce; // NULL: the guest's own memory is read and written
	struct iovec bounced; // what is left of this step in there
	struct blk_request *next; // of those that are free
};

// chain is as virtq_next gave it; the rest is set. -EPROTO: it cannot even be answered.
int blk_request_check(struct blk_request *r, const struct virtio_blk *b);
// Takes bytes off the front of what is left. data: copied there, or from there; may be NULL.
void blk_request_advance(struct blk_request *r, uint64_t size);
void blk_request_copy_out(struct blk_request *r, void *to, uint64_t size);
void blk_request_copy_in(struct blk_request *r, const void *from, uint64_t size);
