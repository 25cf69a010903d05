// SPDX-License-Identifier: BSD-3-Clause
// Neighbours on uplinks: resolution by ARP with the states and times of RFC 4861 §7.3.2 and §10.
// Called by route and service stages on any worker; timers by worker 0.
#include <stdlib.h>
#include <rte_spinlock.h>
#include "dhcp/arp.h"
#include "vswitch/switch.h"

#define SECOND 1000000000ull

enum {
	REACHABLE_S = 30, // REACHABLE_TIME
	DELAY_FIRST_PROBE_S = 5, // DELAY_FIRST_PROBE_TIME
	MAX_SOLICIT = 3, // MAX_UNICAST_SOLICIT, MAX_MULTICAST_SOLICIT
	FAILED_PAUSE_S = 3, // before a failed neighbour is asked again
	HELD_TOTAL_MAX = 256, // of the packet pool: who scans a subnet cannot pin it
	REUSE_STEPS = 64, // entries looked at when the table is full
};

struct neighbour {
	rte_spinlock_t lock;
	uint8_t state; // enum neighbour_state
	uint8_t n_held;
	uint8_t n_asked;
	uint64_t since_ns, asked_ns;
	struct nexthop *nh;
	struct rte_mbuf *held[NEIGHBOUR_HELD_MAX];
};

struct neighbours {
	uint32_t capacity;
	rte_spinlock_t lock; // making entries
	_Atomic uint32_t n;
	_Atomic uint32_t n_held; // packets that wait, all entries
	uint32_t hand; // where to look for an entry to reuse; under the lock
	uint64_t ticked_ns; // worker 0
	struct neighbour *entries;
};

struct neighbours *neighbours_new(uint32_t capacity)
{
	struct neighbours *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->capacity = capacity;
	n->entries = calloc(capacity, sizeof(*n->entries));
	if (!n->entries) {
		free(n);
		return NULL;
	}
	return n;
}

void neighbours_free(struct neighbours *n)
{
	if (!n)
		return;
	for (uint32_t i = 0; i < n->n; i++)
		rte_pktmbuf_free_bulk(n->entries[i].held, n->entries[i].n_held);
	free(n->entries);
	free(n);
}

// The table is full: an entry whose neighbour did not answer serves another. The lock is held.
static uint32_t reuse(struct neighbours *n, struct nexthop *nh)
{
	for (unsigned step = 0; step < REUSE_STEPS; step++) {
		uint32_t i = n->hand++ % n->capacity;
		struct neighbour *e = &n->entries[i];
		bool mine;

		rte_spinlock_lock(&e->lock);
		mine = (e->state == NEIGHBOUR_FAILED || e->state == NEIGHBOUR_NONE) &&
		       e->n_held == 0;
		if (mine) {
			__atomic_store_n(&e->nh->neighbour, UINT32_MAX, __ATOMIC_RELEASE);
			e->nh = nh;
			e->state = NEIGHBOUR_NONE;
		}
		rte_spinlock_unlock(&e->lock);
		if (mine)
			return i;
	}
	return UINT32_MAX;
}

static struct neighbour *entry_of(struct neighbours *n, struct nexthop *nh)
{
	uint32_t i = __atomic_load_n(&nh->neighbour, __ATOMIC_ACQUIRE);

	if (i != UINT32_MAX)
		return &n->entries[i];
	rte_spinlock_lock(&n->lock);
	i = nh->neighbour;
	if (i == UINT32_MAX && n->n < n->capacity) {
		i = n->n;
		n->entries[i].nh = nh;
		n->entries[i].state = NEIGHBOUR_NONE;
		atomic_store_explicit(&n->n, i + 1, memory_order_release);
	} else if (i == UINT32_MAX) {
		i = reuse(n, nh);
	}
	// release: the entry is complete before its index is seen
	__atomic_store_n(&nh->neighbour, i, __ATOMIC_RELEASE);
	rte_spinlock_unlock(&n->lock);
	return i == UINT32_MAX ? NULL : &n->entries[i];
}

static void ask(struct worker *w, const struct burst *b, struct neighbour *e, uint32_t trace)
{
	const struct policy_prt *up = policy_port(b->policy, e->nh->domain);
	uint64_t where = atomic_load_explicit(&e->nh->where, memory_order_relaxed);
	uint8_t frame[ARP_FRAME_SIZE];
	struct mac mac;
	uint32_t port;

	e->asked_ns = b->now_ns;
	if (!up || !up->uplink)
		return;
	nexthop_unpack(where, &port, &mac);
	arp_build_request(&up->p->mac, up->p->address, e->nh->address,
		e->state == NEIGHBOUR_PROBE && where ? &mac : NULL, frame);
	worker_emit(w, b->policy, up->p->id, POLICY_NO_SEGMENT, trace, frame, sizeof(frame));
}

