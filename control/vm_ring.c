// SPDX-License-Identifier: BSD-3-Clause
// See vm_ring.h. Called by vm_console.c.
#include "control/vm_ring.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct vm_ring {
	uint64_t end; // written last
	char bytes[VM_RING_SIZE];
};

// Its pages are there before it is mapped: a full tmpfs would end insulad at the first write.
static int open_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0 && posix_fallocate(fd, 0, sizeof(struct vm_ring)) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

struct vm_ring *vm_ring_open(const char *path)
{
	int fd = open_file(path);
	struct vm_ring *map = mmap(NULL, sizeof(struct vm_ring), PROT_READ | PROT_WRITE,
		fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	if (map == MAP_FAILED)
		return NULL;
	return map;
}

void vm_ring_close(struct vm_ring *r)
{
	if (r)
		munmap(r, sizeof(*r));
}

uint64_t vm_ring_end(const struct vm_ring *r)
{
	return r->end;
}

void vm_ring_put(struct vm_ring *r, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		r->bytes[(r->end + i) % VM_RING_SIZE] = bytes[i];
	r->end += n;
}

const char *vm_ring_from(const struct vm_ring *r, uint64_t *at, size_t *ret_n)
{
	if (*at > r->end || r->end - *at > VM_RING_SIZE)
		*at = r->end > VM_RING_SIZE ? r->end - VM_RING_SIZE : 0;
	size_t left = r->end - *at, straight = VM_RING_SIZE - *at % VM_RING_SIZE;

	*ret_n = left < straight ? left : straight;
	return r->bytes + *at % VM_RING_SIZE;
}

static char byte_at(const struct vm_ring *r, uint64_t at)
{
	return r->bytes[at % VM_RING_SIZE];
}

uint64_t vm_ring_tail(const struct vm_ring *r, unsigned lines, size_t most)
{
	uint64_t least = r->end > most ? r->end - most : 0, at = r->end;

	while (at > least) {
		// the last line's own end does not begin another
		if (byte_at(r, at - 1) == '\n' && at != r->end && lines-- == 1)
			return at;
		at--;
	}
	// Cut off in the middle of a line: that is left out if there is another.
	for (uint64_t next = at; at > 0 && next + 1 < r->end; next++)
		if (byte_at(r, next) == '\n')
			return next + 1;
	return at;
}
