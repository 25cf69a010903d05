// SPDX-License-Identifier: BSD-3-Clause
// How an uplink's interface was, as host.db keeps it: also as a former insulad wrote it, which knew
// no index, and nothing of what is damaged.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "control/packet_socket.h"

static void is_read_as_it_was_written(void **state)
{
	const struct packet_link link = { .mtu = 9000, .up = true, .ifindex = 7, .name = "eth9" };
	struct packet_link read;
	char text[48];

	packet_link_print(&link, text, sizeof(text));
	assert_true(packet_link_parse(text, &read));
	assert_int_equal(read.mtu, 9000);
	assert_true(read.up);
	assert_int_equal(read.ifindex, 7);
	assert_string_equal(read.name, "eth9");
}

static void a_former_one_has_no_index(void **state)
{
	struct packet_link read;

	assert_true(packet_link_parse("1500 0", &read));
	assert_int_equal(read.mtu, 1500);
	assert_false(read.up);
	assert_int_equal(read.ifindex, 0);
	assert_true(packet_link_parse("1500 0 7", &read)); // nor a name
	assert_int_equal(read.ifindex, 7);
	assert_string_equal(read.name, "");
}

static void a_damaged_one_is_none(void **state)
{
	struct packet_link read;

	assert_false(packet_link_parse("", &read));
	assert_false(packet_link_parse("1500", &read));
	assert_false(packet_link_parse("x 1 7", &read));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_read_as_it_was_written),
		cmocka_unit_test(a_former_one_has_no_index),
		cmocka_unit_test(a_damaged_one_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
