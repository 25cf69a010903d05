// SPDX-License-Identifier: BSD-3-Clause
// Table of dynamic leases in force: a fixed array with two chained hashes (by MAC, by address).
// Written by the control thread; read by any worker under a sequence counter.
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "control/policy.h"
#include "vswitch/binding.h"

// A binding in four words, each stored and loaded whole. Stores release and loads acquire: a reader
// that sees a word of the writer's sees its odd counter too, and reads again.
struct entry {
	_Atomic uint64_t who; // MAC | port << 48
	_Atomic uint64_t where; // segment | zone << 32
	_Atomic uint64_t address; // address | used << 32
	_Atomic uint64_t expires_ns;
	_Atomic uint32_t next_mac, next_addr; // index + 1
};

// Tenants, by their number.
enum { ZONES = POLICY_MAX_SECTIONS };

struct binding_table {
	uint32_t capacity, mask;
	uint64_t seed;
	_Atomic uint32_t seq; // odd while the writer works
	_Atomic uint32_t *by_mac, *by_addr; // heads, index + 1
	struct entry *entries;
	// The writer's:
	uint32_t free; // list through next_mac, index + 1
	uint32_t n_used; // entries behind these were never used
	uint32_t quota, *zone_count; // bindings by zone
};

static uint32_t load32(const _Atomic uint32_t *p)
{
	return atomic_load_explicit(p, memory_order_acquire);
}

static void store32(_Atomic uint32_t *p, uint32_t v)
{
	atomic_store_explicit(p, v, memory_order_release);
}

static uint64_t load64(const _Atomic uint64_t *p)
{
	return atomic_load_explicit(p, memory_order_acquire);
}

static void store64(_Atomic uint64_t *p, uint64_t v)
{
	atomic_store_explicit(p, v, memory_order_release);
}

static bool load_entry(const struct entry *e, struct binding *b)
{
	uint64_t who = load64(&e->who), where = load64(&e->where), address = load64(&e->address);

	memcpy(&b->mac, &who, sizeof(b->mac));
	b->port = (uint32_t)(who >> 48);
	b->segment = (uint32_t)where;
	b->zone = (uint32_t)(where >> 32);
	b->address = (uint32_t)address;
	b->expires_ns = load64(&e->expires_ns);
	return address >> 32;
}

static void store_entry(struct entry *e, const struct binding *b)
{
	uint64_t who = 0;

	memcpy(&who, &b->mac, sizeof(b->mac));
	store64(&e->who, who | (uint64_t)b->port << 48);
	store64(&e->where, b->segment | (uint64_t)b->zone << 32);
	store64(&e->expires_ns, b->expires_ns);
	store64(&e->address, b->address | 1ull << 32);
}

struct binding_table *binding_table_new(uint32_t capacity, uint32_t quota, uint64_t seed)
{
	struct binding_table *t = calloc(1, sizeof(*t));
	uint32_t slots = 1;

	if (!t)
		return NULL;
	while (slots < capacity)
		slots *= 2;
	t->capacity = capacity;
	t->quota = quota;
	t->mask = slots - 1;
	t->seed = seed | 1;
	t->by_mac = calloc(slots, sizeof(*t->by_mac));
	t->by_addr = calloc(slots, sizeof(*t->by_addr));
	t->entries = calloc(capacity, sizeof(*t->entries));
	t->zone_count = calloc(ZONES, sizeof(*t->zone_count));
	if (!t->by_mac || !t->by_addr || !t->entries || !t->zone_count) {
		binding_table_free(t);
		return NULL;
	}
	return t;
}

void binding_table_free(struct binding_table *t)
{
	if (!t)
		return;
	free(t->by_mac);
	free(t->by_addr);
	free(t->entries);
	free(t->zone_count);
	free(t);
}

static uint32_t mix(const struct binding_table *t, uint64_t v)
{
	v = (v ^ t->seed) * 0xff51afd7ed558ccdull;
	v = (v ^ (v >> 32)) * 0xc4ceb9fe1a85ec53ull;
	return (uint32_t)(v >> 32) & t->mask;
}

static uint32_t hash_mac(const struct binding_table *t, uint32_t segment, const struct mac *mac)
{
	uint64_t m = 0;

	memcpy(&m, mac, sizeof(*mac));
	return mix(t, m ^ (uint64_t)segment << 40);
}

static uint32_t hash_addr(const struct binding_table *t, uint32_t zone, be32 address)
{
	return mix(t, (uint64_t)zone << 32 | address);
}

// Chains are walked at most `capacity` steps: a reader may see them change underneath.
static uint32_t find_mac(
	const struct binding_table *t, uint32_t segment, const struct mac *mac, struct binding *b)
{
	uint32_t i = load32(&t->by_mac[hash_mac(t, segment, mac)]);

	for (uint32_t steps = 0; i && steps < t->capacity; steps++) {
		const struct entry *e = &t->entries[i - 1];

		if (load_entry(e, b) && b->segment == segment && mac_equal(&b->mac, mac))
			return i;
		i = load32(&e->next_mac);
	}
	return 0;
}

static uint32_t find_addr(
	const struct binding_table *t, uint32_t zone, be32 address, struct binding *b)
{
	uint32_t i = load32(&t->by_addr[hash_addr(t, zone, address)]);

	for (uint32_t steps = 0; i && steps < t->capacity; steps++) {
		const struct entry *e = &t->entries[i - 1];

		if (load_entry(e, b) && b->zone == zone && b->address == address)
			return i;
		i = load32(&e->next_addr);
	}
	return 0;
}

