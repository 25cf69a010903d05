// SPDX-License-Identifier: BSD-3-Clause
// Split rings as a guest may fill them: what is legal is taken, what is not breaks the device once;
// when kicks and calls are wanted. H-14 to H-19 of HOSTILE.md, for devices of this process.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "tests/unit/virtq_rings.h"

enum {
	SIZE = 8,
	NEXT = VRING_DESC_F_NEXT,
	WRITE = VRING_DESC_F_WRITE,
	INDIRECT = VRING_DESC_F_INDIRECT
};

static const uint64_t EVENT = 1ull << VIRTIO_RING_F_EVENT_IDX;
static const uint64_t TABLES = 1ull << VIRTIO_RING_F_INDIRECT_DESC;

static void begin(struct rings *r, uint64_t features)
{
	assert_true(rings_begin(r, SIZE, features));
	assert_int_equal(virtq_start(&r->q, &r->device, 0), 0);
}

static void end(struct rings *r, unsigned int n_broken)
{
	assert_int_equal(r->n_broken, n_broken);
	rings_end(r);
}

static void set(
	struct vring_desc *d, uint64_t addr, uint32_t len, unsigned int flags, uint16_t next)
{
	*d = (struct vring_desc){ addr, len, (uint16_t)flags, next };
}

static void assert_broken(struct rings *r)
{
	assert_int_equal(virtq_next(&r->q, &r->chain), -EPROTO);
	assert_int_equal(virtq_next(&r->q, &r->chain), -EPROTO);
	assert_int_equal(virtq_break(&r->q), -EPROTO);
	assert_false(virtq_arm(&r->q));
	end(r, 1);
}

// What is in the descriptors (and the table) is offered as head 0 and refused.
static void assert_refused(struct rings *r)
{
	rings_offer(r, 0);
	assert_broken(r);
}

static void a_chain(void **state)
{
	struct rings r;
	uint8_t *data, word[6];

	begin(&r, 0);
	data = r.memory.regions[0].host + RINGS_DATA;
	assert_int_equal(virtq_next(&r.q, &r.chain), 0);
	memcpy(data, "abcdefgh", 8);
	set(&r.descriptors[5], RINGS_DATA, 4, NEXT, 0);
	set(&r.descriptors[0], RINGS_DATA + 4, 4, NEXT, 7);
	set(&r.descriptors[7], RINGS_DATA + 16, 2, NEXT | WRITE, 2);
	set(&r.descriptors[2], RINGS_DATA + 32, 100, WRITE, 99);
	rings_offer(&r, 5);
	assert_int_equal(virtq_next(&r.q, &r.chain), 1);
	assert_int_equal(r.chain.head, 5);
	assert_int_equal(r.chain.n_out, 2);
	assert_int_equal(r.chain.n_in, 2);
	assert_int_equal(r.chain.size_in, 102);
	assert_false(virtq_chain_read(&r.chain, word, 9));
	assert_true(virtq_chain_read(&r.chain, word, 6));
	assert_memory_equal(word, "abcdef", 6);
	assert_int_equal(r.chain.n_out, 1);
	assert_int_equal(r.chain.size_out, 2);
	assert_true(virtq_chain_write(&r.chain, "123", 3));
	assert_memory_equal(data + 16, "12", 2);
	assert_int_equal(data[32], '3');
	assert_int_equal(r.chain.n_in, 1);
	assert_ptr_equal(r.chain.iov[1].iov_base, data + 33);
	assert_int_equal(r.chain.iov[1].iov_len, 99);
	assert_false(virtq_chain_write(&r.chain, data, 100));
	virtq_push(&r.q, 5, 3);
	assert_int_equal(r.used->idx, 1);
	assert_int_equal(r.used->ring[0].id, 5);
	assert_int_equal(r.used->ring[0].len, 3);
	assert_int_equal(virtq_next(&r.q, &r.chain), 0);
	end(&r, 0);
}

// A chain as long as the queue is the longest; put back, it comes again.
static void the_longest(void **state)
{
	struct rings r;

	begin(&r, 0);
	for (uint16_t i = 0; i < SIZE; i++)
		set(&r.descriptors[i], RINGS_DATA + i, 1, i < SIZE - 1 ? NEXT : 0, i + 1);
	rings_offer(&r, 0);
	assert_int_equal(virtq_next(&r.q, &r.chain), 1);
	assert_int_equal(r.chain.n_out, SIZE);
	virtq_put_back(&r.q, r.chain.head);
	assert_int_equal(virtq_next(&r.q, &r.chain), 1);
	assert_int_equal(r.chain.size_out, SIZE);
	end(&r, 0);
}

