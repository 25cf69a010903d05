// SPDX-License-Identifier: BSD-3-Clause
// What a guest can make happen as often as it likes is told the first time, and then once a minute
// with how often it was. Not by two threads at once; time is the caller's.
#pragma once
#include <stdint.h>

enum { SELDOM_SECONDS = 60 };

// Zeroes: nothing was told.
struct seldom {
	uint64_t next_ns; // not to be told again before
	uint64_t n; // not told yet
};

// It has happened so many times more. 0: not to be told now; else how often since it was told last.
uint64_t seldom_count(struct seldom *s, uint64_t n, uint64_t now_ns);
