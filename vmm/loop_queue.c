// SPDX-License-Identifier: BSD-3-Clause
// See loop_queue.h.
#include "vmm/loop_queue.h"

#include <sys/epoll.h>
#include <unistd.h>

void loop_queue_kick(struct loop_queue *q)
{
	const uint64_t one = 1;

	if (write(q->device->queues[q->index].kick, &one, sizeof(one)) < 0)
		return; // full: it is signalled already
}

// Lock held. At most as many as the ring has, then it is others' turn.
static void serve(struct loop_queue *q)
{
	struct virtq_chain chain = { .storage = q->storage, .max = LOOP_QUEUE_SIZE };
	int64_t written = 0;

	virtq_suppress(&q->virtq);
	for (unsigned int i = 0; i < LOOP_QUEUE_SIZE; i++) {
		if ((q->ready && !q->ready(q->device)) || virtq_next(&q->virtq, &chain) != 1)
			break;
		written = q->serve(q->device, &chain);
		if (written == LOOP_QUEUE_LATER) {
			virtq_put_back(&q->virtq, chain.head);
			break;
		}
		if (written < 0) {
			virtq_break(&q->virtq);
			return;
		}
		virtq_push(&q->virtq, chain.head, (uint32_t)written);
	}
	virtq_call(&q->virtq);
	if (virtq_arm(&q->virtq) && (!q->ready || q->ready(q->device)))
		loop_queue_kick(q);
}

static void kicked(void *arg, uint32_t events)
{
	struct loop_queue *q = arg;
	uint64_t count;

	pthread_mutex_lock(&q->lock);
	if (read(q->kick.fd, &count, sizeof(count)) == sizeof(count) && q->running)
		serve(q);
	pthread_mutex_unlock(&q->lock);
}

void loop_queue_init(struct loop_queue *q)
{
	pthread_mutex_init(&q->lock, NULL);
	q->device->queues[q->index].size_max = LOOP_QUEUE_SIZE;
}

void loop_queue_free(struct loop_queue *q)
{
	pthread_mutex_destroy(&q->lock);
}

int loop_queue_start(struct loop_queue *q)
{
	const struct virtio_queue *from = &q->device->queues[q->index];
	int err;

	if (!from->enabled)
		return 0;
	pthread_mutex_lock(&q->lock);
	err = virtq_start(&q->virtq, q->device, q->index);
	q->kick = (struct loop_source){ .fd = from->kick, .ready = kicked, .arg = q };
	if (err == 0)
		err = loop_add(q->loop, &q->kick, EPOLLIN);
	q->running = err == 0;
	q->held = false;
	pthread_mutex_unlock(&q->lock);
	return err;
}

void loop_queue_hold(struct loop_queue *q, bool held)
{
	pthread_mutex_lock(&q->lock);
	if (q->running && q->held != held) {
		if (held)
			loop_remove(q->loop, &q->kick);
		else if (loop_add(q->loop, &q->kick, EPOLLIN) < 0)
			virtq_break(&q->virtq);
		q->held = held;
	}
	pthread_mutex_unlock(&q->lock);
	if (!held)
		loop_queue_kick(q);
}

void loop_queue_stop(struct loop_queue *q)
{
	pthread_mutex_lock(&q->lock);
	if (q->running && !q->held)
		loop_remove(q->loop, &q->kick);
	q->running = false;
	pthread_mutex_unlock(&q->lock);
}
