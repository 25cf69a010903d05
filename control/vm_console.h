// SPDX-License-Identifier: BSD-3-Clause
// A machine's serial port: two FIFOs that its insula-vmm has as standard input and output, and that
// stay when insulad does not. What it says is kept in a ring (vm_ring.h) and given to whoever is
// connected to RUN_DIR/vm/ID/console.sock; what they type is the guest's. Main thread only.
//
// A connection begins with one line of JSON, {"others": N} or {"error": "..."} (and is closed
// then); all behind it is the terminal's, in both directions, beginning with the last lines.
#pragma once

#include <stddef.h>
#include "control/vm_ring.h"

struct loop;
struct vm_console;

enum { VM_CONSOLE_CLIENTS = 8 };

// dir: RUN_DIR/vm/ID. 0, or -errno with a sentence in err.
int vm_console_new(struct loop *loop, const char *dir, struct vm_console **ret_console, char *err,
	size_t err_size);
// Those who are connected are told why; NULL: nothing.
void vm_console_free(struct vm_console *c, const char *why);
// Fds for the process' standard input and output, its own to close.
int vm_console_fds(const struct vm_console *c, int *ret_in, int *ret_out);
// Takes what is there now: the last words.
void vm_console_drain(struct vm_console *c);
// A line for those who are connected.
void vm_console_tell(struct vm_console *c, const char *text);
struct vm_ring *vm_console_ring(struct vm_console *c);
unsigned vm_console_n_clients(const struct vm_console *c);
