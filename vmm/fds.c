// SPDX-License-Identifier: BSD-3-Clause
// See fds.h.
#include "vmm/fds.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vmm/listen.h"

bool fds_is_name(const char *text)
{
	static const char ALLOWED[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	const size_t size = strlen(text);

	return size > 0 && size < FDS_NAME && strspn(text, ALLOWED) == size;
}

static void drop(struct fds *f, unsigned int i)
{
	f->n--;
	memmove(&f->waiting[i], &f->waiting[i + 1], (f->n - i) * sizeof(f->waiting[0]));
}

static unsigned int find(const struct fds *f, const char *name)
{
	unsigned int i = 0;

	while (i < f->n && strcmp(f->waiting[i].name, name) != 0)
		i++;
	return i;
}

static void add(struct fds *f, const char *name, int fd)
{
	unsigned int i = find(f, name);

	if (i == f->n && f->n == FDS_WAITING)
		i = 0;
	if (i < f->n) {
		close(f->waiting[i].fd);
		drop(f, i);
	}
	strcpy(f->waiting[f->n].name, name);
	f->waiting[f->n++].fd = fd;
}

// Room for one descriptor, which alignment makes room for two: what does not fit is closed by the
// kernel.
union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

// The one descriptor that came; -1, and all that came closed, if it was not one.
static int descriptor_of(struct msghdr *m)
{
	const struct cmsghdr *c = CMSG_FIRSTHDR(m);
	int fds[sizeof(union control) / sizeof(int)];
	size_t n;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return -1;
	n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	if (n == 1)
		return fds[0];
	while (n > 0)
		close(fds[--n]);
	return -1;
}

// False if there is none. What is no name with one descriptor is dropped.
static bool receive(struct fds *f)
{
	char name[FDS_NAME];
	struct iovec iov = { name, sizeof(name) - 1 };
	union control control;
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	ssize_t n = recvmsg(f->socket.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd;

	if (n < 0)
		return errno == EINTR;
	name[n] = 0;
	fd = descriptor_of(&m);
	if (fd < 0)
		return true;
	if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || strlen(name) != (size_t)n ||
		!fds_is_name(name))
		close(fd);
	else
		add(f, name, fd);
	return true;
}

static void on_datagram(void *arg, uint32_t events)
{
	receive(arg);
}

int fds_init(struct fds *f, const char *path, struct loop *loop, struct error *e)
{
	int err;

	*f = (struct fds){ .loop = loop, .path = path };
	f->socket = (struct loop_source){
		.fd = listen_at(path, SOCK_DGRAM, 0, true), .ready = on_datagram, .arg = f
	};
	err = f->socket.fd < 0 ? f->socket.fd : loop_add(loop, &f->socket, EPOLLIN);
	if (err == 0)
		return 0;
	if (f->socket.fd >= 0) {
		close(f->socket.fd);
		unlink(path);
	}
	f->socket.fd = -1;
	return error_set(e, -err, "%s: %s", path, strerror(-err));
}

void fds_free(struct fds *f)
{
	while (f->n > 0)
		close(f->waiting[--f->n].fd);
	if (f->socket.fd < 0)
		return;
	loop_remove(f->loop, &f->socket);
	close(f->socket.fd);
	unlink(f->path);
}

int fds_take(struct fds *f, const char *name)
{
	unsigned int i;
	int fd;

	// not for ever: others may go on sending
	for (i = 0; i < 2 * FDS_WAITING && f->socket.fd >= 0 && receive(f); i++)
		;
	i = find(f, name);
	if (i == f->n)
		return -1;
	fd = f->waiting[i].fd;
	drop(f, i);
	return fd;
}
