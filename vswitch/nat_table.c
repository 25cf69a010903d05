// SPDX-License-Identifier: BSD-3-Clause
// The NAT mapping table: records in the caller's memory; index, port bitmaps and reference counts
// beside them. nat_map and nat_unref run on any worker once per connection, under one lock;
// external lookups take none. The control thread opens, expires, reclaims.
#include "vswitch/nat_table.h"

#include "vswitch/nat_ports.h"
#include "vswitch/record_file.h"
#include "vswitch/tuple_index.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

enum {
	NAT_CAPACITY_MAX = 1 << 28,
	EXPIRE_BATCH = 32,
	ZONE_KINDS = 2,
	ZONE_MAX = 65535,
};

#define UPLINK_ZONE 0x80000000u

// Which end of a mapping an index value names.
enum nat_end { NAT_IN, NAT_OUT };

// What both ends are looked up by; compared and hashed as bytes.
struct nat_key {
	uint32_t in_zone, out_zone; // in_zone 0 for NAT_OUT
	be32 in_addr, out_addr; // likewise
	be16 port;
	uint8_t proto;
	uint8_t end;
};

static_assert(sizeof(struct nat_key) == TUPLE_KEY_SIZE, "hashed as 20 bytes");
static_assert(sizeof(struct nat_mapping) == 64, "one cache line; a change is a new layout");

// All that follows the commit word.
#define BODY_SIZE \
	(offsetof(struct nat_mapping, tenant) + sizeof(uint32_t) - \
		offsetof(struct nat_mapping, in_zone))

// Mappings without references wait here, longest first. One with references: is next MADE, nothing
// has left by it yet, as far as nat_cancel was told.
struct idle_link {
	uint32_t prev, next;
};
static const uint32_t MADE = MAPPING_NONE - 1;
static const uint32_t CANCELLED = UINT32_MAX; // last_s: it goes at the next look

struct nat_table {
	struct record_header *header; // in the file
	struct nat_mapping *records; // in the file
	struct tuple_index index; // writers under lock
	struct id_pool ids;
	struct spin lock; // over everything below, and over every change of a record
	uint32_t *refs; // by id; written under lock, read without
	struct idle_link *idle; // by id
	uint32_t idle_head, idle_tail;
	bool hold_unknown; // since open: some idle mappings have no last_s yet
	uint32_t *zone_count[ZONE_KINDS]; // by tenant id, by uplink port id
	uint32_t quota;
	uint32_t count; // read without lock
	struct nat_ports ports;
};

static const struct record_kind nat_kind = {
	.magic = 0x6d617070696e6773u, // "mappings"
	.layout = 1,
	.record_size = sizeof(struct nat_mapping),
};

size_t nat_table_file_size(uint32_t capacity)
{
	return record_file_size(&nat_kind, capacity);
}

static struct nat_key key_of(const struct nat_mapping *m, enum nat_end end)
{
	return (struct nat_key){
		.in_zone = end == NAT_IN ? m->in_zone : 0,
		.out_zone = m->out_zone,
		.in_addr = end == NAT_IN ? m->in_addr : 0,
		.out_addr = m->out_addr,
		.port = end == NAT_IN ? m->in_port : m->out_port,
		.proto = m->proto,
		.end = (uint8_t)end,
	};
}

// Copies a mapping that may be freed and made anew meanwhile; false: there is none. Between the two
// looks at the commit word lie acquire loads (record_load), and every store of a later mapping is
// a release after the zero (record_store): a mixture does not keep its number.
static bool load_mapping(const struct nat_mapping *m, struct nat_mapping *ret_copy)
{
	uint64_t commit = __atomic_load_n(&m->commit, __ATOMIC_ACQUIRE);

	if (commit == 0)
		return false;
	record_load(&ret_copy->in_zone, &m->in_zone, BODY_SIZE);
	ret_copy->commit = commit;
	return __atomic_load_n(&m->commit, __ATOMIC_RELAXED) == commit;
}

static inline bool value_matches(const void *arg, uint32_t value, const void *key)
{
	const struct nat_table *t = arg;
	struct nat_mapping copy;
	struct nat_key have;

	if (!load_mapping(&t->records[value >> 1], &copy))
		return false;
	have = key_of(&copy, (enum nat_end)(value & 1));
	return memcmp(&have, key, sizeof(have)) == 0;
}