static void enter(struct neighbour *e, enum neighbour_state state, uint64_t now_ns)
{
	e->state = (uint8_t)state;
	e->since_ns = now_ns;
	e->n_asked = 0;
}

// INCOMPLETE: the packet waits, the first one asks.
static enum drop_reason hold(
	struct worker *w, const struct burst *b, struct neighbour *e, struct rte_mbuf *m)
{
	struct neighbours *n = w->sw->neighbours;
	bool single = m->nb_segs == 1; // a super-frame's buffers are too dear to wait
	bool may_wait;

	if (e->state == NEIGHBOUR_FAILED) {
		if (b->now_ns - e->since_ns < FAILED_PAUSE_S * SECOND)
			return DROP_NEXTHOP_UNRESOLVED;
		enter(e, NEIGHBOUR_NONE, b->now_ns);
	}
	if (single && e->n_held == NEIGHBOUR_HELD_MAX)
		return DROP_NEXTHOP_QUEUE_FULL;
	may_wait = single && n->n_held < HELD_TOTAL_MAX;
	if (may_wait) {
		e->held[e->n_held++] = m;
		n->n_held++;
	}
	if (e->state == NEIGHBOUR_NONE) {
		enter(e, NEIGHBOUR_INCOMPLETE, b->now_ns);
		e->n_asked = 1;
		ask(w, b, e, packet_of(m)->trace);
	}
	if (may_wait)
		return PACKET_CONSUMED;
	return single ? DROP_NEXTHOP_QUEUE_FULL : DROP_NEXTHOP_SUPER_FRAME;
}

bool neighbour_use(struct worker *w, const struct burst *b, struct nexthop *nh, struct rte_mbuf *m,
	enum drop_reason *ret_reason)
{
	struct neighbour *e = entry_of(w->sw->neighbours, nh);
	bool usable;

	if (!e) {
		*ret_reason = DROP_NEXTHOP_QUEUE_FULL;
		return false;
	}
	// REACHABLE is the common case and needs no lock: the timer moves it on.
	if (e->state == NEIGHBOUR_REACHABLE)
		return true;
	rte_spinlock_lock(&e->lock);
	if (e->nh != nh) { // it serves another meanwhile
		rte_spinlock_unlock(&e->lock);
		*ret_reason = DROP_NEXTHOP_QUEUE_FULL;
		return false;
	}
	usable = atomic_load_explicit(&nh->where, memory_order_relaxed) != 0;
	if (usable && e->state == NEIGHBOUR_STALE)
		enter(e, NEIGHBOUR_DELAY, b->now_ns);
	else if (!usable)
		*ret_reason = hold(w, b, e, m);
	rte_spinlock_unlock(&e->lock);
	return usable;
}

// Sends the packets that waited; they have been decided and rewritten but for the MAC.
static void release_held(struct worker *w, const struct burst *b, struct rte_mbuf **held,
	unsigned n, uint32_t port, const struct mac *mac)
{
	struct burst tail;

	burst_begin(&tail, b->policy, b->now_ns);
	for (unsigned i = 0; i < n; i++) {
		packet_eth(held[i])->dst = *mac;
		packet_of(held[i])->out_port = (uint16_t)port;
		tail.pkts[tail.n++] = held[i];
	}
	if (tail.n)
		pipeline_run_tail(w, &tail);
}

