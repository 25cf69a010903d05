// SPDX-License-Identifier: BSD-3-Clause
// parse_packet: every header cut at each byte, every length that lies (HOSTILE H-22, H-23, H-24,
// H-35, H-36), and the fields of frames that are right.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/unit/eal_fixture.h"
#include "tests/unit/frames.h"
#include "vswitch/gso.h"
#include "vswitch/parse.h"

static struct frame f;

// Parses a frame in a heap block of its exact size; ret_pkt gets the metadata (with n bytes left).
static enum drop_reason parse_meta(const void *data, size_t size, const struct packet *claims,
	struct packet *ret_pkt, uint32_t *ret_size)
{
	struct rte_mbuf *m = eal_fixture_exact(data, size);
	enum drop_reason r;

	assert_non_null(m);
	if (claims != NULL)
		*packet_of(m) = *claims;
	r = parse_packet(m);
	if (ret_pkt != NULL)
		*ret_pkt = *packet_of(m);
	if (ret_size != NULL)
		*ret_size = m->pkt_len;
	rte_mbuf_sanity_check(m, 1);
	rte_pktmbuf_free(m);
	return r;
}

static enum drop_reason parse(struct packet *ret_pkt)
{
	return parse_meta(f.data, f.size, NULL, ret_pkt, NULL);
}

static void test_fields(void **state)
{
	static const struct {
		unsigned ip;
		uint32_t proto;
		uint16_t l4_hdr_size, flag;
	} cases[] = { { 4, FRAME_TCP, 32, PACKET_IPV4 }, { 4, FRAME_UDP, 8, PACKET_IPV4 },
		{ 4, FRAME_ICMP, 8, PACKET_IPV4 }, { 6, FRAME_TCP, 32, PACKET_IPV6 },
		{ 6, FRAME_UDP, 8, PACKET_IPV6 }, { 6, FRAME_ICMPV6, 8, PACKET_IPV6 } };

	for (unsigned n_tags = 0; n_tags <= 2; n_tags++) {
		for (size_t i = 0; i < RTE_DIM(cases); i++) {
			bool icmp = cases[i].l4_hdr_size == 8 && cases[i].proto != FRAME_UDP;
			struct packet pkt;

			frame_build(&f, n_tags, cases[i].ip, cases[i].proto, 100, false);
			assert_int_equal(parse(&pkt), DROP_NONE);
			assert_int_equal(pkt.flags, cases[i].flag | PACKET_HAS_L4);
			assert_int_equal(pkt.n_tags, n_tags);
			assert_int_equal(pkt.l3_off, f.l3_off);
			assert_int_equal(pkt.l3_len, f.size - f.l3_off);
			assert_int_equal(pkt.l4_off, f.l4_off);
			assert_int_equal(pkt.l4_hdr_size, cases[i].l4_hdr_size);
			assert_int_equal(pkt.proto, cases[i].proto);
			assert_int_equal(ntohs(pkt.src_port), icmp ? 0x1234 : 40000);
			assert_int_equal(ntohs(pkt.dst_port), icmp ? 0x1234 : 443);
			assert_int_equal(pkt.tcp_flags, cases[i].proto == FRAME_TCP ? 0x18 : 0);
			if (n_tags > 0) {
				assert_int_equal(pkt.tpid[0], n_tags == 2 ? 0x88a8 : 0x8100);
				assert_int_equal(pkt.tci[0], 101);
			}
			if (n_tags > 1) {
				assert_int_equal(pkt.tpid[1], 0x8100);
				assert_int_equal(pkt.tci[1], 102);
			}
		}
	}
}

// What a frame cut at `size` must be told; the IP length says more than is there.
static enum drop_reason cut_reason(unsigned ip, size_t size)
{
	if (size < f.l3_off)
		return DROP_PARSE_TOO_SHORT;
	return ip == 4 ? DROP_PARSE_IPV4_HEADER : DROP_PARSE_IPV6_HEADER;
}