static uint32_t find(const struct nat_table *t, const struct nat_key *key)
{
	uint32_t value =
		tuple_index_find(&t->index, tuple_hash(&t->index, key), value_matches, t, key);

	return value == TUPLE_NONE ? MAPPING_NONE : value >> 1;
}

static uint32_t *zone_counter(const struct nat_table *t, uint32_t zone)
{
	uint32_t id = zone & ~UPLINK_ZONE;

	return id > ZONE_MAX ? NULL : &t->zone_count[(zone & UPLINK_ZONE) != 0][id];
}

static void idle_append(struct nat_table *t, uint32_t id)
{
	t->idle[id] = (struct idle_link){ .prev = t->idle_tail, .next = MAPPING_NONE };
	if (t->idle_tail == MAPPING_NONE)
		t->idle_head = id;
	else
		t->idle[t->idle_tail].next = id;
	t->idle_tail = id;
}

static void idle_prepend(struct nat_table *t, uint32_t id)
{
	t->idle[id] = (struct idle_link){ .prev = MAPPING_NONE, .next = t->idle_head };
	if (t->idle_head == MAPPING_NONE)
		t->idle_tail = id;
	else
		t->idle[t->idle_head].prev = id;
	t->idle_head = id;
}

static void idle_remove(struct nat_table *t, uint32_t id)
{
	struct idle_link l = t->idle[id];

	if (l.prev == MAPPING_NONE)
		t->idle_head = l.next;
	else
		t->idle[l.prev].next = l.next;
	if (l.next == MAPPING_NONE)
		t->idle_tail = l.prev;
	else
		t->idle[l.next].prev = l.prev;
}

static void set_last(struct nat_mapping *m, uint32_t last_s)
{
	__atomic_store_n(&m->last_s, last_s, __ATOMIC_RELAXED);
}

static uint32_t seconds(uint64_t now_ns)
{
	uint32_t s = (uint32_t)(now_ns / 1000000000);

	return s == 0 ? 1 : s; // 0 means "in use"
}

static void ref_locked(struct nat_table *t, uint32_t id)
{
	uint32_t next = MAPPING_NONE;

	if (t->refs[id] == 0) {
		next = t->records[id].last_s == CANCELLED ? MADE : MAPPING_NONE;
		idle_remove(t, id);
		set_last(&t->records[id], 0);
	}
	t->idle[id].next = next;
	__atomic_store_n(&t->refs[id], t->refs[id] + 1, __ATOMIC_RELAXED);
}

static int index_mapping(struct nat_table *t, const struct nat_mapping *m, uint32_t id)
{
	struct nat_key in = key_of(m, NAT_IN), out = key_of(m, NAT_OUT);
	uint64_t in_hash = tuple_hash(&t->index, &in);
	int r = tuple_index_add(&t->index, in_hash, id << 1 | NAT_IN);

	if (r < 0)
		return r;
	r = tuple_index_add(&t->index, tuple_hash(&t->index, &out), id << 1 | NAT_OUT);
	if (r < 0)
		tuple_index_del(&t->index, in_hash, id << 1 | NAT_IN);
	return r;
}

// Ends an idle mapping: no crash brings it back, its port is free, its id after a grace period.
static void free_locked(struct nat_table *t, uint32_t id)
{
	struct nat_mapping *m = &t->records[id];
	struct nat_key in = key_of(m, NAT_IN), out = key_of(m, NAT_OUT);
	struct nat_space *s = nat_ports_space(&t->ports, m->out_zone, m->out_addr, m->proto);

	// Release: the port becomes free only after the mapping that owned it is gone from the
	// file.
	__atomic_store_n(&m->commit, 0, __ATOMIC_RELEASE);
	tuple_index_del(&t->index, tuple_hash(&t->index, &in), id << 1 | NAT_IN);
	tuple_index_del(&t->index, tuple_hash(&t->index, &out), id << 1 | NAT_OUT);
	idle_remove(t, id);
	if (s != NULL)
		nat_ports_give_back(s, ntohs(m->out_port));
	(*zone_counter(t, m->in_zone))--;
	__atomic_store_n(&t->count, t->count - 1, __ATOMIC_RELAXED);
	id_pool_retire(&t->ids, id);
}

