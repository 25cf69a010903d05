// SPDX-License-Identifier: BSD-3-Clause
// What a freestanding program lacks: memory functions, numbers in text, an allocator that never
// frees, lines on the serial port, the command line. All of it is single-threaded.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LENGTH_OF(array) (sizeof(array) / sizeof((array)[0]))

bool text_equal(const char *a, const char *b);

// Zeroed memory that a device may use (identity mapped); align is a power of 2. Ends the guest if
// there is no more.
void *memory_take(size_t size, size_t align);

// Decimal, or hexadecimal after 0x, until the first other character, which *ret_end names; returns
// false and leaves both alone where there is no digit.
bool number_of(const char *text, uint64_t *ret_number, const char **ret_end);

// %s %c %d %u %x %lu %lx %%, with a width that may begin with 0. Returns the length, < size.
__attribute__((format(printf, 3, 4))) size_t text_format(
	char *buffer, size_t size, const char *format, ...);

// One line on the serial port; the newline is added.
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

// Keeps a copy: "KEY=VALUE KEY=VALUE ...".
void cmdline_init(const char *text);
// The value of a key, "" if it has none, NULL if the key is missing.
const char *cmdline_get(const char *key);
uint64_t cmdline_number(const char *key, uint64_t otherwise);

// Bytes that anybody can make again from seed and place: splitmix64 of seed + offset / 8,
// little-endian.
void pattern_fill(uint8_t *to, size_t size, uint64_t seed, uint64_t offset);
// IEEE 802.3, as zlib has it; begin with 0.
uint32_t crc32(uint32_t crc, const void *data, size_t size);
