// SPDX-License-Identifier: BSD-3-Clause
// Who answers which guest-physical or I/O address. Changed and asked with the machine's lock held:
// a vCPU's exit comes here.
#pragma once
#include <stdint.h>

enum { BUS_RANGES = 64 };

struct bus_range {
	uint64_t base, size;
	// offset: from base; size: 1, 2, 4 or 8 bytes, all within the range.
	uint64_t (*read)(void *arg, uint64_t offset, unsigned int size);
	void (*write)(void *arg, uint64_t offset, unsigned int size, uint64_t value);
	void *arg;
};

struct bus {
	unsigned int n;
	struct bus_range ranges[BUS_RANGES];
};

// Errors: -EEXIST if it overlaps another one, -ENOSPC, -EINVAL if it is empty or wraps.
int bus_add(struct bus *b, const struct bus_range *range);
// The range at `base`, if there is one, answers no more.
void bus_remove(struct bus *b, uint64_t base);
// All ones, as on a real bus, where nobody is, and for an access that is only in part somebody's or
// of another size.
uint64_t bus_read(const struct bus *b, uint64_t address, unsigned int size);
void bus_write(const struct bus *b, uint64_t address, unsigned int size, uint64_t value);
