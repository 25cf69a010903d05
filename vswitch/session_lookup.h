// SPDX-License-Identifier: BSD-3-Clause
// Finding the sessions of a burst in three steps, each for all packets before the next: bucket,
// record, comparison. So the memory of all of them is on its way at once. Inlined into the session
// stage; called by workers. session_lookup() is for one packet alone.
#pragma once

#include "vswitch/session_private.h"

struct session_search {
	struct session_key key; // the caller's
	uint32_t value; // of the home bucket, the first whose tag fits: nearly always the one
	uint64_t hash;
};

struct session_found {
	struct session_record *record;
	uint32_t id;
	enum session_dir dir;
};

// Whether an index value names a committed record whose direction has this key. No lock is held:
// the record may be removed and even written anew meanwhile.
static inline bool session_value_matches(const void *arg, uint32_t value, const void *key)
{
	const struct session_table *t = arg;
	const struct session_record *r = &t->records[value >> 1];
	const uint32_t *have = (const uint32_t *)&r->d.key[value & 1], *want = key;
	uint32_t diff = 0;
	// Acquire: the key is read after this; it is the key stored before this commit number was.
	uint64_t commit = __atomic_load_n(&r->commit, __ATOMIC_ACQUIRE);

	if (commit == 0)
		return false;
		// Acquire each: the second look at the commit word comes after all of them. If any
		// word was of a later record, that record's release store (record_store) makes the
		// zero that went before it visible here, and the second look sees zero or a later
		// number: never the same.
#pragma GCC unroll 5
	for (unsigned i = 0; i < TUPLE_KEY_SIZE / sizeof(uint32_t); i++)
		diff |= __atomic_load_n(&have[i], __ATOMIC_ACQUIRE) ^ want[i];
	return diff == 0 && __atomic_load_n(&r->commit, __ATOMIC_RELAXED) == commit;
}

// 1: s->key is set.
static inline void session_search_begin(const struct session_table *t, struct session_search *s)
{
	s->hash = session_hash(t, &s->key);
	__builtin_prefetch(tuple_home(&t->index, s->hash));
}

// 2
static inline void session_search_record(const struct session_table *t, struct session_search *s)
{
	unsigned pos = 0;

	s->value = tuple_bucket_next(tuple_home(&t->index, s->hash), s->hash, &pos);
	if (s->value != TUPLE_NONE) {
		const uint8_t *r = (const uint8_t *)&t->records[s->value >> 1];

		__builtin_prefetch(r);
		__builtin_prefetch(r + 64, 1); // what session_touch writes
	}
}

// 3: false if unknown, then *ret_found is untouched. What is found stays readable as with
// session_lookup.
static inline bool session_search_end(const struct session_table *t, const struct session_search *s,
	struct session_found *ret_found)
{
	uint32_t value = s->value;

	if (value == TUPLE_NONE || !session_value_matches(t, value, &s->key)) {
		value = session_find(t, s->hash, &s->key);
		if (value == TUPLE_NONE)
			return false;
	}
	*ret_found = (struct session_found){ .record = &t->records[value >> 1],
		.id = value >> 1,
		.dir = (enum session_dir)(value & 1) };
	return true;
}
