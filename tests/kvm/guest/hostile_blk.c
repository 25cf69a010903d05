// SPDX-License-Identifier: BSD-3-Clause
// The lies of HOSTILE.md B that a disk's queue can be told: hostile-disk. All of them read, so that
// whoever finds the disk's content changed has found a fault. After each the disk is reset and has
// to answer a request.
#include "base.h"
#include "cpu.h"
#include "hostile.h"
#include "io.h"
#include "run_lists.h"
#include <linux/virtio_blk.h>

enum {
	NEXT = VRING_DESC_F_NEXT,
	WRITE = VRING_DESC_F_WRITE,
	INDIRECT = VRING_DESC_F_INDIRECT,
	QUEUE_SIZE = 64,
	SECTOR = 512,
	N_PIECES = 3, // of a request: header, data, status
	DEFAULT_MS = 30,
	KICK_EVERY = 64,
	NOWHERE_BITS = 40,
};

#define MS_NS 1000000ull
#define ANSWER_NS (2000 * MS_NS)
#define NOWHERE (1ull << NOWHERE_BITS) // no RAM is there

struct disk {
	struct virtio device;
	struct virtq queue;
};

struct disk_lie {
	const char *number, *what;
	void (*tell)(struct disk *disk, uint64_t arg, uint64_t until_ns);
	uint64_t arg;
};

static struct {
	struct virtio_blk_outhdr header;
	uint8_t status, data[SECTOR];
} request __attribute__((aligned(4096)));

static int disk_restart(struct disk *disk)
{
	int r = virtio_negotiate(&disk->device, 0);

	if (r == 0)
		r = virtq_init(&disk->device, 0, QUEUE_SIZE, &disk->queue);
	if (r == 0)
		virtio_start(&disk->device);
	return r;
}

// Reads the first sector, as descriptors i, i + 1 and i + 2 of a table.
static void request_make(struct vring_desc *table, uint16_t i)
{
	request.header = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN };
	request.status = 0xff;
	table[i] = (struct vring_desc){ (uintptr_t)&request.header, sizeof(request.header), NEXT,
		(uint16_t)(i + 1) };
	table[i + 1] = (struct vring_desc){ (uintptr_t)request.data, SECTOR, NEXT | WRITE,
		(uint16_t)(i + 2) };
	table[i + 2] = (struct vring_desc){ (uintptr_t)&request.status, 1, WRITE, 0 };
}

static uint16_t used_index(const struct virtq *q)
{
	return *(volatile uint16_t *)&q->used->idx;
}

static void offer(struct virtq *q, uint16_t head)
{
	hostile_offer(q, head);
	hostile_kick(q);
}

static bool disk_answers(struct disk *disk)
{
	uint64_t until = time_ns() + ANSWER_NS;

	request_make(disk->queue.desc, 0);
	offer(&disk->queue, 0);
	while (used_index(&disk->queue) == 0 && time_ns() < until)
		;
	return *(volatile uint8_t *)&request.status == VIRTIO_BLK_S_OK;
}

// arg: how far the index jumps
static void tell_index(struct disk *d, uint64_t arg, uint64_t until_ns)
{
	*(volatile uint16_t *)&d->queue.avail->idx = (uint16_t)arg;
	hostile_kick(&d->queue);
}

static void tell_head(struct disk *d, uint64_t arg, uint64_t until_ns)
{
	offer(&d->queue, (uint16_t)arg);
}

// arg: how many descriptors make the loop
static void tell_loop(struct disk *d, uint64_t arg, uint64_t until_ns)
{
	for (unsigned i = 0; i < arg; i++)
		hostile_desc(&d->queue, i, (uintptr_t)request.data, SECTOR, NEXT,
			(uint16_t)((i + 1) % arg));
	offer(&d->queue, 0);
}

// arg: piece << 32 | next
static void tell_next(struct disk *d, uint64_t arg, uint64_t until_ns)
{
	struct vring_desc *piece = &d->queue.desc[arg >> 32];

	piece->flags |= NEXT;
	piece->next = (uint16_t)arg;
	offer(&d->queue, 0);
}

// arg: where the data is to go
static void tell_address(struct disk *d, uint64_t arg, uint64_t until_ns)
{
	d->queue.desc[1].addr = arg;
	offer(&d->queue, 0);
}

// arg: piece << 32 | its length
static void tell_length(struct disk *d, uint64_t arg, uint64_t until_ns)
{
	d->queue.desc[arg >> 32].len = (uint32_t)arg;
	offer(&d->queue, 0);
}

