// SPDX-License-Identifier: BSD-3-Clause
// Table of dynamic leases in force: a fixed array with two chained hashes (by MAC, by address).
// Written by the control thread; read by any worker under a sequence counter.
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "vswitch/binding.h"

struct entry {
	struct binding b;
	bool used;
	uint32_t next_mac, next_addr; // index + 1
};

struct binding_table {
	uint32_t capacity, mask;
	uint64_t seed;
	// Odd while the writer works. A reader that saw it odd or changed reads again.
	_Atomic uint32_t seq;
	uint32_t *by_mac, *by_addr; // heads, index + 1
	struct entry *entries;
	uint32_t free; // list through next_mac, index + 1
};

struct binding_table *binding_table_new(uint32_t capacity, uint64_t seed)
{
	struct binding_table *t = calloc(1, sizeof(*t));
	uint32_t slots = 1;

	if (!t)
		return NULL;
	while (slots < capacity)
		slots *= 2;
	t->capacity = capacity;
	t->mask = slots - 1;
	t->seed = seed | 1;
	t->by_mac = calloc(slots, sizeof(*t->by_mac));
	t->by_addr = calloc(slots, sizeof(*t->by_addr));
	t->entries = calloc(capacity, sizeof(*t->entries));
	if (!t->by_mac || !t->by_addr || !t->entries) {
		binding_table_free(t);
		return NULL;
	}
	for (uint32_t i = 0; i < capacity; i++)
		t->entries[i].next_mac = i + 1 < capacity ? i + 2 : 0;
	t->free = capacity ? 1 : 0;
	return t;
}

void binding_table_free(struct binding_table *t)
{
	if (!t)
		return;
	free(t->by_mac);
	free(t->by_addr);
	free(t->entries);
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
static uint32_t find_mac(const struct binding_table *t, uint32_t segment, const struct mac *mac)
{
	uint32_t i = t->by_mac[hash_mac(t, segment, mac)];

	for (uint32_t steps = 0; i && steps < t->capacity; steps++) {
		const struct entry *e = &t->entries[i - 1];

		if (e->used && e->b.segment == segment && mac_equal(&e->b.mac, mac))
			return i;
		i = e->next_mac;
	}
	return 0;
}

static uint32_t find_addr(const struct binding_table *t, uint32_t zone, be32 address)
{
	uint32_t i = t->by_addr[hash_addr(t, zone, address)];

	for (uint32_t steps = 0; i && steps < t->capacity; steps++) {
		const struct entry *e = &t->entries[i - 1];

		if (e->used && e->b.zone == zone && e->b.address == address)
			return i;
		i = e->next_addr;
	}
	return 0;
}

static void write_begin(struct binding_table *t)
{
	atomic_fetch_add_explicit(&t->seq, 1, memory_order_relaxed);
	// release: no store to the entries may be seen before the counter is odd
	atomic_thread_fence(memory_order_release);
}

static void write_end(struct binding_table *t)
{
	// release: all stores to the entries are seen before the counter is even again
	atomic_fetch_add_explicit(&t->seq, 1, memory_order_release);
}

static void unlink_entry(struct binding_table *t, uint32_t i)
{
	struct entry *e = &t->entries[i - 1];
	uint32_t *p = &t->by_mac[hash_mac(t, e->b.segment, &e->b.mac)];

	while (*p != i)
		p = &t->entries[*p - 1].next_mac;
	*p = e->next_mac;
	p = &t->by_addr[hash_addr(t, e->b.zone, e->b.address)];
	while (*p != i)
		p = &t->entries[*p - 1].next_addr;
	*p = e->next_addr;
	e->used = false;
	e->next_mac = t->free;
	t->free = i;
}

int binding_set(struct binding_table *t, const struct binding *b)
{
	uint32_t i, slot;
	struct entry *e;

	write_begin(t);
	i = find_mac(t, b->segment, &b->mac);
	if (i)
		unlink_entry(t, i);
	i = find_addr(t, b->zone, b->address);
	if (i)
		unlink_entry(t, i);
	i = t->free;
	if (!i) {
		write_end(t);
		return -ENOSPC;
	}
	e = &t->entries[i - 1];
	t->free = e->next_mac;
	e->b = *b;
	e->used = true;
	slot = hash_mac(t, b->segment, &b->mac);
	e->next_mac = t->by_mac[slot];
	t->by_mac[slot] = i;
	slot = hash_addr(t, b->zone, b->address);
	e->next_addr = t->by_addr[slot];
	t->by_addr[slot] = i;
	write_end(t);
	return 0;
}

void binding_del(struct binding_table *t, uint32_t segment, const struct mac *mac)
{
	uint32_t i = find_mac(t, segment, mac);

	if (!i)
		return;
	write_begin(t);
	unlink_entry(t, i);
	write_end(t);
}

void binding_expire(struct binding_table *t, uint64_t now_ns,
	void (*gone)(void *arg, const struct binding *b), void *arg)
{
	for (uint32_t i = 1; i <= t->capacity; i++) {
		struct binding b = t->entries[i - 1].b;

		if (!t->entries[i - 1].used || b.expires_ns > now_ns)
			continue;
		write_begin(t);
		unlink_entry(t, i);
		write_end(t);
		gone(arg, &b);
	}
}

void binding_del_port(struct binding_table *t, uint32_t port)
{
	for (uint32_t i = 1; i <= t->capacity; i++) {
		if (!t->entries[i - 1].used || t->entries[i - 1].b.port != port)
			continue;
		write_begin(t);
		unlink_entry(t, i);
		write_end(t);
	}
}

// Reads until no write came between: index 0 = not found.
static bool read_entry(const struct binding_table *t, bool by_mac, uint32_t domain,
	const struct mac *mac, be32 address, uint64_t now_ns, struct binding *ret_binding)
{
	for (;;) {
		// acquire: entries are read after the counter
		uint32_t seq = atomic_load_explicit(&t->seq, memory_order_acquire);
		uint32_t i = by_mac ? find_mac(t, domain, mac) : find_addr(t, domain, address);
		struct binding b = { 0 };

		if (i)
			b = t->entries[i - 1].b;
		// acquire fence: entries are read before the counter is read again
		atomic_thread_fence(memory_order_acquire);
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
