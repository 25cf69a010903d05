// SPDX-License-Identifier: BSD-3-Clause
// The commands about disks: the pattern written, read back and compared. ../README.md has what each
// does.
#include "base.h"
#include "blk.h"
#include "cpu.h"
#include "io.h"
#include "run_lists.h"

enum { MAX_DISKS = 4, SIZE_DEFAULT = 64, WAIT_SECONDS = 10, QCOW2_HEADER = 72 };
enum { NAP_NS = 1000000, STALL_NS = 300000000 };

#define SECOND_NS 1000000000ull

static struct blk disks[MAX_DISKS];
static bool opened[MAX_DISKS];
static unsigned current;
static uint8_t expected[BLK_MAX_SECTORS * BLK_SECTOR];

struct blk *disk_current(void)
{
	int r = current < MAX_DISKS ? 0 : -1;

	if (r == 0 && !opened[current])
		r = blk_open(current, &disks[current]);
	if (r < 0) {
		say("fail disk %u: cannot be opened: error %d", current, -r);
		cpu_end(false);
	}
	opened[current] = true;
	return &disks[current];
}

void run_forget_disks(void)
{
	memset(opened, 0, sizeof(opened));
	memset(disks, 0, sizeof(disks));
}

static bool run_disk(const struct arguments *args)
{
	const struct blk *blk;

	current = (unsigned)argument_number(args, 1, 0);
	blk = disk_current();
	say("ok disk %u sectors %lu features 0x%lx", current, blk->n_sectors, blk->device.features);
	return true;
}

// Sectors [at, end), in requests of `step`, with a pattern of `seed`.
struct range {
	uint64_t at, end, step, seed;
	uint32_t type;
};

static bool request_is_right(
	const struct blk_request *r, const struct range *range, const char *name)
{
	if (r->status != VIRTIO_BLK_S_OK) {
		say("fail %s: sector %lu: status %u", name, r->sector, r->status);
		return false;
	}
	if (range->type != VIRTIO_BLK_T_IN)
		return true;
	pattern_fill(expected, r->size, range->seed, r->sector * BLK_SECTOR);
	for (uint32_t i = 0; i < r->size; i++) {
		if (r->data[i] == expected[i])
			continue;
		say("fail %s: sector %lu byte %u is %02x, not %02x", name,
			r->sector + i / BLK_SECTOR, i % BLK_SECTOR, r->data[i], expected[i]);
		return false;
	}
	return true;
}

static void requests_submit(struct blk *blk, struct range *range)
{
	struct blk_request *r;

	while (range->at < range->end && (r = blk_begin(blk)) != NULL) {
		uint64_t left = range->end - range->at;
		uint64_t n = left < range->step ? left : range->step;

		r->sector = range->at;
		r->size = (uint32_t)n * BLK_SECTOR;
		if (range->type == VIRTIO_BLK_T_OUT)
			pattern_fill(r->data, r->size, range->seed, r->sector * BLK_SECTOR);
		else
			memset(r->data, 0xee, r->size);
		blk_submit(blk, r, range->type);
		range->at += n;
	}
}

// As many requests at once as there are; each is checked when it is done.
static bool range_run(struct blk *blk, struct range range, const char *name)
{
	bool good = true;

	while ((good && range.at < range.end) || blk->n_flying > 0) {
		struct blk_request *r;

		if (good)
			requests_submit(blk, &range);
		r = blk_wait(blk, time_ns() + WAIT_SECONDS * SECOND_NS);
		if (!r) {
			say("fail %s: no answer, %u requests under way", name, blk->n_flying);
			return false;
		}
		good = good && request_is_right(r, &range, name);
		blk_end(blk, r);
	}
	return good;
}

static bool range_command(const struct arguments *args, uint32_t type)
{
	uint64_t at = argument_number(args, 1, 0), n = argument_number(args, 2, 1);
	uint64_t step = argument_number(args, 4, SIZE_DEFAULT), start = time_ns();
	struct range range = { at, at + n, step, argument_number(args, 3, 0), type };

	if (step == 0 || step > BLK_MAX_SECTORS)
		range.step = BLK_MAX_SECTORS;
	if (!range_run(disk_current(), range, args->text[0]))
		return false;
	say("ok %s sectors %lu in %lu us", args->text[0], n, (time_ns() - start) / 1000);
	return true;
}

// blk-write:SECTOR:COUNT:SEED[:SECTORS_A_REQUEST]
static bool run_write(const struct arguments *args)
{
	return range_command(args, VIRTIO_BLK_T_OUT);
}

