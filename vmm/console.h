// SPDX-License-Identifier: BSD-3-Clause
// The serial port's other end: this process's standard input and output. A terminal is raw while
// the machine lives; Ctrl-A x ends it.
#pragma once
#include <termios.h>
#include "vmm/machine.h"

struct console {
	struct machine *machine;
	struct loop_source input;
	struct termios before;
	bool is_terminal, has_input, escaped;
	void (*leave)(void *arg);
	void *arg;
};

// leave: Ctrl-A x.
int console_init(struct console *c, struct machine *m, void (*leave)(void *arg), void *arg);
// Puts the terminal back.
void console_free(struct console *c);
