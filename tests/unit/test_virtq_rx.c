// SPDX-License-Identifier: BSD-3-Clause
// Virtqueues, what a guest sends: polite drivers of every layout, and HOSTILE.md B line by line.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <cmocka.h>
#define EAL_FIXTURE_POOLS
#include "tests/unit/eal_fixture.h"
#include "tests/unit/virtq_guest.h"

static struct guest g;
static struct rte_mbuf *pkts[BURST_MAX];
static uint64_t drops[DROP_COUNT];
static uint8_t frame[80000];

static void begin_with(uint64_t features, uint32_t size, uint16_t next)
{
	assert_int_equal(guest_begin(&g, features, size, next), 0);
	memset(drops, 0, sizeof(drops));
	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7 + i / 256);
}

static void begin(void)
{
	begin_with(GUEST_FEATURES, GUEST_SIZE, 0);
}

static uint16_t rx(void)
{
	return virtq_rx(&g.q, eal_fixture_small, pkts, BURST_MAX, drops);
}

static void free_pkts(uint16_t n)
{
	rte_pktmbuf_free_bulk(pkts, n);
}

// Does it hold the first `size` bytes of `frame`, the first 256 of them in one piece?
static void assert_frame(struct rte_mbuf *m, uint32_t size)
{
	uint32_t at = 0;

	rte_mbuf_sanity_check(m, 1);
	assert_int_equal(m->pkt_len, size);
	assert_true(m->data_len >= RTE_MIN(size, (uint32_t)PACKET_HEADERS_MAX));
	for (const struct rte_mbuf *s = m; s != NULL; s = s->next) {
		assert_memory_equal(rte_pktmbuf_mtod(s, void *), frame + at, s->data_len);
		at += s->data_len;
	}
	assert_int_equal(at, size);
}

// The guest's memory at `offset`: header and the first `size` bytes of the frame.
static void put_frame(uint32_t offset, const void *hdr, uint32_t hdr_size, uint32_t size)
{
	static const uint8_t none[12];

	memcpy(g.data + offset, hdr ? hdr : none, hdr_size);
	memcpy(g.data + offset + hdr_size, frame, size);
}

static void end(uint16_t n_got, uint16_t n_returned)
{
	free_pkts(n_got);
	assert_int_equal(g.used->idx, n_returned);
	guest_end(&g);
}

static void assert_stopped(enum virtq_fault fault)
{
	assert_int_equal(rx(), 0);
	assert_int_equal(g.q.fault, fault);
	assert_true(strlen(virtq_fault_text(fault)) > 0);
	guest_offer(&g, 0); // for good
	assert_int_equal(rx(), 0);
	assert_false(virtq_waiting(&g.q));
	end(0, 0);
}

// ---- polite

static void test_one_descriptor(void **state)
{
	struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN,
		.hdr_len = 9999,
		.gso_size = 1400,
		.csum_start = 34,
		.csum_offset = 16 };
	const struct packet *pk;

	begin();
	put_frame(0, &hdr, 10, 0);
	put_frame(12, NULL, 0, 300);
	guest_desc(&g, 5, GUEST_DATA, 312, 0, 0);
	guest_offer(&g, 5);
	assert_true(virtq_waiting(&g.q));
	assert_int_equal(rx(), 1);
	assert_frame(pkts[0], 300);
	pk = packet_of(pkts[0]);
	assert_int_equal(pk->in_port, 7);
	assert_int_equal(pk->in_queue, 1);
	assert_int_equal(pk->flags, PACKET_NEEDS_CSUM);
	assert_int_equal(pk->csum_start, 34);
	assert_int_equal(pk->csum_offset, 16);
	assert_int_equal(pk->gso_type, PACKET_GSO_TCP4 | PACKET_GSO_ECN);
	assert_int_equal(pk->gso_size, 1400);
	assert_int_equal(g.used->ring[0].id, 5);
	assert_int_equal(g.used->ring[0].len, 0);
	assert_false(virtq_waiting(&g.q));
	assert_int_equal(guest_calls(&g), 1);
	end(1, 1);
}

