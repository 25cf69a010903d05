// SPDX-License-Identifier: BSD-3-Clause
// How long insulad waits for the switch: 2 s, and longer for a DPDK device, whose card may have to
// be reset. Against a switch of the test's own, a thread that takes its time.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#include "tests/unit/fake_switch.h"

enum { SLOW_MS = 2500 };

// Answers one request late, unless nobody waits any more.
static void *serve(void *arg)
{
	const int *listen_fd = arg;
	const struct timespec slow = { SLOW_MS / 1000, SLOW_MS % 1000 * 1000000 };
	struct proto_message *m = calloc(1, sizeof(*m));
	struct proto_status s;
	int fd = accept(*listen_fd, NULL, NULL);

	if (proto_recv(fd, m) == 0) {
		nanosleep(&slow, NULL);
		proto_status_init(&s, &m->h, sizeof(s), 0, NULL);
		proto_send(fd, &s, NULL, 0);
	}
	close(fd);
	free(m);
	return NULL;
}

static int add(enum proto_port_kind kind, char *err, size_t err_size)
{
	const struct switch_client_handler handler = fake_switch_unheeded();
	struct proto_port_add request = {
		.id = 1, .kind = (uint16_t)kind, .mtu = 1500, .n_queues = 1, .name = "p", .arg = "a"
	};
	struct sockaddr_un sun;
	char dir[] = "/tmp/insula-test-XXXXXX";
	struct switch_client *c;
	struct loop *loop;
	pthread_t thread;
	pid_t pid;

	assert_non_null(mkdtemp(dir));
	int fd = fake_switch_listen(dir, &sun);
	assert_int_equal(pthread_create(&thread, NULL, serve, &fd), 0);
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(switch_client_open(loop, sun.sun_path, &handler, &c, &pid), 0);
	int r = switch_port_add(c, &request, NULL, 0, err, err_size);
	switch_client_free(c);
	loop_free(loop);
	pthread_join(thread, NULL);
	close(fd);
	unlink(sun.sun_path);
	rmdir(dir);
	return r;
}

static void a_tap_is_quick(void **state)
{
	char err[256] = "";

	assert_int_equal(add(PROTO_PORT_TAP, err, sizeof(err)), -ETIMEDOUT);
	assert_non_null(strstr(err, "did not answer within 2 s"));
}

static void a_device_may_be_slow(void **state)
{
	char err[256] = "";

	assert_int_equal(add(PROTO_PORT_ETHDEV, err, sizeof(err)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tap_is_quick),
		cmocka_unit_test(a_device_may_be_slow),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
