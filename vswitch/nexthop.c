// SPDX-License-Identifier: BSD-3-Clause
// Table of next-hop entries: a chained hash over a fixed array. Workers find entries lock-free
// (chains only grow at their head); making one takes the lock, once per destination.
#include <pthread.h>
#include <stdlib.h>
#include "control/policy.h"
#include "vswitch/nexthop.h"

enum {
	ZONES = POLICY_MAX_SECTIONS, // tenants, by their number
	TENANT_SHARE = 8,
};

struct nexthop_table *nexthop_table_new(uint32_t capacity, uint64_t seed)
{
	struct nexthop_table *t = calloc(1, sizeof(*t));
	uint32_t slots = 1;

	if (!t || capacity > NEXTHOP_INDEX_MASK)
		goto fail;
	while (slots < capacity)
		slots *= 2;
	t->capacity = capacity;
	t->mask = slots - 1;
	t->seed = seed | 1;
	t->epoch = (uint32_t)(seed >> 20) << NEXTHOP_INDEX_BITS;
	t->heads = calloc(slots, sizeof(*t->heads));
	t->next = calloc(capacity, sizeof(*t->next));
	t->entries = calloc(capacity, sizeof(*t->entries));
	t->n_neighbours = calloc(ZONES, sizeof(*t->n_neighbours));
	if (!t->heads || !t->next || !t->entries || !t->n_neighbours)
		goto fail;
	pthread_mutex_init(&t->lock, NULL);
	return t;
fail:
	nexthop_table_free(t);
	return NULL;
}

void nexthop_table_free(struct nexthop_table *t)
{
	if (!t)
		return;
	free(t->heads);
	free(t->next);
	free(t->entries);
	free(t->n_neighbours);
	free(t);
}

static uint32_t hash(const struct nexthop_table *t, const struct nexthop *k)
{
	uint64_t h = t->seed;
	uint64_t m = 0;

	memcpy(&m, &k->mac, sizeof(k->mac));
	h = (h ^ ((uint64_t)k->kind << 32 | k->domain)) * 0xff51afd7ed558ccdull;
	h = (h ^ (h >> 32) ^ ((uint64_t)k->segment << 32 | k->address)) * 0xc4ceb9fe1a85ec53ull;
	h = (h ^ (h >> 29) ^ m) * 0x9e3779b97f4a7c15ull;
	return (uint32_t)(h >> 32);
}

static bool same(const struct nexthop *a, const struct nexthop *b)
{
	return a->kind == b->kind && a->domain == b->domain && a->segment == b->segment &&
	       a->address == b->address && mac_equal(&a->mac, &b->mac);
}

static uint32_t find(struct nexthop_table *t, const struct nexthop *k, uint32_t slot)
{
	// acquire: an index in a chain means its entry is complete
	uint32_t i = atomic_load_explicit(&t->heads[slot], memory_order_acquire);

	for (; i; i = t->next[i - 1])
		if (same(&t->entries[i - 1], k))
			return t->epoch | (i - 1);
	return NEXTHOP_NONE;
}

// No kind can take the others' room: a tenant that scans a subnet makes neighbours, a trunk's MACs
// make bridged entries. Hosts are made only for addresses that are somebody's. Nor can a tenant
// that scans take the other tenants' neighbours, since none is ever freed.
static bool may_make(const struct nexthop_table *t, const struct nexthop *k, uint32_t zone)
{
	if (k->kind == NEXTHOP_NEIGHBOUR)
		return t->n_kind[k->kind] < t->capacity / 4 &&
		       t->n_neighbours[zone] < t->capacity / 4 / TENANT_SHARE;
	if (k->kind == NEXTHOP_BRIDGED)
		return t->n_kind[k->kind] < t->capacity / 2;
	return true;
}

// zone: of neighbours, whose it counts as.
static uint32_t find_or_make(
	struct nexthop_table *t, const struct nexthop *k, bool always, uint32_t zone)
{
	uint32_t slot = hash(t, k) & t->mask, i, id = find(t, k, slot);

	if (id != NEXTHOP_NONE)
		return id;
	pthread_mutex_lock(&t->lock);
	id = find(t, k, slot);
	i = atomic_load_explicit(&t->n, memory_order_relaxed);
	if (id == NEXTHOP_NONE && i < t->capacity && (always || may_make(t, k, zone))) {
		struct nexthop *nh = &t->entries[i];

		nh->kind = k->kind;
		t->n_kind[k->kind]++;
		if (k->kind == NEXTHOP_NEIGHBOUR && !always)
			t->n_neighbours[zone]++;
		nh->domain = k->domain;
		nh->segment = k->segment;
		nh->address = k->address;
		nh->mac = k->mac;
		nh->neighbour = UINT32_MAX;
		t->next[i] = atomic_load_explicit(&t->heads[slot], memory_order_relaxed);
		// release: the entry before its visibility by count and by chain
		atomic_store_explicit(&t->n, i + 1, memory_order_release);
		atomic_store_explicit(&t->heads[slot], i + 1, memory_order_release);
		id = t->epoch | i;
	}
	pthread_mutex_unlock(&t->lock);
	return id;
}

uint32_t nexthop_bridged(struct nexthop_table *t, uint32_t segment_id, const struct mac *mac)
{
	struct nexthop k = {
		.kind = NEXTHOP_BRIDGED, .domain = segment_id, .segment = segment_id, .mac = *mac
	};

	return find_or_make(t, &k, false, 0);
}

uint32_t nexthop_find_bridged(struct nexthop_table *t, uint32_t segment_id, const struct mac *mac)
{
	struct nexthop k = {
		.kind = NEXTHOP_BRIDGED, .domain = segment_id, .segment = segment_id, .mac = *mac
	};

	return find(t, &k, hash(t, &k) & t->mask);
}

uint32_t nexthop_host(struct nexthop_table *t, uint32_t zone, be32 address, uint32_t segment_id)
{
	struct nexthop k = {
		.kind = NEXTHOP_HOST, .domain = zone, .segment = segment_id, .address = address
	};

	return find_or_make(t, &k, false, 0);
}

uint32_t nexthop_find_host(
	struct nexthop_table *t, uint32_t zone, be32 address, uint32_t segment_id)
{
	struct nexthop k = {
		.kind = NEXTHOP_HOST, .domain = zone, .segment = segment_id, .address = address
	};

	return find(t, &k, hash(t, &k) & t->mask);
}

uint32_t nexthop_neighbour(
	struct nexthop_table *t, uint32_t uplink_port, be32 address, bool gateway, uint32_t zone)
{
	struct nexthop k = { .kind = NEXTHOP_NEIGHBOUR, .domain = uplink_port, .address = address };

	return find_or_make(t, &k, gateway, zone < ZONES ? zone : 0);
}

uint32_t nexthop_find_neighbour(struct nexthop_table *t, uint32_t uplink_port, be32 address)
{
	struct nexthop k = { .kind = NEXTHOP_NEIGHBOUR, .domain = uplink_port, .address = address };

	return find(t, &k, hash(t, &k) & t->mask);
}

void nexthop_each(struct nexthop_table *t, void (*fn)(void *arg, struct nexthop *nh), void *arg)
{
	uint32_t n = atomic_load_explicit(&t->n, memory_order_acquire);

	for (uint32_t i = 0; i < n; i++)
		fn(arg, &t->entries[i]);
}