bool neighbour_heard(struct worker *w, const struct burst *b, uint32_t uplink_port, be32 address,
	const struct mac *mac, bool solicited)
{
	struct nexthop *nh;
	struct neighbour *e;
	struct rte_mbuf *held[NEIGHBOUR_HELD_MAX];
	unsigned n_held;
	uint64_t where = nexthop_pack(uplink_port, mac), known;
	bool asked, news;
	uint32_t id = nexthop_find_neighbour(w->sw->nexthops, uplink_port, address);

	nh = nexthop_get(w->sw->nexthops, id);
	if (!nh || nh->neighbour == UINT32_MAX || mac_is_multicast(mac) || mac_is_zero(mac))
		return false;
	e = &w->sw->neighbours->entries[nh->neighbour];
	rte_spinlock_lock(&e->lock);
	if (e->nh != nh) { // the entry serves another meanwhile
		rte_spinlock_unlock(&e->lock);
		return false;
	}
	known = atomic_load_explicit(&nh->where, memory_order_relaxed);
	asked = e->state == NEIGHBOUR_INCOMPLETE || e->state == NEIGHBOUR_PROBE;
	if (known && known != where && !(solicited && asked)) {
		// Anybody can say so. RFC 4861 §7.2.5: the neighbour we know is probed first. Who
		// answers that is believed: on its wire nobody can be told from the router.
		if (e->state != NEIGHBOUR_PROBE)
			enter(e, NEIGHBOUR_PROBE, b->now_ns);
		rte_spinlock_unlock(&e->lock);
		return false;
	}
	news = !known || (solicited && asked);
	n_held = e->n_held;
	// Only an answer shows that the way there works too. An announcement is believed until what
	// waited has used it: that is DELAY at once, and a probe unless an answer comes first.
	if (solicited && asked)
		enter(e, NEIGHBOUR_REACHABLE, b->now_ns);
	else if (!known)
		enter(e, n_held ? NEIGHBOUR_DELAY : NEIGHBOUR_STALE, b->now_ns);
	atomic_store_explicit(&nh->where, where, memory_order_relaxed);
	memcpy(held, e->held, sizeof(held));
	e->n_held = 0;
	w->sw->neighbours->n_held -= n_held;
	rte_spinlock_unlock(&e->lock);
	release_held(w, b, held, n_held, uplink_port, mac);
	return news;
}

// One timer step of one entry; the lock is held. Returns packets to drop in `lost`.
static unsigned step(
	struct worker *w, const struct burst *b, struct neighbour *e, struct rte_mbuf **lost)
{
	uint64_t age = b->now_ns - e->since_ns;
	unsigned n = 0;

	if (e->state == NEIGHBOUR_REACHABLE && age > REACHABLE_S * SECOND)
		enter(e, NEIGHBOUR_STALE, b->now_ns);
	else if (e->state == NEIGHBOUR_DELAY && age > DELAY_FIRST_PROBE_S * SECOND)
		enter(e, NEIGHBOUR_PROBE, b->now_ns);
	if (e->state != NEIGHBOUR_INCOMPLETE && e->state != NEIGHBOUR_PROBE)
		return 0;
	if (e->n_asked && b->now_ns - e->asked_ns < SECOND)
		return 0;
	if (e->n_asked++ < MAX_SOLICIT) {
		ask(w, b, e, 0);
		return 0;
	}
	atomic_store_explicit(&e->nh->where, 0, memory_order_relaxed);
	// RFC 4861 §7.3.3: one that was known is forgotten, and the next packet asks everybody at
	// once; only one that nobody answers for is left alone for a while.
	enter(e, e->state == NEIGHBOUR_PROBE ? NEIGHBOUR_NONE : NEIGHBOUR_FAILED, b->now_ns);
	n = e->n_held;
	memcpy(lost, e->held, sizeof(e->held));
	e->n_held = 0;
	w->sw->neighbours->n_held -= n;
	return n;
}

void neighbours_forget(struct neighbours *n, uint32_t uplink_port)
{
	uint32_t count = atomic_load_explicit(&n->n, memory_order_acquire);

	for (uint32_t i = 0; i < count; i++) {
		struct neighbour *e = &n->entries[i];

		if (e->nh->domain != uplink_port)
			continue;
		rte_spinlock_lock(&e->lock);
		enter(e, NEIGHBOUR_NONE, e->since_ns);
		atomic_store_explicit(&e->nh->where, 0, memory_order_relaxed);
		rte_pktmbuf_free_bulk(e->held, e->n_held);
		n->n_held -= e->n_held;
		e->n_held = 0;
		rte_spinlock_unlock(&e->lock);
	}
}

void neighbour_tick(struct worker *w, const struct burst *b)
{
	struct neighbours *n = w->sw->neighbours;
	uint32_t count = atomic_load_explicit(&n->n, memory_order_acquire);
	struct rte_mbuf *lost[NEIGHBOUR_HELD_MAX];

	if (b->now_ns - n->ticked_ns < SECOND / 2)
		return;
	n->ticked_ns = b->now_ns;
	for (uint32_t i = 0; i < count; i++) {
		struct neighbour *e = &n->entries[i];
		unsigned n_lost;

		rte_spinlock_lock(&e->lock);
		n_lost = step(w, b, e, lost);
		rte_spinlock_unlock(&e->lock);
		for (unsigned k = 0; k < n_lost; k++)
			worker_drop(w, lost[k], DROP_NEXTHOP_UNRESOLVED);
	}
}