// A header of every size a driver may have, cut in every way (H-22), in front of 60 bytes.
static void test_header_split(void **state)
{
	static const uint64_t features[] = { 0, GUEST_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
		GUEST_FEATURE(VIRTIO_F_VERSION_1) };
	static const uint32_t sizes[] = { 10, 12, 12 };

	for (unsigned f = 0; f < 3; f++) {
		for (uint32_t cut = 1; cut <= 20; cut++) {
			uint32_t all = sizes[f] + 60, n = 0;

			begin_with(features[f], 128, 0);
			put_frame(0, NULL, sizes[f], 60);
			for (uint32_t at = 0; at < all; at += cut, n++)
				guest_desc(&g, n, GUEST_DATA + at, RTE_MIN(cut, all - at),
					at + cut < all ? VRING_DESC_F_NEXT : 0, n + 1);
			guest_offer(&g, 0);
			assert_int_equal(rx(), 1);
			assert_frame(pkts[0], 60);
			end(1, 1);
		}
	}
}

static void test_bursts_and_wrap(void **state)
{
	uint16_t n_got = 0, start = 65530;

	begin_with(GUEST_FEATURES, GUEST_SIZE, start);
	put_frame(0, NULL, 12, 60);
	for (unsigned i = 0; i < GUEST_SIZE; i++) {
		guest_desc(&g, i, GUEST_DATA, 72, 0, 0);
		guest_offer(&g, i);
	}
	for (uint16_t n; (n = rx()) > 0; n_got += n) {
		assert_int_equal(n, BURST_MAX);
		free_pkts(n);
	}
	assert_int_equal(n_got, GUEST_SIZE);
	for (unsigned i = 0; i < GUEST_SIZE; i++)
		assert_int_equal(g.used->ring[(start + i) % GUEST_SIZE].id, i);
	end(0, (uint16_t)(start + GUEST_SIZE));
}

static void test_large_frames(void **state)
{
	begin();
	put_frame(0, NULL, 12, 65000);
	guest_desc(&g, 0, GUEST_DATA, 65012, 0, 0);
	guest_offer(&g, 0);
	assert_int_equal(rx(), 1);
	assert_frame(pkts[0], 65000);
	end(1, 1);
}

static void test_regions_straddled(void **state)
{
	begin();
	put_frame(GUEST_DATA_SIZE - 100, NULL, 12, 88);
	memcpy(g.more, frame + 88, 900);
	guest_desc(&g, 0, GUEST_DATA + GUEST_DATA_SIZE - 100, 1000, 0, 0);
	guest_offer(&g, 0);
	assert_int_equal(rx(), 1);
	assert_frame(pkts[0], 988);
	end(1, 1);
}

// ---- indirect (H-18)

static void put_table(uint64_t at, const struct vring_desc *table, unsigned n)
{
	const uint8_t *bytes = (const uint8_t *)table;

	for (size_t i = 0; i < n * sizeof(*table); i++, at++) {
		if (at < GUEST_DATA + GUEST_DATA_SIZE)
			g.data[at - GUEST_DATA] = bytes[i];
		else
			g.more[at - GUEST_DATA - GUEST_DATA_SIZE] = bytes[i];
	}
}

// At every distance from the seam of two regions, unaligned too.
static void test_indirect(void **state)
{
	struct vring_desc table[] = { { GUEST_DATA, 12, VRING_DESC_F_NEXT, 2 },
		{ GUEST_DATA + 112, 100, 0, 0 }, { GUEST_DATA + 12, 100, VRING_DESC_F_NEXT, 1 } };

	for (uint64_t at = GUEST_DATA + GUEST_DATA_SIZE - 50; at <= GUEST_DATA + GUEST_DATA_SIZE;
		at++) {
		begin();
		put_frame(0, NULL, 12, 200);
		put_table(at, table, 3);
		guest_desc(&g, 9, at, sizeof(table), VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 0);
		guest_offer(&g, 9);
		assert_int_equal(rx(), 1);
		assert_frame(pkts[0], 200);
		end(1, 1);
	}
}

