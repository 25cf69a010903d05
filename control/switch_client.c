// SPDX-License-Identifier: BSD-3-Clause
// The connection to insula-switch, see switch_client.h. Events that arrive while a reply is awaited
// wait in a queue for the loop. The requests themselves are in switch_requests.c. Main thread only.
#include "control/switch_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "control/log.h"
#include "control/switch_call.h"

enum {
	DEADLINE_MS = 2000,
	// A card that is reset, gets its firmware and waits for its link. Less than after how long
	// a switch without a sign of life is ended.
	DEVICE_DEADLINE_MS = 8000,
	SENT_AHEAD = 32, // requests without a reply; with theirs, a tenth of what the socket holds
	ASK_DEADLINE_MS = 500, // it closes at once on who speaks otherwise
	LATER_VERSIONS = 4, // that are asked for
	MAX_QUEUED_EVENTS = 4096, // more: the switch will tell again (clients repeat themselves)
};

struct queued_event {
	struct queued_event *next;
	union {
		struct proto_header h;
		struct proto_lease_event lease;
		struct proto_port_event port;
		struct proto_alive_event alive;
	};
};

struct switch_client {
	int fd;
	uint32_t seq;
	unsigned patience_ms; // with the request under way
	bool dead;
	char why[128];
	struct loop *loop;
	struct loop_source *io, *later;
	struct switch_client_handler handler;
	struct queued_event *events, **events_tail;
	unsigned n_events;
	struct proto_message message; // the last received
};

static void mark_dead(struct switch_client *c, const char *why)
{
	if (c->dead)
		return;
	c->dead = true;
	snprintf(c->why, sizeof(c->why), "%s", why);
	shutdown(c->fd, SHUT_RDWR);
	loop_remove(c->loop, c->io);
	c->io = NULL;
	loop_timer_arm(c->later, 0);
}

static void queue_event(struct switch_client *c)
{
	struct queued_event *e = c->n_events < MAX_QUEUED_EVENTS ? calloc(1, sizeof(*e)) : NULL;

	if (!e)
		return;
	memcpy(&e->h, c->message.bytes, c->message.size); // proto_check_event: one of the union
	if (!c->events)
		loop_timer_arm(c->later, 0);
	*c->events_tail = e;
	c->events_tail = &e->next;
	c->n_events++;
}

// Receives one message; an event is queued. 0 = a reply is in c->message, 1 = an event, -errno.
static int receive(struct switch_client *c)
{
	int r = proto_recv(c->fd, &c->message);

	if (r == -EAGAIN)
		return r;
	if (r < 0) {
		mark_dead(c, r == -ECONNRESET ? "it closed the connection" : strerror(-r));
		return r == -ECONNRESET ? -EPIPE : r;
	}
	if (c->message.h.seq != 0)
		return 0;
	if (proto_check_event(&c->message) < 0) {
		proto_message_clear(&c->message);
		mark_dead(c, "it sent a malformed event");
		return -EBADMSG;
	}
	queue_event(c);
	return 1;
}

static void give_events(struct switch_client *c)
{
	bool any = c->events != NULL;

	while (c->events) {
		struct queued_event *e = c->events;
		c->events = e->next;
		if (!c->events)
			c->events_tail = &c->events;
		c->n_events--;
		c->handler.event(c->handler.arg, &e->h);
		free(e);
	}
	if (any)
		c->handler.batch_end(c->handler.arg);
}

static void on_later(void *arg)
{
	struct switch_client *c = arg;

	give_events(c);
	if (c->dead)
		c->handler.gone(c->handler.arg, c->why);
}

static void on_readable(void *arg, uint32_t events)
{
	struct switch_client *c = arg;
	int r;

	while ((r = receive(c)) > 0)
		;
	if (r == 0) {
		proto_message_clear(&c->message);
		mark_dead(c, "it sent a reply to nothing");
	}
	loop_timer_disarm(c->later);
	on_later(c); // may free c
}

static int connect_to(int fd, const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	return fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 ? -errno : 0;
}

int switch_client_open(struct loop *l, const char *path,
	const struct switch_client_handler *handler, struct switch_client **ret_client,
	pid_t *ret_pid)
{
	struct ucred peer;
	socklen_t peer_size = sizeof(peer);
	int r = -ENOMEM;
	struct switch_client *c = calloc(1, sizeof(*c));

	if (!c)
		return r;
	c->loop = l;
	c->handler = *handler;
	c->events_tail = &c->events;
	c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	r = connect_to(c->fd, path);
	if (r < 0)
		goto fail;
	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) < 0) {
		r = -errno;
		goto fail;
	}
	r = loop_add_timer(l, on_later, c, &c->later);
	if (r == 0)
		r = loop_add(l, c->fd, EPOLLIN, on_readable, c, &c->io);
	if (r < 0)
		goto fail;
	*ret_client = c;
	*ret_pid = peer.pid;
	return 0;
fail:
	switch_client_free(c);
	return r;
}

void switch_client_free(struct switch_client *c)
{
	if (!c)
		return;
	loop_remove(c->loop, c->io);
	loop_remove(c->loop, c->later);
	if (c->fd >= 0)
		close(c->fd);
	while (c->events) {
		struct queued_event *e = c->events;
		c->events = e->next;
		free(e);
	}
	free(c);
}

