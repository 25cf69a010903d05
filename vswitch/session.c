// SPDX-License-Identifier: BSD-3-Clause
// Stages: one hash lookup on (zone, 5-tuple), and, after policy, the making of new sessions. A hit
// carries verdict, translation and next hop. A session whose deciding revisions are no longer in
// force is decided again here, in its original direction, once. Workers.
#include <errno.h>
#include "vswitch/session.h"

static _Atomic uint32_t *tenant_count(struct switch_ *sw, uint32_t zone)
{
	return &sw->tenant_sessions[zone % (sizeof(sw->tenant_sessions) / sizeof(uint32_t))];
}

void session_counted(struct switch_ *sw, const struct session_record *rec)
{
	atomic_fetch_add_explicit(
		tenant_count(sw, rec->d.key[SESSION_FORWARD].zone), 1, memory_order_relaxed);
}

void session_released(struct switch_ *sw, const struct session_record *rec, uint64_t now_ns)
{
	atomic_fetch_sub_explicit(
		tenant_count(sw, rec->d.key[SESSION_FORWARD].zone), 1, memory_order_relaxed);
	if (rec->d.mapping != MAPPING_NONE)
		nat_unref(sw->mappings, rec->d.mapping, now_ns);
}

void session_end(struct switch_ *sw, uint32_t id, uint64_t now_ns)
{
	// What is removed stays readable until this worker's next quiescent state.
	if (session_remove(sw->sessions, id))
		session_released(sw, session_get(sw->sessions, id), now_ns);
}

static bool still_allowed(const struct policy *pol, const struct session_desc *d,
	const struct policy_prt *src, const struct policy_prt *dst)
{
	if (!src || !dst)
		return false;
	// A configured guest still owns its address.
	if (src->p->address && src->p->mode == POLICY_PORT_ACCESS &&
		src->p->address != d->key[SESSION_FORWARD].src)
		return false;
	if (d->flags & SESSION_F_SNAT)
		return !policy_is_inside(
			       pol, d->key[SESSION_FORWARD].zone, d->key[SESSION_FORWARD].dst) &&
		       src->segment != POLICY_NO_SEGMENT &&
		       pol->segments[src->segment].s->snat_port == dst->p->id &&
		       dst->p->address == d->key[SESSION_REVERSE].dst;
	if (src->p->mode == POLICY_PORT_UPLINK || dst->p->mode == POLICY_PORT_UPLINK)
		return false; // was a trunk
	if (src->segment == POLICY_NO_SEGMENT || dst->segment == POLICY_NO_SEGMENT)
		return true; // a trunk: judged by its VLAN list on the way in and out
	return pol->segments[src->segment].s->zone == pol->segments[dst->segment].s->zone;
}

bool session_decide_again(
	struct worker *w, const struct burst *b, uint32_t id, struct session_record *rec)
{
	const struct policy_prt *src = policy_port(b->policy, rec->d.src_port);
	const struct policy_prt *dst = policy_port(b->policy, rec->d.dst_port);

	if (!still_allowed(b->policy, &rec->d, src, dst)) {
		session_end(w->sw, id, b->now_ns);
		return false;
	}
	// Two workers may store the same values: both decided under the same policy.
	__atomic_store_n(&rec->d.revision[0], src->revision, __ATOMIC_RELAXED);
	__atomic_store_n(&rec->d.revision[1], dst->revision, __ATOMIC_RELAXED);
	return true;
}

// Whether the session decides the packet, and knows where it goes.
static bool hit(
	struct worker *w, struct burst *b, struct rte_mbuf *m, const struct session_found *found)
{
	struct session_record *rec = found->record;
	struct packet *p = packet_of(m);
	const struct nexthop *nh;
	bool routed = session_is_routed(b, m);
	uint32_t nexthop;

	if (!session_is_allowed(w, b, found->id, rec))
		return false;
	if (routed != !!(rec->d.flags & SESSION_F_ROUTED)) {
		p->flags |= rec->d.flags & SESSION_F_SNAT ? 0 : PACKET_TAKEN;
		return false;
	}
	nexthop = __atomic_load_n(&rec->d.nexthop[found->dir], __ATOMIC_RELAXED);
	nh = nexthop_get(w->sw->nexthops, nexthop);
	// A bridged next hop is this MAC and no other, while it is known where that is; what is
	// stale is resolved again.
	if (!nh || (nh->kind == NEXTHOP_BRIDGED &&
			   (!mac_equal(&nh->mac, &packet_eth(m)->dst) ||
				   !atomic_load_explicit(&nh->where, memory_order_relaxed))))
		nexthop = NEXTHOP_NONE;
	p->session = found->id;
	p->nexthop = nexthop;
	p->flags |= PACKET_HIT | (found->dir == SESSION_REVERSE ? PACKET_REVERSE : 0) |
		    (routed ? PACKET_ROUTED : 0);
	session_touch(rec, found->dir, p->tcp_flags, m->pkt_len, b->now_ns);
	return nexthop != NEXTHOP_NONE;
}

