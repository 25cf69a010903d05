// SPDX-License-Identifier: BSD-3-Clause
// vmm/seldom.c on virtual time: what is told of something that happens often.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants those above
#include <cmocka.h>
#include "vmm/seldom.h"

#define SECOND 1000000000ull

static void test_seldom(void **state)
{
	const uint64_t now = 5 * SECOND;
	struct seldom s = { 0 };

	assert_int_equal(seldom_count(&s, 1, now), 1);
	for (unsigned int i = 1; i < 60; i++)
		assert_int_equal(seldom_count(&s, 2, now + i * SECOND), 0);
	assert_int_equal(seldom_count(&s, 1, now + 60 * SECOND), 59 * 2 + 1);
	assert_int_equal(seldom_count(&s, 1, now + 60 * SECOND), 0);
	assert_int_equal(seldom_count(&s, 1, now + 1000 * SECOND), 2);
	assert_int_equal(seldom_count(&s, 1, now + 2000 * SECOND), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_seldom) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
