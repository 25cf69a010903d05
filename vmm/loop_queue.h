// SPDX-License-Identifier: BSD-3-Clause
// A virtqueue that the device thread serves, for devices that need no thread of their own: what the
// guest offers is given to a function, a bounded number at a time. Its lock is never held while the
// machine's is taken, so who has that may take this one, as start and stop do.
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include "vmm/loop.h"
#include "vmm/virtq.h"

enum { LOOP_QUEUE_SIZE = 64 };
static const int64_t LOOP_QUEUE_LATER = -1000000; // no error number

struct loop_queue {
	struct loop *loop; // constant, as are the next three
	struct virtio_device *device;
	unsigned int index;
	// Lock held: does what the chain asks for and returns how many bytes it has written.
	// LOOP_QUEUE_LATER: it is not done with it, and is given it again, whole, when it is ready.
	// Else negative: the device is broken.
	int64_t (*serve)(struct virtio_device *d, struct virtq_chain *chain);
	// Lock held, NULL: always. False: not now; what waits is served after loop_queue_kick.
	bool (*ready)(struct virtio_device *d);

	pthread_mutex_t lock;
	bool running, held;
	struct virtq virtq;
	struct loop_source kick;
	struct iovec storage[LOOP_QUEUE_SIZE];
};

// size_max of the device's queue becomes LOOP_QUEUE_SIZE. loop, device, index and functions are
// set.
void loop_queue_init(struct loop_queue *q);
void loop_queue_free(struct loop_queue *q);
// From the device's start and stop. A queue that is not enabled is none: 0.
int loop_queue_start(struct loop_queue *q);
void loop_queue_stop(struct loop_queue *q);
// From the device's hold.
void loop_queue_hold(struct loop_queue *q, bool held);
// As if the guest had; from any thread.
void loop_queue_kick(struct loop_queue *q);
