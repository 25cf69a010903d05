// SPDX-License-Identifier: BSD-3-Clause
// What a request to a disk does on an io_uring: in steps, as the kernel takes more or less of it.
// On the queue's thread.
#pragma once
#include "vmm/blk_request.h"
#include "vmm/uring.h"

// The ring's first files are ours.
enum { BLK_IO_FILE, BLK_IO_FILES };

// True: a step is submitted, whose completion is for blk_io_continue. False: it is done, and
// r->status says how. At most one entry of the ring is taken.
bool blk_io_begin(const struct virtio_blk *b, struct io_uring *ring, struct blk_request *r);
bool blk_io_continue(
	const struct virtio_blk *b, struct io_uring *ring, struct blk_request *r, int result);