static void test_normal_then_indirect(void **state)
{
	struct vring_desc table[] = { { GUEST_DATA + 12, 100, VRING_DESC_F_NEXT, 1 },
		{ GUEST_DATA + 112, 100, 0, 0 } };

	begin();
	put_frame(0, NULL, 12, 200);
	put_table(GUEST_DATA + 0x1000, table, 2);
	guest_desc(&g, 0, GUEST_DATA, 12, VRING_DESC_F_NEXT, 1);
	guest_desc(&g, 1, GUEST_DATA + 0x1000, sizeof(table), VRING_DESC_F_INDIRECT, 0);
	guest_offer(&g, 0);
	assert_int_equal(rx(), 1);
	assert_frame(pkts[0], 200);
	end(1, 1);
}

static void test_indirect_lies(void **state)
{
	static const struct {
		uint64_t at;
		uint32_t size;
		uint16_t flags;
		enum virtq_fault fault;
	} cases[] = {
		{ GUEST_DATA + 0x1000, 0, 0, VIRTQ_FAULT_INDIRECT },
		{ GUEST_DATA + 0x1000, 8, 0, VIRTQ_FAULT_INDIRECT },
		{ GUEST_DATA + 0x1000, 17, 0, VIRTQ_FAULT_INDIRECT },
		{ GUEST_DATA + 0x1000, 16, VRING_DESC_F_NEXT, VIRTQ_FAULT_INDIRECT },
		{ GUEST_DATA + 0x1000, 16 * (GUEST_SIZE + 1), 0, VIRTQ_FAULT_INDIRECT },
		{ GUEST_DATA + 0x1000, 0xfffffff0, 0, VIRTQ_FAULT_INDIRECT },
		{ 0x5000, 16, 0, VIRTQ_FAULT_ADDRESS },
		{ UINT64_MAX - 7, 16, 0, VIRTQ_FAULT_ADDRESS },
		{ GUEST_DATA + GUEST_DATA_SIZE + GUEST_MORE_SIZE - 15, 16, 0, VIRTQ_FAULT_ADDRESS },
		{ GUEST_DESC, 16, 0, VIRTQ_FAULT_INDIRECT }, // itself: nested
		{ GUEST_DATA + 0x2000, 16, 0, VIRTQ_FAULT_INDIRECT }, // a table in the table
		{ GUEST_DATA + 0x3000, 16, 0, VIRTQ_FAULT_CHAIN }, // next leaves the table
	};
	struct vring_desc nested = { GUEST_DATA, 16, VRING_DESC_F_INDIRECT, 0 };
	struct vring_desc leaves = { GUEST_DATA, 16, VRING_DESC_F_NEXT, 1 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin();
		put_table(GUEST_DATA + 0x2000, &nested, 1);
		put_table(GUEST_DATA + 0x3000, &leaves, 1);
		guest_desc(&g, 0, cases[i].at, cases[i].size,
			VRING_DESC_F_INDIRECT | cases[i].flags, 0);
		guest_offer(&g, 0);
		assert_stopped(cases[i].fault);
	}
	begin_with(GUEST_FEATURE(VIRTIO_F_VERSION_1), GUEST_SIZE, 0);
	put_table(GUEST_DATA + 0x1000, &(struct vring_desc){ GUEST_DATA, 100, 0, 0 }, 1);
	guest_desc(&g, 0, GUEST_DATA + 0x1000, 16, VRING_DESC_F_INDIRECT, 0);
	guest_offer(&g, 0);
	assert_stopped(VIRTQ_FAULT_INDIRECT); // not negotiated
}

// ---- lies of the rings

static void test_h14_avail_index(void **state)
{
	static const uint16_t jumps[] = { GUEST_SIZE + 1, 32768, 65535, 65535 - GUEST_SIZE };

	for (unsigned i = 0; i < 4; i++) {
		begin();
		for (unsigned d = 0; d < GUEST_SIZE; d++)
			guest_desc(&g, d, GUEST_DATA, 100, 0, 0);
		g.avail->idx = jumps[i];
		assert_stopped(VIRTQ_FAULT_AVAIL);
	}
}

