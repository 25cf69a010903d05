// SPDX-License-Identifier: BSD-3-Clause
// See blk_error.h. Called by blk_queue.c.
#include "vmm/blk_error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *name_of(enum blk_action action)
{
	switch (action) {
	case BLK_ANSWER:
		break;
	case BLK_READ:
		return "read";
	case BLK_WRITE:
		return "write";
	case BLK_FLUSH:
		return "flush";
	case BLK_DISCARD:
		return "discard";
	case BLK_ZERO:
	case BLK_ZERO_KEEP:
		return "write of zeroes";
	}
	return "request";
}

void blk_errors_init(struct blk_errors *errors)
{
	*errors = (struct blk_errors){ .lock = PTHREAD_MUTEX_INITIALIZER };
}

void blk_errors_free(struct blk_errors *errors)
{
	pthread_mutex_destroy(&errors->lock);
}

void blk_error(struct virtio_blk *b, unsigned int queue, const struct blk_request *r)
{
	char where[64] = "", more[64] = "";
	uint64_t n;

	__atomic_fetch_add(&b->device.queues[queue].n_errors, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(&b->errors.lock);
	n = seldom_count(&b->errors.told, 1, rate_now_ns());
	pthread_mutex_unlock(&b->errors.lock);
	if (n == 0)
		return;
	if (r->action != BLK_FLUSH)
		snprintf(where, sizeof(where), " of %" PRIu64 " bytes at %" PRIu64, r->size, r->at);
	if (n > 1)
		snprintf(more, sizeof(more), ", %" PRIu64 " requests since the last was told", n);
	machine_notice(b->machine, "disk %s: %s%s failed: %s%s", b->device.id, name_of(r->action),
		where, r->error == BLK_FILE_ENDS ? "its file ends before" : strerror(r->error),
		more);
}
