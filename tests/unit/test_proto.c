// SPDX-License-Identifier: BSD-3-Clause
// The framing of the control protocol: what is well formed passes with its fds, what lies is
// refused and leaks no fd.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "control/proto_io.h"

static int sv[2];
static struct proto_message *msg;

static int setup(void **state)
{
	msg = malloc(sizeof(*msg));
	return msg ? socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) : -1;
}

static int teardown(void **state)
{
	free(msg);
	close(sv[0]);
	close(sv[1]);
	return 0;
}

static unsigned count_fds(void)
{
	unsigned n = 0;
	for (int i = 0; i < 256; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

static void test_round_trip_with_fds(void **state)
{
	struct proto_port_add a = { .id = 7, .n_queues = 2, .name = "red/a.eth0" };
	int fds[2] = { sv[0], sv[1] };
	unsigned before = count_fds();

	proto_header_init(&a.h, PROTO_PORT_ADD, 1, sizeof(a));
	assert_int_equal(proto_send(sv[0], &a, fds, 2), 0);
	assert_int_equal(proto_recv(sv[1], msg), 0);
	assert_int_equal(msg->n_fds, 2);
	assert_true(fcntl(msg->fds[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(proto_check_request(msg), 0);
	assert_memory_equal(msg->bytes, &a, sizeof(a));
	proto_message_clear(msg);
	assert_int_equal(count_fds(), before);
	assert_int_equal(proto_recv(sv[1], msg), -EAGAIN);
}

static void refused(const void *data, size_t size)
{
	assert_int_equal(send(sv[0], data, size, 0), size);
	assert_int_equal(proto_recv(sv[1], msg), -EBADMSG);
}

static void test_lying_headers(void **state)
{
	struct proto_port_id good, bad;

	proto_header_init(&good.h, PROTO_PORT_DEL, 1, sizeof(good));
	bad = good;
	bad.h.magic++;
	refused(&bad, sizeof(bad));
	bad = good;
	bad.h.version++;
	refused(&bad, sizeof(bad));
	bad = good;
	bad.h.size++;
	refused(&bad, sizeof(bad));
	for (size_t n = 1; n < sizeof(good); n++)
		refused(&good, n);
	assert_int_equal(shutdown(sv[0], SHUT_WR), 0);
	assert_int_equal(proto_recv(sv[1], msg), -ECONNRESET);
}

static void test_oversized_is_refused(void **state)
{
	size_t size = PROTO_MAX_SIZE + 8;
	struct proto_header *h = calloc(1, size);

	proto_header_init(h, PROTO_HELLO, 1, size);
	assert_int_equal(proto_send(sv[0], h, NULL, 0), -EMSGSIZE);
	refused(h, size);
	free(h);
}

static void test_bad_messages_leak_no_fds(void **state)
{
	struct proto_port_id m;
	int fd = sv[0];
	unsigned before = count_fds();

	proto_header_init(&m.h, PROTO_PORT_DEL, 1, sizeof(m));
	m.h.version = 99;
	assert_int_equal(proto_send(sv[0], &m, &fd, 1), 0);
	assert_int_equal(proto_recv(sv[1], msg), -EBADMSG);
	assert_int_equal(count_fds(), before);
}

// No byte of data, but fds.
static void test_empty_message_leaks_no_fds(void **state)
{
	union {
		struct cmsghdr c;
		uint8_t bytes[CMSG_SPACE(sizeof(int))];
	} control = { .c = { .cmsg_len = CMSG_LEN(sizeof(int)),
			      .cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS } };
	struct iovec none = { .iov_base = NULL };
	struct msghdr mh = { .msg_iov = &none,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	unsigned before = count_fds();

	memcpy(CMSG_DATA(&control.c), &sv[0], sizeof(int));
	assert_int_equal(sendmsg(sv[0], &mh, 0), 0);
	assert_int_equal(proto_recv(sv[1], msg), -ECONNRESET);
	assert_int_equal(count_fds(), before);
}

// Delivers m and returns what `check` of requests says; clears the fds.
static int request_check(const void *m, const int *fds, unsigned n_fds)
{
	assert_int_equal(proto_send(sv[0], m, fds, n_fds), 0);
	assert_int_equal(proto_recv(sv[1], msg), 0);
	int r = proto_check_request(msg);
	proto_message_clear(msg);
	return r;
}

static void test_requests(void **state)
{
	struct proto_port_add a = { .id = 1 };
	struct proto_port_id d = { .id = 1 };
	struct proto_section_put s = { 0 };
	int fd = sv[0];

	proto_header_init(&d.h, PROTO_PORT_DEL, 1, sizeof(d));
	assert_int_equal(request_check(&d, NULL, 0), 0);
	assert_int_equal(request_check(&d, &fd, 1), -EBADMSG); // an fd nobody asked for
	d.h.seq = 0;
	assert_int_equal(request_check(&d, NULL, 0), -EBADMSG);
	proto_header_init(&d.h, PROTO_TYPE_COUNT, 1, sizeof(d));
	assert_int_equal(request_check(&d, NULL, 0), -EBADMSG);
	proto_header_init(&d.h, 0, 1, sizeof(d));
	assert_int_equal(request_check(&d, NULL, 0), -EBADMSG);
	proto_header_init(&d.h, PROTO_EVENT_PORT, 1, sizeof(d));
	assert_int_equal(request_check(&d, NULL, 0), -EBADMSG);
	proto_header_init(&d.h, PROTO_PORT_DEL | PROTO_REPLY, 1, sizeof(d));
	assert_int_equal(request_check(&d, NULL, 0), -EBADMSG);
	proto_header_init(&s.h, PROTO_SECTION_PUT, 1, sizeof(s));
	assert_int_equal(request_check(&s, NULL, 0), -EBADMSG); // without its memfd
	assert_int_equal(request_check(&s, &fd, 1), 0);
	proto_header_init(&a.h, PROTO_PORT_ADD, 1, sizeof(a));
	assert_int_equal(request_check(&a, &fd, 1), 0);
	memset(a.arg, 'x', sizeof(a.arg)); // not terminated
	assert_int_equal(request_check(&a, &fd, 1), -EBADMSG);
	memset(a.arg, 0, sizeof(a.arg));
	a.n_queues = PROTO_MAX_QUEUES + 1;
	assert_int_equal(request_check(&a, &fd, 1), -EBADMSG);
}

static int reply_check(const void *m, uint16_t type, uint32_t seq)
{
	assert_int_equal(proto_send(sv[0], m, NULL, 0), 0);
	assert_int_equal(proto_recv(sv[1], msg), 0);
	int r = proto_check_reply(msg, type, seq);
	proto_message_clear(msg);
	return r;
}

static void test_replies(void **state)
{
	struct proto_header request;
	struct {
		struct proto_port_list l;
		struct proto_port_entry e[2];
	} list = { 0 };
	struct proto_hello hello = { 0 };

	proto_header_init(&request, PROTO_PORT_LIST, 9, sizeof(struct proto_cursor));
	proto_status_init(&list.l.s, &request, sizeof(list), 0, NULL);
	list.l.n = 2;
	assert_int_equal(reply_check(&list, PROTO_PORT_LIST, 9), 0);
	assert_int_equal(reply_check(&list, PROTO_PORT_LIST, 8), -EBADMSG);
	assert_int_equal(reply_check(&list, PROTO_PORT_STATS, 9), -EBADMSG);
	memset(list.e[1].name, 'x', sizeof(list.e[1].name));
	assert_int_equal(reply_check(&list, PROTO_PORT_LIST, 9), -EBADMSG);
	list.e[1].name[3] = 0;
	list.l.n = 3; // says more than it holds
	assert_int_equal(reply_check(&list, PROTO_PORT_LIST, 9), -EBADMSG);
	list.l.n = UINT32_MAX;
	assert_int_equal(reply_check(&list, PROTO_PORT_LIST, 9), -EBADMSG);

	proto_header_init(&request, PROTO_HELLO, 3, sizeof(request));
	proto_status_init(&hello.s, &request, sizeof(hello), 0, "text");
	assert_int_equal(reply_check(&hello, PROTO_HELLO, 3), 0);
	proto_status_init(&hello.s, &request, sizeof(hello.s), 0, NULL);
	assert_int_equal(reply_check(&hello, PROTO_HELLO, 3), -EBADMSG); // no error, yet short
	proto_status_init(&hello.s, &request, sizeof(hello.s), -EINVAL, "no");
	assert_int_equal(reply_check(&hello, PROTO_HELLO, 3), 0);
}

// By its size alone, and as many as it says.
static void test_lease_list(void **state)
{
	struct proto_header request;
	struct proto_cursor q = { .cursor = UINT32_MAX };
	struct {
		struct proto_lease_list l;
		struct proto_lease_entry e[2];
	} list = { 0 };

	static_assert(sizeof(struct proto_lease_entry) == 20 &&
			      sizeof(list) == sizeof(list.l) + sizeof(list.e),
		"no holes");
	proto_header_init(&q.h, PROTO_LEASE_LIST, 1, sizeof(q));
	assert_int_equal(request_check(&q, NULL, 0), 0);
	assert_int_equal(request_check(&q, sv, 1), -EBADMSG);
	proto_header_init(&q.h, PROTO_LEASE_LIST, 1, sizeof(q.h));
	assert_int_equal(request_check(&q, NULL, 0), -EBADMSG);
	proto_header_init(&request, PROTO_LEASE_LIST, 2, sizeof(q));
	proto_status_init(&list.l.s, &request, sizeof(list), 0, NULL);
	for (uint32_t n = 0; n < 5; n++) {
		list.l.n = n < 4 ? n : (1u << 30) + 2; // 20 times that is 40 in 32 bits
		assert_int_equal(reply_check(&list, PROTO_LEASE_LIST, 2), n == 2 ? 0 : -EBADMSG);
	}
	list.l.n = 2;
	assert_int_equal(reply_check(&list, PROTO_SESSIONS, 2), -EBADMSG);
	proto_status_init(&list.l.s, &request, sizeof(list) - 4, 0, NULL);
	assert_int_equal(reply_check(&list, PROTO_LEASE_LIST, 2), -EBADMSG);
	proto_status_init(&list.l.s, &request, sizeof(list.l.s), 0, NULL);
	assert_int_equal(reply_check(&list, PROTO_LEASE_LIST, 2), -EBADMSG); // without its n
}

static void test_events(void **state)
{
	struct proto_lease_event e = { .kind = PROTO_LEASE_REQUEST };

	proto_header_init(&e.h, PROTO_EVENT_LEASE, 0, sizeof(e));
	for (int i = 0; i < 4; i++) {
		if (i == 1)
			e.kind = PROTO_LEASE_KIND_COUNT;
		if (i == 2)
			e.kind = 0, e.client_id_size = 65;
		if (i == 3)
			e.client_id_size = 0, memset(e.hostname, 'h', sizeof(e.hostname));
		assert_int_equal(proto_send(sv[0], &e, NULL, 0), 0);
		assert_int_equal(proto_recv(sv[1], msg), 0);
		assert_int_equal(proto_check_event(msg), i == 0 ? 0 : -EBADMSG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip_with_fds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lying_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_oversized_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_messages_leak_no_fds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_empty_message_leaks_no_fds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lease_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
