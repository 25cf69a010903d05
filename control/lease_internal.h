// SPDX-License-Identifier: BSD-3-Clause
// Shared by lease.c, lease_tell.c, lease_fit.c, lease_pool.c, lease_index.c and lease_space.c only.
#pragma once

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include "control/daemon_internal.h"
#include "control/lease.h"
#include "control/lease_bound.h"
#include "control/log.h"
#include "control/switch_client.h"

#define LEASE_SECOND INT64_C(1000000000) // in ns

// What one port holds of one segment: bounds its share without counting anew.
struct lease_holder {
	uint32_t segment, port;
	uint32_t n, n_offers; // n: declined ones too
	uint32_t n_outside; // of n
	TAILQ_HEAD(, lease) offers; // by age
	RB_ENTRY(lease_holder) node;
};

// Its end, its client, `offered`, `s.declined` and, once granted, its MAC are changed by
// lease_index.c only: the trees are ordered by them.
struct lease {
	struct store_lease s;
	int64_t ends_ns; // CLOCK_BOOTTIME
	bool offered; // not durable yet
	bool outside; // of its pool, as that is now
	// Granted, but no switch has said yet that it took it: its client was acknowledged nothing.
	// What comes from the store may have been.
	bool unconfirmed;
	uint64_t serial; // by age; never 0
	size_t granted_by; // of the batch under way: the place of the last answer that grants it
	struct lease_holder *holder;
	TAILQ_ENTRY(lease) all, offer;
	RB_ENTRY(lease) by_address, by_client, by_mac, by_end;
};

// Which addresses of a segment's pool are free; made when first needed, void after an apply.
struct lease_space {
	uint32_t segment, first, size; // first: host order
	be32 gateway;
	uint32_t n_many; // ports `clients: many` in the segment
	uint64_t *reserved; // bit by address: a port has it by configuration
	uint64_t *taken; // the same, or leased, or the gateway
	uint64_t *full; // bit by word of `taken`
	RB_ENTRY(lease_space) node;
};

RB_HEAD(lease_address_tree, lease);
RB_HEAD(lease_client_tree, lease);
RB_HEAD(lease_mac_tree, lease);
RB_HEAD(lease_end_tree, lease);
RB_HEAD(lease_holder_tree, lease_holder);
RB_HEAD(lease_space_tree, lease_space);

// Trees, not hash tables: identifiers and MACs are guests' to choose, and no choice makes one slow.
struct lease_index {
	uint64_t serial; // of the newest
	TAILQ_HEAD(lease_list, lease) all; // by age
	struct lease_address_tree by_address; // (segment, address): one lease each
	struct lease_client_tree by_client; // not declined; by age among equals
	struct lease_mac_tree by_mac; // (segment, MAC, port); neither offered nor declined
	struct lease_end_tree by_end;
	struct lease_holder_tree holders;
	struct lease_space_tree spaces;
};

// What the switch is told of a batch.
struct lease_answers {
	struct switch_lease_request *v;
	size_t n;
};

struct leases {
	struct daemon *d;
	struct loop_source *timer;
	int64_t boot; // boot.h's
	int64_t armed_ns; // the end that `timer` waits for; INT64_MAX: none
	size_t n_events;
	const struct proto_lease_event *declined; // of the batch under way: the last that was heard
	struct lease_index index;
	struct proto_lease_event *events;
	struct lease_answers offers, answers; // answers: what the transaction makes true
	struct bounds *bounds;
	struct log_limit limit, unheard_limit;
	unsigned n_untold; // RELEASE and DECLINE that were not stored, nor logged yet
};

void lease_arm(struct leases *l); // lease.c: for the first end

// lease_tell.c: what the switch is told.
// That a lease is valid for so long, or ended (0).
void lease_tell_end(struct leases *l, const struct store_lease *s);
void lease_tell_all(struct leases *l, struct lease_answers *a);
// After `answers` were told: what the switch took is confirmed, what it refused is nobody's.
void lease_settle(struct leases *l);

// lease_fit.c. Of all leases, which are outside of their pools; what comes from now on is inside.
void lease_mark_outside(struct leases *l);

// lease_index.c: finds leases. Nothing here takes more than O(log n) steps in their number.
void lease_index_init(struct lease_index *ix);
void lease_index_clear(struct lease_index *ix); // frees all leases
// Copies *s. NULL: no memory, or the address has a lease already.
struct lease *lease_add(
	struct lease_index *ix, const struct store_lease *s, int64_t ends_ns, bool offered);
void lease_remove(struct lease_index *ix, struct lease *x); // frees it
void lease_set_end(struct lease_index *ix, struct lease *x, int64_t ends_ns);
void lease_set_client(struct lease_index *ix, struct lease *x, const struct proto_lease_event *e);
void lease_set_granted(struct lease_index *ix, struct lease *x, const struct mac *mac);
void lease_set_declined(struct lease_index *ix, struct lease *x);
// The first to end, or NULL.
struct lease *lease_first_to_end(struct lease_index *ix);
// The lease or offer of the client that speaks, the oldest of several but rather not one outside of
// its pool, or NULL.
struct lease *lease_of_client(struct lease_index *ix, const struct proto_lease_event *e);
// The client's lease or offer of the address that it names, or NULL.
struct lease *lease_named(struct lease_index *ix, const struct proto_lease_event *e);
// A granted lease of this MAC behind this port other than `but`, or NULL.
struct lease *lease_of_mac(
	struct lease_index *ix, const struct proto_lease_event *e, const struct lease *but);
bool lease_mac_elsewhere(struct lease_index *ix, const struct proto_lease_event *e);
struct lease_holder *lease_holder_of(struct lease_index *ix, uint32_t segment, uint32_t port);
struct lease *lease_first_of_segment(struct lease_index *ix, uint32_t segment); // by address
struct lease *lease_next_of_segment(struct lease *x);
// All, by segment and address: the first behind this one, be there such a lease or not; the next.
struct lease *lease_behind(struct lease_index *ix, uint32_t segment, be32 address);
struct lease *lease_next(struct lease *x);
struct lease *lease_at(struct lease_index *ix, uint32_t segment, be32 address); // or NULL

// lease_space.c: free addresses.
// NULL: no memory, or the segment has no pool.
struct lease_space *lease_space_of(struct leases *l, const struct desired_segment *s);
void lease_spaces_clear(struct lease_index *ix);
// A lease comes or goes.
void lease_space_take(struct lease_index *ix, uint32_t segment, be32 address);
void lease_space_give(struct lease_index *ix, uint32_t segment, be32 address);
bool lease_space_reserved(const struct lease_space *sp, be32 address);
// The first free address from the n-th of the pool on, and round; 0 when none is left.
be32 lease_space_find(const struct lease_space *sp, uint32_t n);

// lease_pool.c: who may have which address. Nothing here is durable or told to anybody.
// CLOCK_BOOTTIME: by it leases run, so that who sets the time of day ends none and prolongs none.
int64_t lease_now_ns(void);
int64_t lease_time_of_day_s(void);
void lease_ends_in(struct leases *l, struct lease *x, int64_t seconds);
// The segment whose pool the port may lease from, or NULL.
const struct desired_segment *lease_pool_of(
	const struct desired *d, uint32_t port, uint32_t segment);
bool lease_in_pool(const struct desired_segment *s, be32 address);
bool lease_may_hold(struct leases *l, const struct desired_segment *s, be32 address);
// A new offer; NULL when there is no room. exact: the address that the client names, or none.
struct lease *lease_new(struct leases *l, const struct desired_segment *s,
	const struct proto_lease_event *e, bool exact);