static void test_truncated_everywhere(void **state)
{
	static const uint32_t protos[] = { FRAME_TCP, FRAME_UDP, FRAME_ICMP };

	for (unsigned n_tags = 0; n_tags <= 2; n_tags++) {
		for (unsigned ip = 4; ip <= 6; ip += 2) {
			for (size_t i = 0; i < RTE_DIM(protos); i++) {
				frame_build(&f, n_tags, ip, protos[i], 20, false);
				for (size_t size = 0; size < f.size; size++)
					assert_int_equal(parse_meta(f.data, size, NULL, NULL, NULL),
						cut_reason(ip, size));
			}
		}
	}
}

// The same cuts with an IP length that admits them: then it is the L4 header that is too short.
static void test_l4_truncated(void **state)
{
	static const uint32_t protos[] = { FRAME_TCP, FRAME_UDP, FRAME_ICMP, FRAME_ICMPV6 };

	for (unsigned ip = 4; ip <= 6; ip += 2) {
		for (size_t i = 0; i < RTE_DIM(protos); i++) {
			if (protos[i] == (ip == 4 ? FRAME_ICMPV6 : FRAME_ICMP))
				continue;
			for (uint32_t l4 = 0;; l4++) {
				struct packet pkt;

				frame_build(&f, 0, ip, protos[i], 0, false);
				if (l4 == f.size - f.l4_off)
					break;
				f.size = f.l4_off + l4;
				if (ip == 4) {
					frame_put16(f.data + f.l3_off + 2, 20 + l4);
					frame_ipv4_csum(f.data + f.l3_off);
				} else {
					frame_put16(f.data + f.l3_off + 4, l4);
				}
				assert_int_equal(parse(&pkt), DROP_PARSE_L4_HEADER);
				assert_false(pkt.flags & PACKET_HAS_L4);
			}
		}
	}
}

static void test_ethernet(void **state)
{
	struct packet pkt;

	frame_build(&f, 0, 4, FRAME_UDP, 20, false);
	f.data[6] = 3;
	assert_int_equal(parse(NULL), DROP_PARSE_SRC_MULTICAST);
	memset(f.data + 6, 0, 6);
	assert_int_equal(parse(NULL), DROP_PARSE_SRC_MULTICAST);

	frame_build(&f, 0, 4, FRAME_UDP, 20, false);
	memcpy(f.data, (uint8_t[]){ 1, 0x80, 0xc2, 0, 0, 0 }, 6);
	for (unsigned i = 0; i < 0x10; i++) {
		f.data[5] = (uint8_t)i;
		assert_int_equal(parse(NULL), DROP_PARSE_RESERVED_DST);
	}
	f.data[5] = 0x10;
	assert_int_equal(parse(&pkt), DROP_NONE);
	assert_true(pkt.flags & PACKET_MULTICAST);
	memset(f.data, 0xff, 6);
	assert_int_equal(parse(&pkt), DROP_NONE);
	assert_true(pkt.flags & PACKET_MULTICAST);

	for (unsigned n_tags = 0; n_tags <= 1; n_tags++) { // LLC, SNAP, and just below EtherTypes
		frame_build(&f, n_tags, 4, FRAME_UDP, 20, false);
		for (unsigned type = 0; type < 0x600; type += 0xff) {
			frame_put16(f.data + f.l3_off - 2, type);
			assert_int_equal(parse(NULL), DROP_PARSE_ETHERTYPE);
		}
	}
	frame_put16(f.data + f.l3_off - 2, 0x8847); // MPLS: not ours to read
	assert_int_equal(parse(&pkt), DROP_NONE);
	assert_int_equal(pkt.flags, 0);
	assert_int_equal(pkt.l3_len, f.size - f.l3_off);
}

static void test_three_tags(void **state)
{
	struct packet pkt,
		claims = { .flags = PACKET_NEEDS_CSUM, .csum_start = 46, .csum_offset = 6 };

	for (unsigned n_tags = 3; n_tags <= 5; n_tags++) {
		frame_build(&f, n_tags, 4, FRAME_UDP, 20, false);
		assert_int_equal(parse(&pkt), DROP_NONE);
		assert_int_equal(pkt.n_tags, 3);
		assert_int_equal(pkt.flags, 0);
		assert_int_equal(pkt.l3_off, 22);
		assert_int_equal(
			parse_meta(f.data, f.size, &claims, NULL, NULL), DROP_PARSE_OFFLOAD);
	}
}

