// SPDX-License-Identifier: BSD-3-Clause
// Port kind vhost-user, a front end's memory: what is accepted before librte_vhost maps it, where
// it then is, and what happens when its file shrinks or cannot give a page: the SIGBUS of whoever
// looks there (HOSTILE.md H-05). Stock front ends send memory that is not sealed. The region
// becomes zeroes, which cost nothing, whoever was reading goes on with them, and the port is
// broken: its rings stand still, the next message closes the connection. Runs on librte_vhost's
// event thread; the handler on any thread, where it faults.

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include "vswitch/vhost_port.h"

enum {
	MEMORY_MAX_SHIFT = 40, // 1 TiB: what nobody has is mapped as easily as what somebody has
	MAPPED_MAX_SHIFT = 46, // 64 TiB for all: half of the address space
};

// By device. The event thread writes; the handler reads what is atomic.
static struct {
	struct virtq_memory table; // taken over whole; n = 0: there is none
	uint64_t mapped; // bytes that it may have mapped
	_Atomic bool torn;
	struct {
		_Atomic uintptr_t at;
		_Atomic size_t size; // 0: none
	} maps[VIRTQ_REGIONS_MAX];
} memories[RTE_MAX_VHOST_DEVICE];

// The device whose message librte_vhost handles on this thread, or -1: its new memory is looked at
// before it is known here.
static __thread int handled = -1;

static struct sigaction other_sigbus; // who had the signal before
static bool caught; // control thread

// ---- what is accepted

static bool address_space_left(int vid, uint64_t size)
{
	uint64_t sum = size;

	for (int i = 0; i < RTE_MAX_VHOST_DEVICE; i++)
		sum += i == vid || vhost_events_port(i) == NULL ? 0 : memories[i].mapped;
	return size <= 1ULL << MEMORY_MAX_SHIFT && sum <= 1ULL << MAPPED_MAX_SHIFT;
}

// Whoever answers for the pages of another kind of file system (a disk, FUSE) may take as long as
// it likes, and a worker would wait.
static bool is_memory(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 &&
	       (fs.f_type == TMPFS_MAGIC || (unsigned long)fs.f_type == HUGETLBFS_MAGIC);
}

static bool holds(int fd, uint64_t size)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= 0 &&
	       size <= (uint64_t)st.st_size;
}

bool vhost_memory_ok(int vid, const struct vhost_region *regions, const int *fds, uint32_t n)
{
	uint64_t size = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct vhost_region *a = &regions[i];

		if (a->size == 0 || a->guest_address + a->size < a->size ||
			a->user_address + a->size < a->size || a->mmap_offset + a->size < a->size ||
			a->mmap_offset + a->size > 1ULL << MEMORY_MAX_SHIFT)
			return false;
		if (!is_memory(fds[i]) || !holds(fds[i], a->mmap_offset + a->size))
			return false;
		size += a->mmap_offset + a->size; // from the start of its file
		for (uint32_t j = 0; j < i; j++) {
			const struct vhost_region *b = &regions[j];

			if (a->guest_address < b->guest_address + b->size &&
				b->guest_address < a->guest_address + a->size)
				return false;
		}
	}
	if (!address_space_left(vid, size))
		return false;
	memories[vid].mapped = size;
	return true;
}

// ---- where it is

void vhost_memory_begin(int vid)
{
	handled = vid;
}

void vhost_memory_end(void)
{
	handled = -1;
}

// Before librte_vhost unmaps it: what comes to lie there is not the front end's.
void vhost_memory_forget(int vid)
{
	memories[vid].table.n = 0;
	for (unsigned i = 0; i < VIRTQ_REGIONS_MAX; i++)
		atomic_store(&memories[vid].maps[i].size, 0);
}

void vhost_memory_start(int vid)
{
	vhost_memory_forget(vid);
	memories[vid].mapped = 0;
	atomic_store(&memories[vid].torn, false);
}

bool vhost_memory_learn(int vid)
{
	struct rte_vhost_memory *mem = NULL;
	struct virtq_memory table = { 0 };

	if (rte_vhost_get_mem_table(vid, &mem) != 0)
		return false;
	for (uint32_t i = 0; i < mem->nregions && i < VIRTQ_REGIONS_MAX; i++) {
		const struct rte_vhost_mem_region *r = &mem->regions[i];

		table.regions[table.n++] = (struct virtq_region){ .guest = r->guest_phys_addr,
			.size = r->size,
			.host = (uint8_t *)(uintptr_t)r->host_user_addr };
		atomic_store(&memories[vid].maps[i].at, (uintptr_t)r->mmap_addr);
		atomic_store(&memories[vid].maps[i].size, r->mmap_size);
	}
	memories[vid].table = table;
	free(mem);
	return true;
}

const struct virtq_memory *vhost_memory(int vid)
{
	return memories[vid].table.n > 0 ? &memories[vid].table : NULL;
}

bool vhost_memory_torn(int vid)
{
	return atomic_load(&memories[vid].torn);
}

// ---- what happens when it goes

static bool put_zeroes(uintptr_t at, size_t size)
{
	const void *got = mmap((void *)at, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	return got != MAP_FAILED;
}

// One page, of whichever size its file has: a smaller one cannot be put into a larger.
static bool put_zero_page(uintptr_t at)
{
	static const unsigned shifts[] = { 12, 21, 30 };

	for (unsigned i = 0; i < sizeof(shifts) / sizeof(shifts[0]); i++) {
		size_t size = (size_t)1 << shifts[i];

		if (put_zeroes(at & ~(size - 1), size))
			return true;
	}
	return false;
}

// The device with memory mapped there, or -1. All of that region is made zeroes: page by page, a
// guest could make more mappings than a process may have.
static int replace(uintptr_t at)
{
	for (int vid = 0; vid < RTE_MAX_VHOST_DEVICE; vid++)
		for (unsigned i = 0; i < VIRTQ_REGIONS_MAX; i++) {
			size_t size = atomic_load(&memories[vid].maps[i].size);
			uintptr_t start = atomic_load(&memories[vid].maps[i].at);

			if (size > 0 && at - start < size)
				return put_zeroes(start, size) || put_zero_page(at) ? vid : -1;
		}
	return handled >= 0 && put_zero_page(at) ? handled : -1;
}

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	int saved = errno, vid = replace((uintptr_t)info->si_addr);
	struct vhost_port *vp = vid >= 0 ? vhost_events_port(vid) : NULL;

	if (vid < 0) {
		sigaction(SIGBUS, &other_sigbus, NULL); // it faults again, and is told as ever
	} else {
		atomic_store(&memories[vid].torn, true);
		if (vp != NULL)
			atomic_store(&vp->torn, true);
	}
	errno = saved;
}

void vhost_memory_catch(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	if (!caught)
		caught = sigaction(SIGBUS, &action, &other_sigbus) == 0;
}
