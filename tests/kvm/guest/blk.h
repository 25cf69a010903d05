// SPDX-License-Identifier: BSD-3-Clause
// A virtio-blk device: several requests under way, each with its header, data and status.
#pragma once

#include <stdbool.h>
#include <linux/virtio_blk.h>
#include "virtq.h"

enum { BLK_SECTOR = 512, BLK_MAX_SECTORS = 128, BLK_N_REQUESTS = 32, BLK_MAX_QUEUES = 4 };

struct blk_request {
	struct virtio_blk_outhdr header;
	uint8_t status;
	bool done;
	uint32_t size; // of the data
	uint64_t sector;
	uint8_t *data; // BLK_MAX_SECTORS
	struct blk_request *next; // free
};

struct blk {
	struct virtio device;
	unsigned n_queues;
	struct virtq queues[BLK_MAX_QUEUES]; // taken in turn
	uint64_t n_sectors;
	struct blk_request requests[BLK_N_REQUESTS], *free;
	unsigned n_flying, next_queue;
};

// *blk is zero.
int blk_open(unsigned nth, struct blk *blk);
// A request to fill; NULL if all are under way.
struct blk_request *blk_begin(struct blk *blk);
// type is VIRTIO_BLK_T_*; the data is r->size bytes, in at most three pieces.
void blk_submit(struct blk *blk, struct blk_request *r, uint32_t type);
// The next request that is done, waiting for it at most so long; NULL after that. Give it back
// with blk_end.
struct blk_request *blk_wait(struct blk *blk, uint64_t until_ns);
void blk_end(struct blk *blk, struct blk_request *r);
