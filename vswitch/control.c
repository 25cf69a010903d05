// SPDX-License-Identifier: BSD-3-Clause
// The control thread's loop: accepts insulad (the newest connection wins), reads one request at a
// time and answers it. A malformed message closes the connection and changes nothing.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vswitch/control.h"

enum event_source { FROM_LISTEN, FROM_CONNECTION, FROM_WORKERS, FROM_SIGNAL };

enum { REPLY_WAIT_MS = 200, COMPLAINT_NS = 1000000000 };

static void close_connection(struct control *c)
{
	if (c->conn_fd >= 0)
		close(c->conn_fd); // leaves the epoll by itself
	c->conn_fd = -1;
	control_staged_drop(c);
	parked_clear(c->parking);
}

void control_reply(struct control *c, const void *msg, const int *fds, unsigned n_fds)
{
	struct pollfd p = { .fd = c->conn_fd, .events = POLLOUT };
	int r = c->conn_fd >= 0 ? proto_send(c->conn_fd, msg, fds, n_fds) : 0;

	// Events may fill the socket; insulad, waiting for this, is about to read them.
	if (r == -EAGAIN && poll(&p, 1, REPLY_WAIT_MS) > 0)
		r = proto_send(c->conn_fd, msg, fds, n_fds);
	if (r < 0)
		close_connection(c); // insulad does not read: it will connect again
}

void control_reply_status(struct control *c, int error, const char *text)
{
	struct proto_status s;

	proto_status_init(&s, &c->in->h, sizeof(s), error, text);
	control_reply(c, &s, NULL, 0);
}

int control_event(struct control *c, void *msg, uint16_t type, size_t size)
{
	proto_header_init(msg, type, 0, size);
	return c->conn_fd >= 0 ? proto_send(c->conn_fd, msg, NULL, 0) : -ENOTCONN;
}

static void hello(struct control *c)
{
	const struct policy *pol = c->sw->policy;
	struct proto_hello h = { .pid = (uint32_t)getpid(),
		.n_workers = c->sw->n_workers,
		.generation = pol->generation,
		.started_ns = c->started_ns };

	memcpy(h.root_hash, pol->root_hash, sizeof(h.root_hash));
	proto_status_init(&h.s, &c->in->h, sizeof(h), 0, NULL);
	control_reply(c, &h, NULL, 0);
}

static void port_del(struct control *c)
{
	const struct proto_port_id *q = (const void *)c->in->bytes;
	int r = switch_port_del(c->sw, q->id);

	control_reply_status(c, r, r < 0 ? "no such port" : NULL);
}

static void sync_workers(struct control *c)
{
	char text[PROTO_TEXT_SIZE];
	unsigned worker;
	int r = progress_sync(c->sw, &worker);

	if (r < 0)
		snprintf(text, sizeof(text), "worker %u makes no progress", worker);
	control_reply_status(c, r, r < 0 ? text : NULL);
}

static void serve(struct control *c)
{
	switch ((enum proto_type)c->in->h.type) {
	case PROTO_HELLO:
		hello(c);
		return;
	case PROTO_PORT_ADD:
		control_port_add(c);
		return;
	case PROTO_PORT_DEL:
		port_del(c);
		return;
	case PROTO_PORT_LIST:
		control_port_list(c);
		return;
	case PROTO_PORT_FDS:
		control_port_fds(c);
		return;
	case PROTO_SECTION_PUT:
		control_section_put(c);
		return;
	case PROTO_POLICY_COMMIT:
		control_policy_commit(c);
		return;
	case PROTO_PORT_STATS:
		control_port_stats(c);
		return;
	case PROTO_DROPS:
		control_drops(c);
		return;
	case PROTO_SESSIONS:
		control_sessions(c);
		return;
	case PROTO_LEASE_ANSWER:
		control_lease_answer(c);
		return;
	case PROTO_LEASE_SET:
		control_lease_set(c);
		return;
	case PROTO_LEASE_LIST:
		control_lease_list(c);
		return;
	case PROTO_SYNC:
		sync_workers(c);
		return;
	case PROTO_EVENT_LEASE:
	case PROTO_EVENT_PORT:
	case PROTO_EVENT_ALIVE:
	case PROTO_TYPE_COUNT:
		break;
	}
	control_reply_status(c, -EOPNOTSUPP, "unknown request");
}

// Who connects and talks nonsense in a loop gets one line a second, not the log.
static void complain(struct control *c)
{
	uint64_t now = control_now_ns(CLOCK_MONOTONIC);

	if (c->complained_ns && now - c->complained_ns < COMPLAINT_NS) {
		c->n_malformed++;
		return;
	}
	fprintf(stderr,
		"insula-switch: malformed control message; connection closed (%u more since the "
		"last such line)\n",
		c->n_malformed);
	c->complained_ns = now;
	c->n_malformed = 0;
}

static void from_connection(struct control *c)
{
	int r = proto_recv(c->conn_fd, c->in);

	if (r == -EAGAIN)
		return;
	if (r == 0 && proto_check_request(c->in) == 0) {
		serve(c);
		proto_message_clear(c->in);
		return;
	}
	if (r == 0)
		proto_message_clear(c->in);
	if (r != -ECONNRESET)
		complain(c);
	close_connection(c);
}

static void from_listen(struct control *c)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = FROM_CONNECTION };
	int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	close_connection(c);
	if (epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		close(fd);
		return;
	}
	c->conn_fd = fd;
	control_forget_told(c);
}

static void dispatch(struct control *c, uint32_t source)
{
	switch ((enum event_source)source) {
	case FROM_LISTEN:
		from_listen(c);
		return;
	case FROM_CONNECTION:
		if (c->conn_fd >= 0)
			from_connection(c);
		return;
	case FROM_WORKERS:
		control_from_workers(c);
		return;
	case FROM_SIGNAL:
		c->stop = true;
		return;
	}
}

static int watch(struct control *c, int fd, uint32_t source)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = source };

	return epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static int loop(struct control *c, int signal_fd)
{
	struct epoll_event ev[8];
	int r = watch(c, c->listen_fd, FROM_LISTEN);

	if (r == 0)
		r = watch(c, c->sw->control_event_fd, FROM_WORKERS);
	if (r == 0)
		r = watch(c, signal_fd, FROM_SIGNAL);
	while (r == 0 && !c->stop) {
		int n = epoll_wait(c->epoll_fd, ev, 8, control_house_timeout(c));

		if (n < 0 && errno != EINTR)
			r = -errno;
		for (int i = 0; i < n; i++)
			dispatch(c, ev[i].data.u32);
		control_keep_house(c);
	}
	return r;
}

int control_run(struct switch_ *sw, struct tables *tables, int listen_fd, int signal_fd)
{
	struct control *c = calloc(1, sizeof(*c));
	int r = -ENOMEM;

	if (!c)
		return r;
	c->sw = sw;
	c->tables = tables;
	c->listen_fd = listen_fd;
	c->conn_fd = -1;
	c->started_ns = control_now_ns(CLOCK_BOOTTIME);
	c->parking = parking_new(sw->cfg.seed);
	c->in = malloc(sizeof(*c->in));
	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (c->parking && c->in && c->epoll_fd >= 0)
		r = loop(c, signal_fd);
	close_connection(c);
	if (c->epoll_fd >= 0)
		close(c->epoll_fd);
	parking_free(c->parking);
	free(c->in);
	free(c);
	return r;
}
