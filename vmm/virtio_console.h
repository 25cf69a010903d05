// SPDX-License-Identifier: BSD-3-Clause
// A console of one port (Virtual I/O Device 1.2, 5.3). Its other end is console.c's, as the serial
// port's is: bytes to a descriptor, bytes from where virtio_console_put gets them. On the device
// thread, which a slow reader of the output does not hold up: the guest waits.
#pragma once
#include "vmm/loop_queue.h"
#include "vmm/machine.h"
#include "vmm/output.h"

enum { CONSOLE_RECEIVE, CONSOLE_TRANSMIT, CONSOLE_QUEUES, CONSOLE_INPUT = 512 };

struct virtio_console {
	struct virtio_device device;
	struct loop_queue queues[CONSOLE_QUEUES];
	struct loop *loop;
	struct output output; // fd -1: what the guest writes is dropped
	uint64_t sent; // bytes of the text that is waited with; transmit's lock
	struct loop_source room; // of output, if that can be waited for
	bool waits; // transmit's lock
	// receive's lock
	uint8_t input[CONSOLE_INPUT];
	unsigned int n_input;
	void (*input_wanted)(void *arg); // there is room again; NULL: nobody waits
	void *arg;
};

// output: a descriptor that stays open.
int virtio_console_init(struct virtio_console *c, struct machine *m, int output, struct error *e);
// Not before the machine was freed.
void virtio_console_free(struct virtio_console *c);
// How many more bytes of input there is room for. This and put: on the device thread.
unsigned int virtio_console_room(struct virtio_console *c);
void virtio_console_put(struct virtio_console *c, const uint8_t *bytes, unsigned int n);