void stage_session(struct worker *w, struct burst *b)
{
	struct session_key keys[BURST_MAX];
	struct session_found found[BURST_MAX];
	struct rte_mbuf *pkt_of[BURST_MAX];
	unsigned n = 0, n_settled = 0;

	for (uint16_t i = 0; i < b->n; i++) {
		if (session_key_of(b->pkts[i], &keys[n]))
			pkt_of[n++] = b->pkts[i];
	}
	if (n == 0)
		return;
	session_lookup_bulk(w->sw->sessions, keys, n, found);
	for (unsigned i = 0; i < n; i++)
		if (found[i].record)
			n_settled += hit(w, b, pkt_of[i], &found[i]);
	b->settled = n_settled == b->n;
}

static void reverse_key(const struct session_key *k, struct session_key *ret)
{
	*ret = (struct session_key){ .zone = k->zone,
		.src = k->dst,
		.dst = k->src,
		.src_port = k->dst_port,
		.dst_port = k->src_port,
		.proto = k->proto };
}

// The session that a packet allowed by policy begins.
static bool describe(
	struct worker *w, const struct burst *b, struct rte_mbuf *m, struct session_desc *d)
{
	const struct packet *p = packet_of(m);
	const struct policy_prt *src = policy_port(b->policy, p->in_port);
	const struct policy_prt *dst = policy_port(b->policy, p->out_port);
	const struct policy_seg *seg = packet_segment(b, p);

	if (!session_key_of(m, &d->key[SESSION_FORWARD]) || !dst || !seg)
		return false;
	reverse_key(&d->key[SESSION_FORWARD], &d->key[SESSION_REVERSE]);
	d->mapping = p->mapping;
	d->src_port = p->in_port;
	d->dst_port = p->out_port;
	d->revision[0] = src->revision;
	d->revision[1] = dst->revision;
	d->flags = p->flags & PACKET_ROUTED ? SESSION_F_ROUTED : 0;
	d->nexthop[SESSION_FORWARD] = p->nexthop;
	d->nexthop[SESSION_REVERSE] = NEXTHOP_NONE; // resolved by the first answer
	if (p->mapping != MAPPING_NONE) {
		const struct nat_mapping *map = nat_get(w->sw->mappings, p->mapping);
		struct session_key *r = &d->key[SESSION_REVERSE];

		d->flags |= SESSION_F_SNAT;
		r->zone = dst->uplink->zone;
		r->dst = map->out_addr;
		r->dst_port = map->out_port;
		if (p->proto == IPPROTO_ICMP)
			r->src_port = map->out_port; // the identifier stands in both
	}
	return true;
}

static bool tenant_is_full(struct switch_ *sw, uint32_t zone)
{
	return atomic_load_explicit(tenant_count(sw, zone), memory_order_relaxed) >=
	       sw->cfg.sessions_per_tenant;
}

bool session_may_begin(struct switch_ *sw, const struct packet *p)
{
	return !tenant_is_full(sw, p->zone) && session_has_room(sw->sessions, p->in_port);
}

static enum drop_reason new_session(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	struct session_desc d = { 0 };
	struct session_record *rec;
	uint32_t id = SESSION_NONE;
	int r;

	if (!(p->flags & PACKET_NEW_SESSION))
		return DROP_NONE;
	if (tenant_is_full(w->sw, p->zone))
		r = -EDQUOT;
	else if (!describe(w, b, m, &d))
		r = -EINVAL;
	else
		r = session_insert(w->sw->sessions, &d, b->now_ns, &id);
	rec = session_get(w->sw->sessions, id);
	if (r == 0)
		session_counted(w->sw, rec);
	if (r < 0 && p->mapping != MAPPING_NONE)
		nat_cancel(w->sw->mappings, p->mapping, b->now_ns);
	if (r == -EEXIST && (d.flags & SESSION_F_SNAT) && !(rec->d.flags & SESSION_F_SNAT))
		return DROP_SESSION_TAKEN;
	if (r < 0 && r != -EEXIST)
		return DROP_SESSION_FULL;
	p->session = id;
	session_touch(rec, SESSION_FORWARD, p->tcp_flags, m->pkt_len, b->now_ns);
	return DROP_NONE;
}

void stage_new_session(struct worker *w, struct burst *b)
{
	burst_filter(w, b, new_session);
}
