// SPDX-License-Identifier: BSD-3-Clause
// See virtio_rng.h.
#include "vmm/virtio_rng.h"

#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/random.h>

enum { AT_ONCE = 256 }; // bytes of one request: never waits, never is interrupted (getrandom(2))

static struct virtio_rng *rng_of(struct virtio_device *d)
{
	return (struct virtio_rng *)d; // its first member
}

// 5.4.6.1: any number of bytes from one is an answer; what there is to read does not count.
static int64_t serve(struct virtio_device *d, struct virtq_chain *chain)
{
	uint8_t bytes[AT_ONCE];
	const size_t size = chain->size_in < AT_ONCE ? chain->size_in : AT_ONCE;

	if (!size || getrandom(bytes, size, 0) != (ssize_t)size)
		return -1;
	virtq_chain_write(chain, bytes, size);
	explicit_bzero(bytes, sizeof(bytes));
	return (int64_t)size;
}

static int start(struct virtio_device *d)
{
	return loop_queue_start(&rng_of(d)->queue);
}

static void stop(struct virtio_device *d)
{
	loop_queue_stop(&rng_of(d)->queue);
}

static void hold(struct virtio_device *d, bool held)
{
	loop_queue_hold(&rng_of(d)->queue, held);
}

static const struct virtio_ops OPS = {
	.name = "rng", .type = VIRTIO_ID_RNG, .start = start, .hold = hold, .stop = stop
};

int virtio_rng_init(struct virtio_rng *r, struct machine *m, struct error *e)
{
	int err;

	*r = (struct virtio_rng){ .device = { .ops = &OPS,
					  .memory = &m->memory,
					  .offered = VIRTQ_FEATURES,
					  .n_queues = 1 },
		.queue = { .loop = &m->loop, .device = &r->device, .serve = serve } };
	loop_queue_init(&r->queue);
	err = machine_add_device(m, &r->device);
	return err < 0 ? error_set(e, -err, "rng: %s", strerror(-err)) : 0;
}

void virtio_rng_free(struct virtio_rng *r)
{
	loop_queue_free(&r->queue);
}