// What came before the lie is delivered.
static void test_h15_heads(void **state)
{
	for (unsigned head = GUEST_SIZE; head <= UINT16_MAX; head += 4093) {
		begin();
		put_frame(0, NULL, 12, 60);
		guest_desc(&g, 0, GUEST_DATA, 72, 0, 0);
		guest_offer(&g, 0);
		guest_offer(&g, head);
		assert_int_equal(rx(), 1);
		assert_int_equal(g.q.fault, VIRTQ_FAULT_HEAD);
		end(1, 1);
	}
}

static void test_h16_loops(void **state)
{
	static const uint16_t nexts[] = { 0, 1, GUEST_SIZE - 1, GUEST_SIZE, 0xffff };

	for (unsigned i = 0; i < 5; i++) {
		for (uint32_t size = 0; size <= 1; size++) { // of nothing, a byte
			begin();
			for (unsigned d = 0; d < GUEST_SIZE; d++)
				guest_desc(&g, d, GUEST_DATA, size, VRING_DESC_F_NEXT,
					(d + 1) % GUEST_SIZE);
			g.desc[1].next = 0;
			g.desc[0].next = nexts[i];
			guest_offer(&g, 0);
			assert_stopped(VIRTQ_FAULT_CHAIN);
		}
	}
}

static void test_h17_sizes(void **state)
{
	begin(); // size x 4 GiB
	for (unsigned d = 0; d < GUEST_SIZE; d++)
		guest_desc(&g, d, GUEST_DATA, UINT32_MAX,
			d + 1 < GUEST_SIZE ? VRING_DESC_F_NEXT : 0, d + 1);
	guest_offer(&g, 0);
	assert_int_equal(rx(), 0);
	assert_int_equal(g.q.fault, VIRTQ_FAULT_NONE);
	assert_int_equal(drops[DROP_PARSE_OFFLOAD], 1);
	end(0, 1);

	begin(); // no bytes at a bad address
	put_frame(0, NULL, 12, 60);
	guest_desc(&g, 0, UINT64_MAX, 0, VRING_DESC_F_NEXT, 1);
	guest_desc(&g, 1, GUEST_DATA, 72, VRING_DESC_F_NEXT, 2);
	guest_desc(&g, 2, 0, 0, 0, 0);
	guest_offer(&g, 0);
	assert_int_equal(rx(), 1);
	assert_frame(pkts[0], 60);
	end(1, 1);
}

static void test_h17_addresses(void **state)
{
	static const struct {
		uint64_t at;
		uint32_t size;
	} cases[] = { { 0, 100 }, { UINT64_MAX, 100 }, { UINT64_MAX - 50, 100 },
		{ GUEST_DATA - 1, 100 },
		{ GUEST_DATA + GUEST_DATA_SIZE + GUEST_MORE_SIZE - 99, 100 },
		{ GUEST_DATA + GUEST_DATA_SIZE + GUEST_MORE_SIZE, 1 },
		{ GUEST_DATA + GUEST_DATA_SIZE - 10, UINT32_MAX } };

	for (unsigned i = 0; i < 7; i++) {
		begin();
		guest_desc(&g, 0, cases[i].at, cases[i].size, 0, 0);
		guest_offer(&g, 0);
		assert_stopped(VIRTQ_FAULT_ADDRESS);
	}
}

static void test_h19_twice(void **state)
{
	begin();
	put_frame(0, NULL, 12, 60);
	guest_desc(&g, 3, GUEST_DATA, 72, 0, 0);
	guest_offer(&g, 3);
	guest_offer(&g, 3);
	assert_int_equal(rx(), 2);
	assert_frame(pkts[0], 60);
	assert_frame(pkts[1], 60);
	end(2, 2);
}

