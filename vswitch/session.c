// SPDX-License-Identifier: BSD-3-Clause
// Stages: one hash lookup on (zone, 5-tuple), and, after policy, the making of new sessions. A hit
// carries verdict, translation and next hop. A session whose deciding revisions are no longer in
// force is decided again here, in its original direction, once. Workers.
#include <errno.h>
#include "vswitch/session.h"
#include "vswitch/session_lookup.h"

#define SECOND 1000000000ull

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

// Whether the packet can go there, and for a bridged one, where. A bridged next hop is this MAC and
// no other, while it is known where that is, and not behind the port it came from; what is stale is
// resolved again, and so is one of the other kind: the id of a session that outlived a restart may
// be another's by now.
static inline bool leads_on(const struct nexthop *nh, struct rte_mbuf *m, bool routed)
{
	uint64_t where;

	if (unlikely(!nh || (nh->kind == NEXTHOP_BRIDGED) == routed))
		return false;
	if (routed)
		return true;
	where = atomic_load_explicit(&nh->where, memory_order_relaxed);
	if (unlikely(!where || !nexthop_is_mac(where, &packet_eth(m)->dst)))
		return false;
	packet_of(m)->out_port = nexthop_port(where);
	return likely(packet_of(m)->out_port != packet_of(m)->in_port);
}

// Whether the session decides the packet, and knows where it goes.
static inline bool hit(struct worker *w, struct burst *b, struct rte_mbuf *m,
	const struct session_found *found, uint32_t now_s)
{
	struct session_record *rec = found->record;
	struct packet *p = packet_of(m);
	bool routed = session_is_routed(b, m), settled;
	uint32_t nexthop;

	if (!session_is_allowed(w, b, found->id, rec))
		return false;
	if (unlikely(routed != !!(rec->d.flags & SESSION_F_ROUTED))) {
		p->flags |= rec->d.flags & SESSION_F_SNAT ? 0 : PACKET_TAKEN;
		return false;
	}
	nexthop = __atomic_load_n(&rec->d.nexthop[found->dir], __ATOMIC_RELAXED);
	settled = leads_on(nexthop_get(w->sw->nexthops, nexthop), m, routed);
	p->session = found->id;
	p->nexthop = settled ? nexthop : NEXTHOP_NONE;
	p->flags |= (uint16_t)(PACKET_HIT | found->dir * PACKET_REVERSE | routed * PACKET_ROUTED);
	b->routed |= routed;
	session_touch(rec, found->dir, p->tcp_flags, m->pkt_len, now_s);
	return settled;
}

void stage_session(struct worker *w, struct burst *b)
{
	const struct session_table *t = w->sw->sessions;
	uint32_t now_s = (uint32_t)(b->now_ns / SECOND);
	struct {
		struct session_search search;
		struct rte_mbuf *m;
	} asked[BURST_MAX], *end = asked;
	unsigned n_settled = 0;

	for (unsigned i = 0; i < b->n; i++) {
		if (!session_key_of(b->pkts[i], &end->search.key))
			continue;
		session_search_begin(t, &end->search);
		end->m = b->pkts[i];
		end++;
	}
	for (typeof(end) a = asked; a < end; a++)
		session_search_record(t, &a->search);
	for (typeof(end) a = asked; a < end; a++) {
		struct session_found found;

		if (session_search_end(t, &a->search, &found))
			n_settled += hit(w, b, a->m, &found, now_s);
	}
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
	session_touch(
		rec, SESSION_FORWARD, p->tcp_flags, m->pkt_len, (uint32_t)(b->now_ns / SECOND));
	return DROP_NONE;
}

void stage_new_session(struct worker *w, struct burst *b)
{
	burst_filter(w, b, new_session);
}
