// SPDX-License-Identifier: BSD-3-Clause
// Ids 0..capacity-1, each in exactly one place: in use, free, or retired and waiting for a grace
// period. Records, mappings and the overflow buckets of an index are handed out by it. Untouched
// ids cost nothing: those at and above the high-water mark were never used and are on no list.
//
// Threads: take, give_back and retire by any worker (own spin lock); reclaim by the control thread.
#pragma once

#include "vswitch/spin.h"

#include <stdbool.h>
#include <stddef.h>

struct id_pool {
	struct spin lock;
	uint32_t capacity;
	uint32_t *high_water; // every id ever handed out is below it; may lie in the file
	uint8_t *records; // in a file, of record_size bytes each; NULL: nowhere
	size_t record_size;
	uint32_t ready; // those below have their pages
	uint32_t *next; // links of the three lists; an id is on one of them at most
	uint32_t free; // heads; ID_POOL_END ends a list
	uint32_t young, young_tail; // retired since the last id_pool_reclaim
	uint32_t old, old_tail; // retired before it
};

#define ID_POOL_END UINT32_MAX

// high_water: the caller's word, e.g. in a file's header. 0 or -ENOMEM.
int id_pool_open(struct id_pool *p, uint32_t capacity, uint32_t *high_water);
void id_pool_close(struct id_pool *p);

// What the ids stand for lies in a file's mapping, whose pages a full file system may refuse by
// SIGBUS: from now on a page is there before an id on it is handed out; those below the mark at
// once. Called before the first id_pool_take. 0 or -ENOSPC.
int id_pool_back(struct id_pool *p, void *records, size_t record_size);

// False: all are in use, or there is no page for another one.
bool id_pool_take(struct id_pool *p, uint32_t *ret_id);
// For an id that no reader can have seen: usable again at once.
void id_pool_give_back(struct id_pool *p, uint32_t id);
// For an id that a reader may still hold: usable again after the second reclaim from now.
void id_pool_retire(struct id_pool *p, uint32_t id);
// Frees what was retired before the previous call. The caller lets a grace period pass between two
// calls; that makes the ids unreachable. Returns whether anything still waits.
bool id_pool_reclaim(struct id_pool *p);

// Zeroed memory whose untouched pages cost nothing; NULL when there is none.
void *lazy_alloc(size_t size);
void lazy_free(void *mem, size_t size);
