// SPDX-License-Identifier: BSD-3-Clause
// Where a console's text goes: a descriptor that never holds up who writes to it, whatever it is.
#pragma once
#include <stdbool.h>

struct output {
	int fd; // what can be waited for
	int given;
	bool is_socket;
};

// fd: a pipe, terminal, socket or file that others may have too; it stays open, and as it is.
// Before the process is confined.
void output_open(struct output *o, int fd);
void output_close(struct output *o);
// How many of the bytes are out; 0: none can be now. A reader that has gone away takes all.
unsigned int output_put(const struct output *o, const void *bytes, unsigned int n);
