// SPDX-License-Identifier: BSD-3-Clause
// A virtio-blk device: see blk.h.
#include "base.h"
#include "blk.h"
#include "cpu.h"
#include "io.h"

enum { QUEUE = 0, QUEUE_SIZE = 128, MAX_PIECES = 5, IDLE_ROUNDS = 256, NAP_NS = 1000000 };

#define WANTED \
	(1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_RO | 1ull << VIRTIO_BLK_F_DISCARD | \
		1ull << VIRTIO_BLK_F_WRITE_ZEROES)

int blk_open(unsigned nth, struct blk *blk)
{
	unsigned n_requests = BLK_N_REQUESTS;
	int r = virtio_find(VIRTIO_ID_BLOCK, nth, &blk->device);

	if (r == 0)
		r = virtio_negotiate(&blk->device, WANTED);
	if (r == 0)
		r = virtq_init(&blk->device, QUEUE, QUEUE_SIZE, &blk->queue);
	if (r < 0)
		return r;
	blk->n_sectors = mmio_read64(blk->device.config);
	if (!blk->queue.indirect && n_requests * MAX_PIECES > blk->queue.size)
		n_requests = blk->queue.size / MAX_PIECES;
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
	virtq_add(&blk->queue, pieces, n_out, n - n_out, r);
	blk->n_flying++;
	virtq_kick(&blk->queue);
}

struct blk_request *blk_wait(struct blk *blk, uint64_t until_ns)
{
	bool sleeps = cmdline_get("poll") == NULL;
	struct blk_request *r;
	uint32_t written;

	for (unsigned idle = 0; !(r = virtq_take(&blk->queue, &written)); idle++) {
		uint64_t now = time_ns(), nap = blk->queue.has_vector ? until_ns : now + NAP_NS;

		if (now >= until_ns)
			return NULL;
		if (idle < IDLE_ROUNDS || !sleeps)
			continue;
		if (!virtq_arm(&blk->queue))
			cpu_sleep(nap < until_ns ? nap : until_ns);
		virtq_disarm(&blk->queue);
	}
	blk->n_flying--;
	r->done = true;
	return r;
}
