// SPDX-License-Identifier: BSD-3-Clause
// dhcp/dhcp4_parse.c: what clients send, and what attackers send instead. HOSTILE H-43, H-35.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/unit/dhcp4_client.h"

static void expect_error(const struct client_frame *f, enum dhcp4_error want)
{
	struct dhcp4_msg msg, before;

	memset(&msg, 0x5a, sizeof(msg));
	before = msg;
	assert_string_equal(dhcp4_error_name(client_parse(f, &msg)), dhcp4_error_name(want));
	if (want != DHCP4_OK)
		assert_memory_equal(&msg, &before, sizeof(msg)); // untouched on failure
}

static struct dhcp4_msg expect_ok(const struct client_frame *f)
{
	struct dhcp4_msg msg;

	memset(&msg, 0x5a, sizeof(msg));
	assert_string_equal(dhcp4_error_name(client_parse(f, &msg)), "ok");
	return msg;
}

static struct client_frame discover(void)
{
	struct client_frame f = client_start(DHCP4_DISCOVER);

	client_finish(&f);
	return f;
}

static void every_field(void **state)
{
	struct client_frame f = client_start(DHCP4_REQUEST);
	struct mac mac = CLIENT_MAC;

	client_u16(&f, CLIENT_BOOTP + 10, 0x8000);
	client_addr(&f, CLIENT_BOOTP + 12, ip4(10, 0, 0, 9));
	client_addr(&f, 26, ip4(10, 0, 0, 8));
	client_addr(&f, 30, ip4(10, 0, 0, 1));
	client_option(&f, 61, "\x01\x02\x00\x00\x00\x00\x11", 7);
	client_option_addr(&f, 50, ip4(10, 0, 0, 7));
	client_option_addr(&f, 54, ip4(10, 0, 0, 2));
	client_option(&f, 57, "\x05\xdc", 2);
	client_option(&f, 55, "\x01\x03\x06\x1a", 4);
	client_option(&f, 12, "red-1", 5);
	client_option(&f, 60, "udhcp 1.35", 10); // not wanted: skipped
	client_option(&f, 0xfe, "", 0);
	client_finish(&f);

	struct dhcp4_msg m = expect_ok(&f);
	assert_int_equal(m.type, DHCP4_REQUEST);
	assert_memory_equal(&m.xid, "\xde\xad\xbe\xef", 4);
	assert_int_equal(m.flags, htons(0x8000));
	assert_int_equal(m.ciaddr, ip4(10, 0, 0, 9));
	assert_int_equal(m.giaddr, 0);
	assert_int_equal(m.src_ip, ip4(10, 0, 0, 8));
	assert_int_equal(m.dst_ip, ip4(10, 0, 0, 1));
	assert_memory_equal(&m.src_mac, &mac, 6);
	assert_memory_equal(&m.chaddr, &mac, 6);
	assert_int_equal(m.requested_ip, ip4(10, 0, 0, 7));
	assert_int_equal(m.server_id, ip4(10, 0, 0, 2));
	assert_int_equal(m.max_size, 1500);
	assert_int_equal(m.client_id_size, 7);
	assert_memory_equal(m.client_id, "\x01\x02\x00\x00\x00\x00\x11", 7);
	assert_int_equal(m.prl_size, 4);
	assert_memory_equal(m.prl, "\x01\x03\x06\x1a", 4);
	assert_string_equal(m.hostname, "red-1");
}

// What is absent is zero, to the last byte: the structure goes to control and into replies.
static void absent_is_zero(void **state)
{
	struct client_frame f = discover();
	struct dhcp4_msg m = expect_ok(&f);
	static const uint8_t zero[DHCP4_MAX_CLIENT_ID];

	assert_int_equal(m.requested_ip | m.server_id | m.ciaddr | m.max_size, 0);
	assert_int_equal(m.client_id_size | m.prl_size, 0);
	assert_memory_equal(m.client_id, zero, sizeof(m.client_id));
	assert_memory_equal(m.prl, zero, sizeof(m.prl));
	assert_memory_equal(m.hostname, zero, sizeof(m.hostname));
}

