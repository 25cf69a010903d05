// SPDX-License-Identifier: BSD-3-Clause
// NAT mappings: (zone, protocol, internal address:port) <-> (external address:port),
// reference-counted by sessions. Endpoint-independent mapping (RFC 4787 REQ-1, 5382 REQ-1). Pure C;
// same file rules as session_table.h: the record array is the only truth, indices, reference counts
// and port bitmaps are rebuilt (references by a scan of the sessions: nat_table_ref for each).
//
// Threads: lookups lock-free by any worker; allocation and release under the table's spin lock.
#pragma once

#include "vlan/wire.h"

#define MAPPING_NONE UINT32_MAX

struct nat_pool { // one external address; from the policy
	uint32_t zone; // the uplink's zone
	be32 address;
	uint16_t port_first, port_last; // host order, inclusive
};

struct nat_mapping {
	uint64_t commit; // 0 = free; written last
	uint32_t in_zone, out_zone;
	be32 in_addr, out_addr;
	be16 in_port, out_port; // ICMP echo: identifier
	uint8_t proto;
	uint8_t pad[3];
	// When the last session left (RFC 6888 REQ-8 hold); 0 while one is there, UINT32_MAX: none
	// ever was.
	uint32_t last_s;
	uint32_t tenant; // zone that pays; quota and exhaustion name it
} __attribute__((aligned(64)));

struct nat_table;

size_t nat_table_file_size(uint32_t capacity);
int nat_table_open(void *mem, size_t size, uint32_t capacity, uint64_t boot_id, uint64_t seed,
	struct nat_table **ret_table);
void nat_table_close(struct nat_table *t);

// Finds or makes the mapping of an internal endpoint and takes a reference. The external port keeps
// parity (UDP: RFC 4787 REQ-4) and is otherwise random within the pool; O(1) amortised also when
// exhausted. A mapping in its hold-down comes back to the endpoint that had it, to nobody else.
// 0; -ENOSPC pool exhausted or table full; -EDQUOT the tenant holds its quota (held mappings
// count); -EPROTONOSUPPORT not TCP, UDP or ICMP; -EINVAL in_zone is neither a tenant nor an uplink.
int nat_map(struct nat_table *t, const struct nat_pool *pool, uint32_t in_zone, uint8_t proto,
	be32 in_addr, be16 in_port, uint64_t now_ns, uint32_t *ret_mapping);
void nat_ref(struct nat_table *t, uint32_t mapping);
// Drops a reference; the last one starts the mapping's hold-down and frees it after nat_expire.
void nat_unref(struct nat_table *t, uint32_t mapping, uint64_t now_ns);
// The same for whom nat_map served in vain: nothing has left by the mapping. One that was made for
// him, and asked for by nobody else since, goes at the next nat_expire, without a hold-down; not at
// once, as its id would be of no use until the next tables_reclaim, whoever it is that floods.
void nat_cancel(struct nat_table *t, uint32_t mapping, uint64_t now_ns);
// NULL when there is no such mapping.
const struct nat_mapping *nat_get(const struct nat_table *t, uint32_t mapping);
// An inbound packet that misses the sessions: who is behind this external endpoint? MAPPING_NONE
// also while the mapping is only held down.
uint32_t nat_lookup_external(
	const struct nat_table *t, uint32_t out_zone, uint8_t proto, be32 addr, be16 port);
// Frees unreferenced mappings older than hold_s. Owner: the control thread.
uint32_t nat_expire(struct nat_table *t, uint64_t now_ns, uint32_t hold_s, uint32_t budget);
// As session_reclaim, for mapping ids.
bool nat_reclaim(struct nat_table *t);
// Iterates: copies a consistent mapping at or after *cursor; false at the end.
bool nat_next(const struct nat_table *t, uint32_t *cursor, uint32_t *ret_id,
	struct nat_mapping *ret_copy);
uint32_t nat_references(const struct nat_table *t, uint32_t mapping);
uint32_t nat_count(const struct nat_table *t);
// max_per_tenant: mappings of one in_zone; 0 = no limit.
void nat_set_quota(struct nat_table *t, uint32_t max_per_tenant);
