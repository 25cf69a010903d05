// SPDX-License-Identifier: BSD-3-Clause
// A vhost-user back end that takes everything and serves nothing, in a thread of its own: one
// connection after the other, each answer after a pause. Requests by number: vhost-user.rst, "Front
// end message types".
#pragma once

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	BACK_END_GET_FEATURES = 1,
	BACK_END_GET_VRING_BASE = 11,
	BACK_END_SET_VRING_KICK = 12,
	BACK_END_GET_PROTOCOL_FEATURES = 15,
	BACK_END_GET_STATUS = 40,
	BACK_END_NEED_REPLY = 8, // of the flags
};

struct back_end_message {
	uint32_t request, flags, size;
	union {
		uint64_t u64;
		uint32_t state[2];
		uint8_t bytes[512];
	};
} __attribute__((packed));

struct back_end {
	pthread_t thread;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int listener;
	_Atomic int connection; // -1: none
	_Atomic unsigned pause_ms; // before each answer
	_Atomic unsigned hangs_up_at; // a request; 0: none
	_Atomic unsigned n_ended; // connections that the front end closed
};

static bool back_end_answers(struct back_end_message *m)
{
	switch (m->request) {
	case BACK_END_GET_FEATURES: // VERSION_1, PROTOCOL_FEATURES, MQ
		m->u64 = UINT64_C(1) << 32 | UINT64_C(1) << 30 | UINT64_C(1) << 22;
		break;
	case BACK_END_GET_PROTOCOL_FEATURES: // STATUS, REPLY_ACK, MQ
		m->u64 = 1 << 16 | 1 << 3 | 1;
		break;
	case BACK_END_GET_VRING_BASE:
		m->state[1] = 0;
		break;
	case BACK_END_GET_STATUS:
		m->u64 = 0xf;
		break;
	default:
		if (!(m->flags & BACK_END_NEED_REPLY))
			return false;
		m->u64 = 0;
	}
	m->flags = 5;
	m->size = 8;
	return true;
}

static bool back_end_serve(struct back_end *b, int fd)
{
	struct back_end_message m;
	unsigned ms = b->pause_ms;

	// MSG_CTRUNC: the kernel closes fds that nobody takes.
	if (recv(fd, &m, 12, MSG_WAITALL) != 12 || m.size > sizeof(m.bytes) ||
		(m.size && recv(fd, m.bytes, m.size, MSG_WAITALL) != (ssize_t)m.size)) {
		b->n_ended++;
		return false;
	}
	if (m.request == b->hangs_up_at)
		return false;
	if (back_end_answers(&m)) {
		nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000l }, NULL);
		send(fd, &m, 20, MSG_NOSIGNAL);
	}
	return true;
}

static void *back_end_run(void *arg)
{
	struct back_end *b = arg;
	int fd;

	while ((fd = accept(b->listener, NULL, NULL)) >= 0) {
		b->connection = fd;
		while (back_end_serve(b, fd))
			;
		b->connection = -1;
		close(fd);
	}
	return NULL;
}

static inline void back_end_start(struct back_end *b)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	memset(b, 0, sizeof(*b));
	b->connection = -1;
	snprintf(b->path, sizeof(b->path), "/tmp/insula-back-end-%d", getpid());
	memcpy(at.sun_path, b->path, sizeof(at.sun_path));
	unlink(b->path);
	b->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(b->listener, errno);
	assert_return_code(bind(b->listener, (struct sockaddr *)&at, sizeof(at)), errno);
	assert_return_code(listen(b->listener, 8), errno);
	assert_int_equal(pthread_create(&b->thread, NULL, back_end_run, b), 0);
}

static inline void back_end_hang_up(struct back_end *b)
{
	shutdown(b->connection, SHUT_RDWR);
}

static inline void back_end_stop(struct back_end *b)
{
	shutdown(b->listener, SHUT_RDWR);
	back_end_hang_up(b);
	pthread_join(b->thread, NULL);
	close(b->listener);
	unlink(b->path);
}
