// SPDX-License-Identifier: BSD-3-Clause
// Sessions: (zone, 5-tuple) -> record; two directions, one record. Pure C, position independent:
// the record array is the only truth and lies in a file that outlives this process; hash index,
// free list and counts are private memory, rebuilt from the records by a scan.
//
// Threads: lookups by any worker, lock-free. Inserts and removals by any worker under striped
// spin locks (paid once per connection). Expiry has one owner (the control thread). TCP state
// changes by compare-and-swap. A record's commit word is written last on insert and cleared first
// on removal; a record whose commit word is not set does not exist.
#pragma once

#include "vlan/wire.h"

#define SESSION_NONE UINT32_MAX

// One direction as it is seen on arrival. IPv4 only in this layout; addresses take 16 bytes in the
// next one. For ICMP echo, src_port = dst_port = identifier. Compared as bytes: no padding.
struct session_key {
	uint32_t zone;
	be32 src, dst;
	be16 src_port, dst_port;
	uint8_t proto;
	uint8_t pad[3]; // zero
};

enum session_dir {
	SESSION_FORWARD, // as the initiator sends
	SESSION_REVERSE, // as the responder sends
};

enum session_state {
	SESSION_NEW, // first packet seen
	SESSION_ESTABLISHED, // both directions seen (TCP: handshake complete)
	SESSION_CLOSING, // TCP: FIN seen from one side
	SESSION_CLOSED, // TCP: RST or both FINs
	SESSION_STATE_COUNT
};

enum session_flags {
	SESSION_F_SNAT = 1, // reverse.dst/dst_port is the external address; names a mapping
	SESSION_F_ROUTED = 2, // crosses the gateway: TTL is decremented, next hops are L3
};

// What the creator knows. A session names next-hop entries, never a port or MAC.
struct session_desc {
	struct session_key key[2]; // by enum session_dir
	uint32_t nexthop[2]; // where a packet of that direction goes (vswitch/nexthop.h)
	uint32_t mapping; // NAT mapping it holds a reference to, or MAPPING_NONE
	uint32_t src_port,
		dst_port; // switch ports of initiator and responder (quota, port-id reuse)
	uint32_t revision[2]; // policy revisions of src and dst port's sections that decided it
	uint16_t flags; // enum session_flags
};

// The record, as it lies in the file: 192 bytes or less, 64-byte aligned.
struct session_record {
	uint64_t commit; // 0 = free; else boot-unique insertion number. Written last.
	struct session_desc d;
	uint32_t state; // enum session_state | what each direction has shown; CAS
	uint32_t last_s; // last packet, seconds of the caller's clock; relaxed store by any worker
	uint64_t created_ns;
	// Relaxed load and store, no locked add: exact while one worker carries a direction, which
	// only a guest that sprays one flow over its queues can break, to its own account.
	uint64_t packets[2], bytes[2];
} __attribute__((aligned(64)));

struct session_table;

static inline enum session_state session_state_of(const struct session_record *r)
{
	return (enum session_state)(__atomic_load_n(&r->state, __ATOMIC_RELAXED) & 0xff);
}

// Bytes the backing file needs for `capacity` records (header included).
size_t session_table_file_size(uint32_t capacity);

// Attaches to `mem` (session_table_file_size bytes, zeroed when new), verifies its header
// (magic, layout, capacity, boot id), formats it if it is all zero, else rebuilds the index by a
// scan. Of a larger table's file all of it is to be mapped: records above `capacity` move down, and
// what it has no room for ends (session_table_lost). seed: hash seed. 0; -EINVAL header of another
// layout or boot (caller decides to reformat), -ENOMEM.
int session_table_open(void *mem, size_t size, uint32_t capacity, uint64_t boot_id, uint64_t seed,
	struct session_table **ret_table);
void session_table_close(struct session_table *t); // memory of the file stays as it is
// Sessions that the last open ended because the table is smaller now.
uint32_t session_table_lost(const struct session_table *t);

// Finds the session of an arriving packet. SESSION_NONE if unknown. What is found stays readable,
// even when removed meanwhile, until the caller's next quiescent state (see session_reclaim).
// For a burst: session_lookup.h.
uint32_t session_lookup(
	const struct session_table *t, const struct session_key *key, enum session_dir *ret_dir);

