// SPDX-License-Identifier: BSD-3-Clause
// A virtio-blk device: see blk.h.
#include "base.h"
#include "blk.h"
#include "cpu.h"
#include "io.h"

enum { QUEUE_SIZE = 128, MAX_PIECES = 5, IDLE_ROUNDS = 256, NAP_NS = 1000000 };

#define WANTED \
	(1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_RO | 1ull << VIRTIO_BLK_F_DISCARD | \
		1ull << VIRTIO_BLK_F_WRITE_ZEROES | 1ull << VIRTIO_BLK_F_MQ)

static int queues_init(struct blk *blk)
{
	int r = 0;

	blk->n_queues = 1;
	if (virtio_has(&blk->device, VIRTIO_BLK_F_MQ))
		blk->n_queues = mmio_read16(
			blk->device.config + offsetof(struct virtio_blk_config, num_queues));
	if (blk->n_queues > BLK_MAX_QUEUES)
		blk->n_queues = BLK_MAX_QUEUES;
	for (unsigned i = 0; r == 0 && i < blk->n_queues; i++)
		r = virtq_init(&blk->device, (uint16_t)i, QUEUE_SIZE, &blk->queues[i]);
	return r;
}

int blk_open(unsigned nth, struct blk *blk)
{
	unsigned n_requests = BLK_N_REQUESTS;
	int r = virtio_find(VIRTIO_ID_BLOCK, nth, &blk->device);

	if (r == 0)
		r = virtio_negotiate(&blk->device, WANTED);
	if (r == 0)
		r = queues_init(blk);
	if (r < 0)
		return r;
	blk->n_sectors = mmio_read64(blk->device.config);
	if (!blk->queues[0].indirect && n_requests * MAX_PIECES > blk->queues[0].size)
		n_requests = blk->queues[0].size / MAX_PIECES;
	for (unsigned i = 0; i < n_requests; i++) {
		blk->requests[i].data = memory_take(BLK_MAX_SECTORS * BLK_SECTOR, 4096);
		blk_end(blk, &blk->requests[i]);
	}
	virtio_start(&blk->device);
	return 0;
}

struct blk_request *blk_begin(struct blk *blk)
{
	struct blk_request *r = blk->free;

	if (r) {
		blk->free = r->next;
		r->status = 0xff;
		r->done = false;
	}
	return r;
}

void blk_end(struct blk *blk, struct blk_request *r)
{
	r->next = blk->free;
	blk->free = r;
}

// virtio 1.2, 5.2.6: header, data, status. The data is cut unevenly, for the device to join.
void blk_submit(struct blk *blk, struct blk_request *r, uint32_t type)
{
	struct piece pieces[MAX_PIECES] = { { &r->header, sizeof(r->header) } };
	struct virtq *queue;
	unsigned n = 1, n_out;
	uint32_t cuts[] = { BLK_SECTOR, r->size / 3, r->size };

	r->header = (struct virtio_blk_outhdr){ .type = type, .sector = r->sector };
	for (uint32_t at = 0, i = 0; i < LENGTH_OF(cuts); i++) {
		uint32_t end = cuts[i] < r->size ? cuts[i] : r->size;

		if (end <= at)
			continue;
		pieces[n++] = (struct piece){ r->data + at, end - at };
		at = end;
	}
	n_out = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID ? 1 : n;
	pieces[n++] = (struct piece){ &r->status, 1 };
	queue = &blk->queues[blk->next_queue++ % blk->n_queues];
	virtq_add(queue, pieces, n_out, n - n_out, r);
	blk->n_flying++;
	virtq_kick(queue);
}

static struct blk_request *take(struct blk *blk)
{
	struct blk_request *r = NULL;
	uint32_t written;

	for (unsigned i = 0; !r && i < blk->n_queues; i++)
		r = virtq_take(&blk->queues[i], &written);
	return r;
}

// True if something is done already.
static bool arm(struct blk *blk)
{
	bool done = false;

	for (unsigned i = 0; i < blk->n_queues; i++)
		done |= virtq_arm(&blk->queues[i]);
	return done;
}

static void disarm(struct blk *blk)
{
	for (unsigned i = 0; i < blk->n_queues; i++)
		virtq_disarm(&blk->queues[i]);
}

struct blk_request *blk_wait(struct blk *blk, uint64_t until_ns)
{
	bool sleeps = cmdline_get("poll") == NULL;
	struct blk_request *r;

	for (unsigned idle = 0; !(r = take(blk)); idle++) {
		uint64_t now = time_ns(), nap = blk->queues[0].has_vector ? until_ns : now + NAP_NS;

		if (now >= until_ns)
			return NULL;
		if (idle < IDLE_ROUNDS || !sleeps)
			continue;
		if (!arm(blk))
			cpu_sleep(nap < until_ns ? nap : until_ns);
		disarm(blk);
	}
	blk->n_flying--;
	r->done = true;
	return r;
}