// m: everything but out_port. With the lock held.
static int make_locked(
	struct nat_table *t, const struct nat_pool *pool, struct nat_mapping *m, uint32_t *ret_id)
{
	uint32_t *zone_count = zone_counter(t, m->in_zone), id;
	enum nat_parity wish = NAT_PARITY_ANY;
	struct nat_space *s;
	uint16_t port;
	int r;

	if (t->quota != 0 && *zone_count >= t->quota)
		return -EDQUOT;
	s = nat_ports_space(&t->ports, m->out_zone, m->out_addr, m->proto);
	if (s == NULL)
		return -ENOSPC;
	if (m->proto == IPPROTO_UDP)
		wish = (ntohs(m->in_port) & 1) != 0 ? NAT_PARITY_ODD : NAT_PARITY_EVEN;
	r = nat_ports_take(&t->ports, s, pool->port_first, pool->port_last, wish, &port);
	if (r < 0)
		return r;
	if (!id_pool_take(&t->ids, &id)) {
		r = -ENOSPC;
		goto err_port;
	}
	m->out_port = htons(port);
	record_store(&t->records[id].in_zone, &m->in_zone, BODY_SIZE);
	// Release: whoever sees the commit word, now or after a crash, sees the whole mapping.
	__atomic_store_n(&t->records[id].commit, record_commit_next(t->header), __ATOMIC_RELEASE);
	r = index_mapping(t, m, id);
	if (r < 0)
		goto err_id;
	__atomic_store_n(&t->refs[id], 1, __ATOMIC_RELAXED);
	t->idle[id].next = MADE;
	(*zone_count)++;
	__atomic_store_n(&t->count, t->count + 1, __ATOMIC_RELAXED);
	*ret_id = id;
	return 0;

err_id:
	__atomic_store_n(&t->records[id].commit, 0, __ATOMIC_RELEASE);
	id_pool_retire(&t->ids, id); // a reader may have met its first end
err_port:
	nat_ports_give_back(s, port);
	return r;
}

int nat_map(struct nat_table *t, const struct nat_pool *pool, uint32_t in_zone, uint8_t proto,
	be32 in_addr, be16 in_port, uint64_t now_ns, uint32_t *ret_mapping)
{
	struct nat_mapping m = {
		.in_zone = in_zone,
		.out_zone = pool->zone,
		.in_addr = in_addr,
		.out_addr = pool->address,
		.in_port = in_port,
		.proto = proto,
		.tenant = in_zone,
	};
	struct nat_key in = key_of(&m, NAT_IN);
	uint32_t id;
	int r = 0;

	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP && proto != IPPROTO_ICMP)
		return -EPROTONOSUPPORT;
	if (zone_counter(t, in_zone) == NULL)
		return -EINVAL;
	spin_lock(&t->lock);
	id = find(t, &in);
	if (id != MAPPING_NONE && t->refs[id] == 0) {
		uint16_t port = ntohs(t->records[id].out_port);

		// The pool's range changed: what it no longer allows does not come back.
		if (port < pool->port_first || port > pool->port_last) {
			free_locked(t, id);
			id = MAPPING_NONE;
		}
	}
	if (id != MAPPING_NONE)
		ref_locked(t, id);
	else
		r = make_locked(t, pool, &m, &id);
	spin_unlock(&t->lock);
	if (r == 0)
		*ret_mapping = id;
	return r;
}

void nat_ref(struct nat_table *t, uint32_t mapping)
{
	if (mapping >= t->ids.capacity)
		return;
	spin_lock(&t->lock);
	if (t->records[mapping].commit != 0)
		ref_locked(t, mapping);
	spin_unlock(&t->lock);
}

static void unref(struct nat_table *t, uint32_t mapping, uint64_t now_ns, bool in_vain)
{
	if (mapping >= t->ids.capacity)
		return;
	spin_lock(&t->lock);
	if (t->refs[mapping] != 0) {
		in_vain = in_vain && t->idle[mapping].next == MADE;
		__atomic_store_n(&t->refs[mapping], t->refs[mapping] - 1, __ATOMIC_RELAXED);
		if (t->refs[mapping] == 0) {
			set_last(&t->records[mapping], in_vain ? CANCELLED : seconds(now_ns));
			if (in_vain)
				idle_prepend(t, mapping);
			else
				idle_append(t, mapping);
		}
	}
	spin_unlock(&t->lock);
}

