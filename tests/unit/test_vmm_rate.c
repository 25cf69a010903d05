// SPDX-License-Identifier: BSD-3-Clause
// vmm/rate.c on virtual time: what is done in so many seconds, with bursts, sizes and changes of
// all kinds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants those above
#include <cmocka.h>
#include "vmm/rate.h"

#define SECOND 1000000000ull

struct done {
	uint64_t ops, bytes;
};

// Operations of `size` bytes for so long, by who always has another, and asks when it was told to.
static struct done go_on(struct rate *r, uint64_t *now, uint64_t ns, uint64_t size)
{
	const uint64_t until = *now + ns;
	struct done d = { 0, 0 };

	while (*now < until) {
		const uint64_t wait = rate_begin(r, *now);

		*now += wait;
		if (wait)
			continue;
		rate_pay(r, size, *now);
		d.ops++;
		d.bytes += size;
		assert_true(d.ops < 100000000);
	}
	return d;
}

static void about(uint64_t seen, uint64_t wanted, uint64_t beside)
{
	assert_in_range(seen, wanted - beside, wanted + beside);
}

static struct rate make(struct rate_limits limits, uint64_t now)
{
	struct rate r;

	rate_init(&r, &limits, now);
	return r;
}

static void test_ops(void **state)
{
	static const uint64_t RATES[] = { 1, 3, 7, 1000, 33333, 999999 };

	for (unsigned int i = 0; i < sizeof(RATES) / sizeof(RATES[0]); i++) {
		uint64_t now = 77;
		struct rate r = make((struct rate_limits){ .ops = { RATES[i], 1 } }, now);

		// the burst, and one that is under way
		about(go_on(&r, &now, 10 * SECOND, 1 << 20).ops, 10 * RATES[i] + 1, 1);
	}
}

static void test_bytes(void **state)
{
	static const uint64_t SIZES[] = { 1, 512, 4096, 1 << 20, 64 << 20 };

	for (unsigned int i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i++) {
		const uint64_t rate = SIZES[i] * 100 + 13;
		uint64_t now = 0;
		struct rate r = make((struct rate_limits){ .bytes = { rate, 1 } }, now);

		about(go_on(&r, &now, 20 * SECOND, SIZES[i]).bytes, 20 * rate, 2 * SIZES[i]);
	}
}

// The one that is reached first counts; what costs nothing is one operation.
static void test_both(void **state)
{
	const struct rate_limits limits = { { 1 << 20, 1 }, { 100, 1 } };
	uint64_t now = 5;
	struct rate r = make(limits, now);

	about(go_on(&r, &now, 10 * SECOND, 4096).ops, 1000, 3);
	r = make(limits, now);
	about(go_on(&r, &now, 10 * SECOND, 65536).bytes, 10 << 20, 2 * 65536);
	r = make(limits, now);
	about(go_on(&r, &now, 10 * SECOND, 0).ops, 1000, 3);
}

// After a rest, at once, and never more.
static void test_burst(void **state)
{
	uint64_t now = SECOND;
	struct rate r = make((struct rate_limits){ .ops = { 100, 50 } }, now);

	about(go_on(&r, &now, 1, 0).ops, 50, 0);
	about(go_on(&r, &now, SECOND, 0).ops, 100, 1);
	now += 3600 * SECOND;
	about(go_on(&r, &now, 1, 0).ops, 50, 0);
	now += SECOND / 4;
	about(go_on(&r, &now, 1, 0).ops, 25, 1);
}

static void test_set(void **state)
{
	uint64_t now = 0;
	struct rate r = make((struct rate_limits){ .ops = { 10, 1 } }, now);
	const struct rate_limits fast = { .ops = { 1000, 1 } }, none = { { 0, 0 }, { 0, 0 } };
	struct rate_limits seen;

	go_on(&r, &now, 10 * SECOND, 0);
	rate_set(&r, &fast, now);
	about(go_on(&r, &now, 10 * SECOND, 0).ops, 10000, 101);
	rate_set(&r, &none, now);
	assert_false(r.limited);
	assert_int_equal(rate_begin(&r, now), 0);
	rate_set(&r, &fast, now);
	assert_true(r.limited);
	about(go_on(&r, &now, SECOND, 0).ops, 1000, 2);
	rate_get(&r, &seen);
	assert_int_equal(seen.ops.per_s, 1000);
}

// One huge request is paid off before the next, and with another limit as long as before.
static void test_debt(void **state)
{
	uint64_t now = 0;
	struct rate r = make((struct rate_limits){ .bytes = { 1000, 1 } }, now);
	const struct rate_limits half = { .bytes = { 500, 1 } };

	assert_int_equal(rate_begin(&r, now), 0);
	rate_pay(&r, 100001, now);
	about(rate_begin(&r, now), 100 * SECOND, 2);
	rate_set(&r, &half, now);
	about(rate_begin(&r, now), 100 * SECOND, 1000);
	now += 100 * SECOND + 1000;
	assert_int_equal(rate_begin(&r, now), 0);
}

static void test_extremes(void **state)
{
	const struct rate_limits most = { { RATE_MOST, RATE_MOST }, { RATE_MOST, RATE_MOST } };
	struct rate r = make(most, 0);
	struct rate_limits l = { { 0, 0 }, { 0, 0 } };

	for (int i = 0; i < 1000; i++) {
		rate_begin(&r, 0);
		rate_pay(&r, UINT32_MAX, 0);
	}
	assert_true(rate_begin(&r, 0) > 0);
	assert_int_equal(rate_begin(&r, UINT64_MAX), 0);
	assert_int_equal(rate_begin(&r, 5), 0); // a clock that goes back
	assert_false(rate_limits_any(&l));
	assert_false(rate_limits_set(&l, 0, RATE_MOST + 1));
	assert_false(rate_limits_set(&l, RATE_WORDS, 1));
	assert_true(rate_limits_set(&l, 2, 1));
	assert_false(rate_limits_sound(&l));
	assert_true(rate_limits_set(&l, 0, 1));
	assert_true(rate_limits_sound(&l) && rate_limits_any(&l));
	assert_true(rate_limits_parse(&l, 1, "1000000000000"));
	assert_int_equal(l.ops.per_s, RATE_MOST);
	assert_false(rate_limits_parse(&l, 1, "99999999999999999999999999"));
	assert_false(rate_limits_parse(&l, 1, "-1") || rate_limits_parse(&l, 1, "1k") ||
		     rate_limits_parse(&l, 1, "") || rate_limits_parse(&l, 1, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ops),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_both),
		cmocka_unit_test(test_burst),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_debt),
		cmocka_unit_test(test_extremes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
