// SPDX-License-Identifier: BSD-3-Clause
// How interfaces were, noted by their index: names that are exchanged, what a former insulad noted
// by name, and a successor of a name. The indices are no interfaces': putting back finds them gone.
// With interfaces: tests/net/uplink_mtu.py.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "control/link_note.h"
#include "control/ports.h"

enum { A = 900001, B = 900002, C = 900003 };

static struct store *store;
static struct ports ports;

static int setup(void **state)
{
	char err[256];

	memset(&ports, 0, sizeof(ports));
	return store_open_memory(NULL, &store, err, sizeof(err));
}

static int teardown(void **state)
{
	store_close(store);
	return 0;
}

static void take(const char *name, int ifindex, uint32_t mtu)
{
	struct packet_link link = { .mtu = mtu, .up = true, .ifindex = ifindex };

	snprintf(link.name, sizeof(link.name), "%s", name);
	assert_int_equal(link_note_take(store, &ports, &link), 0);
}

static void append(void *arg, const char *key, const char *value)
{
	size_t used = strlen(arg);

	snprintf((char *)arg + used, 256 - used, "%s=%s;", key + strlen(LINK_NOTE), value);
}

static void expect(const char *expected)
{
	char all[256] = "";

	assert_true(store_each_note(store, LINK_NOTE, append, all) >= 0);
	assert_string_equal(all, expected);
}

static void the_first_look_counts(void **state)
{
	take("up1", A, 1300);
	take("up1", A, 1500);
	expect("#900001=1300 1 900001 up1;");
	link_note_restore(store, B, "up1"); // another, of its name
	expect("#900001=1300 1 900001 up1;");
	link_note_restore(store, A, "up9");
	expect("");
}

static void names_are_exchanged(void **state)
{
	take("up1", A, 1300);
	take("up2", B, 1400);
	take("up1", B, 1500); // A is nobody's for the moment: put back
	expect("#900002=1400 1 900002 up1;");
	take("up2", A, 1300);
	expect("#900001=1300 1 900001 up2;#900002=1400 1 900002 up1;");
}

static void a_former_one_is_in_use(void **state)
{
	struct port p = { .id = 1, .n_fds = 1, .ifindex = A, .want[0].kind = PROTO_PORT_PACKET };

	take("up1", A, 1300);
	ports.by_id[1] = &p;
	ports.max_id = 1;
	take("up1", B, 1400);
	expect("#900001=1300 1 900001 up1;#900002=1400 1 900002 up1;");
	p.broken = true;
	take("up1", C, 1450);
	take("up1", C, 1450);
	expect("#900003=1450 1 900003 up1;");
}

static void a_former_version_noted_names(void **state)
{
	store_note(store, LINK_NOTE "up1", "1300 1 900001");
	store_note(store, LINK_NOTE "up2", "1400 0");
	take("up1", A, 1500);
	take("up2", B, 1500);
	expect("#900001=1300 1 900001 up1;#900002=1400 0 900002 up2;");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_first_look_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(names_are_exchanged, setup, teardown),
		cmocka_unit_test_setup_teardown(a_former_one_is_in_use, setup, teardown),
		cmocka_unit_test_setup_teardown(a_former_version_noted_names, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
