// SPDX-License-Identifier: BSD-3-Clause
// Stage: inside a segment. Known unicast goes where the forwarding database says; unknown unicast
// never reaches tenant ports, only trunks; broadcast and multicast stay in the segment. Workers.
#include "vswitch/session.h"

uint64_t forward_bridged_where(struct switch_ *sw, const struct nexthop *nh)
{
	uint32_t port;

	if (!fdb_lookup(sw->fdb, nh->segment, &nh->mac, 0, &port) || port > POLICY_MAX_PORT_ID)
		return 0;
	return nexthop_pack(port, &nh->mac);
}

static bool has_trunk(const struct policy *pol, const struct policy_seg *seg, uint32_t but)
{
	// Trunks stand last among the members of a segment.
	const uint16_t *last = &pol->members[seg->first_member + seg->n_members];

	for (uint32_t i = 1; i <= seg->n_members; i++) {
		const struct policy_prt *prt = policy_port(pol, last[-(int)i]);

		if (prt->p->mode != POLICY_PORT_TRUNK)
			return false;
		if (prt->p->id != but)
			return true;
	}
	return false;
}

static enum drop_reason unknown_unicast(const struct burst *b, struct packet *p)
{
	if (!has_trunk(b->policy, packet_segment(b, p), p->in_port))
		return DROP_FDB_UNKNOWN_UNICAST;
	p->flags |= PACKET_FLOOD; // tx replicates to trunks only: MULTICAST is not set
	p->flags &= (uint16_t)~PACKET_NEW_SESSION;
	return DROP_NONE;
}

static void remember(struct worker *w, struct packet *p)
{
	struct session_record *rec;

	if (p->session == SESSION_NONE)
		return;
	rec = session_get(w->sw->sessions, p->session);
	__atomic_store_n(
		&rec->d.nexthop[p->flags & PACKET_REVERSE ? SESSION_REVERSE : SESSION_FORWARD],
		p->nexthop, __ATOMIC_RELAXED);
}

static enum drop_reason forward(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	const struct policy_seg *seg = packet_segment(b, p);
	const struct mac *dst = &packet_eth(m)->dst;
	struct nexthop *nh;
	uint32_t port;

	if ((p->flags & PACKET_ROUTED) || p->nexthop != NEXTHOP_NONE)
		return DROP_NONE;
	if (p->flags & PACKET_MULTICAST) {
		p->flags |= PACKET_FLOOD;
		return DROP_NONE;
	}
	if (!fdb_lookup(w->sw->fdb, seg->s->id, dst, b->now_ns, &port))
		return unknown_unicast(b, p);
	if (port > POLICY_MAX_PORT_ID)
		return DROP_SERVICE_GATEWAY_CLOSED; // the gateway's MAC, but nothing it serves
	if (port == p->in_port)
		return DROP_FDB_SAME_PORT;
	p->out_port = (uint16_t)port;
	if (!(p->flags & (PACKET_HIT | PACKET_NEW_SESSION)))
		return DROP_NONE;
	p->nexthop = nexthop_bridged(w->sw->nexthops, seg->s->id, dst);
	nh = nexthop_get(w->sw->nexthops, p->nexthop);
	if (!nh)
		// the table is full: this packet goes, the session stays unresolved
		return DROP_NONE;
	atomic_store_explicit(&nh->where, nexthop_pack(port, dst), memory_order_relaxed);
	remember(w, p);
	return DROP_NONE;
}

void stage_forward(struct worker *w, struct burst *b)
{
	burst_filter(w, b, forward);
}
