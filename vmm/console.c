// SPDX-License-Identifier: BSD-3-Clause
// See console.h. Output is written by the vCPU's thread that makes it; input comes by the loop.
#include "vmm/console.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { ESCAPE = 1 /* Ctrl-A */ };

// A reader that has gone away does not stop the guest; one that is slow holds it up.
static void output(void *arg, uint8_t byte)
{
	while (write(STDOUT_FILENO, &byte, 1) < 0 && (errno == EINTR || errno == EAGAIN)) {
		struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };

		poll(&p, 1, -1);
	}
}

static void input_wanted(void *arg)
{
	struct console *c = arg;

	if (c->has_input)
		loop_modify(&c->machine->loop, &c->input, EPOLLIN);
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
	if (!room_for(c))
		loop_modify(&m->loop, &c->input, 0); // until the guest has taken some
	pthread_mutex_unlock(&m->lock);
	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
		loop_remove(&m->loop, &c->input);
		c->has_input = false;
	}
}

int console_init(struct console *c, struct machine *m, struct virtio_console *virtio,
	void (*leave)(void *arg), void *arg)
{
	*c = (struct console){ .machine = m,
		.virtio = virtio,
		.input = { .fd = STDIN_FILENO, .ready = input_ready, .arg = c },
		.leave = leave,
		.arg = arg };
	c->is_terminal = tcgetattr(STDIN_FILENO, &c->before) == 0;
	if (c->is_terminal) {
		struct termios raw = c->before;

		cfmakeraw(&raw);
		raw.c_oflag |= OPOST; // our own messages too
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	// files and /dev/null cannot be waited for: no input then
	c->has_input = loop_add(&m->loop, &c->input, EPOLLIN) == 0;
	if (virtio) {
		virtio->arg = c;
		virtio->input_wanted = input_wanted;
		return 0;
	}
	pthread_mutex_lock(&m->lock);
	m->serial.output = output;
	m->serial.input_wanted = input_wanted;
	m->serial.arg = c;
	pthread_mutex_unlock(&m->lock);
	return 0;
}

void console_free(struct console *c)
{
	if (c->has_input)
		loop_remove(&c->machine->loop, &c->input);
	if (c->is_terminal)
		tcsetattr(STDIN_FILENO, TCSANOW, &c->before);
}
