// SPDX-License-Identifier: BSD-3-Clause
// Hash index over the 20-byte keys of the session and NAT tables: key -> a 32-bit value. The keys
// themselves stay in the records; the index holds 32-bit tags. Private memory, rebuilt at start.
//
// Threads: readers take no lock; a writer holds the stripe of the hash (sessions) or a lock of the
// whole table (NAT). An entry never moves while it exists, so a reader cannot miss one. A bucket is
// one cache line; what does not fit hangs behind it in overflow buckets, which go back to their
// pool only after a grace period, because a reader may be walking them.
#pragma once

#include "vswitch/id_pool.h"

#include <assert.h>
#include <string.h>

enum {
	TUPLE_KEY_SIZE = 20,
	TUPLE_BUCKET_ENTRIES = 7,
	TUPLE_STRIPES = 256,
};

#define TUPLE_NONE UINT32_MAX

struct tuple_bucket {
	uint64_t entry[TUPLE_BUCKET_ENTRIES]; // tag << 32 | value + 1; 0 = empty; atomic
	uint32_t next; // overflow bucket, 0 = none (bucket 0 is nobody's overflow); atomic
	uint32_t pad;
} __attribute__((aligned(64)));

static_assert(sizeof(struct tuple_bucket) == 64, "a bucket is one cache line");

struct tuple_stripe {
	struct spin lock;
} __attribute__((aligned(64)));

struct tuple_index {
	uint64_t secret[4]; // const after open
	uint32_t mask; // const: home buckets - 1
	uint32_t n_buckets; // const: home and overflow
	struct tuple_bucket *buckets;
	struct tuple_stripe *stripes;
	struct id_pool overflow; // ids are bucket numbers minus home buckets
	uint32_t overflow_high_water;
};

// n_entries: how many it will hold at most. 0 or -ENOMEM.
int tuple_index_open(struct tuple_index *x, uint32_t n_entries, uint64_t seed);
void tuple_index_close(struct tuple_index *x);
// Adds; the caller knows that the key is not there. 0; -ENOSPC: no overflow bucket left.
int tuple_index_add(struct tuple_index *x, uint64_t hash, uint32_t value);
void tuple_index_del(struct tuple_index *x, uint64_t hash, uint32_t value);
// Locks the stripes of two hashes, in an order that cannot deadlock.
void tuple_index_lock(struct tuple_index *x, uint64_t hash_a, uint64_t hash_b);
void tuple_index_unlock(struct tuple_index *x, uint64_t hash_a, uint64_t hash_b);
bool tuple_index_reclaim(struct tuple_index *x); // see id_pool_reclaim

// Expands a seed into the words of a secret (the finaliser of a 64-bit counter).
uint64_t tuple_seed_next(uint64_t *seed);

static inline uint64_t tuple_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

// Multiplies the key by secret words and folds. All words are secret and random, so nobody can
// work out keys that collide without knowing them (H-40); nothing of the hash leaves the process.
static inline uint64_t tuple_hash_words(
	const struct tuple_index *x, uint64_t a, uint64_t b, uint32_t c)
{
	a = tuple_mix(a ^ x->secret[0], b ^ x->secret[1]);
	return tuple_mix(a ^ c ^ x->secret[2], x->secret[3]);
}

static inline uint64_t tuple_hash(const struct tuple_index *x, const void *key)
{
	uint64_t a, b;
	uint32_t c;

	memcpy(&a, key, 8);
	memcpy(&b, (const uint8_t *)key + 8, 8);
	memcpy(&c, (const uint8_t *)key + 16, 4);
	return tuple_hash_words(x, a, b, c);
}

static inline struct tuple_bucket *tuple_home(const struct tuple_index *x, uint64_t hash)
{
	return &x->buckets[(uint32_t)hash & x->mask];
}

// The first value in this bucket whose tag fits, from entry *pos on; TUPLE_NONE if there is none.
static inline uint32_t tuple_bucket_next(const struct tuple_bucket *b, uint64_t hash, unsigned *pos)
{
	for (unsigned i = *pos; i < TUPLE_BUCKET_ENTRIES; i++) {
		// Acquire: the record an entry names is read after the entry, so its commit word
		// and key are those stored before the entry was published.
		uint64_t e = __atomic_load_n(&b->entry[i], __ATOMIC_ACQUIRE);

		if ((e >> 32) == (hash >> 32) && (uint32_t)e != 0) {
			*pos = i + 1;
			return (uint32_t)e - 1;
		}
	}
	return TUPLE_NONE;
}

// The value for which `equal` says so, or TUPLE_NONE. Inlined with its `equal`.
static inline __attribute__((always_inline)) uint32_t tuple_index_find(const struct tuple_index *x,
	uint64_t hash, bool (*equal)(const void *arg, uint32_t value, const void *key),
	const void *arg, const void *key)
{
	const struct tuple_bucket *b = tuple_home(x, hash);

	for (;;) {
		unsigned pos = 0;
		uint32_t value, next;

		while ((value = tuple_bucket_next(b, hash, &pos)) != TUPLE_NONE) {
			if (equal(arg, value, key))
				return value;
		}
		// Acquire: the overflow bucket's entries are those stored before it was linked.
		next = __atomic_load_n(&b->next, __ATOMIC_ACQUIRE);
		if (next == 0)
			return TUPLE_NONE;
		b = &x->buckets[next];
	}
}