static void tables(void **state)
{
	struct rings r;

	begin(&r, TABLES);
	set(&r.descriptors[0], RINGS_DATA, 16, NEXT, 1);
	set(&r.descriptors[1], RINGS_TABLE, 32, INDIRECT | WRITE, 0);
	set(&r.table[0], RINGS_DATA + 16, 4, NEXT, 1);
	set(&r.table[1], RINGS_DATA + 32, 8, WRITE, 0);
	rings_offer(&r, 0);
	assert_int_equal(virtq_next(&r.q, &r.chain), 1);
	assert_int_equal(r.chain.n_out, 2);
	assert_int_equal(r.chain.n_in, 1);
	assert_int_equal(r.chain.size_out, 20);
	// unaligned is legal for a table
	memmove((uint8_t *)r.table + 1, r.table, 32);
	set(&r.descriptors[2], RINGS_TABLE + 1, 32, INDIRECT, 0);
	rings_offer(&r, 2);
	assert_int_equal(virtq_next(&r.q, &r.chain), 1);
	assert_int_equal(r.chain.n_in, 1);
	end(&r, 0);
}

static void refused_tables(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
		unsigned int flags;
	} lies[] = {
		{ RINGS_TABLE, 32, INDIRECT | NEXT }, { RINGS_TABLE, 33, INDIRECT },
		{ RINGS_TABLE, 0, INDIRECT }, { RINGS_TABLE, 16 * (SIZE + 1), INDIRECT },
		{ RINGS_MEMORY - 16, 32, INDIRECT }, { UINT64_MAX - 15, 32, INDIRECT },
		{ RINGS_DESCRIPTORS, 16, INDIRECT }, // itself: nested
	};
	struct rings r;

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		begin(&r, TABLES);
		set(&r.descriptors[0], lies[i].addr, lies[i].len, lies[i].flags, 1);
		set(&r.descriptors[1], RINGS_DATA, 1, 0, 0);
		set(&r.table[0], RINGS_DATA, 1, 0, 0);
		assert_refused(&r);
	}
	begin(&r, TABLES); // next beyond the table
	set(&r.descriptors[0], RINGS_TABLE, 32, INDIRECT, 0);
	set(&r.table[0], RINGS_DATA, 1, NEXT, 2);
	set(&r.table[2], RINGS_DATA, 1, 0, 0);
	assert_refused(&r);
	begin(&r, TABLES); // the queue's size and one more, over both tables
	set(&r.descriptors[0], RINGS_DATA, 1, NEXT, 1);
	set(&r.descriptors[1], RINGS_TABLE, 16 * SIZE, INDIRECT, 0);
	for (uint16_t i = 0; i < SIZE; i++)
		set(&r.table[i], RINGS_DATA, 1, i < SIZE - 1 ? NEXT : 0, i + 1);
	assert_refused(&r);
	begin(&r, 0); // not negotiated
	set(&r.descriptors[0], RINGS_TABLE, 16, INDIRECT, 0);
	set(&r.table[0], RINGS_DATA, 1, 0, 0);
	assert_refused(&r);
}

static void refused_chains(void **state)
{
	static const struct vring_desc lies[] = {
		{ RINGS_DATA, 1, NEXT, 0 }, // loops
		{ RINGS_DATA, 1, NEXT, SIZE }, { RINGS_DATA, 1, NEXT, UINT16_MAX },
		{ RINGS_DATA, 0, 0, 0 }, { RINGS_MEMORY, 0, 0, 0 }, { RINGS_MEMORY - 1, 2, 0, 0 },
		{ RINGS_DATA, UINT32_MAX, 0, 0 }, { UINT64_MAX, 2, 0, 0 },
		{ RINGS_DATA, 1, WRITE | NEXT, 1 }, // 1 is to be read
	};
	struct rings r;

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		begin(&r, 0);
		r.descriptors[0] = lies[i];
		set(&r.descriptors[1], RINGS_DATA, 1, 0, 0);
		assert_refused(&r);
	}
	begin(&r, 0); // two that loop
	set(&r.descriptors[0], RINGS_DATA, 1, NEXT, 1);
	set(&r.descriptors[1], RINGS_DATA, 1, NEXT, 0);
	assert_refused(&r);
}

static void refused_rings(void **state)
{
	static const uint16_t indices[] = { SIZE + 1, 0x8000, UINT16_MAX };
	struct rings r;

	for (size_t i = 0; i < sizeof(indices) / sizeof(indices[0]); i++) {
		begin(&r, 0);
		set(&r.descriptors[0], RINGS_DATA, 1, 0, 0);
		r.available->idx = indices[i];
		assert_broken(&r);
	}
	for (uint32_t head = SIZE; head <= UINT16_MAX; head = head * 2 + 1) {
		begin(&r, 0);
		rings_offer(&r, (uint16_t)head);
		assert_broken(&r);
	}
	begin(&r, 0); // one head offered twice
	set(&r.descriptors[3], RINGS_DATA, 1, 0, 0);
	rings_offer(&r, 3);
	rings_offer(&r, 3);
	assert_int_equal(virtq_next(&r.q, &r.chain), 1);
	assert_broken(&r);
}