static void only_client_types(void **state)
{
	for (unsigned type = 0; type < 256; type++) {
		uint8_t t = (uint8_t)type;
		struct client_frame f = client_start(0);

		client_option(&f, 53, &t, 1);
		client_finish(&f);
		bool client = type == DHCP4_DISCOVER || type == DHCP4_REQUEST ||
			      type == DHCP4_DECLINE || type == DHCP4_RELEASE ||
			      type == DHCP4_INFORM;
		expect_error(&f, client ? DHCP4_OK : DHCP4_BAD_OPTION);
	}
}

static void not_ours(void **state)
{
	struct client_frame f = discover();

	client_u16(&f, 12, 0x0806);
	expect_error(&f, DHCP4_NOT_DHCP);
	f = discover();
	client_u16(&f, 12, 0x8100); // the switch hands over untagged frames
	expect_error(&f, DHCP4_NOT_DHCP);
	f = discover();
	f.data[23] = 6;
	expect_error(&f, DHCP4_NOT_DHCP);
	f = discover();
	client_u16(&f, 36, 53);
	expect_error(&f, DHCP4_NOT_DHCP);
	f = discover();
	client_u16(&f, 36, 68); // a server's
	expect_error(&f, DHCP4_NOT_DHCP);
	f = discover();
	client_u16(&f, 20, 1); // a later fragment has no ports
	expect_error(&f, DHCP4_NOT_DHCP);
	f = discover();
	client_u16(&f, 34, 1024); // source ports are the client's choice
	expect_error(&f, DHCP4_OK);
}

static void bad_ip_and_udp(void **state)
{
	struct client_frame f = discover();

	f.data[14] = 0x65;
	expect_error(&f, DHCP4_BAD_HEADER);
	for (unsigned ihl = 0; ihl < 5; ihl++) {
		f.data[14] = (uint8_t)(0x40 | ihl);
		expect_error(&f, DHCP4_BAD_HEADER);
	}
	f = discover();
	client_u16(&f, 20, 0x2000);
	expect_error(&f, DHCP4_BAD_HEADER); // first fragment
	f = discover();
	client_u16(&f, 16, (uint16_t)(f.size - 13));
	expect_error(&f, DHCP4_TRUNCATED);
	for (uint16_t total_len = 0; total_len < 28; total_len++) {
		client_u16(&f, 16, total_len);
		expect_error(&f, DHCP4_TRUNCATED);
	}
	f = discover();
	client_u16(&f, 38, (uint16_t)(f.size - 33));
	expect_error(&f, DHCP4_TRUNCATED);
	client_u16(&f, 38, 0xffff);
	expect_error(&f, DHCP4_TRUNCATED);
	for (uint16_t udp_len = 0; udp_len < 8; udp_len++) {
		client_u16(&f, 38, udp_len);
		expect_error(&f, DHCP4_BAD_HEADER);
	}
}

// IP options shift everything; Ethernet padding and bytes beyond UDP's length are not read.
static void ip_options_and_padding(void **state)
{
	struct client_frame f = discover();
	uint8_t shifted[CLIENT_MAX];
	size_t tail = f.size - 34;

	memcpy(shifted, f.data + 34, tail);
	f.data[14] = 0x4f;
	memset(f.data + 34, 1, 40);
	memcpy(f.data + 74, shifted, tail);
	f.size += 40;
	client_u16(&f, 16, (uint16_t)(f.size - 14));
	expect_error(&f, DHCP4_OK);

	f = discover();
	client_bytes(&f, "\x32\xff\xff\xff", 4); // would be a truncated option 50
	expect_error(&f, DHCP4_OK);
}

static void bad_bootp(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} cases[] = {
		{ 0, 2 }, { 0, 0 }, // op
		{ 1, 6 }, { 2, 0 }, { 2, 16 }, { 2, 255 }, // htype, hlen
		{ 24, 10 }, { 27, 1 }, // giaddr: no relays here
		{ 28, 3 }, { 33, 0x12 }, // chaddr is not the sender
		{ 236, 0 }, { 239, 0 }, // cookie
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct client_frame f = discover();

		f.data[CLIENT_BOOTP + cases[i].at] = cases[i].value;
		expect_error(&f, DHCP4_BAD_HEADER);
	}

	static const struct mac bad[] = { { { 0 } }, { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } },
		{ { 1, 0, 0x5e, 0, 0, 1 } } };
	for (size_t i = 0; i < 3; i++) {
		struct client_frame f = discover();

		memcpy(f.data + 6, &bad[i], 6);
		memcpy(f.data + CLIENT_BOOTP + 28, &bad[i], 6);
		expect_error(&f, DHCP4_BAD_HEADER);
	}
}

