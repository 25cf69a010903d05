// SPDX-License-Identifier: BSD-3-Clause
// dhcp/arp.c: what is taken for ARP, and the frames we send, byte by byte.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <errno.h>
#include <cmocka.h>
#include "dhcp/arp.h"

// 10.0.0.5 at 02:00:00:00:00:05 asks for 10.0.0.1.
static const uint8_t request[ARP_FRAME_SIZE] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 5, 0x08, 0x06, // Ethernet
	0, 1, 0x08, 0x00, 6, 4, 0, 1, // types, sizes, operation
	2, 0, 0, 0, 0, 5, 10, 0, 0, 5, // sender
	0, 0, 0, 0, 0, 0, 10, 0, 0, 1, // target
};
static const struct mac gateway = { { 2, 0xaa, 0, 0, 0, 1 } };
static const struct mac asker = { { 2, 0, 0, 0, 0, 5 } };

static void parse_request(void **state)
{
	struct arp_msg m;

	assert_int_equal(arp_parse(request, sizeof(request), &m), 0);
	assert_int_equal(m.op, ARP_OP_REQUEST);
	assert_memory_equal(&m.eth_src, &asker, 6);
	assert_true(mac_is_broadcast(&m.eth_dst));
	assert_memory_equal(&m.sha, &asker, 6);
	assert_true(mac_is_zero(&m.tha));
	assert_int_equal(m.spa, htonl(0x0a000005));
	assert_int_equal(m.tpa, htonl(0x0a000001));
	assert_false(arp_is_probe(&m));
}

static void padding_is_ignored(void **state)
{
	uint8_t padded[60] = { 0 };
	struct arp_msg m;

	memcpy(padded, request, sizeof(request));
	memset(padded + sizeof(request), 0xee, sizeof(padded) - sizeof(request));
	assert_int_equal(arp_parse(padded, sizeof(padded), &m), 0);
}

static void probe(void **state)
{
	uint8_t f[ARP_FRAME_SIZE];
	struct arp_msg m;

	memcpy(f, request, sizeof(f));
	memset(f + 28, 0, 4);
	assert_int_equal(arp_parse(f, sizeof(f), &m), 0);
	assert_true(arp_is_probe(&m));
	f[21] = ARP_OP_REPLY;
	assert_int_equal(arp_parse(f, sizeof(f), &m), 0);
	assert_false(arp_is_probe(&m));
}

// Cut at every byte, in a heap block of exactly that size.
static void truncated(void **state)
{
	for (size_t size = 0; size < sizeof(request); size++) {
		uint8_t *copy = malloc(size + 1);
		struct arp_msg m = { .op = 77 };

		assert_non_null(copy);
		memcpy(copy + 1, request, size);
		assert_int_equal(arp_parse(copy + 1, size, &m), -EBADMSG);
		assert_int_equal(m.op, 77);
		free(copy);
	}
}

// Every header byte with every other value.
static void malformed(void **state)
{
	for (size_t at = 12; at < 22; at++) {
		for (unsigned value = 0; value < 256; value++) {
			uint8_t f[ARP_FRAME_SIZE];
			struct arp_msg m;

			memcpy(f, request, sizeof(f));
			f[at] = (uint8_t)value;
			bool fine = value == request[at] || (at == 21 && value == ARP_OP_REPLY);
			assert_int_equal(arp_parse(f, sizeof(f), &m), fine ? 0 : -EBADMSG);
		}
	}
}

static void impossible_senders(void **state)
{
	static const struct mac bad[] = { { { 0 } }, { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } },
		{ { 0x01, 0, 0x5e, 0, 0, 1 } }, { { 0x33, 0x33, 0, 0, 0, 1 } } };

	for (unsigned i = 0; i < 4; i++) {
		uint8_t f[ARP_FRAME_SIZE];
		struct arp_msg m;

		memcpy(f, request, sizeof(f));
		memcpy(f + 22, &bad[i], 6);
		assert_int_equal(arp_parse(f, sizeof(f), &m), -EBADMSG);
	}
}

static void build_reply(void **state)
{
	static const uint8_t want[ARP_FRAME_SIZE] = {
		2, 0, 0, 0, 0, 5, 2, 0xaa, 0, 0, 0, 1, 0x08, 0x06, //
		0, 1, 0x08, 0x00, 6, 4, 0, 2, //
		2, 0xaa, 0, 0, 0, 1, 10, 0, 0, 1, //
		2, 0, 0, 0, 0, 5, 10, 0, 0, 5, //
	};
	uint8_t got[ARP_FRAME_SIZE];
	struct arp_msg m;

	assert_int_equal(arp_parse(request, sizeof(request), &m), 0);
	memset(got, 0xee, sizeof(got));
	arp_build_reply(&m, &gateway, got);
	assert_memory_equal(got, want, sizeof(want));
}

static void build_request(void **state)
{
	uint8_t got[ARP_FRAME_SIZE];

	memset(got, 0xee, sizeof(got));
	arp_build_request(&asker, htonl(0x0a000005), htonl(0x0a000001), NULL, got);
	assert_memory_equal(got, request, sizeof(request));

	memset(got, 0xee, sizeof(got));
	arp_build_request(&asker, htonl(0x0a000005), htonl(0x0a000001), &gateway, got);
	assert_memory_equal(got, &gateway, 6);
	assert_memory_equal(got + 6, request + 6, sizeof(request) - 6);
}

// RFC 5227 §3: both addresses are the announced one.
static void build_announce(void **state)
{
	uint8_t got[ARP_FRAME_SIZE];
	struct arp_msg m;

	memset(got, 0xee, sizeof(got));
	arp_build_announce(&gateway, htonl(0x0a000001), got);
	assert_int_equal(arp_parse(got, sizeof(got), &m), 0);
	assert_int_equal(m.op, ARP_OP_REQUEST);
	assert_true(mac_is_broadcast(&m.eth_dst));
	assert_memory_equal(&m.eth_src, &gateway, 6);
	assert_memory_equal(&m.sha, &gateway, 6);
	assert_true(mac_is_zero(&m.tha));
	assert_int_equal(m.spa, htonl(0x0a000001));
	assert_int_equal(m.tpa, htonl(0x0a000001));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_request),
		cmocka_unit_test(padding_is_ignored),
		cmocka_unit_test(probe),
		cmocka_unit_test(truncated),
		cmocka_unit_test(malformed),
		cmocka_unit_test(impossible_senders),
		cmocka_unit_test(build_reply),
		cmocka_unit_test(build_request),
		cmocka_unit_test(build_announce),
	};

	return cmocka_run_group_tests_name("arp", tests, NULL, NULL);
}
