// SPDX-License-Identifier: BSD-3-Clause
// An end to drivers' waits, see driver_patience.h. The linker leads every connect() of this program
// through here (--wrap in meson.build). Called by port_ethdev.c, control thread.
#include "vswitch/driver_patience.h"

#include <sys/socket.h>
#include <sys/time.h>

enum {
	PATIENCE_S = 1,
};

int __real_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);

static _Thread_local bool limited;

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
	const struct timeval most = { .tv_sec = PATIENCE_S };

	// The former also bounds connect(), which waits for room in the listener's queue (unix(7)).
	if (limited && (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most)) != 0 ||
			       setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most)) != 0))
		return -1;
	return __real_connect(fd, address, size);
}

void driver_patience(bool on)
{
	limited = on;
}
