// SPDX-License-Identifier: BSD-3-Clause
// vlan/wire.h: layouts, address helpers, and the Internet checksum against the plain definition.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "vlan/wire.h"

static uint64_t random_state = 1;

static uint32_t next_random(void)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(random_state >> 32);
}

// RFC 1071 §1, word by word in network order.
static uint16_t checksum_by_definition(const uint8_t *p, size_t n)
{
	uint64_t s = 0;

	for (size_t i = 0; i < n; i++)
		s += i % 2 == 0 ? (uint64_t)p[i] << 8 : p[i];
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

static void layouts(void **state)
{
	assert_int_equal(sizeof(struct eth_hdr), ETH_HDR_SIZE);
	assert_int_equal(sizeof(struct vlan_tag), VLAN_TAG_SIZE);
	assert_int_equal(sizeof(struct arp_ipv4), 28);
	assert_int_equal(sizeof(struct ipv4_hdr), IPV4_MIN_HDR_SIZE);
	assert_int_equal(sizeof(struct ipv6_hdr), 40);
	assert_int_equal(sizeof(struct udp_hdr), 8);
	assert_int_equal(sizeof(struct tcp_hdr), 20);
	assert_int_equal(sizeof(struct icmp_hdr), 8);
	assert_int_equal(_Alignof(struct ipv4_hdr), 1);
}

// RFC 1071 §3's own example.
static void checksum_example(void **state)
{
	static const uint8_t data[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };

	assert_int_equal(ntohs(csum_fold(csum_add(0, data, sizeof(data)))), 0xddf2);
}

static void checksum_of_every_size(void **state)
{
	uint8_t data[512];

	for (size_t size = 0; size <= sizeof(data); size++) {
		for (size_t i = 0; i < size; i++)
			data[i] = (uint8_t)next_random();
		assert_int_equal(ntohs(csum_finish(csum_add(0, data, size))),
			checksum_by_definition(data, size));
	}
}

static void checksum_carries(void **state)
{
	size_t size = 65535;
	uint8_t *data = malloc(size);

	assert_non_null(data);
	memset(data, 0xff, size); // every addition carries
	assert_int_equal(
		ntohs(csum_finish(csum_add(0, data, size))), checksum_by_definition(data, size));
	assert_int_equal(ntohs(csum_finish(csum_add(0xffffffff, data, 64))), 0);
	free(data);
}

static void checksum_in_pieces(void **state)
{
	uint8_t data[301];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)next_random();
	for (size_t cut = 0; cut < sizeof(data); cut += 2) {
		uint32_t s = csum_add(0, data, cut);

		s = csum_add(s, data + cut, sizeof(data) - cut);
		assert_int_equal(ntohs(csum_finish(s)), checksum_by_definition(data, sizeof(data)));
	}
}

// RFC 1624: an update gives what a new computation gives. Never 0xffff for a header that is
// not all zero: equation 3, not the RFC 1141 one.
static void checksum_updates(void **state)
{
	for (unsigned i = 0; i < 200000; i++) {
		uint8_t data[20];
		be16 from16, to16;
		be32 from32, to32;

		for (size_t j = 0; j < sizeof(data); j++)
			data[j] = next_random() % 4 == 0 ? (uint8_t)next_random()
							 : (uint8_t)(0 - (next_random() & 1));
		data[0] = 0x45;
		be16 csum = csum_finish(csum_add(0, data, sizeof(data)));
		memcpy(&from16, data + 8, 2);
		memcpy(&from32, data + 12, 4);
		to16 = (be16)next_random();
		to32 = next_random();
		memcpy(data + 8, &to16, 2);
		memcpy(data + 12, &to32, 4);
		csum = csum_update16(csum, from16, to16);
		csum = csum_update32(csum, from32, to32);
		assert_int_equal(csum, csum_finish(csum_add(0, data, sizeof(data))));
	}
}

static void pseudo_header(void **state)
{
	static const uint8_t bytes[] = { 10, 0, 0, 5, 192, 168, 1, 2, 0, 17, 0x01, 0x34 };

	assert_int_equal(ntohs(csum_finish(csum_pseudo_ipv4(
				 htonl(0x0a000005), htonl(0xc0a80102), 17, 0x134))),
		checksum_by_definition(bytes, sizeof(bytes)));
}

static void macs(void **state)
{
	struct mac zero = { { 0 } }, one = { { 0, 0, 0, 0, 0, 1 } };
	struct mac all = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };
	struct mac group = { { 1, 0, 0x5e, 0, 0, 1 } };

	assert_true(mac_is_zero(&zero));
	assert_false(mac_is_zero(&one));
	assert_true(mac_is_broadcast(&all));
	assert_false(mac_is_broadcast(&group));
	for (unsigned i = 0; i < 48; i++) {
		struct mac m = all;

		m.b[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_false(mac_is_broadcast(&m));
		assert_false(mac_equal(&m, &all));
		assert_int_equal(mac_is_multicast(&m), i != 0);
	}
	assert_true(mac_is_multicast(&group));
	assert_false(mac_is_multicast(&one));
	assert_true(mac_equal(&all, &(struct mac){ { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } }));
}

static void prefixes(void **state)
{
	assert_int_equal(ipv4_mask(0), 0);
	assert_int_equal(ipv4_mask(1), 0x80000000);
	assert_int_equal(ipv4_mask(24), 0xffffff00);
	assert_int_equal(ipv4_mask(32), 0xffffffff);
	be32 net = htonl(0x0a000000);
	assert_true(ipv4_in_prefix(htonl(0x0a0000ff), net, 24));
	assert_false(ipv4_in_prefix(htonl(0x0a000100), net, 24));
	assert_true(ipv4_in_prefix(htonl(0xc0a80101), net, 0));
	assert_true(ipv4_in_prefix(net, net, 32));
	assert_false(ipv4_in_prefix(htonl(0x0a000001), net, 32));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layouts),
		cmocka_unit_test(checksum_example),
		cmocka_unit_test(checksum_of_every_size),
		cmocka_unit_test(checksum_carries),
		cmocka_unit_test(checksum_in_pieces),
		cmocka_unit_test(checksum_updates),
		cmocka_unit_test(pseudo_header),
		cmocka_unit_test(macs),
		cmocka_unit_test(prefixes),
	};

	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