static void test_ipv4(void **state)
{
	uint8_t *ip;

	frame_build(&f, 0, 4, FRAME_UDP, 20, false);
	ip = f.data + f.l3_off;
	for (unsigned ihl = 0; ihl < 5; ihl++) {
		ip[0] = (uint8_t)(0x40 | ihl);
		assert_int_equal(parse(NULL), DROP_PARSE_IPV4_HEADER);
	}
	ip[0] = 0x65; // an IPv6 version under IPv4's EtherType
	assert_int_equal(parse(NULL), DROP_PARSE_IPV4_HEADER);
	for (unsigned ihl = 6; ihl <= 12; ihl++) {
		ip[0] = (uint8_t)(0x40 | ihl);
		assert_int_equal(parse(NULL), DROP_PARSE_IPV4_OPTIONS);
	}
	ip[0] = 0x4f; // 60 bytes of header do not fit into 48
	assert_int_equal(parse(NULL), DROP_PARSE_IPV4_HEADER);

	frame_build(&f, 0, 4, FRAME_UDP, 20, false);
	for (unsigned len = 0; len < 20; len++) {
		frame_put16(ip + 2, len);
		frame_ipv4_csum(ip);
		assert_int_equal(parse(NULL), DROP_PARSE_IPV4_HEADER);
	}
	frame_put16(ip + 2, f.size - f.l3_off + 1);
	frame_ipv4_csum(ip);
	assert_int_equal(parse(NULL), DROP_PARSE_IPV4_HEADER);
	frame_put16(ip + 2, 65535);
	assert_int_equal(parse(NULL), DROP_PARSE_IPV4_HEADER);

	frame_build(&f, 0, 4, FRAME_UDP, 20, false);
	for (unsigned bit = 0; bit < 16; bit++) {
		ip[10 + bit / 8] = (uint8_t)(ip[10 + bit / 8] ^ 1 << bit % 8);
		assert_int_equal(parse(NULL), DROP_PARSE_IPV4_CSUM);
		ip[10 + bit / 8] = (uint8_t)(ip[10 + bit / 8] ^ 1 << bit % 8);
	}
}

static void test_ipv4_fragments(void **state)
{
	static const uint16_t fragments[] = { 0x2000, 0x2001, 0x0001, 0x1fff, 0x6000 };
	struct packet pkt,
		claims = { .flags = PACKET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6 };

	for (size_t i = 0; i < RTE_DIM(fragments); i++) {
		frame_build(&f, 0, 4, FRAME_UDP, 20, false);
		frame_put16(f.data + f.l3_off + 6, fragments[i]);
		frame_ipv4_csum(f.data + f.l3_off);
		assert_int_equal(parse(&pkt), DROP_NONE);
		assert_int_equal(pkt.flags, PACKET_IPV4 | PACKET_FRAGMENT);
		assert_int_equal(pkt.src_port, 0);
		assert_int_equal(
			parse_meta(f.data, f.size, &claims, NULL, NULL), DROP_PARSE_OFFLOAD);
	}
}

