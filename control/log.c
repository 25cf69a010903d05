// SPDX-License-Identifier: BSD-3-Clause
// Log lines of insulad, see log.h. Main thread only.
#include "control/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include "control/loop.h"

void log_line(int level, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (isatty(STDERR_FILENO))
		dprintf(STDERR_FILENO, "insulad: %s\n", line);
	else
		dprintf(STDERR_FILENO, "<%d>insulad: %s\n", level, line);
}

bool log_limit_pass(struct log_limit *l, unsigned burst)
{
	uint64_t now = loop_now_ns();

	if (l->window_ns == 0 || now - l->window_ns > 10000000000u) {
		l->window_ns = now;
		l->n = 0;
	}
	return l->n++ < burst;
}

int log_reason(int r, char *err, unsigned long err_size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, err_size, fmt, ap);
	va_end(ap);
	return r;
}
