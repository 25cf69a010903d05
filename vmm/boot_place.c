// SPDX-License-Identifier: BSD-3-Clause
// Puts bytes into the guest's memory, for boot*.c, so that only pages that are not all zeroes come
// into being, and by pwrite to the memfd, which makes a page without clearing it first and without
// a fault. Of an unpacked Debian kernel a third is zeroes; faults took most of a load's time.
#include "vmm/boot_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAGE = 4096, CHUNK = 256 << 10 };

static const struct guest_region *region_of(const struct boot *b, const uint8_t *host)
{
	const struct guest_region *r = b->mem->regions;

	while (host < r->host || host >= r->host + r->size)
		r++;
	return r;
}

void boot_clear(struct boot *b, uint64_t address, uint64_t size)
{
	uint8_t *to = guest_memory_at(b->mem, address, size);
	const struct guest_region *r = size ? region_of(b, to) : NULL;

	if (size && fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, to - r->host,
			    (off_t)size) < 0)
		memset(to, 0, size);
}

// -EINVAL: not a file that can be written (hugetlbfs).
static int write_file(
	const struct guest_region *r, const uint8_t *to, const uint8_t *data, uint64_t size)
{
	off_t offset = to - r->host;

	while (size > 0) {
		ssize_t n = pwrite(r->fd, data, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		data += n;
		offset += n;
		size -= (uint64_t)n;
	}
	return 0;
}

static bool all_zero(const uint8_t *p, uint64_t size)
{
	return p[0] == 0 && memcmp(p, p + 1, size - 1) == 0;
}

// How much of the page at `address` the data has.
static uint64_t piece(uint64_t address, uint64_t size)
{
	uint64_t room = PAGE - address % PAGE;

	return size < room ? size : room;
}

// The length of what begins `data`: pages that are all zeroes, or pages that are not.
static uint64_t run(uint64_t address, const uint8_t *data, uint64_t size, bool zero)
{
	uint64_t at = 0, n;

	while (at < size && all_zero(data + at, n = piece(address + at, size - at)) == zero)
		at += n;
	return at;
}

int boot_copy(struct boot *b, uint64_t address, const uint8_t *data, uint64_t size)
{
	uint8_t *to = guest_memory_at(b->mem, address, size);

	for (uint64_t at = 0, n; at < size; at += n) {
		int err;

		at += run(address + at, data + at, size - at, true);
		n = run(address + at, data + at, size - at, false);
		if (n == 0)
			break;
		err = write_file(region_of(b, to), to + at, data + at, n);
		if (err == -ENOMEM || err == -ENOSPC || err == -EIO)
			return error_set(b->e, -err, "guest memory: %s", strerror(-err));
		if (err < 0)
			memcpy(to + at, data + at, n);
	}
	return 0;
}

int boot_copy_file(
	struct boot *b, const struct boot_file *f, uint64_t offset, uint64_t address, uint64_t size)
{
	uint8_t *chunk = malloc(CHUNK);
	int err = 0;

	if (!chunk)
		return error_set(b->e, ENOMEM, "%s: no memory to read it", f->path);
	boot_clear(b, address, size);
	for (uint64_t at = 0, n; at < size && !err; at += n) {
		n = size - at < CHUNK ? size - at : CHUNK;
		err = boot_file_read(f, offset + at, chunk, n, b->e);
		if (!err)
			err = boot_copy(b, address + at, chunk, n);
	}
	free(chunk);
	return err;
}