// Inserts; if either direction's key exists already nothing changes and -EEXIST is returned with
// *ret_id = the existing one (two workers may race). -ENOSPC when full, -EDQUOT when the source
// port holds its quota, -EINVAL when a port id is above 65535.
int session_insert(
	struct session_table *t, const struct session_desc *d, uint64_t now_ns, uint32_t *ret_id);
// True if this call removed it: of several that try, one hears so, and drops its mapping reference.
// The id and what it names are reused only after session_reclaim says that nobody can hold it.
bool session_remove(struct session_table *t, uint32_t id);
// Control thread: makes the ids removed before the previous call usable again. Between two calls
// every worker has passed a quiescent state. True while removed ids still wait: call again.
bool session_reclaim(struct session_table *t);

// NULL only when id is out of range. A record removed meanwhile has commit 0, the rest is intact.
struct session_record *session_get(struct session_table *t, uint32_t id);
// After deciding an existing session again: its next hops and what decided it, in place.
void session_revise(struct session_table *t, uint32_t id, const uint32_t nexthop[2],
	const uint32_t revision[2]);
// Accounts one packet and advances the state machine. tcp_flags: 0 unless TCP. now_s: seconds of
// the clock whose nanoseconds session_insert got.
static inline void session_touch(struct session_record *r, enum session_dir dir, uint8_t tcp_flags,
	uint32_t bytes, uint32_t now_s);
// The state machine alone: its slow part.
void session_advance(struct session_record *r, enum session_dir dir, uint8_t tcp_flags);

struct session_timeouts { // seconds; defaults in session_timeouts_default
	uint32_t tcp_new, tcp_established, tcp_closing, tcp_closed, udp_new, udp_established, icmp,
		other;
};
extern const struct session_timeouts session_timeouts_default; // RFC 5382, 4787, 5508
uint32_t session_timeout_s(const struct session_record *r, const struct session_timeouts *to);

// Examines up to `budget` records from an internal cursor, removing the expired; calls `removed`
// (may be NULL) with each after the claim and before its id goes (commit is 0 then, the rest is
// intact). Returns how many were removed. Owner: the control thread.
uint32_t session_expire(struct session_table *t, const struct session_timeouts *to, uint64_t now_ns,
	uint32_t budget, void (*removed)(void *arg, const struct session_record *r), void *arg);
// Removes all for which `match` says so (a port deleted, a policy that changed).
uint32_t session_remove_if(struct session_table *t,
	bool (*match)(void *arg, const struct session_record *r),
	void (*removed)(void *arg, const struct session_record *r), void *arg);

// Iterates for listing: copies a consistent record at or after *cursor and before `end`; false if
// there is none.
bool session_next(struct session_table *t, uint32_t *cursor, uint32_t end, uint32_t *ret_id,
	struct session_record *ret_copy);
uint32_t session_count(const struct session_table *t);
// max_per_port: sessions that name it as source; 0 = no limit.
void session_set_port_quota(struct session_table *t, uint32_t max_per_port);
// Is there room for one more that names it as source (at most SESSION_PORT_MAX), as it looks now?
bool session_has_room(const struct session_table *t, uint32_t port);
// Sessions that name this port at either end: its id is not reused before this is 0.
uint32_t session_port_count(const struct session_table *t, uint32_t port);

static inline void session_touch(struct session_record *r, enum session_dir dir, uint8_t tcp_flags,
	uint32_t bytes, uint32_t now_s)
{
	uint64_t packets = __atomic_load_n(&r->packets[dir], __ATOMIC_RELAXED) + 1;
	uint64_t sum = __atomic_load_n(&r->bytes[dir], __ATOMIC_RELAXED) + bytes;

	__atomic_store_n(&r->packets[dir], packets, __ATOMIC_RELAXED);
	__atomic_store_n(&r->bytes[dir], sum, __ATOMIC_RELAXED);
	__atomic_store_n(&r->last_s, now_s, __ATOMIC_RELAXED);
	// Nearly every packet: established, and nothing that could change it.
	if (session_state_of(r) != SESSION_ESTABLISHED || (tcp_flags & (TCP_FIN | TCP_RST)) != 0)
		session_advance(r, dir, tcp_flags);
}
