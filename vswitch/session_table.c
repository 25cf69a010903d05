// SPDX-License-Identifier: BSD-3-Clause
// The session table: records in the caller's memory, index and counts beside them. Workers look up,
// insert and remove; the control thread opens, expires, reclaims and lists. The order of stores
// is explained where it matters; session_state.c has the state machine and expiry.
#include "vswitch/session_table.h"

#include "vswitch/session_lookup.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static_assert(sizeof(struct session_key) == TUPLE_KEY_SIZE, "compared and hashed as 20 bytes");
static_assert(sizeof(struct session_record) == 128, "two cache lines; a change is a new layout");
static_assert(offsetof(struct session_record, d.key[1].proto) < 64, "a lookup reads one line");

enum { REBUILD_BATCH = 32 };

static const struct record_kind session_kind = {
	.magic = 0x73657373696f6e73u, // "sessions"
	.layout = 1,
	.record_size = sizeof(struct session_record),
};

size_t session_table_file_size(uint32_t capacity)
{
	return record_file_size(&session_kind, capacity);
}

uint32_t session_find(const struct session_table *t, uint64_t hash, const struct session_key *key)
{
	return tuple_index_find(&t->index, hash, session_value_matches, t, key);
}

uint32_t session_lookup(
	const struct session_table *t, const struct session_key *key, enum session_dir *ret_dir)
{
	uint32_t value = session_find(t, session_hash(t, key), key);

	if (value == TUPLE_NONE)
		return SESSION_NONE;
	*ret_dir = (enum session_dir)(value & 1);
	return value >> 1;
}

static bool port_take(struct session_table *t, const struct session_desc *d)
{
	uint32_t quota = __atomic_load_n(&t->port_quota, __ATOMIC_RELAXED);
	uint32_t had = __atomic_fetch_add(&t->ports[d->src_port].source, 1, __ATOMIC_RELAXED);

	if (quota != 0 && had >= quota) {
		__atomic_fetch_sub(&t->ports[d->src_port].source, 1, __ATOMIC_RELAXED);
		return false;
	}
	if (d->dst_port != d->src_port)
		__atomic_fetch_add(&t->ports[d->dst_port].destination, 1, __ATOMIC_RELAXED);
	return true;
}

static void port_drop(struct session_table *t, const struct session_desc *d)
{
	if (d->dst_port != d->src_port)
		__atomic_fetch_sub(&t->ports[d->dst_port].destination, 1, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&t->ports[d->src_port].source, 1, __ATOMIC_RELAXED);
}