// RFC 2132's lengths; every other one is refused.
static void option_lengths(void **state)
{
	static const struct {
		uint8_t code;
		unsigned min, max;
	} cases[] = { { 12, 0, 255 }, { 50, 4, 4 }, { 54, 4, 4 }, { 55, 1, 255 }, { 57, 2, 2 },
		{ 61, 2, DHCP4_MAX_CLIENT_ID } };
	static const uint8_t data[255];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (unsigned n = 0; n < 256; n++) {
			struct client_frame f = client_start(DHCP4_REQUEST);

			client_option(&f, cases[i].code, data, (uint8_t)n);
			client_finish(&f);
			expect_error(&f, n >= cases[i].min && n <= cases[i].max ? DHCP4_OK
										: DHCP4_BAD_OPTION);
		}
	}
}

static void type_lengths(void **state)
{
	struct client_frame f = client_start(0);

	client_finish(&f);
	expect_error(&f, DHCP4_BAD_OPTION); // plain BOOTP
	f = client_start(0);
	client_option(&f, 53, "", 0);
	client_finish(&f);
	expect_error(&f, DHCP4_BAD_OPTION);
	f = client_start(DHCP4_DISCOVER);
	client_option(&f, 53, "\x03", 1); // said twice
	client_finish(&f);
	expect_error(&f, DHCP4_BAD_OPTION);
}

static void pads_and_end(void **state)
{
	struct client_frame f = client_start(0);

	client_bytes(&f, "\0\0\0", 3);
	client_option(&f, 53, "\x01", 1);
	client_bytes(&f, "\0", 1);
	client_option_addr(&f, 50, ip4(10, 0, 0, 7));
	client_lengths(&f); // no End: what is whole counts
	assert_int_equal(expect_ok(&f).requested_ip, ip4(10, 0, 0, 7));
	client_bytes(&f, "\xff", 1);
	client_option_addr(&f, 54, ip4(10, 0, 0, 2)); // after End: not read
	client_lengths(&f);
	assert_int_equal(expect_ok(&f).server_id, 0);
	f = client_start(0);
	client_bytes(&f, "\xff", 1);
	client_option(&f, 53, "\x01", 1);
	client_lengths(&f);
	expect_error(&f, DHCP4_BAD_OPTION);
}

// RFC 3396: the pieces of one option are one option.
static void split_options(void **state)
{
	struct client_frame f = client_start(DHCP4_REQUEST);

	client_option(&f, 61, "\x01\x02\x03", 3);
	client_option(&f, 50, "\x0a\x00", 2);
	client_option(&f, 61, "\x04", 1);
	client_option(&f, 50, "\x00\x07", 2);
	client_finish(&f);

	struct dhcp4_msg m = expect_ok(&f);
	assert_int_equal(m.client_id_size, 4);
	assert_memory_equal(m.client_id, "\x01\x02\x03\x04", 4);
	assert_int_equal(m.requested_ip, ip4(10, 0, 0, 7));

	f = client_start(DHCP4_REQUEST);
	client_option_addr(&f, 50, ip4(10, 0, 0, 7));
	client_option_addr(&f, 50, ip4(10, 0, 0, 7));
	client_finish(&f);
	expect_error(&f, DHCP4_BAD_OPTION); // eight bytes are no address
}

// Together far more than any field holds: kept in bounds, cut or refused.
static void split_beyond_all_bounds(void **state)
{
	static const uint8_t codes[] = { 12, 55, 61 };
	uint8_t filler[255];

	memset(filler, 'a', sizeof(filler));
	for (unsigned i = 0; i < 3; i++) {
		struct client_frame f = client_start(DHCP4_DISCOVER);

		for (unsigned piece = 0; piece < 6; piece++)
			client_option(&f, codes[i], filler, 255);
		client_finish(&f);
		if (codes[i] == 61) {
			expect_error(&f, DHCP4_BAD_OPTION);
			continue;
		}
		struct dhcp4_msg m = expect_ok(&f);
		assert_int_equal(strlen(m.hostname), codes[i] == 12 ? DHCP4_MAX_HOSTNAME - 1 : 0);
		assert_int_equal(m.prl_size, codes[i] == 55 ? DHCP4_MAX_PRL : 0);
	}
}

