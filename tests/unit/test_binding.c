// SPDX-License-Identifier: BSD-3-Clause
// Dynamic leases in force: no tenant takes the others' room, and what is refused changes nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "vswitch/binding.h"

enum { CAPACITY = 64, QUOTA = 16 };

static struct binding binding(uint32_t zone, uint32_t n)
{
	return (struct binding){ .port = zone,
		.segment = zone,
		.zone = zone,
		.address = 1000 + n,
		.mac = { { 2, 0, 0, 0, 0, (uint8_t)n } },
		.expires_ns = 1 + n };
}

static int add(struct binding_table *t, uint32_t zone, uint32_t n)
{
	struct binding b = binding(zone, n);

	return binding_set(t, &b);
}

static void a_tenant_has_its_share(void **state)
{
	struct binding_table *t = binding_table_new(CAPACITY, QUOTA, 1);
	struct binding b = binding(1, 3), found;

	for (uint32_t n = 0; n < QUOTA; n++)
		assert_int_equal(add(t, 1, n), 0);
	assert_int_equal(add(t, 1, QUOTA), -EDQUOT);
	assert_int_equal(add(t, 1, 5), 0); // renewed
	b.mac.b[0] = 6;
	assert_int_equal(binding_set(t, &b), 0); // its address goes from one MAC to another
	assert_true(binding_by_address(t, 1, b.address, 0, &found));
	assert_int_equal(found.mac.b[0], 6);
	for (uint32_t zone = 2; zone <= CAPACITY / QUOTA; zone++)
		for (uint32_t n = 0; n < QUOTA; n++)
			assert_int_equal(add(t, zone, n), 0);
	assert_int_equal(add(t, 100, 1), -ENOSPC);
	binding_del(t, 2, &(struct mac){ { 2, 0, 0, 0, 0, 7 } });
	assert_int_equal(add(t, 1, QUOTA), -EDQUOT); // another's room
	assert_int_equal(add(t, 100, 1), 0);
	binding_table_free(t);
}

static void gone(void *arg, const struct binding *b)
{
	++*(unsigned *)arg;
}

static void the_share_comes_back(void **state)
{
	struct binding_table *t = binding_table_new(CAPACITY, QUOTA, 1);
	unsigned n_gone = 0;

	for (uint32_t round = 0; round < 10; round++) {
		for (uint32_t n = 0; n < QUOTA; n++)
			assert_int_equal(add(t, 1, n), 0);
		assert_int_equal(add(t, 1, QUOTA), -EDQUOT);
		binding_expire(t, 1 + QUOTA / 2, gone, &n_gone); // all up to the one in the middle
		assert_int_equal(n_gone, (round + 1) * (QUOTA / 2 + 1));
		binding_del_port(t, 1);
	}
	binding_table_free(t);
}

// The walk of who lists all, a page at a time: what it ends behind it hides none of the rest.
static void a_walk_gives_each_once(void **state)
{
	struct binding_table *t = binding_table_new(CAPACITY, QUOTA, 1);
	unsigned n_seen = 0, seen[QUOTA] = { 0 };
	uint32_t cursor = 0;
	struct binding b;

	assert_false(binding_next(t, &cursor, &b));
	for (uint32_t n = 0; n < QUOTA; n++)
		assert_int_equal(add(t, 1, n), 0);
	binding_del(t, 1, &(struct mac){ { 2, 0, 0, 0, 0, 7 } });
	for (; binding_next(t, &cursor, &b); n_seen++) {
		struct binding as_set = binding(1, b.address - 1000);

		assert_int_equal(seen[b.address - 1000]++, 0);
		assert_int_equal(b.port, as_set.port);
		assert_int_equal(b.segment, as_set.segment);
		assert_memory_equal(&b.mac, &as_set.mac, sizeof(b.mac));
		if (n_seen % 2)
			binding_del(t, 1, &b.mac);
	}
	assert_int_equal(n_seen, QUOTA - 1);
	assert_int_equal(seen[7], 0);
	cursor = UINT32_MAX; // a hostile one
	assert_false(binding_next(t, &cursor, &b));
	binding_table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tenant_has_its_share),
		cmocka_unit_test(the_share_comes_back),
		cmocka_unit_test(a_walk_gives_each_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