static void start_where(
	uint64_t descriptors, uint64_t available, uint64_t used, uint16_t size, int as)
{
	struct rings r;

	assert_true(rings_begin(&r, size, 0));
	r.device.queues[0].descriptors = descriptors;
	r.device.queues[0].available = available;
	r.device.queues[0].used = used;
	assert_int_equal(virtq_start(&r.q, &r.device, 0), as);
	end(&r, 0);
}

static void places(void **state)
{
	const uint64_t end_of = RINGS_MEMORY;

	start_where(end_of - 128, 0, 64, SIZE, 0);
	start_where(0, end_of - 22, 512, SIZE, 0);
	start_where(0, 512, end_of - 72, SIZE, 0); // 70 bytes, but aligned
	start_where(end_of - 112, 0, 64, SIZE, -EINVAL);
	start_where(0, end_of - 20, 512, SIZE, -EINVAL);
	start_where(0, 512, end_of - 68, SIZE, -EINVAL);
	start_where(8, 512, 1024, SIZE, -EINVAL);
	start_where(0, 513, 1024, SIZE, -EINVAL);
	start_where(0, 512, 1026, SIZE, -EINVAL);
	start_where(UINT64_MAX - 15, 512, 1024, SIZE, -EINVAL);
	start_where(0, 1024, 2048, 0, -EINVAL);
	start_where(0, 1024, 2048, 3, -EINVAL);
	start_where(0, 1024, 2048, 2048, -EINVAL);
}

static void use_one(struct rings *r)
{
	set(&r->descriptors[0], RINGS_DATA, 1, 0, 0);
	rings_offer(r, 0);
	assert_int_equal(virtq_next(&r->q, &r->chain), 1);
	virtq_push(&r->q, 0, 0);
}

static bool called(struct rings *r)
{
	uint64_t count;

	virtq_call(&r->q);
	return read(r->q.call, &count, sizeof(count)) == sizeof(count);
}

static void calls_by_flags(void **state)
{
	struct rings r;

	begin(&r, 0);
	assert_false(called(&r));
	use_one(&r);
	assert_true(called(&r));
	assert_false(called(&r));
	r.available->flags = VRING_AVAIL_F_NO_INTERRUPT;
	use_one(&r);
	assert_false(called(&r));
	end(&r, 0);
}

static void calls_by_event(void **state)
{
	struct rings r;
	uint16_t *wish;

	begin(&r, EVENT);
	wish = &r.available->ring[SIZE];
	r.available->flags = VRING_AVAIL_F_NO_INTERRUPT; // means nothing then
	*wish = 0;
	use_one(&r);
	assert_true(called(&r));
	use_one(&r);
	assert_false(called(&r)); // has it not asked again
	*wish = 3;
	use_one(&r);
	assert_false(called(&r));
	use_one(&r);
	assert_true(called(&r));
	*wish = 5; // passed within a burst
	for (int i = 0; i < 4; i++)
		use_one(&r);
	assert_true(called(&r));
	for (uint32_t i = 0; i < 65536; i++) { // around
		*wish = r.q.used_next;
		use_one(&r);
		assert_true(called(&r));
	}
	end(&r, 0);
}

static void kicks(void **state)
{
	struct rings r;

	begin(&r, 0);
	virtq_suppress(&r.q);
	assert_int_equal(r.used->flags, VRING_USED_F_NO_NOTIFY);
	assert_false(virtq_arm(&r.q));
	assert_int_equal(r.used->flags, 0);
	rings_offer(&r, 0);
	assert_true(virtq_arm(&r.q));
	end(&r, 0);
	begin(&r, EVENT);
	use_one(&r);
	virtq_suppress(&r.q);
	assert_int_equal(r.used->flags, 0);
	assert_int_equal(*(uint16_t *)&r.used->ring[SIZE], 0);
	assert_false(virtq_arm(&r.q));
	assert_int_equal(*(uint16_t *)&r.used->ring[SIZE], 1);
	end(&r, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_chain),
		cmocka_unit_test(the_longest), cmocka_unit_test(tables),
		cmocka_unit_test(refused_tables), cmocka_unit_test(refused_chains),
		cmocka_unit_test(refused_rings), cmocka_unit_test(places),
		cmocka_unit_test(calls_by_flags), cmocka_unit_test(calls_by_event),
		cmocka_unit_test(kicks) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