void nat_unref(struct nat_table *t, uint32_t mapping, uint64_t now_ns)
{
	unref(t, mapping, now_ns, false);
}

void nat_cancel(struct nat_table *t, uint32_t mapping, uint64_t now_ns)
{
	unref(t, mapping, now_ns, true);
}

const struct nat_mapping *nat_get(const struct nat_table *t, uint32_t mapping)
{
	if (mapping >= t->ids.capacity)
		return NULL;
	// Acquire: what is read through the pointer is what was stored before the commit word.
	if (__atomic_load_n(&t->records[mapping].commit, __ATOMIC_ACQUIRE) == 0)
		return NULL;
	return &t->records[mapping];
}

uint32_t nat_lookup_external(
	const struct nat_table *t, uint32_t out_zone, uint8_t proto, be32 addr, be16 port)
{
	const struct nat_key key = {
		.out_zone = out_zone,
		.out_addr = addr,
		.port = port,
		.proto = proto,
		.end = NAT_OUT,
	};
	uint32_t id = find(t, &key);

	if (id == MAPPING_NONE || __atomic_load_n(&t->refs[id], __ATOMIC_RELAXED) == 0)
		return MAPPING_NONE;
	return id;
}

uint32_t nat_expire(struct nat_table *t, uint64_t now_ns, uint32_t hold_s, uint32_t budget)
{
	uint32_t now_s = seconds(now_ns), n = 0;

	spin_lock(&t->lock);
	if (t->hold_unknown) {
		// In use when the last process died, and by no session now: their hold begins.
		for (uint32_t id = t->idle_head; id != MAPPING_NONE; id = t->idle[id].next) {
			if (t->records[id].last_s == 0)
				set_last(&t->records[id], now_s);
		}
		t->hold_unknown = false;
	}
	while (n < budget && t->idle_head != MAPPING_NONE) {
		uint32_t last_s = t->records[t->idle_head].last_s;
		int32_t idle_s = (int32_t)(now_s - last_s);

		if (last_s != CANCELLED && (idle_s < 0 || (uint32_t)idle_s < hold_s))
			break;
		free_locked(t, t->idle_head);
		if (++n % EXPIRE_BATCH == 0) {
			// Workers that make mappings wait for microseconds, not for all of it.
			spin_unlock(&t->lock);
			spin_lock(&t->lock);
		}
	}
	spin_unlock(&t->lock);
	return n;
}

bool nat_reclaim(struct nat_table *t)
{
	bool ids = id_pool_reclaim(&t->ids);

	return tuple_index_reclaim(&t->index) || ids;
}

bool nat_next(
	const struct nat_table *t, uint32_t *cursor, uint32_t *ret_id, struct nat_mapping *ret_copy)
{
	// Acquire pairs with id_pool_take's release.
	uint32_t end = __atomic_load_n(&t->header->high_water, __ATOMIC_ACQUIRE);

	for (uint32_t id = *cursor; id < end; id++) {
		struct nat_mapping copy = {};

		if (!load_mapping(&t->records[id], &copy))
			continue;
		*cursor = id + 1;
		*ret_id = id;
		*ret_copy = copy;
		return true;
	}
	*cursor = end;
	return false;
}

uint32_t nat_references(const struct nat_table *t, uint32_t mapping)
{
	return mapping < t->ids.capacity ? __atomic_load_n(&t->refs[mapping], __ATOMIC_RELAXED) : 0;
}

uint32_t nat_count(const struct nat_table *t)
{
	return __atomic_load_n(&t->count, __ATOMIC_RELAXED);
}

void nat_set_quota(struct nat_table *t, uint32_t max_per_tenant)
{
	spin_lock(&t->lock);
	t->quota = max_per_tenant;
	spin_unlock(&t->lock);
}

