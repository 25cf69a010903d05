// SPDX-License-Identifier: BSD-3-Clause
// HOSTILE.md B, what lies in the rings themselves: H-14 to H-19, H-21, H-25, H-28, H-29.
#include "base.h"
#include "cpu.h"
#include "hostile.h"
#include "io.h"

enum {
	NEXT = VRING_DESC_F_NEXT,
	WRITE = VRING_DESC_F_WRITE,
	INDIRECT = VRING_DESC_F_INDIRECT,
	NOWHERE_BITS = 40,
	KICK_EVERY = 64,
	RESETS_MAX = 10000,
};

#define NOWHERE (1ull << NOWHERE_BITS) // no RAM is there

static void good_offer(struct nic *nic, uint16_t head)
{
	hostile_desc(&nic->tx, head, (uintptr_t)hostile_frame(nic), HOSTILE_FRAME, 0, 0);
	hostile_offer(&nic->tx, head);
}

// 0x10000 stands for the ring's size, 0x10001 for one more.
static uint16_t sized(const struct virtq *q, uint64_t arg)
{
	return (uint16_t)(arg >= 0x10000 ? q->size + arg - 0x10000 : arg);
}

// arg: how far the index jumps beyond a good frame
static void tell_index(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	struct virtq *q = &nic->tx;

	good_offer(nic, 0);
	q->avail_next = (uint16_t)(q->avail_next + sized(q, arg));
	*(volatile uint16_t *)&q->avail->idx = q->avail_next;
	hostile_kick(q);
}

static void tell_head(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	good_offer(nic, 0);
	hostile_offer(&nic->tx, sized(&nic->tx, arg));
	hostile_kick(&nic->tx);
}

// arg: how many descriptors make the loop, 0 for all
static void tell_loop(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	unsigned n = arg ? (unsigned)arg : nic->tx.size;
	uint8_t *frame = hostile_frame(nic);

	for (unsigned i = 0; i < n; i++)
		hostile_desc(&nic->tx, i, (uintptr_t)frame, HOSTILE_FRAME, NEXT,
			(uint16_t)((i + 1) % n));
	hostile_offer(&nic->tx, 0);
	hostile_kick(&nic->tx);
}

static void tell_next(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	hostile_desc(&nic->tx, 0, (uintptr_t)hostile_frame(nic), HOSTILE_FRAME, NEXT,
		sized(&nic->tx, arg));
	hostile_offer(&nic->tx, 0);
	hostile_kick(&nic->tx);
}

static void tell_huge(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	unsigned n = nic->tx.size;

	for (unsigned i = 0; i < n; i++)
		hostile_desc(&nic->tx, i, (uintptr_t)hostile_memory(), 0xffffffff,
			i + 1 < n ? NEXT : 0, (uint16_t)(i + 1));
	hostile_offer(&nic->tx, 0);
	hostile_kick(&nic->tx);
}

// A good frame, and a second piece of it somewhere; arg: where; its lowest byte: a quarter of the
// size.
static void tell_address(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	hostile_desc(&nic->tx, 0, (uintptr_t)hostile_frame(nic), HOSTILE_FRAME, NEXT, 1);
	hostile_desc(&nic->tx, 1, arg & ~0xffull, (uint32_t)(arg & 0xff) * 4, 0, 0);
	hostile_offer(&nic->tx, 0);
	hostile_kick(&nic->tx);
}

// H-18: a table of two, whose length, flags, place and content are wrong one by one.

struct indirect {
	uint64_t addr; // 0: the table's own
	uint32_t len;
	uint16_t flags, next, flags_inside;
	bool points_at_itself;
};

static const struct indirect indirects[] = {
	{ .len = 32, .flags = INDIRECT, .flags_inside = INDIRECT | NEXT },
	{ .len = 32, .flags = INDIRECT | NEXT, .next = 1, .flags_inside = NEXT },
	{ .len = 32, .flags = INDIRECT | WRITE, .flags_inside = NEXT },
	{ .len = 33, .flags = INDIRECT, .flags_inside = NEXT },
	{ .len = 0, .flags = INDIRECT, .flags_inside = NEXT },
	{ .len = 1 << 20, .flags = INDIRECT, .flags_inside = NEXT },
	{ .len = 0xfffffff0, .flags = INDIRECT, .flags_inside = NEXT },
	{ .addr = NOWHERE, .len = 32, .flags = INDIRECT },
	{ .addr = UINT64_MAX - 15, .len = 32, .flags = INDIRECT },
	{ .len = 32, .flags = INDIRECT, .flags_inside = NEXT, .points_at_itself = true },
	{ .len = 16, .flags = INDIRECT, .flags_inside = NEXT },
};