static void write_begin(struct binding_table *t)
{
	store32(&t->seq, t->seq + 1);
}

static void write_end(struct binding_table *t)
{
	store32(&t->seq, t->seq + 1);
}

static void unlink_entry(struct binding_table *t, uint32_t i)
{
	struct entry *e = &t->entries[i - 1];
	struct binding b;
	_Atomic uint32_t *p;

	load_entry(e, &b);
	for (p = &t->by_mac[hash_mac(t, b.segment, &b.mac)]; *p != i;)
		p = &t->entries[*p - 1].next_mac;
	store32(p, load32(&e->next_mac));
	for (p = &t->by_addr[hash_addr(t, b.zone, b.address)]; *p != i;)
		p = &t->entries[*p - 1].next_addr;
	store32(p, load32(&e->next_addr));
	store64(&e->address, 0);
	store32(&e->next_mac, t->free);
	t->free = i;
	t->zone_count[b.zone]--;
}

// The index + 1 of an entry for one more, which there must be.
static uint32_t take_entry(struct binding_table *t)
{
	uint32_t i = t->free;

	if (!i)
		return ++t->n_used;
	t->free = load32(&t->entries[i - 1].next_mac);
	return i;
}

int binding_set(struct binding_table *t, const struct binding *b)
{
	uint32_t i, by_mac, by_addr;
	struct binding old;
	struct entry *e;
	_Atomic uint32_t *head;

	if (b->zone >= ZONES)
		return -EINVAL;
	by_mac = find_mac(t, b->segment, &b->mac, &old);
	by_addr = find_addr(t, b->zone, b->address, &old);
	// What it replaces is of the same zone: there is room again.
	if (!by_mac && !by_addr && t->zone_count[b->zone] >= t->quota)
		return -EDQUOT;
	if (!by_mac && !by_addr && !t->free && t->n_used == t->capacity)
		return -ENOSPC;
	write_begin(t);
	if (by_mac)
		unlink_entry(t, by_mac);
	if (by_addr && by_addr != by_mac)
		unlink_entry(t, by_addr);
	i = take_entry(t);
	e = &t->entries[i - 1];
	t->zone_count[b->zone]++;
	store_entry(e, b);
	head = &t->by_mac[hash_mac(t, b->segment, &b->mac)];
	store32(&e->next_mac, load32(head));
	store32(head, i);
	head = &t->by_addr[hash_addr(t, b->zone, b->address)];
	store32(&e->next_addr, load32(head));
	store32(head, i);
	write_end(t);
	return 0;
}

static void remove_entry(struct binding_table *t, uint32_t i)
{
	write_begin(t);
	unlink_entry(t, i);
	write_end(t);
}

void binding_del(struct binding_table *t, uint32_t segment, const struct mac *mac)
{
	struct binding b;
	uint32_t i = find_mac(t, segment, mac, &b);

	if (i)
		remove_entry(t, i);
}

void binding_expire(struct binding_table *t, uint64_t now_ns,
	void (*gone)(void *arg, const struct binding *b), void *arg)
{
	for (uint32_t i = 1; i <= t->n_used; i++) {
		struct binding b;

		if (!load_entry(&t->entries[i - 1], &b) || b.expires_ns > now_ns)
			continue;
		remove_entry(t, i);
		gone(arg, &b);
	}
}

void binding_del_port(struct binding_table *t, uint32_t port)
{
	for (uint32_t i = 1; i <= t->n_used; i++) {
		struct binding b;

		if (load_entry(&t->entries[i - 1], &b) && b.port == port)
			remove_entry(t, i);
	}
}

bool binding_next(const struct binding_table *t, uint32_t *cursor, struct binding *ret_binding)
{
	while (*cursor < t->n_used) {
		struct binding b;

		if (!load_entry(&t->entries[(*cursor)++], &b))
			continue;
		*ret_binding = b;
		return true;
	}
	return false;
}

// Reads until no write came between: index 0 = not found.
static bool read_entry(const struct binding_table *t, bool by_mac, uint32_t domain,
	const struct mac *mac, be32 address, uint64_t now_ns, struct binding *ret_binding)
{
	for (;;) {
		// acquire, here and in load_entry: no later load comes before these
		uint32_t seq = load32(&t->seq);
		struct binding b;
		uint32_t i =
			by_mac ? find_mac(t, domain, mac, &b) : find_addr(t, domain, address, &b);

		if ((seq & 1) || atomic_load_explicit(&t->seq, memory_order_relaxed) != seq)
			continue;
		if (!i || b.expires_ns <= now_ns)
			return false;
		*ret_binding = b;
		return true;
	}
}

bool binding_by_mac(const struct binding_table *t, uint32_t segment, const struct mac *mac,
	uint64_t now_ns, struct binding *ret_binding)
{
	return read_entry(t, true, segment, mac, 0, now_ns, ret_binding);
}

bool binding_by_address(const struct binding_table *t, uint32_t zone, be32 address, uint64_t now_ns,
	struct binding *ret_binding)
{
	return read_entry(t, false, zone, NULL, address, now_ns, ret_binding);
}
