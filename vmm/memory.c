// SPDX-License-Identifier: BSD-3-Clause
// See memory.h.
#include "vmm/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const uint64_t GRANULE = 2ull << 20;
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 // since Linux 6.1
#endif

static const uint64_t LARGEST = 1ull << 40; // what 40 physical address bits leave, less the hole

// Aligned, so that pages of 2 MiB can be mapped as such, here and by KVM. MAP_FAILED with errno.
static void *map_aligned(int fd, uint64_t size, int flags)
{
	uint8_t *room = mmap(NULL, size + GRANULE, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t before;
	void *at;

	if (room == MAP_FAILED)
		return MAP_FAILED;
	before = -(uintptr_t)room % GRANULE;
	at = mmap(
		room + before, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | flags, fd, 0);
	if (at == MAP_FAILED) {
		int err = errno;

		munmap(room, size + GRANULE);
		errno = err;
		return MAP_FAILED;
	}
	if (before > 0)
		munmap(room, before);
	munmap(room + before + size, GRANULE - before);
	return at;
}

static int region_map(struct guest_region *r, bool hugepages, struct error *e)
{
	unsigned int flags =
		MFD_CLOEXEC | MFD_ALLOW_SEALING | (hugepages ? MFD_HUGETLB | MFD_HUGE_2MB : 0);
	int err;

	r->fd = memfd_create("guest memory", flags);
	if (r->fd < 0)
		return error_set(e, errno, "guest memory: memfd_create: %s", strerror(errno));
	if (ftruncate(r->fd, (off_t)r->size) < 0 ||
		fcntl(r->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		goto fail;
	r->host = map_aligned(r->fd, r->size, hugepages ? 0 : MAP_NORESERVE);
	if (r->host == MAP_FAILED)
		goto fail;
	// a guest's secrets are not for core dumps
	if (madvise(r->host, r->size, MADV_DONTDUMP) == 0)
		return 0;
	err = errno;
	munmap(r->host, r->size);
	errno = err;
fail:
	err = errno;
	close(r->fd);
	return error_set(e, err, "guest memory of %llu MiB%s: %s%s",
		(unsigned long long)(r->size >> 20), hugepages ? " in hugepages" : "",
		strerror(err),
		err == EFBIG ? "; see `ulimit -f`"
		: hugepages  ? "; sysctl vm.nr_hugepages says how many of 2 MiB there are"
			     : "");
}

int guest_memory_init(struct guest_memory *m, uint64_t size, bool hugepages, struct error *e)
{
	struct guest_memory made = { .size = size, .n_regions = size > GUEST_HOLE_BEGIN ? 2 : 1 };

	if (!size || size % GRANULE || size > LARGEST)
		return error_set(e, EINVAL,
			"guest memory of %llu bytes: a multiple of 2 MiB up to "
			"1 TiB is allowed",
			(unsigned long long)size);
	made.regions[0].size = made.n_regions == 2 ? GUEST_HOLE_BEGIN : size;
	made.regions[1].address = GUEST_HOLE_END;
	made.regions[1].size = size - made.regions[0].size;
	for (unsigned int i = 0; i < made.n_regions; i++) {
		int err = region_map(&made.regions[i], hugepages, e);

		if (err < 0) {
			made.n_regions = i;
			guest_memory_free(&made);
			return err;
		}
	}
	*m = made;
	return 0;
}

void guest_memory_free(struct guest_memory *m)
{
	for (unsigned int i = 0; i < m->n_regions; i++) {
		munmap(m->regions[i].host, m->regions[i].size);
		close(m->regions[i].fd);
	}
	m->n_regions = 0;
}

void *guest_memory_at(const struct guest_memory *m, uint64_t address, uint64_t size)
{
	for (unsigned int i = 0; i < m->n_regions; i++) {
		const struct guest_region *r = &m->regions[i];

		if (address >= r->address && address - r->address < r->size &&
			size <= r->size - (address - r->address))
			return r->host + (address - r->address);
	}
	return NULL;
}

void guest_memory_collapse(const struct guest_memory *m, uint64_t address, uint64_t size)
{
	uint64_t begin = address / GRANULE * GRANULE;
	uint64_t whole = (address + size + GRANULE - 1) / GRANULE * GRANULE - begin;
	uint8_t *host = guest_memory_at(m, begin, whole);

	if (!host || !whole)
		return;
	// The kernel wants to find something in each. In one call: each has every processor's lists
	// of pages emptied.
	for (uint64_t at = 0; at < whole; at += GRANULE)
		__atomic_fetch_or(host + at, 0, __ATOMIC_RELAXED);
	madvise(host, whole, MADV_COLLAPSE);
}