static void test_h20_direction(void **state)
{
	begin();
	guest_desc(&g, 0, GUEST_DATA, 100, VRING_DESC_F_WRITE, 0);
	guest_offer(&g, 0);
	assert_stopped(VIRTQ_FAULT_DIRECTION);
}

// ---- frames that are no good: lost, the queue goes on

static void test_h22_short_and_long(void **state)
{
	for (uint32_t size = 0; size <= 12; size++) {
		begin();
		put_frame(0x100, NULL, 12, 60);
		guest_desc(&g, 0, GUEST_DATA, size, 0, 0);
		guest_desc(&g, 1, GUEST_DATA + 0x100, 72, 0, 0);
		guest_offer(&g, 0);
		guest_offer(&g, 1);
		assert_int_equal(rx(), 1);
		assert_int_equal(drops[DROP_PARSE_TOO_SHORT], 1);
		assert_frame(pkts[0], 60);
		assert_int_equal(g.used->ring[0].id, 0);
		end(1, 2);
	}
	for (uint32_t size = VIRTQ_FRAME_MAX; size <= VIRTQ_FRAME_MAX + 1; size++) {
		uint16_t good = size == VIRTQ_FRAME_MAX;

		begin();
		put_frame(0, NULL, 12, size);
		guest_desc(&g, 0, GUEST_DATA, 12 + size, 0, 0);
		guest_offer(&g, 0);
		assert_int_equal(rx(), good);
		assert_int_equal(drops[DROP_PARSE_OFFLOAD], !good);
		if (good)
			assert_frame(pkts[0], size);
		end(good, 1);
	}
}

// Sizes that only wrap around when there are 4 GiB to point at.
static void test_h17_sum_that_wraps(void **state)
{
	const uint64_t at = 1ULL << 40, size = 5ULL << 30;
	uint8_t *sparse =
		mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(sparse, MAP_FAILED);
	begin();
	g.q.memory.regions[g.q.memory.n++] = (struct virtq_region){ at, size, sparse };
	guest_desc(&g, 0, GUEST_DATA, 112, VRING_DESC_F_NEXT, 1);
	guest_desc(&g, 1, at, UINT32_MAX - 31, 0, 0);
	guest_offer(&g, 0);
	assert_int_equal(rx(), 0);
	assert_int_equal(drops[DROP_PARSE_OFFLOAD], 1);
	assert_int_equal(drops[DROP_NO_MEMORY], 0);
	end(0, 1);
	munmap(sparse, size);
}

static void test_claims(void **state)
{
	struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_DATA_VALID };

	begin(); // not the sender's to say
	put_frame(0, &hdr, 10, 0);
	guest_desc(&g, 0, GUEST_DATA, 100, 0, 0);
	guest_offer(&g, 0);
	assert_int_equal(rx(), 1);
	assert_int_equal(packet_of(pkts[0])->flags, 0);
	end(1, 1);

	hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	hdr.gso_type = 1;
	begin_with(GUEST_FEATURE(VIRTIO_F_VERSION_1), GUEST_SIZE, 0); // not negotiated
	put_frame(0, &hdr, 10, 0);
	guest_desc(&g, 0, GUEST_DATA, 100, 0, 0);
	guest_offer(&g, 0);
	assert_int_equal(rx(), 1);
	assert_int_equal(packet_of(pkts[0])->flags, 0);
	assert_int_equal(packet_of(pkts[0])->gso_type, 0);
	end(1, 1);
}

// ---- what a burst may cost

// A frame that is no good has cost as much.
static void test_h27_bytes_of_bad_frames(void **state)
{
	begin();
	for (unsigned i = 0; i < BURST_MAX; i++) {
		guest_desc(&g, 2 * i, GUEST_DATA, 65012, VRING_DESC_F_NEXT, 2 * i + 1);
		guest_desc(&g, 2 * i + 1, GUEST_DATA, 1000, 0, 0);
		guest_offer(&g, 2 * i);
	}
	assert_int_equal(rx(), 0);
	assert_in_range(drops[DROP_PARSE_OFFLOAD], VIRTQ_BURST_BYTES / 65000,
		VIRTQ_BURST_BYTES / 65000 + 1);
	assert_true(virtq_waiting(&g.q)); // the rest comes next
	end(0, (uint16_t)drops[DROP_PARSE_OFFLOAD]);
}

