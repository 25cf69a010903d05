// SPDX-License-Identifier: BSD-3-Clause
// See console.h. Output is written by the vCPU's thread that makes it, or waits for the loop; input
// comes by the loop.
#include "vmm/console.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { ESCAPE = 1 /* Ctrl-A */ };

static void output(void *arg, uint8_t byte)
{
	struct console *c = arg;
	struct machine *m = c->machine;

	if (!c->n_waiting && output_put(&c->out, &byte, 1))
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
	n = output_put(&c->out, c->waiting, c->n_waiting);
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

int console_init(struct console *c, struct machine *m, struct virtio_console *virtio,
	void (*leave)(void *arg), void *arg)
{
	*c = (struct console){ .machine = m,
		.virtio = virtio,
		.input = { .fd = STDIN_FILENO, .ready = input_ready, .arg = c },
		.leave = leave,
		.arg = arg };
	output_open(&c->out, STDOUT_FILENO);
	c->output = (struct loop_source){ .fd = c->out.fd, .ready = output_ready, .arg = c };
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
	output_close(&c->out);
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
