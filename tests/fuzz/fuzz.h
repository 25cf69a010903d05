// SPDX-License-Identifier: BSD-3-Clause
// What every target has: its entry, and a condition that must hold whatever the input (a trap,
// which fuzzers and sanitizers take for the crash it is).
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition) \
	do { \
		if (!(condition)) \
			__builtin_trap(); \
	} while (0)
