// SPDX-License-Identifier: BSD-3-Clause
// Dynamic leases and the time of day: setting it ends no lease and prolongs none, neither while
// insulad runs nor for longer than any lease lasts when it starts again.
#include "tests/unit/desired_fixture.h"
#include <sys/syscall.h>
#include <time.h>
#include "control/daemon_internal.h"
#include "control/lease.h"

enum { YEAR = 31536000 };

static const char yaml[] = "version: 1\n"
			   "tenants:\n"
			   "  - name: red\n"
			   "    networks:\n"
			   "      - {name: lan, vlan: 10, subnet: 10.0.0.0/24, gateway: 10.0.0.1, "
			   "pool: 10.0.0.100-10.0.0.199}\n"
			   "    instances:\n"
			   "      - name: desk\n"
			   "        nics:\n"
			   "          - {network: lan, interface: t1, clients: many}\n";

static int64_t set_by_s; // the time of day, against the truth

// In libc's place, for all that is linked here.
int clock_gettime(clockid_t clock, struct timespec *ts)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ts);

	if (clock == CLOCK_REALTIME)
		ts->tv_sec += set_by_s;
	return r;
}

static void start(struct daemon *d)
{
	assert_int_equal(loop_new(&d->loop), 0);
	d->store = fixture_store;
	assert_int_equal(leases_new(d, &d->leases), 0);
}

static void stop(struct daemon *d)
{
	leases_free(d->leases);
	loop_free(d->loop);
}

static void assert_lasts(struct daemon *d, int64_t expected_s)
{
	struct lease_cursor c = { 0 };
	json_t *lease = leases_next(d->leases, &c);
	int64_t s;

	assert_non_null(lease);
	s = json_integer_value(json_object_get(lease, "expires_s"));
	assert_in_range(s, expected_s - 60, expected_s);
	json_decref(lease);
	assert_null(leases_next(d->leases, &c));
}

static void the_time_of_day_is_set(void **state)
{
	struct daemon d = { .desired = fixture_desired(yaml) };
	struct store_lease lease = { .segment = d.desired->segments[0].id,
		.port = desired_port_by_name(d.desired, "red/desk.eth0")->id,
		.address = inet_addr("10.0.0.100"),
		.mac = { { 2, 0, 0, 0, 0, 7 } } };
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	lease.expires_at = now.tv_sec + 1000;
	assert_int_equal(store_put_lease(fixture_store, &lease), 0);
	start(&d);
	assert_lasts(&d, 1000);
	set_by_s = YEAR;
	assert_lasts(&d, 1000);
	set_by_s = -10 * YEAR;
	assert_lasts(&d, 1000);
	stop(&d);
	start(&d);
	assert_lasts(&d, YEAR);
	stop(&d);
	set_by_s = 0;
	desired_free(d.desired);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(
		the_time_of_day_is_set, fixture_setup, fixture_teardown) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
