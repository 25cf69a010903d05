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
static const uint64_t LARGEST = 1ull << 40; // what 40 physical address bits leave, less the hole

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
	r->host = mmap(NULL, r->size, PROT_READ | PROT_WRITE,
		MAP_SHARED | (hugepages ? 0 : MAP_NORESERVE), r->fd, 0);
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
		hugepages ? "; sysctl vm.nr_hugepages says how many of 2 MiB there are" : "");
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