// arg: piece << 32 | its flags
static void tell_flags(struct disk *d, uint64_t arg, uint64_t until_ns)
{
	d->queue.desc[arg >> 32].flags = (uint16_t)arg;
	offer(&d->queue, 0);
}

static void tell_huge(struct disk *d, uint64_t arg, uint64_t until_ns)
{
	struct virtq *q = &d->queue;

	for (unsigned i = 1; i < q->size; i++)
		hostile_desc(q, i, (uintptr_t)hostile_memory(), 0xffffffff,
			WRITE | (i + 1u < q->size ? NEXT : 0), (uint16_t)(i + 1));
	offer(q, 0);
}

// The whole request in a table. arg: place << 48 | flags << 32 | length; place 0: the table's own
static void tell_indirect(struct disk *d, uint64_t arg, uint64_t until_ns)
{
	struct vring_desc *table = (struct vring_desc *)hostile_memory();
	uint64_t place = arg >> 48 ? arg >> 48 << NOWHERE_BITS : (uintptr_t)table;

	request_make(table, 0);
	if (arg >> 32 & WRITE)
		table[0].flags |= INDIRECT;
	hostile_desc(
		&d->queue, 0, place, (uint32_t)arg, (uint16_t)(INDIRECT | (arg >> 32 & NEXT)), 1);
	offer(&d->queue, 0);
}

// The same heads again before they are done.
static void tell_twice(struct disk *d, uint64_t arg, uint64_t until_ns)
{
	for (unsigned i = 0; i < arg; i++)
		hostile_offer(&d->queue, 0);
	hostile_kick(&d->queue);
}

// arg: bytes of the header in pieces of one, the rest in another
static void tell_pieces(struct disk *d, uint64_t arg, uint64_t until_ns)
{
	uint16_t n = (uint16_t)arg;

	request_make(d->queue.desc, n);
	for (uint16_t i = 0; i < n; i++)
		hostile_desc(
			&d->queue, i, (uintptr_t)&request.header + i, 1, NEXT, (uint16_t)(i + 1));
	d->queue.desc[n].addr += n;
	d->queue.desc[n].len -= n;
	offer(&d->queue, 0);
}

enum flipped { FLIP_LEN, FLIP_ADDR, FLIP_FLAGS, FLIP_SECTOR };

static void tell_flip(struct disk *d, uint64_t arg, uint64_t until_ns)
{
	volatile struct virtio_blk_outhdr *header = &request.header;
	volatile struct vring_desc *data = &d->queue.desc[1];

	for (uint64_t round = 0; time_ns() < until_ns; round++) {
		bool odd = round & 1;

		if (round % KICK_EVERY == 0 && used_index(&d->queue) == d->queue.avail_next)
			offer(&d->queue, 0);
		if (arg == FLIP_LEN)
			data->len = odd ? 0xffffffff : SECTOR;
		else if (arg == FLIP_ADDR)
			data->addr = odd ? NOWHERE : (uintptr_t)request.data;
		else if (arg == FLIP_FLAGS)
			data->flags = (uint16_t)(round & 7);
		else
			header->sector = odd ? UINT64_MAX / SECTOR : 0;
	}
}

static void tell_kicks(struct disk *d, uint64_t arg, uint64_t until_ns)
{
	hostile_offer(&d->queue, 0);
	while (time_ns() < until_ns)
		hostile_kick(&d->queue);
}

// As many requests as there is room for, and again as soon as all are done; arg: but once
static void tell_refill(struct disk *d, uint64_t arg, uint64_t until_ns)
{
	struct virtq *q = &d->queue;
	uint16_t n = q->size / N_PIECES;

	for (uint16_t i = 0; i < n; i++)
		request_make(q->desc, i * N_PIECES);
	do {
		if (used_index(q) != q->avail_next)
			continue;
		for (uint16_t i = 0; i < n; i++)
			hostile_offer(q, i * N_PIECES);
		hostile_kick(q);
	} while (!arg && time_ns() < until_ns);
}

static void tell_resets(struct disk *d, uint64_t arg, uint64_t until_ns)
{
	while (time_ns() < until_ns && disk_restart(d) == 0)
		tell_refill(d, 1, 0);
}

#define PIECE(nth, value) ((uint64_t)(nth) << 32 | (value))
#define TABLE(place, flags, length) ((uint64_t)(place) << 48 | (uint64_t)(flags) << 32 | (length))

