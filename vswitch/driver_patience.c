// SPDX-License-Identifier: BSD-3-Clause
// An end to drivers' waits, see driver_patience.h. The linker leads every connect(), sendmsg() and
// recv() of this program through here (--wrap in meson.build). Called by port_ethdev.c, control
// thread.
#include "vswitch/driver_patience.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/time.h>
#include "vswitch/control.h"

enum {
	AFTERWARDS_MS = 1000,
};

int __real_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __real_recv(int fd, void *data, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t size, int flags);

static _Thread_local bool limited;
static _Thread_local int lost; // 0 or -errno
static _Thread_local uint64_t end_ns; // CLOCK_MONOTONIC
static uint64_t last_ns = UINT64_MAX; // of all

static uint64_t after(unsigned ms)
{
	return control_now_ns(CLOCK_MONOTONIC) + ms * UINT64_C(1000000);
}

static int left_ms(void)
{
	uint64_t now = control_now_ns(CLOCK_MONOTONIC);

	return lost == 0 && now < end_ns ? (int)((end_ns - now) / 1000000) : 0;
}

static bool limit(int fd, int option, int ms)
{
	const struct timeval most = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	return setsockopt(fd, SOL_SOCKET, option, &most, sizeof(most)) == 0;
}

static bool wait_for(int fd, short what)
{
	struct pollfd p = { .fd = fd, .events = what };
	int r;

	do
		r = lost == 0 ? poll(&p, 1, left_ms()) : 0;
	while (r < 0 && errno == EINTR);
	if (r <= 0 && lost == 0)
		lost = -ETIMEDOUT;
	return r > 0;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
	int r, error, ms;

	if (!limited)
		return __real_connect(fd, address, size);
	ms = left_ms();
	// Bounds connect(), too, which waits for room in the listener's queue (unix(7)); 0 = no
	// bound.
	if (!limit(fd, SO_SNDTIMEO, ms > 0 ? ms : 1) || !limit(fd, SO_RCVTIMEO, AFTERWARDS_MS))
		return -1;
	r = __real_connect(fd, address, size);
	error = errno;
	if (r != 0 && (error == EAGAIN || error == EINPROGRESS))
		lost = -ETIMEDOUT;
	if (r == 0 && !limit(fd, SO_SNDTIMEO, AFTERWARDS_MS))
		return -1;
	errno = error;
	return r;
}

static ssize_t size_of(const struct msghdr *message)
{
	size_t size = 0;

	for (size_t i = 0; i < message->msg_iovlen; i++)
		size += message->msg_iov[i].iov_len;
	return (ssize_t)size;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	if (!limited)
		return __real_sendmsg(fd, message, flags);
	if (wait_for(fd, POLLOUT) &&
		__real_sendmsg(fd, message, flags | MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		lost = -ECONNRESET;
	return size_of(message);
}

ssize_t __wrap_recv(int fd, void *data, size_t size, int flags)
{
	ssize_t n;

	if (!limited)
		return __real_recv(fd, data, size, flags);
	if (flags & MSG_DONTWAIT) {
		errno = EAGAIN;
		return -1;
	}
	if (!wait_for(fd, POLLIN)) {
		errno = -lost;
		return -1;
	}
	n = __real_recv(fd, data, size, flags | MSG_DONTWAIT);
	if (n <= 0)
		lost = -ECONNRESET;
	return n;
}

void driver_patience_begin(unsigned ms)
{
	const uint64_t last = __atomic_load_n(&last_ns, __ATOMIC_RELAXED);

	end_ns = after(ms) < last ? after(ms) : last;
	lost = 0;
	limited = true;
}

int driver_patience_lost(void)
{
	return lost;
}

void driver_patience_end(void)
{
	limited = false;
}

void driver_patience_last(unsigned ms)
{
	__atomic_store_n(&last_ns, after(ms), __ATOMIC_RELAXED);
}