static void tell_indirect(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	const struct indirect *lie = &indirects[arg];
	struct vring_desc *table = (struct vring_desc *)hostile_memory();
	uint64_t frame = (uintptr_t)hostile_frame(nic), place = (uintptr_t)table;

	table[0] = (struct vring_desc){ frame, HOSTILE_HEADER, lie->flags_inside, 1 };
	table[1] =
		(struct vring_desc){ frame + HOSTILE_HEADER, HOSTILE_FRAME - HOSTILE_HEADER, 0, 0 };
	if (lie->points_at_itself)
		table[0].addr = place;
	hostile_desc(&nic->tx, 0, lie->addr ? lie->addr : place, lie->len, lie->flags, lie->next);
	hostile_desc(&nic->tx, 1, frame, HOSTILE_FRAME, 0, 0);
	hostile_offer(&nic->tx, 0);
	hostile_kick(&nic->tx);
}

// virtio 1.2, 2.7.7.2: a device must take the header in a descriptor and the rest in a table.
static void tell_legal(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	struct vring_desc *table = (struct vring_desc *)hostile_memory();
	uint64_t frame = (uintptr_t)hostile_frame(nic);

	table[0] =
		(struct vring_desc){ frame + HOSTILE_HEADER, HOSTILE_FRAME - HOSTILE_HEADER, 0, 0 };
	hostile_desc(&nic->tx, 0, frame, HOSTILE_HEADER, NEXT, 1);
	hostile_desc(&nic->tx, 1, (uintptr_t)table, sizeof(*table), INDIRECT, 0);
	hostile_offer(&nic->tx, 0);
	hostile_kick(&nic->tx);
}

static void tell_twice(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	good_offer(nic, 0);
	hostile_offer(&nic->tx, 0);
	hostile_kick(&nic->tx);
}

// H-21: offers frames without end, while one field of each changes as fast as it can.
enum flipped { FLIP_LEN, FLIP_ADDR, FLIP_FLAGS, FLIP_NEXT, FLIP_HEADER, FLIP_INDEX };

static void flip(struct nic *nic, enum flipped field, uint8_t *frame, uint64_t round)
{
	struct virtq *q = &nic->tx;
	volatile struct vring_desc *desc = &q->desc[0];
	bool odd = round & 1;

	switch (field) {
	case FLIP_LEN:
		desc->len = odd ? 0xffffffff : HOSTILE_FRAME;
		break;
	case FLIP_ADDR:
		desc->addr = odd ? NOWHERE : (uintptr_t)frame;
		break;
	case FLIP_FLAGS:
		desc->flags = (uint16_t)(round & 7);
		break;
	case FLIP_NEXT:
		desc->flags = NEXT;
		desc->next = odd ? 0xffff : 1;
		break;
	case FLIP_HEADER:
		for (unsigned i = 0; i < HOSTILE_HEADER; i++)
			*(volatile uint8_t *)(frame + i) = odd ? (uint8_t)(round >> i) : 0;
		break;
	case FLIP_INDEX:
		*(volatile uint16_t *)&q->avail->idx =
			(uint16_t)(q->avail_next + (odd ? 0x4000 : 0));
		break;
	}
}

static void tell_flip(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	uint8_t *frame = hostile_frame(nic);

	hostile_desc(&nic->tx, 1, (uintptr_t)frame, HOSTILE_FRAME, 0, 0);
	hostile_desc(&nic->tx, 0, (uintptr_t)frame, HOSTILE_FRAME, 0, 0);
	for (uint64_t round = 0; time_ns() < until_ns; round++) {
		if (round % KICK_EVERY == 0) {
			hostile_offer(&nic->tx, 0);
			hostile_kick(&nic->tx);
		}
		flip(nic, (enum flipped)arg, frame, round);
	}
}

// What the device writes into receive buffers is changed under it.
static void tell_flip_rx(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	for (uint64_t round = 0; time_ns() < until_ns; round++) {
		for (unsigned i = 0; i < nic->rx.size; i++) {
			nic->rx.desc[i].len = round & 1 ? 0xffffffff : NIC_RX_SIZE;
			memset(nic->rx_buffers + i * NIC_RX_SIZE, (int)round, HOSTILE_HEADER);
		}
	}
}

