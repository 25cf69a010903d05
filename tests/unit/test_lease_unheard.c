// SPDX-License-Identifier: BSD-3-Clause
// What the log says of RELEASE and DECLINE that could not be stored: each batch's first, five lines
// in ten seconds, and what had no line is counted in the next.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "control/lease_internal.h"
#include "tests/unit/desired_fixture.h"

static const char yaml[] = FIXTURE_MANY("10.0.0.0/24", "10.0.0.100-10.0.0.199");

static struct daemon d;
static char why[] = "it is of a newer insulad"; // the stored file is refused
static time_t stands_at_s;
static FILE *told; // in standard error's place
static int stderr_fd;

// In libc's place, for all that is linked here.
int clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (clock != CLOCK_BOOTTIME)
		return (int)syscall(SYS_clock_gettime, clock, ts);
	*ts = (struct timespec){ .tv_sec = stands_at_s };
	return 0;
}

static int start(void **state)
{
	fixture_setup(state);
	memset(&d, 0, sizeof(d));
	stands_at_s = 1000;
	d.store = fixture_store;
	assert_int_equal(loop_new(&d.loop), 0);
	d.desired = fixture_desired(yaml);
	assert_int_equal(leases_new(&d, &d.leases), 0);
	told = tmpfile();
	assert_non_null(told);
	stderr_fd = dup(STDERR_FILENO);
	dup2(fileno(told), STDERR_FILENO);
	return 0;
}

static int stop(void **state)
{
	dup2(stderr_fd, STDERR_FILENO);
	close(stderr_fd);
	fclose(told);
	leases_free(d.leases);
	loop_free(d.loop);
	desired_free(d.desired);
	return fixture_teardown(state);
}

static void say(uint32_t kind, unsigned client)
{
	const struct proto_lease_event e = { .kind = kind,
		.port = desired_port_by_name(d.desired, "red/desk.eth0")->id,
		.segment = d.desired->segments[0].id,
		.address = htonl(0x0a000064 + client),
		.mac = { { 2, 0, 0, 0, 0, (uint8_t)client } } };

	leases_on_event(d.leases, &e);
}

// The lines since the last call: how many, and what the last says behind "lease: ".
static unsigned n_lines(char text[300])
{
	char line[400];
	unsigned n = 0;

	text[0] = 0;
	rewind(told);
	while (fgets(line, sizeof(line), told)) {
		const char *what = strstr(line, "lease: ");

		if (!strstr(line, "not stored")) // no switch is connected
			continue;
		assert_non_null(what);
		snprintf(text, 300, "%.*s", (int)strcspn(what, "\n"), what);
		n++;
	}
	assert_int_equal(ftruncate(fileno(told), 0), 0);
	rewind(told);
	lseek(STDERR_FILENO, 0, SEEK_SET);
	return n;
}

static void batch(uint32_t first, unsigned client)
{
	say(PROTO_LEASE_DISCOVER, 50); // which asks again
	say(first, client);
	say(PROTO_LEASE_DECLINE, 60);
	leases_batch_end(d.leases);
}

static void every_one_is_counted(void **state)
{
	char text[300];

	d.held = why;
	batch(PROTO_LEASE_RELEASE, 3);
	assert_int_equal(n_lines(text), 1);
	assert_string_equal(text,
		"lease: a RELEASE of 10.0.0.103 by 02:00:00:00:00:03 was not stored (the stored "
		"configuration is refused); such messages since the last such line: 2");
	for (unsigned i = 0; i < 4; i++)
		batch(PROTO_LEASE_DECLINE, 4);
	assert_int_equal(n_lines(text), 4);
	assert_string_equal(text,
		"lease: a DECLINE of 10.0.0.104 by 02:00:00:00:00:04 was not stored (the stored "
		"configuration is refused); such messages since the last such line: 2");
	for (unsigned i = 0; i < 3; i++)
		batch(PROTO_LEASE_RELEASE, 5);
	assert_int_equal(n_lines(text), 0);
	stands_at_s += 11;
	batch(PROTO_LEASE_RELEASE, 6);
	assert_int_equal(n_lines(text), 1);
	assert_non_null(strstr(text, "10.0.0.106 by"));
	assert_non_null(strstr(text, "since the last such line: 8"));
}

// Once all is well again, by whatever comes next; and only once.
static void the_rest_is_told_later(void **state)
{
	char text[300];

	d.held = why;
	for (unsigned i = 0; i < 7; i++)
		batch(PROTO_LEASE_RELEASE, 3);
	assert_int_equal(n_lines(text), 5);
	d.held = NULL;
	say(PROTO_LEASE_DISCOVER, 51);
	leases_batch_end(d.leases);
	assert_int_equal(n_lines(text), 0); // still within ten seconds
	stands_at_s += 11;
	for (unsigned i = 0; i < 2; i++) {
		say(PROTO_LEASE_DISCOVER, 51);
		leases_batch_end(d.leases);
		assert_int_equal(n_lines(text), i == 0);
		if (i == 0)
			assert_string_equal(
				text, "lease: further messages that end leases were not stored: 4");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_one_is_counted, start, stop),
		cmocka_unit_test_setup_teardown(the_rest_is_told_later, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
