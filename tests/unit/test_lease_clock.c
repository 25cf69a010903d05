// SPDX-License-Identifier: BSD-3-Clause
// Dynamic leases and the time of day: setting it ends no lease and prolongs none, neither while
// insulad runs nor when it starts again; after a reboot none lasts longer than it was given for.
#include "tests/unit/desired_fixture.h"
#include <sys/syscall.h>
#include <time.h>
#include "control/daemon_internal.h"
#include "control/lease_internal.h"

enum { YEAR = 31536000 };

static const char yaml[] = FIXTURE_MANY("10.0.0.0/24", "10.0.0.100-10.0.0.199");

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

// A lease of so many s, as an insulad stores it that knows the time of day only.
static void put_lease(struct daemon *d, int64_t remaining_s)
{
	struct store_lease lease = { .segment = d->desired->segments[0].id,
		.port = desired_port_by_name(d->desired, "red/desk.eth0")->id,
		.address = inet_addr("10.0.0.100"),
		.mac = { { 2, 0, 0, 0, 0, 7 } } };
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	lease.expires_at = now.tv_sec + remaining_s;
	assert_int_equal(store_put_lease(fixture_store, &lease), 0);
}

static void assert_whatever_is_set(struct daemon *d, int64_t expected_s)
{
	static const int64_t steps[] = { YEAR, 7200, -26 * 3600, -10 * YEAR, 0 };

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		set_by_s = steps[i];
		assert_lasts(d, expected_s);
		stop(d);
		start(d);
		assert_lasts(d, expected_s);
	}
}

static void the_time_of_day_is_set(void **state)
{
	struct daemon d = { .desired = fixture_desired(yaml) };
	struct lease *x;

	put_lease(&d, 1000);
	start(&d);
	assert_whatever_is_set(&d, 1000);
	// Extended, as on_request does it.
	x = lease_first_to_end(&d.leases->index);
	lease_ends_in(d.leases, x, 3600);
	assert_int_equal(store_put_lease(fixture_store, &x->s), 0);
	assert_whatever_is_set(&d, 3600);
	stop(&d);
	desired_free(d.desired);
}

static void copy(void *arg, const struct store_lease *s)
{
	*(struct store_lease *)arg = *s;
}

// What is stored is of the boot before this one.
static void reboot(struct daemon *d, int64_t boot_ends_ns)
{
	struct store_lease lease;

	stop(d);
	assert_int_equal(store_each_lease(fixture_store, copy, &lease), 0);
	lease.boot ^= 1;
	lease.boot_ends_ns = boot_ends_ns;
	assert_int_equal(store_put_lease(fixture_store, &lease), 0);
	start(d);
}

static void the_host_boots(void **state)
{
	struct daemon d = { .desired = fixture_desired(yaml) };
	struct lease *x;

	put_lease(&d, 1000);
	start(&d);
	x = lease_first_to_end(&d.leases->index);
	lease_ends_in(d.leases, x, 3600);
	assert_int_equal(store_put_lease(fixture_store, &x->s), 0);
	set_by_s = 1000;
	reboot(&d, 1);
	assert_lasts(&d, 2600);
	set_by_s = -26 * 3600; // a clock without a battery: it is set right when there is a network
	reboot(&d, INT64_MAX);
	assert_lasts(&d, 3600);
	assert_whatever_is_set(&d, 3600);
	stop(&d);
	desired_free(d.desired);
}

static void quit(void *arg)
{
	loop_quit(arg);
}

// What ended while no insulad was there is gone from the list when the first timers are served.
static void what_ended_meanwhile_is_not_listed(void **state)
{
	struct daemon d = { .desired = fixture_desired(yaml) };
	struct lease_cursor c = { 0 };
	struct loop_source *timer;

	put_lease(&d, -10);
	start(&d);
	assert_int_equal(loop_add_timer(d.loop, quit, d.loop, &timer), 0);
	loop_timer_arm(timer, 300000000);
	assert_int_equal(loop_run(d.loop), 0);
	assert_null(leases_next(d.leases, &c));
	loop_remove(d.loop, timer);
	stop(&d);
	desired_free(d.desired);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			the_time_of_day_is_set, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(the_host_boots, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			what_ended_meanwhile_is_not_listed, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