static void test_h27_bytes_of_a_burst(void **state)
{
	uint16_t n;

	begin();
	put_frame(0, NULL, 12, 65000);
	for (unsigned i = 0; i < BURST_MAX; i++) {
		guest_desc(&g, i, GUEST_DATA, 65012, 0, 0);
		guest_offer(&g, i);
	}
	n = rx();
	assert_in_range(n, VIRTQ_BURST_BYTES / 65000, VIRTQ_BURST_BYTES / 65000 + 1);
	assert_true(virtq_waiting(&g.q)); // the rest comes next
	end(n, n);
}

static void test_h27_descriptors_of_a_burst(void **state)
{
	enum { SIZE = 1024 };
	uint16_t n;

	begin_with(GUEST_FEATURES, SIZE, 0);
	for (unsigned i = 0; i < SIZE; i++) // all but the last byte are in chains of nothing
		guest_desc(&g, i, GUEST_DATA, i + 1 == SIZE ? 20 : 0,
			i + 1 == SIZE ? 0 : VRING_DESC_F_NEXT, i + 1);
	for (unsigned i = 0; i < BURST_MAX; i++)
		guest_offer(&g, 0);
	n = rx();
	assert_int_equal(n, VIRTQ_BURST_DESCS / SIZE);
	end(n, n);

	begin_with(GUEST_FEATURES, 4 * SIZE, 0); // longer than any stock driver's
	for (unsigned i = 0; i <= VIRTQ_CHAIN_MAX; i++)
		guest_desc(&g, i, GUEST_DATA, 1, VRING_DESC_F_NEXT, i + 1);
	guest_offer(&g, 0);
	assert_stopped(VIRTQ_FAULT_CHAIN);
}

// Nothing is lost for want of buffers of ours.
static void test_pool_empty(void **state)
{
	struct rte_mbuf *all[1023];
	unsigned n = 0;

	begin();
	put_frame(0, NULL, 12, 60);
	guest_desc(&g, 0, GUEST_DATA, 72, 0, 0);
	guest_offer(&g, 0);
	while (n < 1023 && (all[n] = rte_pktmbuf_alloc(eal_fixture_small)) != NULL)
		n++;
	assert_int_equal(rx(), 0);
	assert_true(virtq_waiting(&g.q));
	rte_pktmbuf_free(all[--n]);
	assert_int_equal(rx(), 1);
	free_pkts(1);
	put_frame(0, NULL, 12, 3000); // its second buffer is not to be had
	guest_desc(&g, 0, GUEST_DATA, 3012, 0, 0);
	guest_offer(&g, 0);
	assert_int_equal(rx(), 0);
	assert_int_equal(drops[DROP_NO_MEMORY], 1);
	rte_pktmbuf_free_bulk(all, n);
	end(0, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, eal_fixture_no_leak)
	const struct CMUnitTest tests[] = {
		TEST(test_one_descriptor),
		TEST(test_header_split),
		TEST(test_bursts_and_wrap),
		TEST(test_large_frames),
		TEST(test_regions_straddled),
		TEST(test_indirect),
		TEST(test_normal_then_indirect),
		TEST(test_indirect_lies),
		TEST(test_h14_avail_index),
		TEST(test_h15_heads),
		TEST(test_h16_loops),
		TEST(test_h17_sizes),
		TEST(test_h17_addresses),
		TEST(test_h19_twice),
		TEST(test_h20_direction),
		TEST(test_h22_short_and_long),
		TEST(test_h17_sum_that_wraps),
		TEST(test_claims),
		TEST(test_h27_bytes_of_a_burst),
		TEST(test_h27_bytes_of_bad_frames),
		TEST(test_h27_descriptors_of_a_burst),
		TEST(test_pool_empty),
	};

	return cmocka_run_group_tests(tests, eal_fixture_init, NULL);
}
