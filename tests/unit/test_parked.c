// SPDX-License-Identifier: BSD-3-Clause
// vswitch/parked.c: tokens that name one message and no other, and the bounds of the table.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "vswitch/parked.h"

#define SECOND 1000000000ull

static int set_up(void **state)
{
	*state = parking_new(0xfffffffe);
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	parking_free(*state);
	return 0;
}

static struct parked *add(struct parking *p, uint32_t port, uint64_t now_ns)
{
	struct worker_message m = { .kind = MESSAGE_LEASE, .port = port, .segment_id = 7 };

	m.lease.msg.xid = port;
	return parked_add(p, &m, now_ns);
}

static void found_by_its_token_alone(void **state)
{
	struct parking *p = *state;
	struct parked *a = add(p, 1, 0), *b = add(p, 2, 0);
	uint32_t old;

	assert_non_null(a);
	assert_non_null(b);
	assert_int_not_equal(a->token, 0);
	assert_int_not_equal(a->token, b->token);
	assert_ptr_equal(parked_find(p, a->token), a);
	assert_int_equal(parked_find(p, b->token)->msg.xid, 2);
	assert_null(parked_find(p, 0));
	assert_null(parked_find(p, a->token + PARKED_MAX));
	old = a->token;
	parked_del(p, a);
	assert_null(parked_find(p, old));
	assert_ptr_equal(add(p, 3, 0), a); // the place again, under another token
	assert_null(parked_find(p, old));
}

static void bounded_by_port_and_as_a_whole(void **state)
{
	struct parking *p = *state;
	struct parked *first = add(p, 1, 0);

	for (unsigned i = 1; i < PARKED_PER_PORT; i++)
		assert_non_null(add(p, 1, 0));
	assert_null(add(p, 1, 0));
	for (unsigned i = 0; i < PARKED_MAX - PARKED_PER_PORT; i++)
		assert_non_null(add(p, 2 + i, 0));
	assert_null(add(p, POLICY_MAX_PORT_ID, 0));
	parked_del(p, first);
	assert_non_null(add(p, 1, 0));
	assert_null(add(p, 1, 0));
	assert_null(add(p, POLICY_MAX_PORT_ID + 1, 0));
}

static void forgotten_in_time(void **state)
{
	struct parking *p = *state;

	for (unsigned i = 0; i < PARKED_MAX; i++)
		assert_non_null(add(p, 1 + i, i < PARKED_MAX / 2 ? 0 : SECOND));
	parked_expire(p, PARKED_S * SECOND);
	assert_null(add(p, 5000, 0));
	parked_expire(p, PARKED_S * SECOND + 1);
	for (unsigned i = 0; i < PARKED_MAX / 2; i++)
		assert_non_null(add(p, 5000 + i, 0));
	assert_null(add(p, 6000, 0));
}

// However often a place is used again, and when the counter wraps, no living token is 0 or twice.
static void tokens_wrap(void **state)
{
	struct parking *p = *state;
	struct parked *stays = add(p, 1, 0);
	uint32_t token = stays->token, last = 0;

	for (unsigned i = 0; i < 5000000; i++) {
		struct parked *slot = add(p, 2, 0);

		assert_non_null(slot);
		assert_true(slot->token && slot->token != token && slot->token != last);
		assert_ptr_equal(parked_find(p, slot->token), slot);
		last = slot->token;
		parked_del(p, slot);
	}
	assert_ptr_equal(parked_find(p, token), stays);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(found_by_its_token_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bounded_by_port_and_as_a_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(forgotten_in_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tokens_wrap, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
