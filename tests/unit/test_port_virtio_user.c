// SPDX-License-Identifier: BSD-3-Clause
// An ethdev port on net_virtio_user is at the mercy of whoever serves its socket: it takes bounded
// time to make and to remove, leaves nothing behind when it could not be made, and is given up for
// good when that one hangs up.
#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include "tests/unit/switch_fixture.h"
#include "tests/unit/vhost_back_end.h"

enum {
	SPARE_ID = 60,
	CREATE_MAX_MS = 2000, // 1,000, on a busy machine
	DESTROY_MAX_MS = 1500, // 500; insulad waits for 2,000
};

static struct back_end back_end;

// DPDK 22.11's virtio_user forgets 24 bytes of a back end when a later step of its probe fails.
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:vhost_user_setup\n";
}

static unsigned now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned)(t.tv_sec * 1000 + t.tv_nsec / 1000000);
}

static int add(unsigned n_queues, char err[PROTO_TEXT_SIZE])
{
	struct port_params p = { .id = SPARE_ID,
		.kind = PROTO_PORT_ETHDEV,
		.mtu = 1500,
		.n_queues = n_queues,
		.name = "spare" };

	snprintf(p.arg, sizeof(p.arg), "net_virtio_user0,path=%s,queues=%u", back_end.path,
		n_queues);
	err[0] = 0;
	return switch_port_add(fx.sw, &p, err, PROTO_TEXT_SIZE);
}

static void add_well(unsigned n_queues)
{
	char err[PROTO_TEXT_SIZE];

	if (add(n_queues, err) != 0)
		fail_msg("%s", err);
	assert_int_equal(switch_port(fx.sw, SPARE_ID)->up, 1);
	assert_int_equal(switch_port(fx.sw, SPARE_ID)->dead, 0);
}

static void add_badly(unsigned n_queues, const char *words)
{
	char err[PROTO_TEXT_SIZE];
	unsigned begun = now_ms();

	assert_int_equal(add(n_queues, err), -EIO);
	assert_in_range(now_ms() - begun, 0, CREATE_MAX_MS);
	assert_non_null(strstr(err, back_end.path));
	if (!strstr(err, words))
		fail_msg("%s", err);
	assert_null(switch_port(fx.sw, SPARE_ID));
}

static void remove_in_time(void)
{
	unsigned begun = now_ms();

	assert_int_equal(switch_port_del(fx.sw, SPARE_ID), 0);
	assert_in_range(now_ms() - begun, 0, DESTROY_MAX_MS);
}

// Each answer is well within a second, their sum is not.
static void slow_to_be_had(void **state)
{
	back_end.pause_ms = 300;
	add_badly(8, "does not answer within 1 s");
	back_end.pause_ms = 0;
	add_well(8); // nothing of the first stands in its way
	remove_in_time();
}

static void slow_to_be_let_go(void **state)
{
	add_well(8);
	back_end.pause_ms = 300;
	remove_in_time();
	back_end.pause_ms = 0;
	add_well(1);
	remove_in_time();
}

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

// insulad asks for the port again by and by.
static void nothing_is_left(void **state)
{
	static const unsigned requests[] = { BACK_END_GET_FEATURES,
		BACK_END_GET_PROTOCOL_FEATURES };
	unsigned before;

	add_well(8); // what DPDK makes once it has then
	remove_in_time();
	while (back_end.n_ended < 1)
		sched_yield();
	before = count_fds();
	for (unsigned i = 0; i < 6; i++) {
		back_end.hangs_up_at = requests[i % 2];
		add_badly(8, "hangs up");
		while (back_end.connection >= 0)
			sched_yield();
		assert_int_equal(count_fds(), before);
	}
	back_end.hangs_up_at = 0;
	add_well(8);
	remove_in_time();
}

// The driver neither says so nor dials again.
static void hangs_up_in_use(void **state)
{
	for (unsigned i = 0; i < 3; i++) {
		unsigned begun = now_ms();

		add_well(2);
		back_end_hang_up(&back_end);
		while (!switch_port(fx.sw, SPARE_ID)->dead) {
			assert_in_range(now_ms() - begun, 0, 5000);
			poll(NULL, 0, 1);
		}
		assert_int_equal(switch_port(fx.sw, SPARE_ID)->up, 0);
		remove_in_time();
	}
	add_well(2);
	remove_in_time();
}

// An answer that nobody waits for keeps DPDK's interrupt thread in the driver; who removes the port
// meanwhile takes that thread's device away from it.
static void says_too_much(void **state)
{
	for (unsigned i = 0; i < 20; i++) {
		add_well(1);
		assert_int_equal(send(back_end.connection, "x", 1, MSG_NOSIGNAL), 1);
		poll(NULL, 0, 1);
		remove_in_time();
		while (back_end.n_ended <= i)
			sched_yield();
	}
}

// While the port is started; the driver takes no notice.
static void hangs_up_in_the_middle(void **state)
{
	back_end.hangs_up_at = BACK_END_SET_VRING_KICK;
	for (unsigned i = 0; i < 3; i++)
		add_badly(8, "hangs up");
	back_end.hangs_up_at = 0;
	add_well(8);
	remove_in_time();
}

// Room for the packet buffers of eight queues.
static int start_eal(void **state)
{
	char *args[] = { "test", "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m",
		"256", "--log-level=error", "-l", "0", NULL };

	return rte_eal_init(10, args) < 0 ? -1 : 0;
}

static int setup(void **state)
{
	back_end_start(&back_end);
	return fixture_setup(state);
}

static int teardown(void **state)
{
	int r = fixture_teardown(state);

	back_end_stop(&back_end);
	return r;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(slow_to_be_had, setup, teardown),
		cmocka_unit_test_setup_teardown(slow_to_be_let_go, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_left, setup, teardown),
		cmocka_unit_test_setup_teardown(hangs_up_in_use, setup, teardown),
		cmocka_unit_test_setup_teardown(says_too_much, setup, teardown),
		cmocka_unit_test_setup_teardown(hangs_up_in_the_middle, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	alarm(100);
	return cmocka_run_group_tests(tests, start_eal, NULL);
}