static void test_martians(void **state)
{
	static const struct {
		uint8_t src[4], dst[4];
		enum drop_reason want;
	} cases[] = {
		{ { 127, 0, 0, 1 }, { 10, 0, 0, 2 }, DROP_PARSE_MARTIAN },
		{ { 224, 0, 0, 1 }, { 10, 0, 0, 2 }, DROP_PARSE_MARTIAN },
		{ { 239, 255, 255, 255 }, { 10, 0, 0, 2 }, DROP_PARSE_MARTIAN },
		{ { 255, 255, 255, 255 }, { 10, 0, 0, 2 }, DROP_PARSE_MARTIAN },
		{ { 10, 0, 0, 1 }, { 0, 0, 0, 0 }, DROP_PARSE_MARTIAN },
		{ { 10, 0, 0, 1 }, { 127, 9, 9, 9 }, DROP_PARSE_MARTIAN },
		{ { 0, 0, 0, 0 }, { 255, 255, 255, 255 }, DROP_NONE },
		{ { 10, 0, 0, 1 }, { 224, 0, 0, 251 }, DROP_NONE },
		{ { 223, 255, 255, 255 }, { 1, 1, 1, 1 }, DROP_NONE },
	};

	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		frame_build(&f, 0, 4, FRAME_UDP, 20, false);
		memcpy(f.data + f.l3_off + 12, cases[i].src, 4);
		memcpy(f.data + f.l3_off + 16, cases[i].dst, 4);
		frame_ipv4_csum(f.data + f.l3_off);
		assert_int_equal(parse(NULL), cases[i].want);
	}
	frame_build(&f, 0, 6, FRAME_UDP, 20, false);
	f.data[f.l3_off + 8] = 0xff;
	assert_int_equal(parse(NULL), DROP_PARSE_MARTIAN);
	memset(f.data + f.l3_off + 8, 0, 15); // ::1
	assert_int_equal(parse(NULL), DROP_PARSE_MARTIAN);
	f.data[f.l3_off + 23] = 0; // :: may ask (duplicate address detection)
	assert_int_equal(parse(NULL), DROP_NONE);
	memset(f.data + f.l3_off + 24, 0, 16);
	assert_int_equal(parse(NULL), DROP_PARSE_MARTIAN);
	f.data[f.l3_off + 39] = 1;
	assert_int_equal(parse(NULL), DROP_PARSE_MARTIAN);
}

static void test_ipv6(void **state)
{
	struct packet pkt;

	frame_build(&f, 0, 6, FRAME_TCP, 20, false);
	f.data[f.l3_off] = 0x45;
	assert_int_equal(parse(NULL), DROP_PARSE_IPV6_HEADER);
	f.data[f.l3_off] = 0x60;
	frame_put16(f.data + f.l3_off + 4, f.size - f.l3_off - 40 + 1);
	assert_int_equal(parse(NULL), DROP_PARSE_IPV6_HEADER);
	frame_put16(f.data + f.l3_off + 4, 65535);
	assert_int_equal(parse(NULL), DROP_PARSE_IPV6_HEADER);
	frame_put16(f.data + f.l3_off + 4, 0); // jumbograms are not carried
	f.data[f.l3_off + 6] = 0;
	assert_int_equal(parse(&pkt), DROP_NONE);
	assert_int_equal(pkt.flags, PACKET_IPV6);
	assert_int_equal(pkt.l3_len, 40);
}

static void test_tcp_udp_icmp(void **state)
{
	struct packet pkt;

	frame_build(&f, 0, 4, FRAME_TCP, 10, false); // 42 bytes of L4
	for (unsigned doff = 0; doff < 16; doff++) {
		f.data[f.l4_off + 12] = (uint8_t)(doff << 4);
		assert_int_equal(
			parse(NULL), doff >= 5 && doff <= 10 ? DROP_NONE : DROP_PARSE_L4_HEADER);
	}
	frame_build(&f, 0, 4, FRAME_UDP, 10, false);
	for (unsigned len = 0; len <= 20; len++) {
		frame_put16(f.data + f.l4_off + 4, len);
		assert_int_equal(
			parse(NULL), len >= 8 && len <= 18 ? DROP_NONE : DROP_PARSE_L4_HEADER);
	}
	frame_put16(f.data + f.l4_off + 4, 65535);
	assert_int_equal(parse(NULL), DROP_PARSE_L4_HEADER);
	for (unsigned type = 0; type < 256; type++) {
		bool error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;

		frame_build(&f, 0, 4, FRAME_ICMP, 30, false);
		f.data[f.l4_off] = (uint8_t)type;
		assert_int_equal(parse(&pkt), DROP_NONE);
		assert_int_equal((pkt.flags & PACKET_ICMP_ERROR) != 0, error);
		assert_int_equal(ntohs(pkt.src_port), type == 0 || type == 8 ? 0x1234 : 0);
		frame_build(&f, 0, 6, FRAME_ICMPV6, 30, false);
		f.data[f.l4_off] = (uint8_t)type;
		assert_int_equal(parse(&pkt), DROP_NONE);
		assert_int_equal((pkt.flags & PACKET_ICMP_ERROR) != 0, type < 128);
		assert_int_equal(ntohs(pkt.dst_port), type == 128 || type == 129 ? 0x1234 : 0);
	}
	frame_build(
		&f, 0, 4, FRAME_UDP, 10, false); // protocol 0 (CVE-2023-1668), and all unknown ones
	f.data[f.l3_off + 9] = 0;
	frame_ipv4_csum(f.data + f.l3_off);
	assert_int_equal(parse(&pkt), DROP_NONE);
	assert_int_equal(pkt.flags, PACKET_IPV4);
}