// blk-verify:SECTOR:COUNT:SEED[:SECTORS_A_REQUEST]
static bool run_verify(const struct arguments *args)
{
	return range_command(args, VIRTIO_BLK_T_IN);
}

// One request that has its answer before the next; returns the status, 0xff if there was none.
static uint8_t status_of(
	struct blk *blk, uint32_t type, uint64_t sector, const void *data, uint32_t size)
{
	struct blk_request *r = blk_begin(blk);
	uint8_t status = 0xff;

	r->sector = sector;
	r->size = size;
	if (data)
		memcpy(r->data, data, size);
	blk_submit(blk, r, type);
	if (blk_wait(blk, time_ns() + WAIT_SECONDS * SECOND_NS))
		status = r->status;
	blk_end(blk, r);
	return status;
}

static bool status_say(const struct arguments *args, uint8_t status, uint64_t took_ns)
{
	bool good = status == VIRTIO_BLK_S_OK;

	say("%s %s status %u in %lu us", good ? "ok" : "fail", args->text[0], status,
		took_ns / 1000);
	return good;
}

static bool run_flush(const struct arguments *args)
{
	uint64_t start = time_ns();
	uint8_t status = status_of(disk_current(), VIRTIO_BLK_T_FLUSH, 0, NULL, 0);

	return status_say(args, status, time_ns() - start);
}

static bool segment_command(const struct arguments *args, uint32_t type)
{
	struct virtio_blk_discard_write_zeroes segment = { .sector = argument_number(args, 1, 0),
		.num_sectors = (uint32_t)argument_number(args, 2, 1) };
	uint64_t start = time_ns();
	uint8_t status = status_of(disk_current(), type, 0, &segment, sizeof(segment));

	return status_say(args, status, time_ns() - start);
}

// blk-discard:SECTOR:COUNT
static bool run_discard(const struct arguments *args)
{
	return segment_command(args, VIRTIO_BLK_T_DISCARD);
}

// blk-zero:SECTOR:COUNT
static bool run_zero(const struct arguments *args)
{
	return segment_command(args, VIRTIO_BLK_T_WRITE_ZEROES);
}

// blk-is-zero:SECTOR:COUNT: good if all is 0 there
static bool run_is_zero(const struct arguments *args)
{
	uint64_t at = argument_number(args, 1, 0), end = at + argument_number(args, 2, 1);
	struct blk *blk = disk_current();

	for (; at < end; at++) {
		struct blk_request *r = blk_begin(blk);
		unsigned n_others = 0;

		r->sector = at;
		r->size = BLK_SECTOR;
		blk_submit(blk, r, VIRTIO_BLK_T_IN);
		if (!blk_wait(blk, time_ns() + WAIT_SECONDS * SECOND_NS) || r->status != 0)
			n_others = BLK_SECTOR;
		for (unsigned i = 0; i < BLK_SECTOR; i++)
			n_others += r->data[i] != 0;
		blk_end(blk, r);
		if (n_others == 0)
			continue;
		say("fail %s: sector %lu", args->text[0], at);
		return false;
	}
	say("ok %s", args->text[0]);
	return true;
}

// blk-refused:write|read|TYPE:SECTOR:COUNT: good if the device answers with an error
static bool run_refused(const struct arguments *args)
{
	uint64_t type = text_equal(args->text[1], "write")  ? VIRTIO_BLK_T_OUT
			: text_equal(args->text[1], "read") ? VIRTIO_BLK_T_IN
							    : argument_number(args, 1, 0);
	uint32_t size = (uint32_t)argument_number(args, 3, 1) % (BLK_MAX_SECTORS + 1) * BLK_SECTOR;
	uint8_t status =
		status_of(disk_current(), (uint32_t)type, argument_number(args, 2, 0), NULL, size);
	bool good = status == VIRTIO_BLK_S_IOERR || status == VIRTIO_BLK_S_UNSUPP;

	say("%s blk-refused %s status %u", good ? "ok" : "fail", args->text[1], status);
	return good;
}

static bool run_id(const struct arguments *args)
{
	struct blk *blk = disk_current();
	struct blk_request *r = blk_begin(blk);
	bool good;

	memset(r->data, 0, VIRTIO_BLK_ID_BYTES + 1);
	r->sector = 0;
	r->size = VIRTIO_BLK_ID_BYTES;
	blk_submit(blk, r, VIRTIO_BLK_T_GET_ID);
	good = blk_wait(blk, time_ns() + WAIT_SECONDS * SECOND_NS) && r->status == VIRTIO_BLK_S_OK;
	say("%s blk-id %s", good ? "ok" : "fail", (const char *)r->data);
	blk_end(blk, r);
	return good;
}