// H-25: arg 1: used_event anywhere; both: kicks without end
static void tell_kicks(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	struct virtq *q = &nic->tx;

	good_offer(nic, 0);
	for (uint64_t round = 0; time_ns() < until_ns; round++) {
		if (arg)
			*(volatile uint16_t *)&q->avail->ring[q->size] = (uint16_t)(round * 40503);
		hostile_kick(q);
		hostile_kick(&nic->rx);
	}
}

// H-27: a good frame again as soon as the device is done with one
static void tell_refill(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	struct virtq *q = &nic->tx;
	uint8_t *frame = hostile_frame(nic);

	for (unsigned i = 0; i < q->size; i++)
		hostile_desc(q, i, (uintptr_t)frame, HOSTILE_FRAME, 0, 0);
	while (time_ns() < until_ns) {
		uint16_t used = *(volatile uint16_t *)&q->used->idx, was = q->avail_next;

		while ((uint16_t)(q->avail_next - used) < q->size)
			hostile_offer(q, q->avail_next % q->size);
		if (q->avail_next != was)
			hostile_kick(q);
	}
}

// H-28: nothing is taken back
static void tell_holding(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	tell_refill(nic, 0, time_ns() + 1000000);
	while (time_ns() < until_ns)
		;
}

// H-29: with a frame under way each time
static void tell_resets(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	unsigned n = 0;

	for (; n < RESETS_MAX && time_ns() < until_ns && nic_restart(nic, true) == 0; n++) {
		good_offer(nic, 0);
		hostile_kick(&nic->tx);
	}
	say("ok hostile H-29 resets %u", n);
}

const struct lie lies_rings[] = {
	{ "H-14", "index + size + 1", tell_index, 0x10000 },
	{ "H-14", "index - 1", tell_index, 0xffff },
	{ "H-14", "index + 32768", tell_index, 0x8000 },
	{ "H-15", "head = size", tell_head, 0x10000 },
	{ "H-15", "head = size + 1", tell_head, 0x10001 },
	{ "H-15", "head = 0x8000", tell_head, 0x8000 },
	{ "H-15", "head = 0xffff", tell_head, 0xffff },
	{ "H-16", "loop of 1", tell_loop, 1 },
	{ "H-16", "loop of 2", tell_loop, 2 },
	{ "H-16", "loop of all", tell_loop, 0 },
	{ "H-16", "next = size", tell_next, 0x10000 },
	{ "H-16", "next = 0xffff", tell_next, 0xffff },
	{ "H-17", "a chain of size x 4 GiB", tell_huge, 0 },
	{ "H-17", "nothing at no address", tell_address, NOWHERE },
	{ "H-17", "100 bytes at no address", tell_address, NOWHERE | 25 },
	{ "H-17", "400 bytes that wrap", tell_address, (UINT64_MAX & ~0xffull) | 100 },
	{ "H-17", "100 bytes of a device", tell_address, 0xfee00000 | 25 },
	{ "H-18", "nested", tell_indirect, 0 },
	{ "H-18", "with next", tell_indirect, 1 },
	{ "H-18", "with write", tell_indirect, 2 },
	{ "H-18", "length 33", tell_indirect, 3 },
	{ "H-18", "length 0", tell_indirect, 4 },
	{ "H-18", "length 1 MiB", tell_indirect, 5 },
	{ "H-18", "length 4 GiB - 16", tell_indirect, 6 },
	{ "H-18", "at no address", tell_indirect, 7 },
	{ "H-18", "that wraps", tell_indirect, 8 },
	{ "H-18", "data is the table", tell_indirect, 9 },
	{ "H-18", "next past its end", tell_indirect, 10 },
	{ "H-18", "legal", tell_legal, 0 },
	{ "H-19", "one head twice", tell_twice, 0 },
	{ "H-21", "len", tell_flip, FLIP_LEN },
	{ "H-21", "addr", tell_flip, FLIP_ADDR },
	{ "H-21", "flags", tell_flip, FLIP_FLAGS },
	{ "H-21", "next", tell_flip, FLIP_NEXT },
	{ "H-21", "header", tell_flip, FLIP_HEADER },
	{ "H-21", "index", tell_flip, FLIP_INDEX },
	{ "H-21", "receive buffers", tell_flip_rx, 0 },
	{ "H-25", "kicks", tell_kicks, 0 },
	{ "H-25", "kicks, used_event anywhere", tell_kicks, 1 },
	{ "H-27", "instant refill", tell_refill, 0 },
	{ "H-28", "holds all buffers", tell_holding, 0 },
	{ "H-29", "resets", tell_resets, 0 },
	{ 0 },
};
