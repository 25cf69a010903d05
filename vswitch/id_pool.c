// SPDX-License-Identifier: BSD-3-Clause
// Free lists with a grace period; see id_pool.h. All lists share one array of links, so that
// retiring and reclaiming never allocate and reclaiming any number of ids is O(1).
#include "vswitch/id_pool.h"

#include <errno.h>
#include <sys/mman.h>

enum {
	HUGE_PAGE_SIZE = 2 << 20,
	PAGE_SIZE = 4096,
	READY_SIZE = 65536, // pages taken ahead: one system call for 512 sessions
	HUGE_PAGE_WORTH = 16 * HUGE_PAGE_SIZE, // smaller areas stay on small pages: memory over TLB
};

int id_pool_open(struct id_pool *p, uint32_t capacity, uint32_t *high_water)
{
	*p = (struct id_pool){
		.capacity = capacity,
		.high_water = high_water,
		.free = ID_POOL_END,
		.young = ID_POOL_END,
		.young_tail = ID_POOL_END,
		.old = ID_POOL_END,
		.old_tail = ID_POOL_END,
	};
	p->next = lazy_alloc((size_t)capacity * sizeof(*p->next));
	return p->next == NULL ? -ENOMEM : 0;
}

void id_pool_close(struct id_pool *p)
{
	lazy_free(p->next, (size_t)p->capacity * sizeof(*p->next));
	p->next = NULL;
}

// Makes the pages of records from..to-1 be there, as far as whole pages around them.
static bool populate(const struct id_pool *p, uint32_t from, uint32_t to)
{
	uintptr_t first = (uintptr_t)(p->records + from * p->record_size) & ~(PAGE_SIZE - 1ul);
	uintptr_t end =
		(uintptr_t)(p->records + to * p->record_size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1ul);

	return from == to || madvise((void *)first, end - first, MADV_POPULATE_WRITE) == 0;
}

int id_pool_back(struct id_pool *p, void *records, size_t record_size)
{
	p->records = records;
	p->record_size = record_size;
	p->ready = *p->high_water;
	return populate(p, 0, p->ready) ? 0 : -ENOSPC;
}

static bool make_ready(struct id_pool *p, uint32_t id)
{
	uint32_t to;

	if (p->records == NULL || id < p->ready)
		return true;
	to = id + READY_SIZE / (uint32_t)p->record_size;
	if (to > p->capacity)
		to = p->capacity;
	if (!populate(p, id, to))
		return false;
	p->ready = to;
	return true;
}

bool id_pool_take(struct id_pool *p, uint32_t *ret_id)
{
	uint32_t id = ID_POOL_END;

	spin_lock(&p->lock);
	if (p->free != ID_POOL_END) {
		id = p->free;
		p->free = p->next[id];
	} else if (*p->high_water < p->capacity && make_ready(p, *p->high_water)) {
		id = *p->high_water;
		// Release: a scan of the file that finds the record committed also finds the mark
		// above it (the commit word is stored later); readers of the mark need no lock.
		__atomic_store_n(p->high_water, id + 1, __ATOMIC_RELEASE);
	}
	spin_unlock(&p->lock);
	if (id == ID_POOL_END)
		return false;
	*ret_id = id;
	return true;
}

void id_pool_give_back(struct id_pool *p, uint32_t id)
{
	spin_lock(&p->lock);
	p->next[id] = p->free;
	p->free = id;
	spin_unlock(&p->lock);
}

void id_pool_retire(struct id_pool *p, uint32_t id)
{
	spin_lock(&p->lock);
	p->next[id] = p->young;
	if (p->young == ID_POOL_END)
		p->young_tail = id;
	p->young = id;
	spin_unlock(&p->lock);
}

bool id_pool_reclaim(struct id_pool *p)
{
	bool waiting;

	spin_lock(&p->lock);
	if (p->old != ID_POOL_END) {
		p->next[p->old_tail] = p->free;
		p->free = p->old;
	}
	p->old = p->young;
	p->old_tail = p->young_tail;
	p->young = ID_POOL_END;
	p->young_tail = ID_POOL_END;
	waiting = p->old != ID_POOL_END;
	spin_unlock(&p->lock);
	return waiting;
}

void *lazy_alloc(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	// A hint only: tables of millions of flows are bound by the TLB, small ones by memory.
	(void)madvise(mem, size, size >= HUGE_PAGE_WORTH ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return mem;
}

void lazy_free(void *mem, size_t size)
{
	if (mem != NULL)
		munmap(mem, size);
}