static void test_arp(void **state)
{
	static const uint8_t good[28] = { 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1 };
	struct packet pkt;
	uint32_t size;

	frame_build(&f, 0, 4, FRAME_UDP, 20, false);
	frame_put16(f.data + 12, 0x0806);
	memcpy(f.data + 14, good, 28);
	for (size_t cut = 14; cut < 42; cut++)
		assert_int_equal(parse_meta(f.data, cut, NULL, NULL, NULL), DROP_PARSE_ARP);
	assert_int_equal(parse_meta(f.data, 60, NULL, &pkt, &size), DROP_NONE);
	assert_int_equal(pkt.flags, PACKET_ARP);
	assert_int_equal(pkt.l3_len, 28);
	assert_int_equal(size, 42);
	for (unsigned i = 0; i < 8; i++) {
		f.data[14 + i] ^= 0x40;
		assert_int_equal(parse(NULL), DROP_PARSE_ARP);
		f.data[14 + i] ^= 0x40;
	}
}

// Padding to any size, also over a segment's end (CVE-2020-35498), and headers spread over two.
static void test_padding_and_segments(void **state)
{
	for (size_t first = 0; first < 300; first++) {
		struct rte_mbuf *m;
		uint32_t real;

		frame_build(&f, 1, 4, FRAME_TCP, 10, false);
		real = f.size;
		memset(f.data + real, 0xee, 3000);
		m = eal_fixture_mbuf(f.data, real + 3000, first);
		assert_non_null(m);
		assert_int_equal(parse_packet(m), DROP_NONE);
		assert_int_equal(m->pkt_len, real);
		assert_int_equal(m->data_len, real);
		assert_int_equal(m->nb_segs, 1);
		assert_null(m->next);
		assert_memory_equal(rte_pktmbuf_mtod(m, void *), f.data, real);
		rte_pktmbuf_free(m);
	}
	for (size_t first = 1; first < 74; first++) { // the second segment empties and goes
		struct rte_mbuf *m;

		frame_build(&f, 0, 4, FRAME_TCP, 8, false);
		m = eal_fixture_mbuf(f.data, f.size, first);
		assert_int_equal(parse_packet(m), DROP_NONE);
		assert_int_equal(m->data_len, f.size);
		assert_int_equal(m->nb_segs, 1);
		assert_null(m->next);
		rte_pktmbuf_free(m);
	}
	for (size_t first = 1; first < 2000; first += 37) {
		static uint8_t copy[9100];
		struct rte_mbuf *m;
		const void *data;

		frame_build(&f, 0, 4, FRAME_UDP, 4000, false);
		m = eal_fixture_mbuf(f.data, f.size, first);
		assert_int_equal(parse_packet(m), DROP_NONE);
		assert_int_equal(m->data_len, first < 256 ? 256 : first);
		data = rte_pktmbuf_read(m, 0, m->pkt_len, copy);
		assert_int_equal(m->pkt_len, f.size);
		assert_memory_equal(data, f.data, f.size);
		rte_mbuf_sanity_check(m, 1);
		rte_pktmbuf_free(m);
	}
}

static void claim(struct packet *c, uint32_t proto, uint8_t gso_type, uint16_t gso_size)
{
	*c = (struct packet){ .flags = PACKET_NEEDS_CSUM,
		.csum_start = (uint16_t)f.l4_off,
		.csum_offset = (uint16_t)frame_csum_offset(proto),
		.gso_type = gso_type,
		.gso_size = gso_size };
}

static enum drop_reason parse_claim(const struct packet *c)
{
	return parse_meta(f.data, f.size, c, NULL, NULL);
}

