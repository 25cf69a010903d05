// SPDX-License-Identifier: BSD-3-Clause
// dhcp/icmp_echo.c: ping to the gateway, answered in place; all else is left as it was.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <errno.h>
#include <cmocka.h>
#include "dhcp/icmp_echo.h"

enum {
	HEADERS = 14 + 20 + 8,
	PAYLOAD = 57, // odd
	FRAME = HEADERS + PAYLOAD,
};

// Sums big-endian words; 0xffff over a region with a right checksum in it.
static uint32_t sum(const uint8_t *p, size_t n)
{
	uint32_t s = 0;

	for (size_t i = 0; i < n; i++)
		s += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

static void put_csum(uint8_t *at, const uint8_t *from, size_t n)
{
	at[0] = at[1] = 0;
	uint32_t s = sum(from, n) ^ 0xffff;
	at[0] = (uint8_t)(s >> 8);
	at[1] = (uint8_t)s;
}

static void fix_ip(uint8_t *f)
{
	put_csum(f + 24, f + 14, 20);
}

static void make_request(uint8_t f[FRAME], uint16_t id)
{
	static const uint8_t head[] = {
		2, 0xaa, 0, 0, 0, 1, 2, 0, 0, 0, 0, 5, 0x08, 0x00, //
		0x45, 0xb8, 0, 20 + 8 + PAYLOAD, 0x12, 0x34, 0x40, 0, 3, 1, 0, 0, //
		10, 0, 0, 5, 10, 0, 0, 1, //
		8, 0, 0, 0, 0, 0, 0, 7, //
	};

	memcpy(f, head, sizeof(head));
	f[38] = (uint8_t)(id >> 8);
	f[39] = (uint8_t)id;
	for (unsigned i = HEADERS; i < FRAME; i++)
		f[i] = (uint8_t)(i * 7);
	fix_ip(f);
	put_csum(f + 36, f + 34, 8 + PAYLOAD);
}

static void reply(void **state)
{
	uint8_t f[FRAME], was[FRAME];

	make_request(f, 0x4242);
	memcpy(was, f, sizeof(f));
	assert_int_equal(icmp_echo_reply_in_place(f, sizeof(f), sizeof(f)), 0);
	assert_memory_equal(f, was + 6, 6);
	assert_memory_equal(f + 6, was, 6);
	assert_memory_equal(f + 26, was + 30, 4);
	assert_memory_equal(f + 30, was + 26, 4);
	assert_int_equal(f[15], 0xb8); // TOS is returned, RFC 1122 §3.2.2.6
	assert_int_equal(f[22], 64);
	assert_int_equal(f[34], 0);
	assert_int_equal(sum(f + 14, 20), 0xffff);
	assert_int_equal(sum(f + 34, 8 + PAYLOAD), 0xffff);
	assert_memory_equal(f + 38, was + 38, sizeof(f) - 38); // id, sequence, payload
}

// The incremental checksum is right for each value the sum can take.
static void every_checksum(void **state)
{
	for (unsigned id = 0; id < 65536; id++) {
		uint8_t f[FRAME];

		make_request(f, (uint16_t)id);
		assert_int_equal(icmp_echo_reply_in_place(f, sizeof(f), sizeof(f)), 0);
		assert_int_equal(sum(f + 34, 8 + PAYLOAD), 0xffff);
	}
}

// The reply to a request without number and payload is nothing but zeros and its checksum.
static void nothing_but_zeros(void **state)
{
	uint8_t f[FRAME];

	make_request(f, 0);
	memset(f + 40, 0, FRAME - 40);
	put_csum(f + 36, f + 34, 8 + PAYLOAD);
	assert_int_equal(icmp_echo_reply_in_place(f, sizeof(f), sizeof(f)), 0);
	assert_int_equal(sum(f + 34, 8 + PAYLOAD), 0xffff);
}

// Only the headers are here; the payload lies in another segment.
static void headers_only(void **state)
{
	uint8_t f[FRAME];

	make_request(f, 1);
	uint8_t *part = malloc(HEADERS);
	assert_non_null(part);
	memcpy(part, f, HEADERS);
	assert_int_equal(icmp_echo_reply_in_place(part, HEADERS, FRAME), 0);
	memcpy(f, part, HEADERS);
	assert_int_equal(sum(f + 34, 8 + PAYLOAD), 0xffff);
	free(part);
}

// A checksum that was wrong stays wrong: the asker shall see it.
static void wrong_checksum_is_not_laundered(void **state)
{
	uint8_t f[FRAME];

	make_request(f, 1);
	f[36] ^= 1;
	assert_int_equal(icmp_echo_reply_in_place(f, sizeof(f), sizeof(f)), 0);
	assert_int_not_equal(sum(f + 34, 8 + PAYLOAD), 0xffff);
}

static void expect_untouched(uint8_t *f, size_t size, size_t frame_size)
{
	uint8_t *copy = malloc(size + 1);

	assert_non_null(copy);
	memcpy(copy + 1, f, size);
	assert_int_equal(icmp_echo_reply_in_place(copy + 1, size, frame_size), -EBADMSG);
	assert_memory_equal(copy + 1, f, size);
	free(copy);
}

static void truncated(void **state)
{
	uint8_t f[FRAME];

	make_request(f, 1);
	for (size_t size = 0; size < FRAME; size++)
		expect_untouched(f, size, size);
	for (size_t size = 0; size < HEADERS; size++)
		expect_untouched(f, size, FRAME);
	expect_untouched(f, FRAME, FRAME - 1); // sizes that contradict each other
}

static void not_an_echo_request(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} cases[] = {
		{ 0, 3 }, { 6, 1 }, // group addresses as MACs
		{ 12, 0x86 }, { 13, 0x06 }, // EtherType
		{ 14, 0x55 }, { 14, 0x46 }, { 14, 0x44 }, // version, options, IHL
		{ 16, 1 }, { 17, 27 }, { 17, 0 }, // total length
		{ 20, 0x20 }, { 21, 1 }, { 20, 0x1f }, // fragments
		{ 23, 17 }, // protocol
		{ 34, 0 }, { 34, 3 }, { 35, 1 }, // ICMP type, code
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t f[FRAME];

		make_request(f, 1);
		f[cases[i].at] = cases[i].value;
		fix_ip(f);
		expect_untouched(f, sizeof(f), sizeof(f));
	}

	uint8_t f[FRAME];
	make_request(f, 1);
	f[24] ^= 1; // IP checksum
	expect_untouched(f, sizeof(f), sizeof(f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reply),
		cmocka_unit_test(every_checksum),
		cmocka_unit_test(nothing_but_zeros),
		cmocka_unit_test(headers_only),
		cmocka_unit_test(wrong_checksum_is_not_laundered),
		cmocka_unit_test(truncated),
		cmocka_unit_test(not_an_echo_request),
	};

	return cmocka_run_group_tests_name("icmp_echo", tests, NULL, NULL);
}
