// SPDX-License-Identifier: BSD-3-Clause
// Next-hop entries: where a packet goes after everything is decided. Sessions name entries, never a
// port or MAC; learning and neighbour changes update the entry, not the sessions. Ids are private
// to one life of the process (they carry its epoch): a session that outlived a restart finds its
// ids stale, is resolved once more, and goes on.
//
// Threads: `where` is read by any worker and written by any worker or the control thread, whole, in
// one 64-bit store. Entries are made under the table's lock (once per destination) and never freed
// while the process lives.
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include "vlan/wire.h"

#define NEXTHOP_NONE UINT32_MAX

enum nexthop_kind {
	NEXTHOP_FREE,
	NEXTHOP_BRIDGED, // a MAC in a segment, as the forwarding database knows it
	NEXTHOP_HOST, // a tenant's address in a zone, behind the gateway
	NEXTHOP_NEIGHBOUR, // an address on an uplink's wire, resolved by ARP
	NEXTHOP_KIND_COUNT
};

struct nexthop {
	_Atomic uint64_t where; // port << 48 | destination MAC; 0 = not known now
	_Atomic uint64_t src_mac; // NEXTHOP_HOST, _NEIGHBOUR: MAC to send from
	_Atomic uint32_t last_used_s; // relaxed; any worker
	// Immutable while in use:
	uint32_t kind; // enum nexthop_kind
	uint32_t domain; // bridged: segment id; host: zone; neighbour: uplink port id
	uint32_t segment; // bridged, host: segment id of the destination; else 0
	be32 address; // host, neighbour
	struct mac mac; // bridged
	uint32_t neighbour; // neighbour: index of its state (neighbour.h)
};

// The lower bits of an id say which entry; the upper ones are the table's epoch.
enum { NEXTHOP_INDEX_BITS = 18, NEXTHOP_INDEX_MASK = (1 << NEXTHOP_INDEX_BITS) - 1 };

// A chained hash over a fixed array; see nexthop.c. Only nexthop_get below looks into it.
struct nexthop_table {
	uint32_t capacity, mask;
	uint32_t epoch; // upper bits of every id of this process
	uint64_t seed;
	_Atomic uint32_t n; // entries in use; written under the lock
	pthread_mutex_t lock;
	uint32_t n_kind[NEXTHOP_KIND_COUNT]; // entries of each kind; under the lock
	uint32_t *n_neighbours; // made for each tenant; under the lock
	_Atomic uint32_t *heads; // chain heads by hash: index + 1
	uint32_t *next; // index + 1 of the next in the chain; immutable once published
	struct nexthop *entries;
};

struct nexthop_table *nexthop_table_new(uint32_t capacity, uint64_t seed);
void nexthop_table_free(struct nexthop_table *t);

// The entry of an id that this process gave out, else NULL.
static inline struct nexthop *nexthop_get(struct nexthop_table *t, uint32_t id)
{
	uint32_t i = id & NEXTHOP_INDEX_MASK;

	// acquire: pairs with the release in make(), an id read from a session may be newer than we
	// are. NEXTHOP_NONE has an index that no entry has.
	if ((id & ~(uint32_t)NEXTHOP_INDEX_MASK) != t->epoch ||
		i >= atomic_load_explicit(&t->n, memory_order_acquire))
		return NULL;
	return &t->entries[i];
}
// Finds or makes an entry. NEXTHOP_NONE when the table, or the kind's share of it, is full.
uint32_t nexthop_bridged(struct nexthop_table *t, uint32_t segment_id, const struct mac *mac);
uint32_t nexthop_host(struct nexthop_table *t, uint32_t zone, be32 address, uint32_t segment_id);
// gateway: a router that all depends on; it finds room when ordinary neighbours do not. zone: the
// tenant's for whom it is made, who may make an eighth of all.
uint32_t nexthop_neighbour(
	struct nexthop_table *t, uint32_t uplink_port, be32 address, bool gateway, uint32_t zone);
// Finds without making.
uint32_t nexthop_find_bridged(struct nexthop_table *t, uint32_t segment_id, const struct mac *mac);
uint32_t nexthop_find_host(
	struct nexthop_table *t, uint32_t zone, be32 address, uint32_t segment_id);
uint32_t nexthop_find_neighbour(struct nexthop_table *t, uint32_t uplink_port, be32 address);
// Walks all entries in use (control thread: refresh after a policy change).
void nexthop_each(struct nexthop_table *t, void (*fn)(void *arg, struct nexthop *nh), void *arg);

static inline uint64_t nexthop_pack(uint32_t port, const struct mac *mac)
{
	return mac_bits(mac) | (uint64_t)port << 48;
}

static inline uint16_t nexthop_port(uint64_t where)
{
	return (uint16_t)(where >> 48);
}

static inline bool nexthop_is_mac(uint64_t where, const struct mac *mac)
{
	return (where ^ mac_bits(mac)) << 16 == 0;
}

static inline void nexthop_unpack(uint64_t where, uint32_t *ret_port, struct mac *ret_mac)
{
	memcpy(ret_mac, &where, sizeof(*ret_mac)); // little-endian: the low 48 bits
	*ret_port = (uint32_t)(where >> 48);
}