// Waits until the socket is ready for `what` or the deadline has passed.
static int wait_for(struct switch_client *c, short what, uint64_t deadline_ns)
{
	uint64_t now = loop_now_ns();
	struct pollfd p = { .fd = c->fd, .events = what };

	if (now < deadline_ns && poll(&p, 1, (int)((deadline_ns - now) / 1000000u) + 1) > 0)
		return 0;
	if (loop_now_ns() < deadline_ns) // a signal
		return 0;
	char why[64];
	snprintf(why, sizeof(why), "it did not answer within %u s", c->patience_ms / 1000);
	mark_dead(c, why);
	return -ETIMEDOUT;
}

static int send_request(struct switch_client *c, struct proto_header *request, uint16_t type,
	size_t size, const int *fds, unsigned n_fds, uint64_t deadline)
{
	int r;

	if (++c->seq == 0)
		c->seq = 1;
	proto_header_init(request, type, c->seq, size);
	while ((r = proto_send(c->fd, request, fds, n_fds)) == -EAGAIN) {
		r = wait_for(c, POLLOUT, deadline);
		if (r < 0)
			break;
	}
	return r;
}

// The reply to the request sent with this header is in c->message then.
static int receive_reply(
	struct switch_client *c, const struct proto_header *request, uint64_t deadline)
{
	int r;

	while ((r = receive(c)) != 0) {
		if (r == -EAGAIN)
			r = wait_for(c, POLLIN, deadline);
		if (r < 0)
			return r;
	}
	if (proto_check_reply(&c->message, request->type, request->seq) == 0)
		return 0;
	proto_message_clear(&c->message);
	mark_dead(c, "it sent a malformed reply");
	return -EBADMSG;
}

// What the reply says; one that refuses is done with.
static int judge(struct switch_client *c, char *err, size_t err_size)
{
	int r = c->message.status.error;

	if (!r)
		return 0;
	proto_message_clear(&c->message);
	return log_reason(r, err, err_size, "%s",
		c->message.status.text[0] ? c->message.status.text : strerror(-r));
}

static int broken(struct switch_client *c, int error, char *err, size_t err_size)
{
	mark_dead(c, strerror(-error));
	return log_reason(error, err, err_size, "insula-switch: %s", c->why);
}

static uint64_t deadline_ns(struct switch_client *c, unsigned patience_ms)
{
	c->patience_ms = patience_ms;
	return loop_now_ns() + patience_ms * 1000000ull;
}

static unsigned patience_ms(const struct proto_header *request, uint16_t type)
{
	const struct proto_port_add *add = (const void *)request;

	return type == PROTO_PORT_ADD && add->kind == PROTO_PORT_ETHDEV ? DEVICE_DEADLINE_MS
									: DEADLINE_MS;
}

int switch_call(struct switch_client *c, struct proto_header *request, uint16_t type, size_t size,
	const int *fds, unsigned n_fds, struct proto_message **ret_reply, char *err,
	size_t err_size)
{
	int r;

	if (!c || c->dead)
		return log_reason(-ENOTCONN, err, err_size, "insula-switch is not connected");
	uint64_t deadline = deadline_ns(c, patience_ms(request, type));
	r = send_request(c, request, type, size, fds, n_fds, deadline);
	if (r == 0)
		r = receive_reply(c, request, deadline);
	if (r < 0)
		return broken(c, r, err, err_size);
	r = judge(c, err, err_size);
	if (r == 0)
		*ret_reply = &c->message;
	return r;
}

int switch_lease_requests(struct switch_client *c, struct switch_lease_request *requests, size_t n,
	void (*refused)(void *arg, const struct switch_lease_request *request, const char *why),
	void *arg)
{
	char err[256] = "insula-switch is not connected";
	int r = c && !c->dead ? 0 : -ENOTCONN;

	for (size_t sent = 0, done = 0; r == 0 && done < n;) {
		uint64_t deadline = deadline_ns(c, DEADLINE_MS);

		for (; r == 0 && sent < n && sent < done + SENT_AHEAD; sent++) {
			struct proto_header *h = &requests[sent].h;
			r = send_request(c, h, h->type, h->size, NULL, 0, deadline);
		}
		for (; r == 0 && done < sent; done++) {
			r = receive_reply(c, &requests[done].h, deadline);
			requests[done].told = r == 0;
			requests[done].refused = r == 0 && judge(c, err, sizeof(err)) < 0;
			if (requests[done].refused)
				refused(arg, &requests[done], err);
		}
		if (r < 0)
			broken(c, r, err, sizeof(err));
	}
	if (r < 0)
		refused(arg, NULL, err);
	return r;
}

// The version that the answer is in; an event has it as well. -EPIPE: there is none.
static int ask_version(int fd, uint16_t version)
{
	struct proto_header h;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	proto_header_init(&h, PROTO_HELLO, 1, sizeof(h));
	h.version = version;
	if (proto_send(fd, &h, NULL, 0) < 0)
		return -EPIPE;
	if (poll(&p, 1, ASK_DEADLINE_MS) <= 0)
		return -ETIMEDOUT;
	// The rest of it is not ours to read.
	if (recv(fd, &h, sizeof(h), 0) != sizeof(h) || h.magic != PROTO_MAGIC)
		return -EPIPE;
	return h.version;
}

int switch_client_find_version(const char *path)
{
	int r = -EPIPE;

	for (int i = 1; r == -EPIPE && i < PROTO_VERSION + LATER_VERSIONS; i++) {
		int version = i < PROTO_VERSION ? PROTO_VERSION - i : i + 1;
		int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		r = connect_to(fd, path);
		if (r == 0)
			r = ask_version(fd, (uint16_t)version);
		if (fd >= 0)
			close(fd);
	}
	return r == -EPIPE ? -ENOENT : r;
}
