// SPDX-License-Identifier: BSD-3-Clause
// What went wrong, in words for who started the machine. Libraries here do not log: they fill one
// of these, and main or the API tells it.
#pragma once

struct error {
	char text[512];
};

// Writes the sentence if `e` is not NULL. Returns -errnum.
int error_set(struct error *e, int errnum, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
