// SPDX-License-Identifier: BSD-3-Clause
// Header of a record file: format, verify, change of capacity. Called when a table is opened,
// before any other thread knows of it.
#include "vswitch/record_file.h"

#include <errno.h>

size_t record_file_size(const struct record_kind *kind, uint32_t capacity)
{
	return RECORD_HEADER_SIZE + (size_t)capacity * kind->record_size;
}

static void format(const struct record_kind *kind, struct record_header *h, uint32_t capacity,
	uint64_t boot_id)
{
	h->layout = kind->layout;
	h->record_size = kind->record_size;
	h->capacity = capacity;
	h->high_water = 0;
	h->boot_id = boot_id;
	h->next_commit = 1;
	// Release: a header with its magic is complete, whenever the process dies.
	__atomic_store_n(&h->magic, kind->magic, __ATOMIC_RELEASE);
}

int record_file_attach(const struct record_kind *kind, void *mem, size_t size, uint32_t capacity,
	uint64_t boot_id, struct record_header **ret_header)
{
	struct record_header *h = mem;

	if (capacity == 0 || size < record_file_size(kind, capacity))
		return -EINVAL;
	if (h->magic == 0)
		format(kind, h, capacity, boot_id);
	if (h->magic != kind->magic || h->layout != kind->layout ||
		h->record_size != kind->record_size || h->boot_id != boot_id)
		return -EINVAL;
	if (h->high_water > h->capacity || h->next_commit == 0 ||
		size < record_file_size(kind, h->high_water))
		return -EINVAL;
	*ret_header = h;
	if (h->high_water > capacity)
		return -E2BIG;
	h->capacity = capacity;
	return 0;
}
