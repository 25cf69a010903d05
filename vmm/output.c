// SPDX-License-Identifier: BSD-3-Clause
// See output.h. Called by console.c and virtio_console.c.
#include "vmm/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

unsigned int output_put(const struct output *o, const void *bytes, unsigned int n)
{
	struct pollfd p = { .fd = o->fd, .events = POLLOUT };
	ssize_t done;

	do {
		if (o->is_socket)
			done = send(o->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		else if (o->fd != o->given) // does not block
			done = write(o->fd, bytes, n);
		else // one byte never does if there is room
			done = poll(&p, 1, 0) == 1 ? write(o->fd, bytes, 1) : 0;
	} while (done < 0 && errno == EINTR);
	if (done < 0)
		return errno == EAGAIN ? 0 : n;
	return (unsigned int)done;
}

// A description of its own for pipes and terminals: to make the one that others may have too
// non-blocking would be to change theirs.
void output_open(struct output *o, int fd)
{
	char path[32];
	struct stat st;

	*o = (struct output){ .fd = -1, .given = fd };
	if (fstat(fd, &st) == 0) {
		o->is_socket = S_ISSOCK(st.st_mode);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
			o->fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	if (o->fd < 0)
		o->fd = fd;
}

void output_close(struct output *o)
{
	if (o->fd != o->given)
		close(o->fd);
	o->fd = o->given = -1;
}
