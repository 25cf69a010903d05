// SPDX-License-Identifier: BSD-3-Clause
// Next-hop entries: a tenant that scans an uplink's wire takes its own share of the neighbours and
// no more; gateways always have room.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "vswitch/nexthop.h"

enum { CAPACITY = 4096, NEIGHBOURS = CAPACITY / 4, SHARE = NEIGHBOURS / 8, UPLINK = 9 };

static uint32_t make(struct nexthop_table *t, uint32_t zone, be32 address)
{
	return nexthop_neighbour(t, UPLINK, address, false, zone);
}

static void a_tenant_has_its_share(void **state)
{
	struct nexthop_table *t = nexthop_table_new(CAPACITY, 1);
	uint32_t id;

	for (uint32_t i = 0; i < SHARE; i++)
		assert_int_not_equal(make(t, 1, 1000 + i), NEXTHOP_NONE);
	assert_int_equal(make(t, 1, 1), NEXTHOP_NONE);
	assert_int_not_equal(make(t, 1, 1000), NEXTHOP_NONE); // there already
	id = make(t, 2, 1);
	assert_non_null(nexthop_get(t, id));
	assert_int_equal(make(t, 1, 1), id); // made for another
	for (uint32_t zone = 2; zone < 20; zone++)
		for (uint32_t i = 0; i < SHARE; i++)
			make(t, zone, zone << 16 | i);
	assert_int_equal(make(t, 100, 2), NEXTHOP_NONE); // all are taken
	assert_int_not_equal(nexthop_neighbour(t, UPLINK, 2, true, 100), NEXTHOP_NONE);
	nexthop_table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_tenant_has_its_share) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
