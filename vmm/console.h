// SPDX-License-Identifier: BSD-3-Clause
// The other end of the serial port, or of a virtio console: this process's standard input and
// output. A terminal is raw while the machine lives; Ctrl-A x ends it. Nothing here blocks: a
// reader that is slow holds up the guest's transmitter, and neither the machine's lock nor the
// device thread.
#pragma once
#include <termios.h>
#include "vmm/machine.h"
#include "vmm/output.h"
#include "vmm/virtio_console.h"

enum { CONSOLE_OUTPUT = 4096 };

struct console {
	struct machine *machine;
	struct virtio_console *virtio; // NULL: the serial port
	struct termios before;
	bool is_terminal, escaped; // constant; the device thread's
	struct output out; // standard output; constant, as are the next three
	void (*leave)(void *arg);
	void *arg;
	void (*drained)(void *arg); // NULL: nobody waits

	// with the machine's lock held; of a virtio console, the device thread's:
	struct loop_source input, output;
	bool input_held; // not in the loop until the guest has taken some
	uint8_t waiting[CONSOLE_OUTPUT]; // output; what is there is in the loop
	unsigned int n_waiting;
};

// leave: Ctrl-A x. virtio: NULL if it is the serial port; its output is standard output.
int console_init(struct console *c, struct machine *m, struct virtio_console *virtio,
	void (*leave)(void *arg), void *arg);
// Puts the terminal back. No processor may run.
void console_free(struct console *c);
// Calls `drained` (with leave's argument) once all output is out: at once, or on the device thread.
void console_drain(struct console *c, void (*drained)(void *arg));
