// SPDX-License-Identifier: BSD-3-Clause
// A queue of a disk: its thread takes requests from the ring in the guest's memory, gives them to
// an io_uring and answers them as they are done, in any order. The thread lives as long as the
// disk; the device's start and stop let it work and wait until it has nothing under way.
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include "vmm/blk_request.h"
#include "vmm/confine.h"
#include "vmm/uring.h"
#include "vmm/virtq.h"

enum { BLK_QUEUE_REQUESTS = 64 };

struct blk_queue {
	struct virtio_blk *disk;
	unsigned int index;
	pthread_t thread; // constant, as are those above
	bool begun; // it has one; the device thread's
	int command; // eventfd: `want` or the disk's limits have changed
	int timer; // timerfd: the limits may let it go on

	pthread_mutex_t lock; // of these four
	pthread_cond_t changed;
	enum { BLK_QUEUE_REST, BLK_QUEUE_SERVE, BLK_QUEUE_LEAVE } want;
	bool rests; // nothing is under way, and nobody touches virtq

	// the thread's; virtq is made by who starts it, while it rests
	struct virtq virtq;
	struct io_uring ring;
	bool serves;
	bool waits; // for the timer, and takes nothing
	unsigned int n_flying;
	struct blk_request *free;
	struct blk_request requests[BLK_QUEUE_REQUESTS];
};

// The queue's kick must be there.
int blk_queue_init(struct blk_queue *q, struct virtio_blk *disk, unsigned int index);
void blk_queue_free(struct blk_queue *q);
// The disk's file from now on, -1: none. Nothing is under way.
int blk_queue_set_file(struct blk_queue *q, int fd);
// Starts its thread, which rests.
int blk_queue_begin(struct blk_queue *q, const struct confine *confine);
// On a vCPU's thread, with the machine's lock.
int blk_queue_prepare(struct blk_queue *q);
void blk_queue_serve(struct blk_queue *q);
// From the device's hold: takes nothing new. What is under way goes on.
void blk_queue_hold(struct blk_queue *q, bool held);
// The disk's limits are others.
void blk_queue_look(struct blk_queue *q);
// Returns when all that was taken is answered.
void blk_queue_rest(struct blk_queue *q);
