// SPDX-License-Identifier: BSD-3-Clause
// See bus.h.
#include "vmm/bus.h"

#include <errno.h>
#include <stddef.h>

int bus_add(struct bus *b, const struct bus_range *range)
{
	if (!range->size || range->base + range->size < range->base)
		return -EINVAL;
	for (unsigned int i = 0; i < b->n; i++)
		if (range->base < b->ranges[i].base + b->ranges[i].size &&
			b->ranges[i].base < range->base + range->size)
			return -EEXIST;
	if (b->n == BUS_RANGES)
		return -ENOSPC;
	b->ranges[b->n++] = *range;
	return 0;
}

void bus_remove(struct bus *b, uint64_t base)
{
	for (unsigned int i = 0; i < b->n; i++)
		if (b->ranges[i].base == base) {
			b->ranges[i] = b->ranges[--b->n];
			return;
		}
}

static const struct bus_range *find(const struct bus *b, uint64_t address, unsigned int size)
{
	if (size & (size - 1)) // KVM's pieces of an access that crosses a page
		return NULL;
	for (unsigned int i = 0; i < b->n; i++) {
		const struct bus_range *r = &b->ranges[i];

		if (address >= r->base && address - r->base < r->size &&
			size <= r->size - (address - r->base))
			return r;
	}
	return NULL;
}

uint64_t bus_read(const struct bus *b, uint64_t address, unsigned int size)
{
	const struct bus_range *r = find(b, address, size);

	return r && r->read ? r->read(r->arg, address - r->base, size) : UINT64_MAX;
}

void bus_write(const struct bus *b, uint64_t address, unsigned int size, uint64_t value)
{
	const struct bus_range *r = find(b, address, size);

	if (r && r->write)
		r->write(r->arg, address - r->base, size, value);
}