// False: the record stays out (and is no mapping any more).
static bool rebuild_one(struct nat_table *t, uint32_t id)
{
	struct nat_mapping *m = &t->records[id];
	uint32_t *zone_count = zone_counter(t, m->in_zone);
	struct nat_key in = key_of(m, NAT_IN);
	struct nat_space *s;

	if (m->commit >= t->header->next_commit || zone_count == NULL ||
		find(t, &in) != MAPPING_NONE)
		goto out;
	s = nat_ports_space(&t->ports, m->out_zone, m->out_addr, m->proto);
	if (s == NULL || !nat_ports_mark(s, ntohs(m->out_port)))
		goto out;
	if (index_mapping(t, m, id) < 0) {
		nat_ports_give_back(s, ntohs(m->out_port));
		goto out;
	}
	(*zone_count)++;
	t->count++;
	idle_append(t, id);
	return true;

out:
	m->commit = 0;
	return false;
}

static void rebuild(struct nat_table *t)
{
	uint32_t end = t->header->high_water, used = 0;

	for (uint32_t id = 0; id < end; id++) {
		if (t->records[id].commit != 0 && rebuild_one(t, id))
			used = id + 1;
	}
	t->header->high_water = used;
	for (uint32_t id = used; id-- > 0;) {
		if (t->records[id].commit == 0)
			id_pool_give_back(&t->ids, id);
	}
	t->hold_unknown = true;
}

static size_t refs_size(uint32_t capacity)
{
	return (size_t)capacity * sizeof(uint32_t);
}

static size_t idle_size(uint32_t capacity)
{
	return (size_t)capacity * sizeof(struct idle_link);
}

static const size_t zones_size = ZONE_KINDS * (ZONE_MAX + 1) * sizeof(uint32_t);

static int alloc_private(struct nat_table *t, uint32_t capacity, uint64_t seed)
{
	int r = id_pool_open(&t->ids, capacity, &t->header->high_water);

	if (r < 0)
		return r;
	r = id_pool_back(&t->ids, t->records, sizeof(*t->records));
	if (r == 0)
		r = tuple_index_open(&t->index, 2 * capacity, tuple_seed_next(&seed));
	if (r < 0)
		goto err_ids;
	r = nat_ports_open(&t->ports, tuple_seed_next(&seed));
	if (r < 0)
		goto err_index;
	r = -ENOMEM;
	t->refs = lazy_alloc(refs_size(capacity));
	if (t->refs == NULL)
		goto err_ports;
	t->idle = lazy_alloc(idle_size(capacity));
	if (t->idle == NULL)
		goto err_refs;
	t->zone_count[0] = lazy_alloc(zones_size);
	if (t->zone_count[0] == NULL)
		goto err_idle;
	t->zone_count[1] = t->zone_count[0] + ZONE_MAX + 1;
	return 0;

err_idle:
	lazy_free(t->idle, idle_size(capacity));
err_refs:
	lazy_free(t->refs, refs_size(capacity));
err_ports:
	nat_ports_close(&t->ports);
err_index:
	tuple_index_close(&t->index);
err_ids:
	id_pool_close(&t->ids);
	return r;
}

int nat_table_open(void *mem, size_t size, uint32_t capacity, uint64_t boot_id, uint64_t seed,
	struct nat_table **ret_table)
{
	struct nat_table *t;
	int r;

	if (capacity > NAT_CAPACITY_MAX)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	t->idle_head = MAPPING_NONE;
	t->idle_tail = MAPPING_NONE;
	r = record_file_attach(&nat_kind, mem, size, capacity, boot_id, &t->header);
	if (r < 0)
		goto err_table;
	t->records = (struct nat_mapping *)((uint8_t *)mem + RECORD_HEADER_SIZE);
	r = alloc_private(t, capacity, seed);
	if (r < 0)
		goto err_table;
	rebuild(t);
	*ret_table = t;
	return 0;

err_table:
	free(t);
	return r;
}

void nat_table_close(struct nat_table *t)
{
	if (t == NULL)
		return;
	lazy_free(t->zone_count[0], zones_size);
	lazy_free(t->idle, idle_size(t->ids.capacity));
	lazy_free(t->refs, refs_size(t->ids.capacity));
	nat_ports_close(&t->ports);
	tuple_index_close(&t->index);
	id_pool_close(&t->ids);
	free(t);
}
