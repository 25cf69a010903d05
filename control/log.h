// SPDX-License-Identifier: BSD-3-Clause
// insulad's log: one line per decision on standard error. "<level>" first as systemd reads it when
// that is the journal, time and level in words when it is a file or a pipe. A file of more than 8
// MiB (opened for appending) becomes FILE.1. Main thread only.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define log_error(...) log_line(3, __VA_ARGS__)
#define log_warning(...) log_line(4, __VA_ARGS__)
#define log_info(...) log_line(6, __VA_ARGS__)

void log_line(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// A line of another program's, as insulad's own would be.
void log_of(int level, const char *program, const char *line);

// For what a guest can cause: at most `burst` lines per 10 s; false = leave the line out.
struct log_limit {
	uint64_t window_ns;
	unsigned n;
};
bool log_limit_pass(struct log_limit *l, unsigned burst);

// A sentence into a caller's buffer; returns r, so that a failing function can `return fail(...)`.
int log_reason(int r, char *err, unsigned long err_size, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
