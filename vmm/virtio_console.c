// SPDX-License-Identifier: BSD-3-Clause
// See virtio_console.h.
#include "vmm/virtio_console.h"

#include <errno.h>
#include <limits.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static struct virtio_console *console_of(struct virtio_device *d)
{
	return (struct virtio_console *)d; // its first member
}

static bool has_room(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return fd < 0 || poll(&p, 1, 0) != 0; // errors too: the write will tell
}

// Of the output; if there is none, the loop will tell when there is.
static bool transmit_ready(struct virtio_device *d)
{
	struct virtio_console *c = console_of(d);

	if (has_room(c->output.fd))
		return true;
	if (!c->waits)
		c->waits = loop_modify(c->loop, &c->room, EPOLLOUT) == 0;
	return !c->waits;
}

static void room_came(void *arg, uint32_t events)
{
	struct virtio_console *c = arg;
	struct loop_queue *q = &c->queues[CONSOLE_TRANSMIT];

	pthread_mutex_lock(&q->lock);
	c->waits = false;
	if (events & (EPOLLERR | EPOLLHUP)) // would be told for ever; a write tells too
		loop_remove(c->loop, &c->room);
	else
		loop_modify(c->loop, &c->room, 0);
	pthread_mutex_unlock(&q->lock);
	loop_queue_kick(q);
}

// What the output does not take now waits, and the rest of its text and all others with it. The
// device thread never does. A reader that has gone away does not stop the guest.
static int64_t transmit(struct virtio_device *d, struct virtq_chain *chain)
{
	struct virtio_console *c = console_of(d);
	uint64_t skip = c->sent;
	char text[PIPE_BUF];

	while (chain->size_out > 0 && c->output.fd >= 0) {
		unsigned int n =
			chain->size_out < sizeof(text) ? (unsigned int)chain->size_out : PIPE_BUF;
		unsigned int done;

		if (skip)
			n = skip < n ? (unsigned int)skip : n;
		virtq_chain_read(chain, text, n);
		if (skip) {
			skip -= n;
			continue;
		}
		done = output_put(&c->output, text, n);
		c->sent += done;
		if (done < n)
			return LOOP_QUEUE_LATER;
	}
	c->sent = 0;
	return 0;
}

static bool receive_ready(struct virtio_device *d)
{
	return console_of(d)->n_input > 0;
}

static int64_t receive(struct virtio_device *d, struct virtq_chain *chain)
{
	struct virtio_console *c = console_of(d);
	const unsigned int n =
		chain->size_in < c->n_input ? (unsigned int)chain->size_in : c->n_input;

	virtq_chain_write(chain, c->input, n);
	c->n_input -= n;
	memmove(c->input, c->input + n, c->n_input);
	if (c->input_wanted)
		c->input_wanted(c->arg);
	return n;
}

unsigned int virtio_console_room(struct virtio_console *c)
{
	unsigned int room;

	pthread_mutex_lock(&c->queues[CONSOLE_RECEIVE].lock);
	room = CONSOLE_INPUT - c->n_input;
	pthread_mutex_unlock(&c->queues[CONSOLE_RECEIVE].lock);
	return room;
}

void virtio_console_put(struct virtio_console *c, const uint8_t *bytes, unsigned int n)
{
	struct loop_queue *q = &c->queues[CONSOLE_RECEIVE];

	pthread_mutex_lock(&q->lock);
	if (n > CONSOLE_INPUT - c->n_input)
		n = CONSOLE_INPUT - c->n_input;
	memcpy(c->input + c->n_input, bytes, n);
	c->n_input += n;
	pthread_mutex_unlock(&q->lock);
	loop_queue_kick(q);
}

static void stop(struct virtio_device *d)
{
	for (unsigned int i = 0; i < CONSOLE_QUEUES; i++)
		loop_queue_stop(&console_of(d)->queues[i]);
}

static int start(struct virtio_device *d)
{
	int err = 0;

	console_of(d)->sent = 0;
	for (unsigned int i = 0; err == 0 && i < CONSOLE_QUEUES; i++)
		err = loop_queue_start(&console_of(d)->queues[i]);
	if (err < 0)
		stop(d);
	return err;
}

static void hold(struct virtio_device *d, bool held)
{
	for (unsigned int i = 0; i < CONSOLE_QUEUES; i++)
		loop_queue_hold(&console_of(d)->queues[i], held);
}

static const struct virtio_ops OPS = {
	.name = "console", .type = VIRTIO_ID_CONSOLE, .start = start, .hold = hold, .stop = stop
};

int virtio_console_init(struct virtio_console *c, struct machine *m, int output, struct error *e)
{
	int err;

	*c = (struct virtio_console){ .device = { .ops = &OPS,
					      .memory = &m->memory,
					      .offered = VIRTQ_FEATURES,
					      .n_queues = CONSOLE_QUEUES },
		.loop = &m->loop };
	if (output >= 0)
		output_open(&c->output, output);
	else
		c->output.fd = -1;
	for (unsigned int i = 0; i < CONSOLE_QUEUES; i++) {
		c->queues[i] = (struct loop_queue){ .loop = &m->loop,
			.device = &c->device,
			.index = i,
			.serve = i == CONSOLE_TRANSMIT ? transmit : receive,
			.ready = i == CONSOLE_TRANSMIT ? transmit_ready : receive_ready };
		loop_queue_init(&c->queues[i]);
	}
	c->room = (struct loop_source){ .fd = c->output.fd, .ready = room_came, .arg = c };
	loop_add(&m->loop, &c->room, 0); // files cannot be waited for, and need not
	err = machine_add_device(m, &c->device);
	return err < 0 ? error_set(e, -err, "console: %s", strerror(-err)) : 0;
}

void virtio_console_free(struct virtio_console *c)
{
	if (!c->loop)
		return; // it never was
	loop_remove(c->loop, &c->room);
	output_close(&c->output);
	for (unsigned int i = 0; i < CONSOLE_QUEUES; i++)
		loop_queue_free(&c->queues[i]);
}
