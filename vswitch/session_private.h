// SPDX-License-Identifier: BSD-3-Clause
// What session_table.c and session_state.c share, and session_lookup.h inlines. Nobody else
// includes it.
#pragma once

#include "vswitch/record_file.h"
#include "vswitch/session_table.h"
#include "vswitch/tuple_index.h"

enum {
	SESSION_PORT_MAX = 65535,
	SESSION_CAPACITY_MAX = 1 << 28, // id << 1 | direction + 1 fits the index's values
};

struct session_port { // both atomic, by any worker
	uint32_t source; // sessions that name the port as source: what the quota limits
	uint32_t destination; // sessions that name it as destination only
};

struct session_table {
	struct record_header *header; // in the file
	struct session_record *records; // in the file
	struct tuple_index index;
	struct id_pool ids;
	struct session_port *ports; // by port id
	uint32_t port_quota; // atomic; written by the control thread
	uint32_t count; // atomic, by any worker
	uint32_t expire_cursor; // control thread only
	uint32_t lost; // const after open
};

// session_shrink.c: brings the records below `capacity`; returns how many it had to end.
uint32_t session_shrink(struct record_header *h, struct session_record *records, uint32_t capacity);

// Records at and above it were never used. Acquire pairs with id_pool_take's release.
static inline uint32_t session_high_water(const struct session_table *t)
{
	return __atomic_load_n(&t->header->high_water, __ATOMIC_ACQUIRE);
}

// From the fields, not from memory: a key just written would not be there yet to be read in words.
static inline uint64_t session_hash(const struct session_table *t, const struct session_key *key)
{
	uint32_t ports = key->src_port | (uint32_t)key->dst_port << 16;

	return tuple_hash_words(&t->index, key->zone | (uint64_t)key->src << 32,
		key->dst | (uint64_t)ports << 32, key->proto);
}

// The value of the index that names this key's record and direction, or TUPLE_NONE.
uint32_t session_find(const struct session_table *t, uint64_t hash, const struct session_key *key);

// Removal in two steps, so that a callback can look at the record in between: claim makes it not
// exist (false: somebody else did, or it was free), forget drops counts and retires the id.
bool session_claim(struct session_table *t, uint32_t id);
void session_forget(struct session_table *t, uint32_t id);
