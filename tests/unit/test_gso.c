// SPDX-License-Identifier: BSD-3-Clause
// Software checksums and segmentation, judged by a reassembly that shares no code with them: each
// frame must be right on its own, and together they must be the super-frame again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#define EAL_FIXTURE_POOLS
#include "tests/unit/eal_fixture.h"
#include "tests/unit/frames.h"
#include "vswitch/gso.h"
#include "vswitch/parse.h"

static struct frame f;
static uint8_t copy[70000];

static struct rte_mbuf *super_frame(
	uint32_t proto, uint8_t gso_type, uint16_t gso_size, size_t first)
{
	struct rte_mbuf *m = eal_fixture_mbuf(f.data, f.size, first);
	struct packet *pkt = packet_of(m);

	pkt->flags = PACKET_NEEDS_CSUM;
	pkt->csum_start = (uint16_t)f.l4_off;
	pkt->csum_offset = (uint16_t)frame_csum_offset(proto);
	pkt->gso_type = gso_type;
	pkt->gso_size = gso_size;
	assert_int_equal(parse_packet(m), DROP_NONE);
	return m;
}

// The L4 checksum of a frame, by the slow sum: 0 is right.
static uint32_t l4_error(const uint8_t *frame, uint32_t size, uint32_t proto)
{
	uint32_t l4_size = size - f.l4_off;

	return ~frame_sum(
		       frame_pseudo(frame + f.l3_off, proto, l4_size), frame + f.l4_off, l4_size) &
	       0xffff;
}

// One frame of the cut: its own lengths and checksums, and what it owes to its place.
static void check_segment(
	struct rte_mbuf *m, uint32_t proto, unsigned i, unsigned n, uint32_t done, uint32_t size)
{
	const struct packet *pkt = packet_of(m);
	const uint8_t *d = rte_pktmbuf_read(m, 0, m->pkt_len, copy);
	uint32_t l3_size = f.payload_off + size - f.l3_off;

	rte_mbuf_sanity_check(m, 1);
	assert_int_equal(m->pkt_len, f.payload_off + size);
	assert_true(m->data_len >= RTE_MIN(m->pkt_len, (uint32_t)PACKET_HEADERS_MAX));
	for (const struct rte_mbuf *seg = m; seg != NULL; seg = seg->next)
		assert_ptr_equal(seg->pool, eal_fixture_small);
	assert_int_equal(pkt->flags & PACKET_NEEDS_CSUM, 0);
	assert_int_equal(pkt->gso_type, PACKET_GSO_NONE);
	assert_int_equal(pkt->l3_len, l3_size);
	assert_memory_equal(d, f.data, f.l3_off);
	assert_memory_equal(d + f.payload_off, f.data + f.payload_off + done, size);
	assert_int_equal(l4_error(d, m->pkt_len, proto), 0);
	if (d[f.l3_off] >> 4 == 4) {
		assert_int_equal(frame_get16(d + f.l3_off + 2), l3_size);
		assert_int_equal(frame_get16(d + f.l3_off + 4), (0xfffe + i) & 0xffff);
		assert_int_equal(frame_sum(0, d + f.l3_off, 20), 0xffff);
		assert_memory_equal(d + f.l3_off + 12, f.data + f.l3_off + 12, 8);
	} else {
		assert_int_equal(frame_get16(d + f.l3_off + 4), l3_size - 40);
		assert_memory_equal(d + f.l3_off + 6, f.data + f.l3_off + 6, 34);
	}
	assert_memory_equal(d + f.l4_off, f.data + f.l4_off, 4);
	if (proto == FRAME_TCP) {
		uint8_t flags = f.data[f.l4_off + 13];

		if (i > 0)
			flags &= 0x7f; // CWR
		if (i + 1 < n)
			flags &= 0xf6; // PSH, FIN
		assert_int_equal(d[f.l4_off + 13], flags);
		assert_int_equal(
			frame_get32(d + f.l4_off + 4), (uint32_t)(0xffffff00 + (uint64_t)done));
		assert_memory_equal(d + f.l4_off + 8, f.data + f.l4_off + 8, 5);
		assert_memory_equal(d + f.l4_off + 20, f.data + f.l4_off + 20, 12);
	} else {
		assert_int_equal(frame_get16(d + f.l4_off + 4), 8 + size);
		assert_int_not_equal(frame_get16(d + f.l4_off + 6), 0);
	}
}

static void cut_and_check(uint32_t proto, uint8_t gso_type, uint16_t gso_size, size_t first)
{
	struct rte_mbuf *m = super_frame(proto, gso_type, gso_size, first), *out[GSO_MAX_SEGMENTS];
	uint32_t payload = f.size - f.payload_off, done = 0;
	unsigned want = (payload + gso_size - 1) / gso_size;

	assert_int_equal(gso_segment(NULL, m, out, want - 1), -E2BIG);
	assert_int_equal(gso_segment(NULL, m, out, GSO_MAX_SEGMENTS), want);
	for (unsigned i = 0; i < want; i++) {
		uint32_t size = RTE_MIN(payload - done, (uint32_t)gso_size);

		check_segment(out[i], proto, i, want, done, size);
		done += size;
	}
	assert_int_equal(done, payload);
	rte_pktmbuf_free_bulk(out, want);
}