static const struct disk_lie lies[] = {
	{ "H-14", "index + size + 1", tell_index, QUEUE_SIZE + 1 },
	{ "H-14", "index + 32768", tell_index, 0x8000 },
	{ "H-15", "head = size", tell_head, QUEUE_SIZE },
	{ "H-15", "head = 0xffff", tell_head, 0xffff },
	{ "H-16", "loop of 1", tell_loop, 1 },
	{ "H-16", "loop of all", tell_loop, QUEUE_SIZE },
	{ "H-16", "next = size", tell_next, PIECE(0, QUEUE_SIZE) },
	{ "H-16", "next = 0xffff", tell_next, PIECE(1, 0xffff) },
	{ "H-17", "a chain of size x 4 GiB", tell_huge, 0 },
	{ "H-17", "at no address", tell_address, NOWHERE },
	{ "H-17", "that wraps", tell_address, UINT64_MAX - 100 },
	{ "H-17", "of a device", tell_address, 0xfee00000 },
	{ "H-18", "nested", tell_indirect, TABLE(0, WRITE, 48) },
	{ "H-18", "with next", tell_indirect, TABLE(0, NEXT, 48) },
	{ "H-18", "length 33", tell_indirect, TABLE(0, 0, 33) },
	{ "H-18", "length 0", tell_indirect, TABLE(0, 0, 0) },
	{ "H-18", "length 4 GiB - 16", tell_indirect, TABLE(0, 0, 0xfffffff0) },
	{ "H-18", "at no address", tell_indirect, TABLE(1, 0, 48) },
	{ "H-18", "legal", tell_indirect, TABLE(0, 0, 48) },
	{ "H-19", "one head twice", tell_twice, 2 },
	{ "H-20", "header to write", tell_flags, PIECE(0, NEXT | WRITE) },
	{ "H-20", "data to read", tell_flags, PIECE(1, NEXT) },
	{ "H-20", "status to read", tell_flags, PIECE(2, 0) },
	{ "H-20", "no status", tell_flags, PIECE(1, WRITE) },
	{ "H-21", "len", tell_flip, FLIP_LEN },
	{ "H-21", "addr", tell_flip, FLIP_ADDR },
	{ "H-21", "flags", tell_flip, FLIP_FLAGS },
	{ "H-21", "sector", tell_flip, FLIP_SECTOR },
	{ "H-22", "header in 16 pieces", tell_pieces, 15 },
	{ "H-22", "header of 15", tell_length, PIECE(0, 15) },
	{ "H-22", "header of 0", tell_length, PIECE(0, 0) },
	{ "H-22", "data of 511", tell_length, PIECE(1, SECTOR - 1) },
	{ "H-22", "status of 0", tell_length, PIECE(2, 0) },
	{ "H-25", "kicks", tell_kicks, 0 },
	{ "H-27", "instant refill", tell_refill, 0 },
	{ "H-28", "holds all buffers", tell_refill, 1 },
	{ "H-29", "resets", tell_resets, 0 },
};

static bool lie_tell(struct disk *disk, const struct disk_lie *lie, uint64_t ns)
{
	bool answers = false;
	uint8_t status = 0;
	uint16_t used = 0;

	if (disk_restart(disk) == 0) {
		uint64_t until = time_ns() + ns;

		request_make(disk->queue.desc, 0);
		lie->tell(disk, lie->arg, until);
		do
			status = virtio_status(&disk->device);
		while (!(status & VIRTIO_CONFIG_S_NEEDS_RESET) && time_ns() < until);
		used = used_index(&disk->queue);
		answers = disk_restart(disk) == 0 && disk_answers(disk);
	}
	say("%s hostile-disk %s %s: status 0x%02x%s used %u%s", answers ? "ok" : "fail",
		lie->number, lie->what, status,
		status & VIRTIO_CONFIG_S_NEEDS_RESET ? " needs-reset" : "", used,
		answers ? "" : ": it does not answer any more");
	return answers;
}

// hostile-disk[:MS]: all of them to the first disk
static bool run_hostile_disk(const struct arguments *args)
{
	uint64_t ns = argument_number(args, 1, DEFAULT_MS) * MS_NS;
	static struct disk disk;
	int r = virtio_find(VIRTIO_ID_BLOCK, 0, &disk.device);

	if (r < 0) {
		say("fail hostile-disk: no disk: error %d", -r);
		return false;
	}
	for (unsigned i = 0; i < LENGTH_OF(lies); i++) {
		if (!lie_tell(&disk, &lies[i], ns))
			return false;
	}
	return true;
}

const struct command commands_hostile_disk[] = {
	{ "hostile-disk", 0, 1, run_hostile_disk },
	{ 0 },
};
