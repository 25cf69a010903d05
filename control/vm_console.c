// SPDX-License-Identifier: BSD-3-Clause
// See vm_console.h. Called by vm.c and the loop.
#include "control/vm_console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "control/log.h"
#include "control/loop.h"

enum {
	PER_ROUND = 64 << 10, // as much as a FIFO holds
	// A guest that writes byte by byte wakes insulad no more often than so.
	PAUSE_NS = 5000000,
	LAST_INPUT = 256, // KiB that a client who has gone may leave; a socket holds less
	HISTORY_LINES = 24,
	HISTORY_SIZE = 4 << 10,
};

struct client {
	struct vm_console *console;
	int fd; // -1 = none
	struct loop_source *source;
	uint64_t at; // in the ring: what it has got
};

struct vm_console {
	struct loop *loop;
	char dir[128];
	int in, out, listener;
	struct loop_source *source, *pause, *listening;
	struct vm_ring *ring;
	struct client clients[VM_CONSOLE_CLIENTS];
};

static void drop(struct client *c)
{
	loop_remove(c->console->loop, c->source);
	c->source = NULL;
	close(c->fd);
	c->fd = -1;
}

// What a guest does not take is lost, as on a wire. False: there is nothing more; *ret_n is
// recv's answer.
static bool take_input(struct client *c, ssize_t *ret_n)
{
	char bytes[1024];
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT), put = 0;

	if (n > 0)
		put = write(c->console->in, bytes, (size_t)n);
	(void)put;
	*ret_n = n;
	return n > 0;
}

// As much as it takes; who is slow misses what the ring has lost meanwhile.
static void push(struct client *c)
{
	for (;;) {
		size_t n;
		const char *bytes = vm_ring_from(c->console->ring, &c->at, &n);
		ssize_t done = n ? send(c->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

		if (n == 0) {
			loop_rearm(c->console->loop, c->source, EPOLLIN);
			return;
		}
		if (done > 0) {
			c->at += (uint64_t)done;
		} else if (done < 0 && (errno == EAGAIN || errno == EINTR)) {
			loop_rearm(c->console->loop, c->source, EPOLLIN | EPOLLOUT);
			return;
		} else { // gone, perhaps with words for the guest
			for (unsigned i = 0; i < LAST_INPUT && take_input(c, &done); i++)
				;
			drop(c);
			return;
		}
	}
}

static void push_all(struct vm_console *c)
{
	for (unsigned i = 0; i < VM_CONSOLE_CLIENTS; i++)
		if (c->clients[i].fd >= 0)
			push(&c->clients[i]);
}

void vm_console_drain(struct vm_console *c)
{
	char bytes[4096];
	ssize_t n = 1;

	for (size_t done = 0; n > 0 && done < PER_ROUND; done += (size_t)n) {
		n = read(c->out, bytes, sizeof(bytes));
		if (n > 0)
			vm_ring_put(c->ring, bytes, (size_t)n);
	}
	push_all(c);
}

static void on_output(void *arg, uint32_t events)
{
	struct vm_console *c = arg;

	vm_console_drain(c);
	loop_timer_arm(c->pause, PAUSE_NS);
}

static void on_pause_over(void *arg)
{
	struct vm_console *c = arg;

	loop_rearm(c->loop, c->source, EPOLLIN | EPOLLONESHOT);
}

static void on_client(void *arg, uint32_t events)
{
	struct client *c = arg;
	ssize_t n;

	if (events & EPOLLOUT)
		push(c);
	if (c->fd < 0 || !(events & ~(uint32_t)EPOLLOUT))
		return;
	if (!take_input(c, &n) && (n == 0 || (errno != EAGAIN && errno != EINTR)))
		drop(c);
}

static void refuse(int fd)
{
	char text[200];
	int n = snprintf(text, sizeof(text),
		"{\"error\":\"%d terminals are attached to it already; detach one\"}\n",
		VM_CONSOLE_CLIENTS);

	send(fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
}

static void take(struct vm_console *c, struct client *client, int fd)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "{\"others\":%u}\n", vm_console_n_clients(c));

	*client = (struct client){
		.console = c, .fd = fd, .at = vm_ring_tail(c->ring, HISTORY_LINES, HISTORY_SIZE)
	};
	if (loop_add(c->loop, fd, EPOLLIN, on_client, client, &client->source) < 0) {
		close(fd);
		client->fd = -1;
		return;
	}
	send(fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	push(client);
}

static void on_connection(void *arg, uint32_t events)
{
	struct vm_console *c = arg;
	int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	for (unsigned i = 0; i < VM_CONSOLE_CLIENTS; i++)
		if (c->clients[i].fd < 0) {
			take(c, &c->clients[i], fd);
			return;
		}
	refuse(fd);
}

// Root's alone by its folder, which is.
static int listen_on(const char *dir)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/console.sock", dir);

	if (n >= (int)sizeof(a.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlink(a.sun_path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 8) == 0)
		return fd;
	n = -errno;
	close(fd);
	return n;
}

// For both directions, which POSIX leaves open and Linux has: neither end ever hangs up.
static int open_fifo(const char *dir, const char *name, int flags)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (mkfifo(path, 0600) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags);
	if (fd < 0)
		return -errno;
	return fd;
}

