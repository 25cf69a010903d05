// SPDX-License-Identifier: BSD-3-Clause
// See vsock_connection.h. Called by virtio_vsock.c.
#include "vmm/vsock_connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SHUT_BOTH = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND };

static void unwatch(struct vsock_connection *c)
{
	if (c->watched)
		loop_remove(c->loop, &c->source);
	c->watched = false;
}

static void close_host(struct vsock_connection *c)
{
	unwatch(c);
	if (c->source.fd >= 0)
		close(c->source.fd);
	c->source.fd = -1;
	free(c->buffer);
	c->buffer = NULL;
	c->n_buffer = 0;
	c->readable = false;
}

void vsock_drop(struct vsock_connection *c)
{
	close_host(c);
	*c = (struct vsock_connection){ .loop = c->loop,
		.source = { .fd = -1, .ready = c->source.ready, .arg = c->source.arg } };
}

int vsock_begin(struct vsock_connection *c, enum vsock_state state, int fd)
{
	int err;

	c->source.fd = fd;
	c->events = state == VSOCK_ASKING ? 0 : EPOLLIN;
	c->buffer = malloc(VSOCK_BUFFER);
	err = c->buffer ? loop_add(c->loop, &c->source, c->events) : -ENOMEM;
	c->watched = err == 0;
	if (err < 0)
		vsock_drop(c);
	else
		c->state = state;
	return err;
}

void vsock_reset(struct vsock_connection *c)
{
	close_host(c);
	c->state = VSOCK_CLOSING;
	c->owes = VSOCK_OWES_RST;
}

static bool wants_data(const struct vsock_connection *c)
{
	return c->state == VSOCK_OPEN && !c->ended && !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

// What is readable is not waited for again before it was read: the guest may have no room.
static void watch(struct vsock_connection *c)
{
	const bool in = c->state == VSOCK_NAMING || (wants_data(c) && !c->readable);
	const uint32_t events =
		(in ? (uint32_t)EPOLLIN : 0) | (c->n_buffer ? (uint32_t)EPOLLOUT : 0);

	if (c->watched && events != c->events) {
		c->events = events;
		loop_modify(c->loop, &c->source, events);
	}
}

// The guest is told what the host does not do any more; if that is all, the host's end is closed.
static void tell_shut(struct vsock_connection *c, uint32_t flags)
{
	if ((c->shut | flags) != c->shut)
		c->owes |= VSOCK_OWES_SHUTDOWN;
	c->shut |= flags;
	if (c->shut != SHUT_BOTH)
		return;
	close_host(c);
	c->state = VSOCK_CLOSING;
}

// Everything that the guest sent is out, or lost.
static void drained(struct vsock_connection *c)
{
	if (c->state == VSOCK_DRAINING)
		vsock_reset(c); // which is how a close is agreed to, 5.10.6.5
	else if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND && !c->deaf)
		shutdown(c->source.fd, SHUT_WR);
}

// 5.10.6.3: the guest is told of room when half of the buffer is free that it does not know of.
static void forward(struct vsock_connection *c, uint32_t n)
{
	c->at = (c->at + n) % VSOCK_BUFFER;
	c->n_buffer -= n;
	c->forwarded += n;
	if (c->forwarded - c->told >= VSOCK_BUFFER / 2 && c->state == VSOCK_OPEN)
		c->owes |= VSOCK_OWES_CREDIT;
}

