// SPDX-License-Identifier: BSD-3-Clause
// Writers' side of the hash index; see tuple_index.h. Called by workers (insert, removal) and the
// control thread (expiry, reclaim), each holding the stripe or table lock the header asks for.
#include "vswitch/tuple_index.h"

#include <errno.h>

static size_t buckets_size(const struct tuple_index *x)
{
	return (size_t)x->n_buckets * sizeof(*x->buckets);
}

uint64_t tuple_seed_next(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

int tuple_index_open(struct tuple_index *x, uint32_t n_entries, uint64_t seed)
{
	uint32_t n_home = 64, n_overflow;
	int r;

	*x = (struct tuple_index){};
	for (unsigned i = 0; i < 4; i++)
		x->secret[i] = tuple_seed_next(&seed);
	x->secret[3] |= 1; // a multiplier of 0 would make everything collide
	// Four entries a bucket when full: one bucket in twenty overflows then.
	while (n_home < n_entries / 4)
		n_home *= 2;
	// All entries in one chain need n_entries / 7; the rest is for chains that wait to be
	// reclaimed or hold few entries. Never touched means never allocated.
	n_overflow = n_entries / TUPLE_BUCKET_ENTRIES + n_home;
	x->mask = n_home - 1;
	x->n_buckets = n_home + n_overflow;

	x->buckets = lazy_alloc(buckets_size(x));
	if (x->buckets == NULL)
		return -ENOMEM;
	x->stripes = lazy_alloc(TUPLE_STRIPES * sizeof(*x->stripes));
	if (x->stripes == NULL) {
		r = -ENOMEM;
		goto err_buckets;
	}
	r = id_pool_open(&x->overflow, n_overflow, &x->overflow_high_water);
	if (r < 0)
		goto err_stripes;
	return 0;

err_stripes:
	lazy_free(x->stripes, TUPLE_STRIPES * sizeof(*x->stripes));
err_buckets:
	lazy_free(x->buckets, buckets_size(x));
	x->buckets = NULL;
	return r;
}

void tuple_index_close(struct tuple_index *x)
{
	id_pool_close(&x->overflow);
	lazy_free(x->stripes, TUPLE_STRIPES * sizeof(*x->stripes));
	lazy_free(x->buckets, buckets_size(x));
}

int tuple_index_add(struct tuple_index *x, uint64_t hash, uint32_t value)
{
	uint64_t e = (hash >> 32) << 32 | (value + 1);
	struct tuple_bucket *b = tuple_home(x, hash);
	uint32_t id;

	for (;;) {
		for (unsigned i = 0; i < TUPLE_BUCKET_ENTRIES; i++) {
			if (__atomic_load_n(&b->entry[i], __ATOMIC_RELAXED) == 0) {
				// Release: who finds the entry finds the committed record behind
				// it.
				__atomic_store_n(&b->entry[i], e, __ATOMIC_RELEASE);
				return 0;
			}
		}
		if (b->next == 0)
			break;
		b = &x->buckets[b->next];
	}
	if (!id_pool_take(&x->overflow, &id))
		return -ENOSPC;
	id += x->mask + 1;
	__atomic_store_n(&x->buckets[id].entry[0], e, __ATOMIC_RELEASE);
	__atomic_store_n(&x->buckets[id].next, 0, __ATOMIC_RELAXED);
	// Release: who follows the link finds the bucket filled as above.
	__atomic_store_n(&b->next, id, __ATOMIC_RELEASE);
	return 0;
}

static bool bucket_empty(const struct tuple_bucket *b)
{
	for (unsigned i = 0; i < TUPLE_BUCKET_ENTRIES; i++) {
		if (__atomic_load_n(&b->entry[i], __ATOMIC_RELAXED) != 0)
			return false;
	}
	return true;
}

void tuple_index_del(struct tuple_index *x, uint64_t hash, uint32_t value)
{
	uint64_t e = (hash >> 32) << 32 | (value + 1);
	struct tuple_bucket *b = tuple_home(x, hash), *prev = NULL;

	for (;;) {
		for (unsigned i = 0; i < TUPLE_BUCKET_ENTRIES; i++) {
			if (__atomic_load_n(&b->entry[i], __ATOMIC_RELAXED) != e)
				continue;
			__atomic_store_n(&b->entry[i], 0, __ATOMIC_RELAXED);
			if (prev != NULL && bucket_empty(b)) {
				// Its own link stays: a reader inside it goes on to the rest of the
				// chain.
				uint32_t id = prev->next - (x->mask + 1);

				__atomic_store_n(&prev->next, b->next, __ATOMIC_RELEASE);
				id_pool_retire(&x->overflow, id);
			}
			return;
		}
		if (b->next == 0)
			return;
		prev = b;
		b = &x->buckets[b->next];
	}
}

void tuple_index_lock(struct tuple_index *x, uint64_t hash_a, uint64_t hash_b)
{
	uint32_t a = (uint32_t)hash_a & x->mask & (TUPLE_STRIPES - 1);
	uint32_t b = (uint32_t)hash_b & x->mask & (TUPLE_STRIPES - 1);

	// Everybody takes the lower stripe first.
	spin_lock(&x->stripes[a < b ? a : b].lock);
	if (a != b)
		spin_lock(&x->stripes[a < b ? b : a].lock);
}

void tuple_index_unlock(struct tuple_index *x, uint64_t hash_a, uint64_t hash_b)
{
	uint32_t a = (uint32_t)hash_a & x->mask & (TUPLE_STRIPES - 1);
	uint32_t b = (uint32_t)hash_b & x->mask & (TUPLE_STRIPES - 1);

	spin_unlock(&x->stripes[a].lock);
	if (a != b)
		spin_unlock(&x->stripes[b].lock);
}

bool tuple_index_reclaim(struct tuple_index *x)
{
	return id_pool_reclaim(&x->overflow);
}
