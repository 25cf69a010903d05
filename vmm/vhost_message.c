// SPDX-License-Identifier: BSD-3-Clause
// See vhost_message.h.
#include "vmm/vhost_message.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { VERSION = 1, REPLY = 1 << 2, NEED_REPLY = 1 << 3, WAIT_MS = 2000 };

struct header {
	uint32_t request, flags, size;
};

struct message {
	struct header head;
	uint8_t payload[VHOST_PAYLOAD];
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int wait_for(int fd, short events, int64_t until)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left = until - now_ms();
	int n = left > 0 ? poll(&p, 1, (int)left) : 0;

	return n > 0 ? 0 : n < 0 && errno != EINTR ? -errno : n < 0 ? 0 : -ETIMEDOUT;
}

// The descriptors go with the first byte.
static int send_whole(int fd, const struct message *m, const int *fds, unsigned int n_fds)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(VHOST_FDS * sizeof(int))];
	} control = { .head = { .cmsg_len = CMSG_LEN(n_fds * sizeof(int)),
			      .cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS } };
	size_t size = sizeof(m->head) + m->head.size, sent = 0;
	int64_t until = now_ms() + WAIT_MS;

	if (n_fds)
		memcpy(CMSG_DATA(&control.head), fds, n_fds * sizeof(int));
	while (sent < size) {
		struct iovec rest = { (char *)(uintptr_t)m + sent, size - sent };
		struct msghdr h = { .msg_iov = &rest, .msg_iovlen = 1 };
		ssize_t n;

		if (n_fds && !sent) {
			h.msg_control = &control;
			h.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		}
		n = sendmsg(fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			sent += (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		int err = wait_for(fd, POLLOUT, until);

		if (err < 0)
			return err;
	}
	return 0;
}

static int receive(int fd, void *to, size_t size, int64_t until)
{
	for (size_t got = 0; got < size;) {
		ssize_t n = recv(fd, (char *)to + got, size - got, MSG_DONTWAIT);

		if (n == 0)
			return -EPIPE;
		if (n > 0) {
			got += (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		int err = wait_for(fd, POLLIN, until);

		if (err < 0)
			return err;
	}
	return 0;
}

// An answer carries no descriptors here: none is asked for.
static int receive_answer(int fd, enum vhost_request request, void *ret_payload, size_t size)
{
	struct header head;
	uint8_t payload[VHOST_PAYLOAD];
	int64_t until = now_ms() + WAIT_MS;
	int err = receive(fd, &head, sizeof(head), until);

	if (err < 0)
		return err;
	if (head.request != request || (head.flags & 3) != VERSION || !(head.flags & REPLY) ||
		head.size != size)
		return -EPROTO;
	err = receive(fd, payload, size, until);
	if (err == 0)
		memcpy(ret_payload, payload, size);
	return err;
}

static int send_flags(int fd, enum vhost_request request, uint32_t flags, const void *payload,
	size_t size, const int *fds, unsigned int n_fds)
{
	struct message m = { .head = { request, VERSION | flags, (uint32_t)size } };

	if (size > sizeof(m.payload) || n_fds > VHOST_FDS)
		return -EMSGSIZE;
	if (size)
		memcpy(m.payload, payload, size);
	return send_whole(fd, &m, fds, n_fds);
}

int vhost_send(int fd, enum vhost_request request, const void *payload, size_t size, const int *fds,
	unsigned int n_fds)
{
	return send_flags(fd, request, 0, payload, size, fds, n_fds);
}

int vhost_send_acknowledged(int fd, enum vhost_request request, const void *payload, size_t size,
	const int *fds, unsigned int n_fds)
{
	uint64_t result = 0;
	int err = send_flags(fd, request, NEED_REPLY, payload, size, fds, n_fds);

	if (err == 0)
		err = receive_answer(fd, request, &result, sizeof(result));
	return err < 0 ? err : result ? -EREMOTEIO : 0;
}

int vhost_ask(int fd, enum vhost_request request, const void *in, void *ret_payload, size_t size)
{
	int err = send_flags(fd, request, 0, in, in ? size : 0, NULL, 0);

	return err < 0 ? err : receive_answer(fd, request, ret_payload, size);
}

int vhost_take_request(int fd, uint32_t *ret_request)
{
	struct message m;
	int64_t until = now_ms() + WAIT_MS;
	int err = receive(fd, &m.head, sizeof(m.head), until);

	if (err == 0 && ((m.head.flags & 3) != VERSION || m.head.flags & REPLY ||
				m.head.size > sizeof(m.payload)))
		err = -EPROTO;
	if (err == 0)
		err = receive(fd, m.payload, m.head.size, until);
	if (err < 0)
		return err;
	*ret_request = m.head.request;
	if (!(m.head.flags & NEED_REPLY))
		return 0;
	m.head.flags = VERSION | REPLY;
	m.head.size = sizeof(uint64_t);
	memset(m.payload, 0, sizeof(uint64_t));
	return send_whole(fd, &m, NULL, 0);
}