int vm_console_fds(const struct vm_console *c, int *ret_in, int *ret_out)
{
	int in = open_fifo(c->dir, "in", 0), out = open_fifo(c->dir, "out", 0);

	if (in < 0 || out < 0) {
		if (in >= 0)
			close(in);
		if (out >= 0)
			close(out);
		return in < 0 ? in : out;
	}
	*ret_in = in;
	*ret_out = out;
	return 0;
}

static int start(struct vm_console *c)
{
	char path[160];

	c->in = open_fifo(c->dir, "in", O_NONBLOCK);
	c->out = open_fifo(c->dir, "out", O_NONBLOCK);
	c->listener = listen_on(c->dir);
	if (c->in < 0 || c->out < 0 || c->listener < 0)
		return c->in < 0 ? c->in : c->out < 0 ? c->out : c->listener;
	snprintf(path, sizeof(path), "%s/console", c->dir);
	c->ring = vm_ring_open(path);
	if (!c->ring)
		return -ENOMEM;
	int r = loop_add_timer(c->loop, on_pause_over, c, &c->pause);
	if (r == 0)
		r = loop_add(c->loop, c->out, EPOLLIN | EPOLLONESHOT, on_output, c, &c->source);
	if (r == 0)
		r = loop_add(c->loop, c->listener, EPOLLIN, on_connection, c, &c->listening);
	return r;
}

int vm_console_new(struct loop *loop, const char *dir, struct vm_console **ret_console, char *err,
	size_t err_size)
{
	struct vm_console *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return log_reason(-ENOMEM, err, err_size, "out of memory");
	c->loop = loop;
	c->in = c->out = c->listener = -1;
	snprintf(c->dir, sizeof(c->dir), "%s", dir);
	for (unsigned i = 0; i < VM_CONSOLE_CLIENTS; i++)
		c->clients[i].fd = -1;
	r = start(c);
	if (r < 0) {
		vm_console_free(c, NULL);
		return log_reason(r, err, err_size, "console in %s: %s", dir, strerror(-r));
	}
	*ret_console = c;
	return 0;
}

void vm_console_tell(struct vm_console *c, const char *text)
{
	for (unsigned i = 0; c && i < VM_CONSOLE_CLIENTS; i++)
		if (c->clients[i].fd >= 0)
			send(c->clients[i].fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void vm_console_free(struct vm_console *c, const char *why)
{
	if (!c)
		return;
	if (why)
		vm_console_tell(c, why);
	for (unsigned i = 0; i < VM_CONSOLE_CLIENTS; i++)
		if (c->clients[i].fd >= 0)
			drop(&c->clients[i]);
	loop_remove(c->loop, c->source);
	loop_remove(c->loop, c->pause);
	loop_remove(c->loop, c->listening);
	const int fds[] = { c->in, c->out, c->listener };
	for (unsigned i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	vm_ring_close(c->ring);
	free(c);
}

struct vm_ring *vm_console_ring(struct vm_console *c)
{
	return c ? c->ring : NULL;
}

unsigned vm_console_n_clients(const struct vm_console *c)
{
	unsigned n = 0;

	for (unsigned i = 0; c && i < VM_CONSOLE_CLIENTS; i++)
		n += c->clients[i].fd >= 0;
	return n;
}