static struct client_frame overloaded(uint8_t where)
{
	struct client_frame f = client_start(DHCP4_REQUEST);

	client_option(&f, 52, &where, 1);
	client_option(&f, 50, "\x0a\x00", 2);
	client_finish(&f);
	return f;
}

static void overload(void **state)
{
	struct client_frame f = overloaded(3);

	// Order is options, file, sname (RFC 3396 §5): the address is joined in that order.
	memcpy(f.data + CLIENT_FILE, "\x32\x01\x00\xff", 4);
	memcpy(f.data + CLIENT_SNAME, "\x32\x01\x07\xff", 4);
	assert_int_equal(expect_ok(&f).requested_ip, ip4(10, 0, 0, 7));

	f = overloaded(1);
	memcpy(f.data + CLIENT_FILE, "\x32\x02\x00\x07\xff", 5);
	memcpy(f.data + CLIENT_SNAME, "\x32\xff", 2); // a server name, not options
	assert_int_equal(expect_ok(&f).requested_ip, ip4(10, 0, 0, 7));

	f = overloaded(2);
	memcpy(f.data + CLIENT_SNAME, "\x32\x02\x00\x07\xff", 5);
	memcpy(f.data + CLIENT_FILE, "\x32\xff", 2);
	assert_int_equal(expect_ok(&f).requested_ip, ip4(10, 0, 0, 7));
}

static void overload_abuse(void **state)
{
	static const uint8_t bad[] = { 0, 4, 7, 255 };

	for (unsigned i = 0; i < sizeof(bad); i++) {
		struct client_frame f = overloaded(bad[i]);
		expect_error(&f, DHCP4_BAD_OPTION);
	}

	struct client_frame f = overloaded(3);
	memcpy(f.data + CLIENT_FILE, "\x32\x02\x00\x07\x34\x01\x02\xff",
		8); // file points on to sname
	expect_error(&f, DHCP4_BAD_OPTION);
	f = overloaded(2);
	memcpy(f.data + CLIENT_SNAME, "\x32\x02\x00\x07\x34\x01\x02\xff", 8); // sname to itself
	expect_error(&f, DHCP4_BAD_OPTION);

	f = client_start(DHCP4_DISCOVER);
	client_option(&f, 52, "\x01", 1);
	client_option(&f, 52, "\x02", 1);
	client_finish(&f);
	expect_error(&f, DHCP4_BAD_OPTION);
	f = client_start(DHCP4_DISCOVER);
	client_option(&f, 52, "", 0);
	client_finish(&f);
	expect_error(&f, DHCP4_BAD_OPTION);

	// An option may not run out of its area into the next field.
	f = overloaded(1);
	memset(f.data + CLIENT_FILE, 0, 128);
	f.data[CLIENT_FILE + 126] = 50;
	f.data[CLIENT_FILE + 127] = 2;
	expect_error(&f, DHCP4_TRUNCATED);
	f.data[CLIENT_FILE + 126] = 0;
	f.data[CLIENT_FILE + 127] = 50; // a code alone
	expect_error(&f, DHCP4_TRUNCATED);
	f = overloaded(2);
	memset(f.data + CLIENT_SNAME, 0, 64);
	f.data[CLIENT_SNAME + 61] = 50;
	f.data[CLIENT_SNAME + 62] = 2;
	expect_error(&f, DHCP4_TRUNCATED);
}

// The type may be in the file field: RFC 2131 allows any option there.
static void type_in_file(void **state)
{
	struct client_frame f = client_start(0);

	client_option(&f, 52, "\x01", 1);
	client_finish(&f);
	memcpy(f.data + CLIENT_FILE, "\x35\x01\x08\xff", 4);
	assert_int_equal(expect_ok(&f).type, DHCP4_INFORM);
}

