// SPDX-License-Identifier: BSD-3-Clause
// See virtio_balloon.h. A page that is given back is a hole in the memfd: reads as zeroes, and is
// made anew when somebody touches it.
#include "vmm/virtio_balloon.h"

#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 1 << VIRTIO_BALLOON_PFN_SHIFT, PFNS = 64 };

static struct virtio_balloon *balloon_of(struct virtio_device *d)
{
	return (struct virtio_balloon *)d; // its first member
}

// Whole pages only; what is refused stays where it is.
static void give_back(void *host, size_t size)
{
	uint8_t *begin = (uint8_t *)host + (PAGE - (uintptr_t)host % PAGE) % PAGE;
	uint8_t *end = (uint8_t *)host + size;

	if (end >= begin + PAGE)
		madvise(begin, (size_t)(end - begin) / PAGE * PAGE, MADV_REMOVE);
}

// 5.5.6.1: numbers of pages, neighbours mostly one after the other. Numbers of no page are a lie.
static int64_t inflate(struct virtio_device *d, struct virtq_chain *chain)
{
	uint32_t pfns[PFNS];

	while (chain->size_out >= sizeof(pfns[0])) {
		const size_t n =
			chain->size_out < sizeof(pfns) ? chain->size_out / sizeof(pfns[0]) : PFNS;

		virtq_chain_read(chain, pfns, n * sizeof(pfns[0]));
		for (size_t i = 0, run; i < n; i += run) {
			void *host = guest_memory_at(d->memory, (uint64_t)pfns[i] * PAGE, PAGE);

			if (!host)
				return -1;
			for (run = 1; i + run < n && pfns[i + run] == pfns[i] + run; run++)
				if (!guest_memory_at(
					    d->memory, (uint64_t)pfns[i] * PAGE, (run + 1) * PAGE))
					break;
			give_back(host, run * PAGE);
		}
	}
	return 0;
}

// Pages are the guest's again by being touched.
static int64_t deflate(struct virtio_device *d, struct virtq_chain *chain)
{
	return 0;
}

// 5.5.6.7: the buffers themselves are free pages.
static int64_t report(struct virtio_device *d, struct virtq_chain *chain)
{
	for (unsigned int i = 0; i < chain->n_in; i++)
		give_back(chain->iov[chain->n_out + i].iov_base,
			chain->iov[chain->n_out + i].iov_len);
	return 0;
}

static void config_read(struct virtio_device *d, uint32_t offset, void *data, uint32_t size)
{
	const struct virtio_balloon *b = balloon_of(d);
	const uint32_t space[2] = { __atomic_load_n(&b->wanted, __ATOMIC_RELAXED),
		__atomic_load_n(&b->actual, __ATOMIC_RELAXED) };

	memcpy(data, (const uint8_t *)space + offset, size);
}

static void config_write(struct virtio_device *d, uint32_t offset, const void *data, uint32_t size)
{
	uint32_t actual;

	if (offset != offsetof(struct virtio_balloon_config, actual) || size != sizeof(actual))
		return;
	memcpy(&actual, data, sizeof(actual));
	__atomic_store_n(&balloon_of(d)->actual, actual, __ATOMIC_RELAXED);
}

static void stop(struct virtio_device *d)
{
	for (unsigned int i = 0; i < BALLOON_QUEUES; i++)
		loop_queue_stop(&balloon_of(d)->queues[i]);
	__atomic_store_n(&balloon_of(d)->actual, 0, __ATOMIC_RELAXED);
}

static int start(struct virtio_device *d)
{
	int err = 0;

	for (unsigned int i = 0; err == 0 && i < BALLOON_QUEUES; i++)
		err = loop_queue_start(&balloon_of(d)->queues[i]);
	if (err < 0)
		stop(d);
	return err;
}

static void hold(struct virtio_device *d, bool held)
{
	for (unsigned int i = 0; i < BALLOON_QUEUES; i++)
		loop_queue_hold(&balloon_of(d)->queues[i], held);
}

static const struct virtio_ops OPS = { .name = "balloon",
	.type = VIRTIO_ID_BALLOON,
	.config_size = 8,
	.config_read = config_read,
	.config_write = config_write,
	.start = start,
	.hold = hold,
	.stop = stop };

int virtio_balloon_init(struct virtio_balloon *b, struct machine *m, uint32_t mib, struct error *e)
{
	int64_t (*const serve[])(struct virtio_device *, struct virtq_chain *) = {
		[BALLOON_INFLATE] = inflate, [BALLOON_DEFLATE] = deflate, [BALLOON_REPORT] = report
	};
	int err;

	*b = (struct virtio_balloon){ .device = { .ops = &OPS,
					      .memory = &m->memory,
					      .offered = VIRTQ_FEATURES |
							 1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
							 1ull << VIRTIO_BALLOON_F_REPORTING,
					      .n_queues = BALLOON_QUEUES },
		.wanted = mib << (20 - VIRTIO_BALLOON_PFN_SHIFT) };
	for (unsigned int i = 0; i < BALLOON_QUEUES; i++) {
		b->queues[i] = (struct loop_queue){
			.loop = &m->loop, .device = &b->device, .index = i, .serve = serve[i]
		};
		loop_queue_init(&b->queues[i]);
	}
	err = machine_add_device(m, &b->device);
	return err < 0 ? error_set(e, -err, "balloon: %s", strerror(-err)) : 0;
}

void virtio_balloon_free(struct virtio_balloon *b)
{
	for (unsigned int i = 0; i < BALLOON_QUEUES; i++)
		loop_queue_free(&b->queues[i]);
}