static void test_csum_claims(void **state)
{
	static const uint32_t protos[] = { FRAME_TCP, FRAME_UDP };
	struct packet c;

	for (size_t i = 0; i < RTE_DIM(protos); i++) {
		for (unsigned ip = 4; ip <= 6; ip += 2) {
			frame_build(&f, 1, ip, protos[i], 30, true);
			claim(&c, protos[i], 0, 0);
			assert_int_equal(parse_claim(&c), DROP_NONE);
			for (uint32_t v = 0; v < 65536; v++) { // sums that wrap are among these
				c.csum_start = (uint16_t)v;
				if (v != f.l4_off)
					assert_int_equal(parse_claim(&c), DROP_PARSE_OFFLOAD);
			}
			claim(&c, protos[i], 0, 0);
			for (uint32_t v = 0; v < 65536; v++) {
				c.csum_offset = (uint16_t)v;
				if (v != frame_csum_offset(protos[i]))
					assert_int_equal(parse_claim(&c), DROP_PARSE_OFFLOAD);
			}
		}
	}
	frame_build(&f, 0, 4, FRAME_ICMP, 30, true);
	claim(&c, FRAME_ICMP, 0, 0);
	assert_int_equal(parse_claim(&c), DROP_PARSE_OFFLOAD);
	frame_build(&f, 0, 4, FRAME_UDP, 30, true);
	claim(&c, FRAME_UDP, 0, 0);
	frame_put16(f.data + f.l4_off + 4, 20); // checksum would cover what is not the datagram
	assert_int_equal(parse_claim(&c), DROP_PARSE_OFFLOAD);
}

static void test_gso_claims(void **state)
{
	struct packet c, pkt;

	for (unsigned ip = 4; ip <= 6; ip += 2) {
		for (uint32_t proto = FRAME_TCP; proto <= FRAME_UDP;
			proto += FRAME_UDP - FRAME_TCP) {
			frame_build(&f, 0, ip, proto, 3000, true);
			for (unsigned type = 1; type < 256; type++) {
				uint8_t tcp = ip == 4 ? PACKET_GSO_TCP4 : PACKET_GSO_TCP6;
				bool ok = proto == FRAME_TCP ? (type & 0x7f) == tcp
							     : type == PACKET_GSO_UDP_L4;

				claim(&c, proto, (uint8_t)type, 1000);
				assert_int_equal(
					parse_claim(&c), ok ? DROP_NONE : DROP_PARSE_OFFLOAD);
			}
		}
	}

	frame_build(&f, 0, 4, FRAME_TCP, 48 * 128 + 1, true);
	claim(&c, FRAME_TCP, PACKET_GSO_TCP4, 0);
	assert_int_equal(parse_claim(&c), DROP_PARSE_OFFLOAD);
	c.gso_size = GSO_MIN_SIZE - 1;
	assert_int_equal(parse_claim(&c), DROP_PARSE_OFFLOAD);
	c.gso_size = 48; // 129 segments
	assert_int_equal(parse_claim(&c), DROP_PARSE_OFFLOAD);
	c.gso_size = 49;
	assert_int_equal(parse_claim(&c), DROP_NONE);
	c.gso_size = 65535; // nothing to cut
	assert_int_equal(parse_meta(f.data, f.size, &c, &pkt, NULL), DROP_NONE);
	assert_int_equal(pkt.gso_type, PACKET_GSO_NONE);
	assert_int_equal(pkt.gso_size, 0);
	assert_true(pkt.flags & PACKET_NEEDS_CSUM);

	c.gso_size = 1000;
	c.flags = 0; // no GSO without a partial checksum
	assert_int_equal(parse_claim(&c), DROP_PARSE_OFFLOAD);
	c.flags = PACKET_NEEDS_CSUM;
	f.data[f.l4_off + 13] = TCP_SYN;
	assert_int_equal(parse_claim(&c), DROP_PARSE_OFFLOAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_fields, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_truncated_everywhere, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_l4_truncated, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_ethernet, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_three_tags, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_ipv4, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_ipv4_fragments, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_martians, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_ipv6, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_tcp_udp_icmp, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_arp, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_padding_and_segments, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_csum_claims, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_gso_claims, eal_fixture_no_leak),
	};

	return cmocka_run_group_tests(tests, eal_fixture_init, NULL);
}
