// SPDX-License-Identifier: BSD-3-Clause
// switch_lease_requests against a switch of the test's own, a thread: requests go ahead of their
// replies, events in between are kept for later, a refusal is told, and so is a connection that
// breaks.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "control/switch_client.h"

enum { N = 40, AHEAD = 32, REFUSED = 7, CLOSED_AFTER = 35 };

struct fake {
	char dir[64], path[96];
	int listen_fd;
	unsigned until; // it closes the connection after so many replies
	unsigned n_events, n_refused;
	char why[256];
};

static void reply_to(int fd, const struct proto_message *m)
{
	const struct proto_lease_answer *q = (const void *)m->bytes;
	bool no = q->token == REFUSED;
	struct proto_status s;

	proto_status_init(&s, &m->h, sizeof(s), no ? -EINVAL : 0, no ? "not this one" : NULL);
	assert_int_equal(proto_send(fd, &s, NULL, 0), 0);
}

// Answers the first only when it has AHEAD of them, then the rest likewise; an event goes before.
static void *serve(void *arg)
{
	struct fake *f = arg;
	struct proto_message *held = calloc(AHEAD, sizeof(*held));
	struct proto_lease_event e = { .kind = PROTO_LEASE_DISCOVER };
	int fd = accept(f->listen_fd, NULL, NULL);
	unsigned done = 0;

	while (done < f->until) {
		unsigned n = done ? N - AHEAD : AHEAD;

		for (unsigned i = 0; i < n; i++)
			if (proto_recv(fd, &held[i]) < 0)
				goto out;
		proto_header_init(&e.h, PROTO_EVENT_LEASE, 0, sizeof(e));
		assert_int_equal(proto_send(fd, &e, NULL, 0), 0);
		for (unsigned i = 0; i < n && done < f->until; i++, done++)
			reply_to(fd, &held[i]);
	}
out:
	close(fd);
	free(held);
	return NULL;
}

static void on_event(void *arg, const struct proto_header *event)
{
	struct fake *f = arg;

	f->n_events++;
}

static struct loop *the_loop;

static void on_batch_end(void *arg)
{
	loop_quit(the_loop);
}

static void on_gone(void *arg, const char *reason)
{
	loop_quit(the_loop);
}

static void on_refused(void *arg, const struct switch_lease_request *request, const char *why)
{
	struct fake *f = arg;

	f->n_refused++;
	snprintf(f->why, sizeof(f->why), "%s", why);
}

// What switch_lease_requests returned.
static int run(struct fake *f)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct switch_client_handler handler = {
		.event = on_event, .batch_end = on_batch_end, .gone = on_gone, .arg = f
	};
	struct switch_lease_request requests[N] = { 0 };
	struct switch_client *c;
	pthread_t thread;
	pid_t pid;
	int r;

	strcpy(f->dir, "/tmp/insula-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
	strcpy(sun.sun_path, f->path);
	f->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->listen_fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(f->listen_fd, 1), 0);
	assert_int_equal(pthread_create(&thread, NULL, serve, f), 0);
	assert_int_equal(loop_new(&the_loop), 0);
	assert_int_equal(switch_client_open(the_loop, f->path, &handler, &c, &pid), 0);
	for (unsigned i = 0; i < N; i++) {
		requests[i].h.type = PROTO_LEASE_ANSWER;
		requests[i].h.size = sizeof(requests[i].answer);
		requests[i].answer.token = i + 1;
	}
	r = switch_lease_requests(c, requests, N, on_refused, f);
	loop_run(the_loop);
	switch_client_free(c);
	loop_free(the_loop);
	pthread_join(thread, NULL);
	close(f->listen_fd);
	unlink(f->path);
	rmdir(f->dir);
	return r;
}

static void many_go_ahead(void **state)
{
	struct fake f = { .until = N };

	assert_int_equal(run(&f), 0);
	assert_int_equal(f.n_events, 2);
	assert_int_equal(f.n_refused, 1);
	assert_string_equal(f.why, "not this one");
}

static void the_connection_breaks(void **state)
{
	struct fake f = { .until = CLOSED_AFTER };

	assert_int_equal(run(&f), -EPIPE);
	assert_int_equal(f.n_refused, 2); // and once for all the rest
	assert_non_null(strstr(f.why, "insula-switch: "));
}

static void nobody_is_connected(void **state)
{
	struct switch_lease_request request = { 0 };
	struct fake f = { 0 };

	assert_int_equal(switch_lease_requests(NULL, &request, 1, on_refused, &f), -ENOTCONN);
	assert_string_equal(f.why, "insula-switch is not connected");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_go_ahead),
		cmocka_unit_test(the_connection_breaks),
		cmocka_unit_test(nobody_is_connected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