static void test_segment(void **state)
{
	static const uint16_t sizes[] = { 512, 1000, 1448, 1447, 8948 };
	static const uint32_t payloads[] = { 9000, 10001, 20000, 65000 };
	static const size_t firsts[] = { 256, 301, 2048 };

	for (unsigned ip = 4; ip <= 6; ip += 2) {
		for (unsigned n_tags = 0; n_tags <= 2; n_tags++) {
			for (size_t i = 0; i < RTE_DIM(sizes) * RTE_DIM(payloads); i++) {
				uint16_t size = sizes[i % RTE_DIM(sizes)];
				uint32_t payload = payloads[i / RTE_DIM(sizes)];
				size_t first = firsts[i % RTE_DIM(firsts)];
				uint8_t type = ip == 4 ? PACKET_GSO_TCP4 : PACKET_GSO_TCP6;

				frame_build(&f, n_tags, ip, FRAME_TCP, payload, true);
				f.data[f.l4_off + 13] |= 0x81; // CWR, FIN
				cut_and_check(FRAME_TCP, type | PACKET_GSO_ECN, size, first);
				frame_build(&f, n_tags, ip, FRAME_UDP, payload, true);
				cut_and_check(FRAME_UDP, PACKET_GSO_UDP_L4, size, first);
			}
		}
	}
}

static void test_segment_refuses(void **state)
{
	struct rte_mbuf *m, *out[GSO_MAX_SEGMENTS], *held[1024];
	unsigned n = 0, in_use;

	frame_build(&f, 0, 4, FRAME_TCP, 20000, true);
	m = super_frame(FRAME_TCP, PACKET_GSO_TCP4, 2500, 2048);
	packet_of(m)->gso_type = PACKET_GSO_UDP_UFO;
	assert_int_equal(gso_segment(NULL, m, out, GSO_MAX_SEGMENTS), -EINVAL);
	packet_of(m)->gso_type = PACKET_GSO_TCP4;
	packet_of(m)->csum_start = 33;
	assert_int_equal(gso_segment(NULL, m, out, GSO_MAX_SEGMENTS), -EINVAL);
	packet_of(m)->csum_start = 2040;
	assert_int_equal(gso_segment(NULL, m, out, GSO_MAX_SEGMENTS), -EINVAL);
	packet_of(m)->csum_start = 34;

	while ((held[n] = rte_pktmbuf_alloc(eal_fixture_small)) != NULL)
		n++;
	for (unsigned left = 0; left < 16; left++) { // 8 frames of two mbufs
		in_use = rte_mempool_in_use_count(eal_fixture_small);
		assert_int_equal(gso_segment(NULL, m, out, GSO_MAX_SEGMENTS), -ENOMEM);
		assert_int_equal(rte_mempool_in_use_count(eal_fixture_small), in_use);
		rte_pktmbuf_free(held[--n]);
	}
	assert_int_equal(gso_segment(NULL, m, out, GSO_MAX_SEGMENTS), 8);
	rte_pktmbuf_free_bulk(out, 8);
	rte_pktmbuf_free_bulk(held, n);
}

static void test_complete_csum(void **state)
{
	static const uint32_t protos[] = { FRAME_TCP, FRAME_UDP };

	for (unsigned ip = 4; ip <= 6; ip += 2) {
		for (uint32_t payload = 0; payload < 600; payload++) {
			for (size_t i = 0; i < RTE_DIM(protos); i++) {
				struct rte_mbuf *m;
				const uint8_t *d;

				frame_build(&f, payload % 3, ip, protos[i], payload, true);
				m = super_frame(protos[i], 0, 0, 256 + payload % 2);
				assert_int_equal(gso_complete_csum(m), 0);
				assert_int_equal(packet_of(m)->flags & PACKET_NEEDS_CSUM, 0);
				d = rte_pktmbuf_read(m, 0, m->pkt_len, copy);
				assert_int_equal(l4_error(d, m->pkt_len, protos[i]), 0);
				rte_pktmbuf_free(m);
			}
		}
	}
}

// A UDP checksum that comes out as 0 is sent as 0xffff; bad offsets are refused; no claim, no
// change.
static void test_complete_csum_edges(void **state)
{
	struct rte_mbuf *m;
	uint32_t sum;

	frame_build(&f, 0, 4, FRAME_UDP, 20, false);
	sum = frame_get16(f.data + f.l4_off + 6);
	frame_build(&f, 0, 4, FRAME_UDP, 20, true);
	sum += frame_get16(f.data + f.payload_off);
	frame_put16(f.data + f.payload_off, (sum & 0xffff) + (sum >> 16));
	m = super_frame(FRAME_UDP, 0, 0, 256);
	assert_int_equal(gso_complete_csum(m), 0);
	assert_int_equal(frame_get16(rte_pktmbuf_mtod(m, uint8_t *) + f.l4_off + 6), 0xffff);
	assert_int_equal(gso_complete_csum(m), 0);
	assert_int_equal(frame_get16(rte_pktmbuf_mtod(m, uint8_t *) + f.l4_off + 6), 0xffff);
	packet_of(m)->flags |= PACKET_NEEDS_CSUM;
	packet_of(m)->csum_offset = (uint16_t)(f.size - f.l4_off - 1);
	assert_int_equal(gso_complete_csum(m), -EINVAL);
	packet_of(m)->csum_offset = 65535;
	assert_int_equal(gso_complete_csum(m), -EINVAL);
	rte_pktmbuf_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_segment, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_segment_refuses, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_complete_csum, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_complete_csum_edges, eal_fixture_no_leak),
	};

	return cmocka_run_group_tests(tests, eal_fixture_init, NULL);
}
