// SPDX-License-Identifier: BSD-3-Clause
// See error.h.
#include "vmm/error.h"

#include <stdarg.h>
#include <stdio.h>

int error_set(struct error *e, int errnum, const char *format, ...)
{
	va_list args;

	if (e) {
		va_start(args, format);
		vsnprintf(e->text, sizeof(e->text), format, args);
		va_end(args);
	}
	return -errnum;
}
