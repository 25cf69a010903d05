// SPDX-License-Identifier: BSD-3-Clause
// The other end of the serial port, or of a virtio console: this process's standard input and
// output. A terminal is raw while the machine lives; Ctrl-A x ends it.
#pragma once
#include <termios.h>
#include "vmm/machine.h"
#include "vmm/virtio_console.h"

struct console {
	struct machine *machine;
	struct virtio_console *virtio; // NULL: the serial port
	struct loop_source input;
	struct termios before;
	bool is_terminal, has_input, escaped;
	void (*leave)(void *arg);
	void *arg;
};

// leave: Ctrl-A x. virtio: NULL if it is the serial port; its output is standard output.
int console_init(struct console *c, struct machine *m, struct virtio_console *virtio,
	void (*leave)(void *arg), void *arg);
// Puts the terminal back.
void console_free(struct console *c);
