// SPDX-License-Identifier: BSD-3-Clause
// vlan/storm.c: the packet-rate limit, exact to the nanosecond, also when workers share it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <pthread.h>
#include <cmocka.h>
#include "vlan/storm.h"

#define MS 1000000ull
#define SEC 1000000000ull

static unsigned admit_many(
	struct storm *s, uint32_t rate, uint32_t burst, uint64_t now_ns, unsigned offered)
{
	unsigned admitted = 0;

	while (offered-- > 0)
		admitted += storm_admit(s, rate, burst, now_ns);
	return admitted;
}

static void unlimited(void **state)
{
	struct storm s = { 0 };

	assert_int_equal(admit_many(&s, 0, 1, 0, 100000), 100000);
}

static void burst_then_rate(void **state)
{
	struct storm s = { 0 };

	assert_int_equal(admit_many(&s, 1000, 10, SEC, 100), 10);
	assert_int_equal(admit_many(&s, 1000, 10, SEC + MS - 1, 1), 0);
	assert_int_equal(admit_many(&s, 1000, 10, SEC + MS, 5), 1);
	assert_int_equal(admit_many(&s, 1000, 10, SEC + 4 * MS, 100), 3);
	// Idle time fills the bucket, never beyond the burst.
	assert_int_equal(admit_many(&s, 1000, 10, 3600 * SEC, 100), 10);
}

static void burst_zero_is_one(void **state)
{
	struct storm s = { 0 };

	assert_int_equal(admit_many(&s, 100, 0, 0, 5), 1);
	assert_int_equal(admit_many(&s, 100, 0, 10 * MS, 5), 1);
}

// At eight times the rate for ten seconds: burst + rate * time, to the packet.
static void long_run_is_exact(void **state)
{
	static const uint32_t rates[] = { 1, 3, 100, 1000, 64000 };

	for (unsigned r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
		struct storm s = { 0 };
		uint64_t admitted = 0, step = SEC / rates[r] / 8;

		for (uint64_t t = 0; t <= 10 * SEC; t += step)
			admitted += storm_admit(&s, rates[r], 5, t);
		uint64_t aim = 5 + 10ull * rates[r];
		assert_true(admitted <= aim + 1 + rates[r] / 1000);
		assert_true(admitted + 1 >= aim);
	}
}

static void same_input_same_verdicts(void **state)
{
	struct storm a = { 0 }, b = { 0 };
	uint64_t now = 0, x = 1;

	for (unsigned i = 0; i < 100000; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		now += (x >> 40) % 200000;
		assert_int_equal(storm_admit(&a, 20000, 7, now), storm_admit(&b, 20000, 7, now));
	}
}

// A policy may lower the limit: the debt of the old one does not block the port for long.
static void lowered_burst_recovers(void **state)
{
	struct storm s = { 0 };

	assert_int_equal(admit_many(&s, 1, 3600, SEC, 10000), 3600);
	assert_int_equal(admit_many(&s, 1000, 10, SEC, 1), 0);
	assert_int_equal(admit_many(&s, 1000, 10, SEC + MS, 5), 1);
	assert_int_equal(admit_many(&s, 1000, 10, SEC + 11 * MS, 50), 10);
}

// Workers stamp bursts, not packets: a clock slightly behind must not refill the bucket.
static void clocks_behind_do_not_refill(void **state)
{
	struct storm s = { 0 };

	assert_int_equal(admit_many(&s, 1000, 10, 10 * SEC, 100), 10);
	for (unsigned i = 0; i < 1000; i++) {
		assert_false(storm_admit(&s, 1000, 10, 10 * SEC - 50 * MS));
		assert_false(storm_admit(&s, 1000, 10, 10 * SEC));
	}
}

// To the nanosecond: a second behind is a worker's clock, more is another time.
static void slack_is_a_second(void **state)
{
	struct storm s = { 0 };

	assert_int_equal(admit_many(&s, 1000, 10, 10 * SEC, 100), 10);
	assert_false(storm_admit(&s, 1000, 10, 9 * SEC));
	assert_false(storm_admit(&s, 1000, 10, 10 * SEC));
	assert_false(storm_admit(&s, 1000, 10, 9 * SEC - 1));
	assert_int_equal(admit_many(&s, 1000, 10, 10 * SEC, 100), 10);
}

static void extremes(void **state)
{
	struct storm s = { 0 };

	assert_true(storm_admit(&s, UINT32_MAX, UINT32_MAX, 0));
	s = (struct storm){ 0 };
	assert_int_equal(admit_many(&s, 1, UINT32_MAX, 0, 1000), 1000);
	s = (struct storm){ 0 };
	assert_int_equal(admit_many(&s, 1, 1, UINT64_MAX / 2, 10), 1);
}

enum {
	RACE_STEPS = 300000, // of one packet interval
};

struct racer {
	struct storm *storm;
	pthread_barrier_t *start;
	unsigned admitted;
};

static void *race(void *arg)
{
	struct racer *r = arg;

	pthread_barrier_wait(r->start);
	for (uint64_t t = 0; t < RACE_STEPS; t++)
		r->admitted += admit_many(r->storm, 1000000, 100, SEC + t * 1000, 4);
	return NULL;
}

// All threads offer too much over the same time: together they get what one would.
static void shared_by_threads(void **state)
{
	struct storm s = { 0 };
	pthread_barrier_t start;
	pthread_t threads[4];
	struct racer racers[4];
	unsigned total = 0;

	pthread_barrier_init(&start, NULL, 4);
	for (unsigned i = 0; i < 4; i++) {
		racers[i] = (struct racer){ &s, &start, 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		total += racers[i].admitted;
	}
	pthread_barrier_destroy(&start);
	assert_int_equal(total, 100 + RACE_STEPS - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unlimited),
		cmocka_unit_test(burst_then_rate),
		cmocka_unit_test(burst_zero_is_one),
		cmocka_unit_test(long_run_is_exact),
		cmocka_unit_test(same_input_same_verdicts),
		cmocka_unit_test(lowered_burst_recovers),
		cmocka_unit_test(clocks_behind_do_not_refill),
		cmocka_unit_test(slack_is_a_second),
		cmocka_unit_test(extremes),
		cmocka_unit_test(shared_by_threads),
	};

	return cmocka_run_group_tests_name("storm", tests, NULL, NULL);
}