static void hostnames_are_sanitised(void **state)
{
	static const struct {
		const char *sent;
		uint8_t size;
		const char *kept;
	} cases[] = {
		{ "Web_1.example", 13, "Web_1.example" },
		{ "a\x1b[31mb", 7, "a--31mb" },
		{ "a\nb\tc d", 7, "a-b-c-d" },
		{ "\xc3\xa4", 2, "--" },
		{ "%s%n<>", 6, "-s-n--" },
		{ "ab\0cd", 5, "ab" },
		{ "\0", 1, "" },
		{ "", 0, "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct client_frame f = client_start(DHCP4_DISCOVER);

		client_option(&f, 12, cases[i].sent, cases[i].size);
		client_finish(&f);
		assert_string_equal(expect_ok(&f).hostname, cases[i].kept);
	}
}

static struct client_frame rich(void)
{
	struct client_frame f = client_start(DHCP4_REQUEST);

	client_option(&f, 52, "\x03", 1);
	client_option(&f, 61, "\x01\x02\x00\x00\x00\x00\x11", 7);
	client_option_addr(&f, 50, ip4(10, 0, 0, 7));
	client_option(&f, 55, "\x01\x03\x06\x1a", 4);
	client_finish(&f);
	memcpy(f.data + CLIENT_FILE, "\x0c\x05red-1\xff", 8);
	memcpy(f.data + CLIENT_SNAME, "\x39\x02\x05\xdc\xff", 5);
	return f;
}

// H-43: cut at every byte, with lengths that still claim the whole.
static void h43_truncated_frame(void **state)
{
	struct client_frame f = rich();
	struct dhcp4_msg msg;

	assert_int_equal(client_parse(&f, &msg), DHCP4_OK);
	for (size_t size = 0; size < f.size; size++)
		assert_int_equal(client_parse_size(&f, size, &msg),
			size < 14 ? DHCP4_NOT_DHCP : DHCP4_TRUNCATED);
}

// H-43: cut at every byte, with lengths that tell the truth about the rest.
static void h43_truncated_message(void **state)
{
	struct client_frame whole = rich();
	size_t last_option = whole.size - 1 - 6;
	struct dhcp4_msg msg;

	for (size_t size = 42; size < whole.size; size++) {
		struct client_frame f = whole;

		f.size = size;
		client_lengths(&f);
		enum dhcp4_error e = client_parse(&f, &msg);
		if (size < CLIENT_OPTIONS)
			assert_int_equal(e, DHCP4_TRUNCATED);
		else if (size < CLIENT_OPTIONS + 3)
			assert_int_equal(
				e, size == CLIENT_OPTIONS ? DHCP4_BAD_OPTION : DHCP4_TRUNCATED);
		else if (size > last_option && size < whole.size - 1)
			assert_int_equal(e, DHCP4_TRUNCATED); // inside the last option
		else
			assert_true(e == DHCP4_OK || e == DHCP4_TRUNCATED);
	}
}

// H-43: each option length byte with each value never reads past the message.
static void h43_lying_option_lengths(void **state)
{
	struct client_frame whole = rich();
	struct dhcp4_msg msg;

	for (size_t at = CLIENT_OPTIONS; at < whole.size; at++) {
		for (unsigned value = 0; value < 256; value++) {
			struct client_frame f = whole;

			f.data[at] = (uint8_t)value;
			enum dhcp4_error e = client_parse(&f, &msg);
			assert_true(e == DHCP4_OK || e == DHCP4_TRUNCATED || e == DHCP4_BAD_OPTION);
		}
	}
}

// Neither checksum is looked at: another stage knows which of them are whole.
static void checksums_are_not_ours(void **state)
{
	struct client_frame f = discover();

	client_u16(&f, 24, 0x1234);
	client_u16(&f, 40, 0x1234);
	expect_error(&f, DHCP4_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field),
		cmocka_unit_test(absent_is_zero),
		cmocka_unit_test(only_client_types),
		cmocka_unit_test(not_ours),
		cmocka_unit_test(bad_ip_and_udp),
		cmocka_unit_test(ip_options_and_padding),
		cmocka_unit_test(bad_bootp),
		cmocka_unit_test(option_lengths),
		cmocka_unit_test(type_lengths),
		cmocka_unit_test(pads_and_end),
		cmocka_unit_test(split_options),
		cmocka_unit_test(split_beyond_all_bounds),
		cmocka_unit_test(overload),
		cmocka_unit_test(overload_abuse),
		cmocka_unit_test(type_in_file),
		cmocka_unit_test(hostnames_are_sanitised),
		cmocka_unit_test(h43_truncated_frame),
		cmocka_unit_test(h43_truncated_message),
		cmocka_unit_test(h43_lying_option_lengths),
		cmocka_unit_test(checksums_are_not_ours),
	};

	return cmocka_run_group_tests_name("H-43 dhcp4_parse", tests, NULL, NULL);
}
