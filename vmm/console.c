// SPDX-License-Identifier: BSD-3-Clause
// See console.h. Output is written by the vCPU's thread that makes it, or waits for the loop; input
// comes by the loop.
#include "vmm/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ESCAPE = 1 /* Ctrl-A */ };

// How many of the bytes are out; 0: none can be now. A reader that has gone away takes all.
static unsigned int put_out(struct console *c, const uint8_t *bytes, unsigned int n)
{
	struct pollfd p = { .fd = c->fd, .events = POLLOUT };
	ssize_t done;

	do {
		if (c->is_socket)
			done = send(c->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		else if (c->fd != STDOUT_FILENO) // does not block
			done = write(c->fd, bytes, n);
		else // one byte never does if there is room
			done = poll(&p, 1, 0) == 1 ? write(c->fd, bytes, 1) : 0;
	} while (done < 0 && errno == EINTR);
	if (done < 0)
		return errno == EAGAIN ? 0 : n;
	return (unsigned int)done;
}

static void output(void *arg, uint8_t byte)
{
	struct console *c = arg;
	struct machine *m = c->machine;

	if (!c->n_waiting && put_out(c, &byte, 1))
		return;
	if (!c->n_waiting && loop_add(&m->loop, &c->output, EPOLLOUT) < 0)
		return; // a file takes everything: it is full
	c->waiting[c->n_waiting++] = byte;
	if (c->n_waiting == CONSOLE_OUTPUT)
		serial_hold(&m->serial, true);
}

static void output_ready(void *arg, uint32_t events)
{
	struct console *c = arg;
	struct machine *m = c->machine;
	unsigned int n;
	void (*drained)(void *arg) = NULL;

	pthread_mutex_lock(&m->lock);
	n = put_out(c, c->waiting, c->n_waiting);
	c->n_waiting -= n;
	memmove(c->waiting, c->waiting + n, c->n_waiting);
	if (!c->n_waiting) {
		loop_remove(&m->loop, &c->output);
		drained = c->drained;
	}
	if (c->n_waiting < CONSOLE_OUTPUT && m->serial.held)
		serial_hold(&m->serial, false);
	pthread_mutex_unlock(&m->lock);
	if (drained)
		drained(c->arg);
}

static void input_wanted(void *arg)
{
	struct console *c = arg;

	if (c->input_held)
		c->input_held = loop_add(&c->machine->loop, &c->input, EPOLLIN) < 0;
}

// True if the byte is the guest's.
static bool is_for_guest(struct console *c, uint8_t byte)
{
	if (!c->is_terminal)
		return true;
	if (c->escaped) {
		c->escaped = false;
		if (byte == 'x')
			c->leave(c->arg);
		return byte == ESCAPE;
	}
	c->escaped = byte == ESCAPE;
	return !c->escaped;
}

static unsigned int room_for(struct console *c)
{
	return c->virtio ? virtio_console_room(c->virtio) : serial_room(&c->machine->serial);
}

static void put(struct console *c, uint8_t byte)
{
	if (c->virtio)
		virtio_console_put(c->virtio, &byte, 1);
	else
		serial_put(&c->machine->serial, byte);
}

static void input_ready(void *arg, uint32_t events)
{
	struct console *c = arg;
	struct machine *m = c->machine;
	uint8_t bytes[SERIAL_FIFO];
	unsigned int room;
	ssize_t n = 1;

	pthread_mutex_lock(&m->lock);
	room = room_for(c);
	if (room)
		n = read(STDIN_FILENO, bytes, room < sizeof(bytes) ? room : sizeof(bytes));
	for (ssize_t i = 0; room && i < n; i++)
		if (is_for_guest(c, bytes[i]))
			put(c, bytes[i]);
	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
		loop_remove(&m->loop, &c->input); // the end
	} else if (!room_for(c)) {
		// a writer that hangs up is always an event: only out of the loop it waits
		loop_remove(&m->loop, &c->input);
		c->input_held = true;
	}
	pthread_mutex_unlock(&m->lock);
}

// A description of its own for pipes and terminals: to make the one that others may have too
// non-blocking would be to change theirs.
static void open_output(struct console *c)
{
	struct stat st;

	c->fd = -1;
	if (fstat(STDOUT_FILENO, &st) == 0) {
		c->is_socket = S_ISSOCK(st.st_mode);
		if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
			c->fd = open(
				"/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	if (c->fd < 0)
		c->fd = STDOUT_FILENO;
	c->output = (struct loop_source){ .fd = c->fd, .ready = output_ready, .arg = c };
}

int console_init(struct console *c, struct machine *m, struct virtio_console *virtio,
	void (*leave)(void *arg), void *arg)
{
	*c = (struct console){ .machine = m,
		.virtio = virtio,
		.input = { .fd = STDIN_FILENO, .ready = input_ready, .arg = c },
		.leave = leave,
		.arg = arg };
	open_output(c);
	c->is_terminal = tcgetattr(STDIN_FILENO, &c->before) == 0;
	if (c->is_terminal) {
		struct termios raw = c->before;

		cfmakeraw(&raw);
		raw.c_oflag |= OPOST; // our own messages too
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	pthread_mutex_lock(&m->lock);
	// files and /dev/null cannot be waited for: no input then
	loop_add(&m->loop, &c->input, EPOLLIN);
	if (virtio) {
		virtio->arg = c;
		virtio->input_wanted = input_wanted;
	} else {
		m->serial.output = output;
		m->serial.input_wanted = input_wanted;
		m->serial.arg = c;
	}
	pthread_mutex_unlock(&m->lock);
	return 0;
}

void console_free(struct console *c)
{
	loop_remove(&c->machine->loop, &c->input);
	loop_remove(&c->machine->loop, &c->output);
	if (c->fd != STDOUT_FILENO)
		close(c->fd);
	if (c->is_terminal)
		tcsetattr(STDIN_FILENO, TCSANOW, &c->before);
}

void console_drain(struct console *c, void (*drained)(void *arg))
{
	bool empty;

	pthread_mutex_lock(&c->machine->lock);
	empty = !c->n_waiting;
	c->drained = drained;
	pthread_mutex_unlock(&c->machine->lock);
	if (empty)
		drained(c->arg);
}
