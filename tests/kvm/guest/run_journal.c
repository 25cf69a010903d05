// SPDX-License-Identifier: BSD-3-Clause
// blk-journal: numbered writes that never end, until the machine does, for tests of what is left on
// the disk then.
#include "base.h"
#include "blk.h"
#include "cpu.h"
#include "run_lists.h"

enum {
	SLOT_SECTORS = 8,
	UNDER_WAY = 24, // writes; so fewer numbers than `done` has bits are ever in question
	FLUSH_EVERY = 8,
	SEED_SHIFT = 24, // patterns of two numbers have no word in common at any place
	WAIT_SECONDS = 60,
};

#define SECOND_NS 1000000000ull

// Number n is written to slot n % n_slots; all below `written` have been answered.
struct journal {
	struct blk *blk;
	uint64_t n_slots, next, written, done; // done: bit i for written + i
	uint64_t flushing, flushed; // all below it: answered before the flush began; flushed
	const struct blk_request *flush;
	uint64_t number_of[BLK_N_REQUESTS];
};

static void write_next(struct journal *j, struct blk_request *r)
{
	r->sector = j->next % j->n_slots * SLOT_SECTORS;
	r->size = SLOT_SECTORS * BLK_SECTOR;
	pattern_fill(r->data, r->size, j->next << SEED_SHIFT, r->sector * BLK_SECTOR);
	j->number_of[r - j->blk->requests] = j->next++;
	blk_submit(j->blk, r, VIRTIO_BLK_T_OUT);
}

static void flush_begin(struct journal *j, struct blk_request *r)
{
	r->sector = 0;
	r->size = 0;
	j->flush = r;
	j->flushing = j->written;
	blk_submit(j->blk, r, VIRTIO_BLK_T_FLUSH);
}

static void submit(struct journal *j)
{
	bool flushes = virtio_has(&j->blk->device, VIRTIO_BLK_F_FLUSH);
	struct blk_request *r;

	if (flushes && !j->flush && j->written >= j->flushed + FLUSH_EVERY) {
		r = blk_begin(j->blk);
		if (r)
			flush_begin(j, r);
	}
	while (j->next - j->written < UNDER_WAY && (r = blk_begin(j->blk)) != NULL)
		write_next(j, r);
}

static void write_is_done(struct journal *j, uint64_t number)
{
	uint64_t before = j->written;

	j->done |= 1ull << (number - j->written);
	while (j->done & 1) {
		j->done >>= 1;
		j->written++;
	}
	if (j->written / FLUSH_EVERY != before / FLUSH_EVERY)
		say("written %lu", j->written);
}

// blk-journal:SLOTS[:FIRST]: FIRST (0) and on, SLOT_SECTORS sectors each. Says `written N` when all
// below N have been answered, and `flushed N` when a flush that came after that has.
static bool run_journal(const struct arguments *args)
{
	struct journal j = { .blk = disk_current(), .n_slots = argument_number(args, 1, 64) };

	j.next = j.written = j.flushed = argument_number(args, 2, 0);
	if (j.n_slots <= UNDER_WAY || j.n_slots > j.blk->n_sectors / SLOT_SECTORS) {
		say("fail blk-journal: %lu slots", j.n_slots);
		return false;
	}
	for (;;) {
		struct blk_request *r;

		submit(&j);
		r = blk_wait(j.blk, time_ns() + WAIT_SECONDS * SECOND_NS);
		if (!r || r->status != VIRTIO_BLK_S_OK) {
			say("fail blk-journal: %s", r ? "an error" : "no answer");
			return false;
		}
		if (r == j.flush) {
			j.flush = NULL;
			j.flushed = j.flushing;
			say("flushed %lu", j.flushed);
		} else {
			write_is_done(&j, j.number_of[r - j.blk->requests]);
		}
		blk_end(j.blk, r);
	}
}

const struct command commands_journal[] = {
	{ "blk-journal", 1, 2, run_journal },
	{ 0 },
};