static bool keys_equal(const struct session_key *a, const struct session_key *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

// Both directions of a committed record into the index. A datagram to oneself has one key only.
static int index_record(
	struct session_table *t, const struct session_desc *d, const uint64_t hash[2], uint32_t id)
{
	int r = tuple_index_add(&t->index, hash[0], id << 1 | SESSION_FORWARD);

	if (r < 0 || keys_equal(&d->key[0], &d->key[1]))
		return r;
	r = tuple_index_add(&t->index, hash[1], id << 1 | SESSION_REVERSE);
	if (r < 0)
		tuple_index_del(&t->index, hash[0], id << 1 | SESSION_FORWARD);
	return r;
}

static void write_record(
	struct session_table *t, uint32_t id, const struct session_desc *d, uint64_t now_ns)
{
	struct session_record *r = &t->records[id];
	struct session_record fresh = {
		.d = *d,
		.last_s = (uint32_t)(now_ns / 1000000000),
		.created_ns = now_ns,
	};

	record_store(&r->d, &fresh.d, sizeof(fresh) - offsetof(struct session_record, d));
	// Release: whoever sees the commit word, now or after a crash, sees the whole record.
	__atomic_store_n(&r->commit, record_commit_next(t->header), __ATOMIC_RELEASE);
}

// With both stripes held.
static int insert_locked(struct session_table *t, const struct session_desc *d,
	const uint64_t hash[2], uint64_t now_ns, uint32_t *ret_id)
{
	uint32_t id;
	int r;

	for (unsigned dir = 0; dir < 2; dir++) {
		uint32_t value = session_find(t, hash[dir], &d->key[dir]);

		if (value != TUPLE_NONE) {
			*ret_id = value >> 1;
			return -EEXIST;
		}
	}
	if (!port_take(t, d))
		return -EDQUOT;
	if (!id_pool_take(&t->ids, &id)) {
		r = -ENOSPC;
		goto err_port;
	}
	write_record(t, id, d, now_ns);
	r = index_record(t, d, hash, id);
	if (r < 0)
		goto err_id;
	__atomic_fetch_add(&t->count, 1, __ATOMIC_RELAXED);
	*ret_id = id;
	return 0;

err_id:
	__atomic_store_n(&t->records[id].commit, 0, __ATOMIC_RELEASE);
	id_pool_retire(&t->ids, id); // a reader may have met its first direction
err_port:
	port_drop(t, d);
	return r;
}

int session_insert(
	struct session_table *t, const struct session_desc *d, uint64_t now_ns, uint32_t *ret_id)
{
	uint64_t hash[2] = { session_hash(t, &d->key[0]), session_hash(t, &d->key[1]) };
	int r;

	if (d->src_port > SESSION_PORT_MAX || d->dst_port > SESSION_PORT_MAX)
		return -EINVAL;
	tuple_index_lock(&t->index, hash[0], hash[1]);
	r = insert_locked(t, d, hash, now_ns, ret_id);
	tuple_index_unlock(&t->index, hash[0], hash[1]);
	return r;
}

bool session_claim(struct session_table *t, uint32_t id)
{
	struct session_record *r = &t->records[id];
	uint64_t commit = __atomic_load_n(&r->commit, __ATOMIC_ACQUIRE), hash[2];
	bool claimed;

	if (commit == 0)
		return false;
	// The keys hold still: whoever holds an id is within its grace period.
	for (unsigned dir = 0; dir < 2; dir++)
		hash[dir] = session_hash(t, &r->d.key[dir]);
	tuple_index_lock(&t->index, hash[0], hash[1]);
	// Of several that remove it one wins here. From here on it does not exist, crash or no
	// crash; the index forgets it before the stripes are released, so an insert finds neither
	// or both.
	claimed = __atomic_compare_exchange_n(
		&r->commit, &commit, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
	if (claimed) {
		tuple_index_del(&t->index, hash[0], id << 1 | SESSION_FORWARD);
		if (!keys_equal(&r->d.key[0], &r->d.key[1]))
			tuple_index_del(&t->index, hash[1], id << 1 | SESSION_REVERSE);
	}
	tuple_index_unlock(&t->index, hash[0], hash[1]);
	return claimed;
}

void session_forget(struct session_table *t, uint32_t id)
{
	port_drop(t, &t->records[id].d);
	__atomic_fetch_sub(&t->count, 1, __ATOMIC_RELAXED);
	id_pool_retire(&t->ids, id);
}

bool session_remove(struct session_table *t, uint32_t id)
{
	if (id >= session_high_water(t) || !session_claim(t, id))
		return false;
	session_forget(t, id);
	return true;
}

bool session_reclaim(struct session_table *t)
{
	bool ids = id_pool_reclaim(&t->ids);

	return tuple_index_reclaim(&t->index) || ids;
}

struct session_record *session_get(struct session_table *t, uint32_t id)
{
	return id < t->ids.capacity ? &t->records[id] : NULL;
}

void session_revise(
	struct session_table *t, uint32_t id, const uint32_t nexthop[2], const uint32_t revision[2])
{
	struct session_record *r = &t->records[id];

	// Each word alone is right; a listing or a crash in between finds a session whose revisions
	// are not all new yet, which only means that it is decided once more.
	for (unsigned dir = 0; dir < 2; dir++)
		__atomic_store_n(&r->d.nexthop[dir], nexthop[dir], __ATOMIC_RELAXED);
	for (unsigned dir = 0; dir < 2; dir++)
		__atomic_store_n(&r->d.revision[dir], revision[dir], __ATOMIC_RELEASE);
}

bool session_next(struct session_table *t, uint32_t *cursor, uint32_t end, uint32_t *ret_id,
	struct session_record *ret_copy)
{
	uint32_t used = session_high_water(t);

	end = end < used ? end : used;
	for (uint32_t id = *cursor; id < end; id++) {
		const struct session_record *r = &t->records[id];
		struct session_record copy;

		copy.commit = __atomic_load_n(&r->commit, __ATOMIC_ACQUIRE);
		if (copy.commit == 0)
			continue;
		record_load(&copy.d, &r->d, sizeof(copy) - offsetof(struct session_record, d));
		// As in session_value_matches: a copy of two records' halves does not keep its
		// number.
		if (__atomic_load_n(&r->commit, __ATOMIC_RELAXED) != copy.commit)
			continue;
		*cursor = id + 1;
		*ret_id = id;
		*ret_copy = copy;
		return true;
	}
	*cursor = end;
	return false;
}

uint32_t session_count(const struct session_table *t)
{
	return __atomic_load_n(&t->count, __ATOMIC_RELAXED);
}

void session_set_port_quota(struct session_table *t, uint32_t max_per_port)
{
	__atomic_store_n(&t->port_quota, max_per_port, __ATOMIC_RELAXED);
}

bool session_has_room(const struct session_table *t, uint32_t port)
{
	uint32_t quota = __atomic_load_n(&t->port_quota, __ATOMIC_RELAXED);

	return session_count(t) < t->ids.capacity &&
	       (quota == 0 || __atomic_load_n(&t->ports[port].source, __ATOMIC_RELAXED) < quota);
}

uint32_t session_port_count(const struct session_table *t, uint32_t port)
{
	if (port > SESSION_PORT_MAX)
		return 0;
	return __atomic_load_n(&t->ports[port].source, __ATOMIC_RELAXED) +
	       __atomic_load_n(&t->ports[port].destination, __ATOMIC_RELAXED);
}

// Whether a record of the file can be believed. Nobody but us writes it; this keeps a damaged file
// from becoming a wild index.
static bool record_sane(const struct session_table *t, const struct session_record *r)
{
	return r->commit < t->header->next_commit && r->d.src_port <= SESSION_PORT_MAX &&
	       r->d.dst_port <= SESSION_PORT_MAX && (r->state & 0xff) < SESSION_STATE_COUNT;
}

// False: the record stays out (and is no session any more).
static bool rebuild_one(struct session_table *t, uint32_t id, const uint64_t hash[2])
{
	struct session_record *r = &t->records[id];

	if (!record_sane(t, r) || session_find(t, hash[0], &r->d.key[0]) != TUPLE_NONE ||
		session_find(t, hash[1], &r->d.key[1]) != TUPLE_NONE ||
		index_record(t, &r->d, hash, id) < 0) {
		r->commit = 0;
		return false;
	}
	t->ports[r->d.src_port].source++;
	if (r->d.dst_port != r->d.src_port)
		t->ports[r->d.dst_port].destination++;
	t->count++;
	return true;
}

// One pass over the used records, in batches so that the index lines are on their way.
static void rebuild(struct session_table *t)
{
	uint32_t end = t->header->high_water, used = 0;

	for (uint32_t first = 0; first < end; first += REBUILD_BATCH) {
		uint32_t n = end - first < REBUILD_BATCH ? end - first : REBUILD_BATCH;
		uint64_t hash[REBUILD_BATCH][2];

		for (uint32_t i = 0; i < n; i++) {
			for (unsigned dir = 0; dir < 2; dir++) {
				const struct session_record *r = &t->records[first + i];

				hash[i][dir] = session_hash(t, &r->d.key[dir]);
				__builtin_prefetch(tuple_home(&t->index, hash[i][dir]), 1);
			}
		}
		for (uint32_t i = 0; i < n; i++) {
			uint32_t id = first + i;

			if (t->records[id].commit != 0 && rebuild_one(t, id, hash[i]))
				used = id + 1;
		}
	}
	t->header->high_water = used;
	for (uint32_t id = used; id-- > 0;) {
		if (t->records[id].commit == 0)
			id_pool_give_back(&t->ids, id);
	}
}

int session_table_open(void *mem, size_t size, uint32_t capacity, uint64_t boot_id, uint64_t seed,
	struct session_table **ret_table)
{
	struct session_table *t;
	int r;

	if (capacity > SESSION_CAPACITY_MAX)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	t->records = (struct session_record *)((uint8_t *)mem + RECORD_HEADER_SIZE);
	r = record_file_attach(&session_kind, mem, size, capacity, boot_id, &t->header);
	if (r == -E2BIG) {
		t->lost = session_shrink(t->header, t->records, capacity);
		r = record_file_attach(&session_kind, mem, size, capacity, boot_id, &t->header);
	}
	if (r < 0)
		goto err_table;
	r = id_pool_open(&t->ids, capacity, &t->header->high_water);
	if (r < 0)
		goto err_table;
	r = id_pool_back(&t->ids, t->records, sizeof(*t->records));
	if (r == 0)
		r = tuple_index_open(&t->index, 2 * capacity, seed);
	if (r < 0)
		goto err_ids;
	t->ports = lazy_alloc((SESSION_PORT_MAX + 1) * sizeof(*t->ports));
	if (t->ports == NULL) {
		r = -ENOMEM;
		goto err_index;
	}
	rebuild(t);
	*ret_table = t;
	return 0;

err_index:
	tuple_index_close(&t->index);
err_ids:
	id_pool_close(&t->ids);
err_table:
	free(t);
	return r;
}

uint32_t session_table_lost(const struct session_table *t)
{
	return t->lost;
}

void session_table_close(struct session_table *t)
{
	if (t == NULL)
		return;
	lazy_free(t->ports, (SESSION_PORT_MAX + 1) * sizeof(*t->ports));
	tuple_index_close(&t->index);
	id_pool_close(&t->ids);
	free(t);
}