// blk-start:SECTOR:COUNT: reads that nobody waits for, as many as there is room for
static bool run_start(const struct arguments *args)
{
	uint64_t at = argument_number(args, 1, 0);
	struct range range = { at, at + argument_number(args, 2, 1), BLK_MAX_SECTORS, 0,
		VIRTIO_BLK_T_IN };

	requests_submit(disk_current(), &range);
	say("ok blk-start %u under way", disk_current()->n_flying);
	return true;
}

// blk-broken:SECONDS: good once the device says that it needs a reset, and answers no request then
static bool run_broken(const struct arguments *args)
{
	uint64_t until = time_ns() + argument_number(args, 1, WAIT_SECONDS) * SECOND_NS;
	struct blk *blk = disk_current();
	struct blk_request *r;
	bool good;

	while (!(virtio_status(&blk->device) & VIRTIO_CONFIG_S_NEEDS_RESET) && time_ns() < until)
		cpu_sleep(time_ns() + NAP_NS);
	good = virtio_status(&blk->device) & VIRTIO_CONFIG_S_NEEDS_RESET;
	r = blk_begin(blk);
	r->sector = 0;
	r->size = BLK_SECTOR;
	blk_submit(blk, r, VIRTIO_BLK_T_IN);
	good = good && !blk_wait(blk, time_ns() + STALL_NS);
	opened[current] = false; // the next command begins with a reset
	memset(blk, 0, sizeof(*blk));
	say("%s blk-broken", good ? "ok" : "fail");
	return good;
}

// blk-size:SECTORS:SECONDS: good once the disk has that size
static bool run_size(const struct arguments *args)
{
	uint64_t until = time_ns() + argument_number(args, 2, WAIT_SECONDS) * SECOND_NS;
	const struct blk *blk = disk_current();
	uint64_t n;

	say("ok blk-size waits");
	while ((n = mmio_read64(blk->device.config)) != argument_number(args, 1, 0) &&
		time_ns() < until)
		cpu_sleep(time_ns() + NAP_NS);
	// virtio 1.2, 4.1.4.5: the second bit says that it was the configuration
	if (time_ns() >= until || !(mmio_read8(blk->device.isr) & 2)) {
		say("fail blk-size %lu", n);
		return false;
	}
	say("ok blk-size %lu", n);
	return true;
}

static void put_be(uint8_t *to, uint64_t number, unsigned size)
{
	while (size > 0) {
		to[--size] = (uint8_t)number;
		number >>= 8;
	}
}

// blk-qcow2:PATH: what is in sector 0 then is a qcow2 header with that backing file
static bool run_qcow2(const struct arguments *args)
{
	uint8_t sector[BLK_SECTOR] = { 'Q', 'F', 'I', 0xfb };
	const char *path = args->text[1];
	size_t size = strlen(path);
	uint64_t start = time_ns();

	put_be(sector + 4, 2, 4); // version
	put_be(sector + 8, QCOW2_HEADER, 8); // where the name is
	put_be(sector + 16, size, 4);
	put_be(sector + 20, 16, 4); // clusters of 64 KiB
	put_be(sector + 24, disk_current()->n_sectors * BLK_SECTOR, 8);
	put_be(sector + 36, 1, 4); // L1 table: its entries, and where it is
	put_be(sector + 40, 3 << 16, 8);
	put_be(sector + 48, 1 << 16, 8); // reference counts: where, and of how many clusters
	put_be(sector + 56, 1, 4);
	memcpy(sector + QCOW2_HEADER, path, size < BLK_SECTOR / 2 ? size : BLK_SECTOR / 2);
	return status_say(args,
		status_of(disk_current(), VIRTIO_BLK_T_OUT, 0, sector, sizeof(sector)),
		time_ns() - start);
}

const struct command commands_blk[] = {
	{ "disk", 1, 1, run_disk },
	{ "blk-write", 3, 4, run_write },
	{ "blk-verify", 3, 4, run_verify },
	{ "blk-flush", 0, 0, run_flush },
	{ "blk-discard", 2, 2, run_discard },
	{ "blk-zero", 2, 2, run_zero },
	{ "blk-is-zero", 2, 2, run_is_zero },
	{ "blk-refused", 2, 3, run_refused },
	{ "blk-id", 0, 0, run_id },
	{ "blk-start", 2, 2, run_start },
	{ "blk-broken", 0, 1, run_broken },
	{ "blk-size", 1, 2, run_size },
	{ "blk-qcow2", 1, 1, run_qcow2 },
	{ 0 },
};