static ssize_t send_buffer(const struct vsock_connection *c)
{
	const uint32_t first =
		c->n_buffer < VSOCK_BUFFER - c->at ? c->n_buffer : VSOCK_BUFFER - c->at;
	struct iovec iov[2] = { { c->buffer + c->at, first }, { c->buffer, c->n_buffer - first } };
	const struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

	return sendmsg(c->source.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void flush(struct vsock_connection *c)
{
	ssize_t n;

	if (c->n_buffer == 0)
		return;
	n = c->deaf ? (ssize_t)c->n_buffer : send_buffer(c);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) { // nobody reads any more
		c->deaf = true;
		n = (ssize_t)c->n_buffer;
	}
	forward(c, (uint32_t)n);
	if (c->n_buffer == 0)
		drained(c);
	if (c->deaf && c->state == VSOCK_OPEN)
		tell_shut(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
}

// More than it was promised room for breaks the connection, not the device.
static void take_data(struct vsock_connection *c, uint32_t n, const uint8_t *data)
{
	const uint32_t end = (c->at + c->n_buffer) % VSOCK_BUFFER;
	const uint32_t first = n < VSOCK_BUFFER - end ? n : VSOCK_BUFFER - end;

	if (c->state == VSOCK_CLOSING)
		return; // it crosses with our end of it
	if (c->state != VSOCK_OPEN || c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND ||
		n > VSOCK_BUFFER - c->n_buffer) {
		vsock_reset(c);
		return;
	}
	memcpy(c->buffer + end, data, first);
	memcpy(c->buffer, data + first, n - first);
	c->received += n;
	c->n_buffer += n;
	flush(c);
}

static void take_response(struct vsock_connection *c)
{
	char text[VSOCK_LINE];
	const int n = snprintf(text, sizeof(text), "OK %u\n", c->host_port);

	if (c->state != VSOCK_ASKING || c->owes & VSOCK_OWES_REQUEST) {
		vsock_reset(c);
		return;
	}
	c->state = VSOCK_OPEN;
	// the first bytes of a socket's: there is room
	if (send(c->source.fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n)
		vsock_reset(c);
}

static void take_shutdown(struct vsock_connection *c, uint32_t flags)
{
	if (c->state != VSOCK_OPEN && c->state != VSOCK_CLOSING && c->state != VSOCK_DRAINING) {
		vsock_reset(c);
		return;
	}
	c->guest_shut |= flags & SHUT_BOTH;
	if (c->guest_shut == SHUT_BOTH && c->state == VSOCK_CLOSING)
		vsock_reset(c);
	if (c->state != VSOCK_OPEN)
		return;
	if (c->guest_shut == SHUT_BOTH)
		c->state = VSOCK_DRAINING;
	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)
		shutdown(c->source.fd, SHUT_RD);
	if (c->n_buffer == 0)
		drained(c);
}

void vsock_take(struct vsock_connection *c, const struct virtio_vsock_hdr *h, const uint8_t *data)
{
	c->guest_size = h->buf_alloc;
	c->guest_forwarded = h->fwd_cnt;
	switch (h->op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		take_response(c);
		break;
	case VIRTIO_VSOCK_OP_RST:
		vsock_drop(c);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		take_shutdown(c, h->flags);
		break;
	case VIRTIO_VSOCK_OP_RW:
		take_data(c, h->len, data);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		c->owes |= c->state == VSOCK_OPEN ? VSOCK_OWES_CREDIT : 0;
		break;
	default:
		vsock_reset(c);
	}
	watch(c);
}

// Room that the guest has; what it says of that is its own word, and never more than a lie to
// itself.
static uint32_t credit(const struct vsock_connection *c)
{
	const uint32_t under_way = c->sent - c->guest_forwarded;

	return under_way < c->guest_size ? c->guest_size - under_way : 0;
}

bool vsock_waits(const struct vsock_connection *c)
{
	return c->owes || (c->readable && wants_data(c) && credit(c) > 0);
}

// How many bytes of the host's are at data; 0: none, and something else may be owed.
static uint32_t read_host(struct vsock_connection *c, uint8_t *data, size_t most)
{
	ssize_t n;

	most = most < credit(c) ? most : credit(c);
	most = most < VSOCK_PAYLOAD ? most : VSOCK_PAYLOAD;
	if (!c->readable || !wants_data(c) || most == 0)
		return 0;
	n = recv(c->source.fd, data, most, MSG_DONTWAIT);
	if (n > 0) {
		c->sent += (uint32_t)n;
		return (uint32_t)n;
	}
	c->readable = n < 0 && errno == EINTR;
	if (n == 0) {
		c->ended = true;
		// who has gone, or was said goodbye to, hears nothing either
		tell_shut(c, !c->watched || (c->guest_shut && !c->n_buffer)
				     ? SHUT_BOTH
				     : VIRTIO_VSOCK_SHUTDOWN_SEND);
	} else if (errno != EAGAIN && errno != EINTR) {
		vsock_reset(c);
	}
	return 0;
}

static bool pays(struct vsock_connection *c, unsigned int what)
{
	const bool owes = c->owes & what;

	c->owes &= ~what;
	return owes;
}

bool vsock_next(struct vsock_connection *c, struct virtio_vsock_hdr *h, uint8_t *data, size_t most)
{
	const bool is_answer = c->owes & (VSOCK_OWES_REQUEST | VSOCK_OWES_RESPONSE);

	h->len = is_answer || c->owes & VSOCK_OWES_RST ? 0 : read_host(c, data, most);
	h->flags = 0;
	h->fwd_cnt = c->forwarded;
	if (pays(c, VSOCK_OWES_RST)) {
		h->op = VIRTIO_VSOCK_OP_RST;
		vsock_drop(c);
		return true;
	}
	if (pays(c, VSOCK_OWES_REQUEST))
		h->op = VIRTIO_VSOCK_OP_REQUEST;
	else if (pays(c, VSOCK_OWES_RESPONSE))
		h->op = VIRTIO_VSOCK_OP_RESPONSE;
	else if (h->len > 0)
		h->op = VIRTIO_VSOCK_OP_RW;
	else if (pays(c, VSOCK_OWES_SHUTDOWN))
		h->op = VIRTIO_VSOCK_OP_SHUTDOWN;
	else if (pays(c, VSOCK_OWES_CREDIT))
		h->op = VIRTIO_VSOCK_OP_CREDIT_UPDATE;
	else
		h->op = VIRTIO_VSOCK_OP_INVALID;
	watch(c);
	if (h->op == VIRTIO_VSOCK_OP_INVALID)
		return false;
	if (h->op == VIRTIO_VSOCK_OP_SHUTDOWN)
		h->flags = c->shut;
	c->owes &= ~(unsigned int)VSOCK_OWES_CREDIT; // each packet tells
	c->told = c->forwarded;
	return true;
}

bool vsock_parse_line(const char *line, uint32_t *ret_port)
{
	static const char WORD[] = "CONNECT ";
	const char *number = line + sizeof(WORD) - 1;
	unsigned long port;
	char *end;

	if (strncmp(line, WORD, sizeof(WORD) - 1) != 0 || *number < '0' || *number > '9')
		return false;
	errno = 0;
	port = strtoul(number, &end, 10);
	if (errno || strcmp(end, "\n") != 0 || port >= UINT32_MAX) // the last one means any
		return false;
	*ret_port = (uint32_t)port;
	return true;
}

// Byte by byte: what comes behind the line is the guest's.
static void read_line(struct vsock_connection *c, uint32_t events)
{
	ssize_t n;

	while ((n = recv(c->source.fd, c->line + c->n_line, 1, MSG_DONTWAIT)) == 1) {
		c->n_line++;
		if (c->line[c->n_line - 1] == '\n' && vsock_parse_line(c->line, &c->guest_port)) {
			c->state = VSOCK_ASKING;
			c->owes = VSOCK_OWES_REQUEST;
			return;
		}
		if (c->line[c->n_line - 1] == '\n' || c->n_line == VSOCK_LINE - 1)
			break;
	}
	if (n >= 0 || errno != EAGAIN || events & (EPOLLHUP | EPOLLERR))
		vsock_drop(c);
}

// Both ways are shut: the loop would tell it for ever.
static void hung_up(struct vsock_connection *c)
{
	unwatch(c);
	c->readable = true;
	if (c->state == VSOCK_ASKING && c->owes & VSOCK_OWES_REQUEST)
		vsock_drop(c); // the guest knows nothing of it
	else if (c->state == VSOCK_ASKING || c->state == VSOCK_DRAINING)
		vsock_reset(c);
	else if (c->state == VSOCK_OPEN && !wants_data(c))
		tell_shut(c, SHUT_BOTH);
}

void vsock_event(struct vsock_connection *c, uint32_t events)
{
	if (c->state == VSOCK_NAMING) {
		read_line(c, events);
		watch(c);
		return;
	}
	if (events & EPOLLIN)
		c->readable = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		flush(c);
	if (events & (EPOLLHUP | EPOLLERR) && c->source.fd >= 0)
		hung_up(c);
	watch(c);
}
