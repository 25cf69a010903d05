// SPDX-License-Identifier: BSD-3-Clause
// Stage: packets for the gateway. Finds the next hop: a guest of the same tenant, or a neighbour on
// the uplink behind whose address the segment is hidden (then a NAT mapping is taken). Sessions
// whose next hop is stale come here too and are brought up to date. Workers.
#include <errno.h>
#include "vswitch/session.h"

enum { DNS_PORT = 53 };

uint64_t route_host_where(struct switch_ *sw, const struct policy *pol, struct nexthop *nh)
{
	const struct policy_prt *prt = policy_host_port(pol, nh->domain, nh->address);
	struct binding bound;

	if (prt) {
		const struct policy_segment *s = pol->segments[prt->segment].s;

		atomic_store_explicit(
			&nh->src_mac, nexthop_pack(0, &s->gateway_mac), memory_order_relaxed);
		return nexthop_pack(prt->p->id, &prt->p->mac);
	}
	if (!binding_by_address(sw->bindings, nh->domain, nh->address, 0, &bound))
		return 0;
	prt = policy_port(pol, bound.port);
	if (!prt || prt->segment == POLICY_NO_SEGMENT)
		return 0;
	atomic_store_explicit(&nh->src_mac,
		nexthop_pack(0, &pol->segments[prt->segment].s->gateway_mac), memory_order_relaxed);
	return nexthop_pack(bound.port, &bound.mac);
}

static enum drop_reason to_host(
	struct worker *w, const struct burst *b, struct packet *p, uint32_t zone, be32 address)
{
	struct nexthop unmade = { .domain = zone, .address = address }, *nh;
	uint32_t id, port;
	struct mac mac;
	uint64_t where;

	// An entry is made for somebody's address only: entries are few and stay.
	if (!route_host_where(w->sw, b->policy, &unmade))
		return DROP_ROUTE_NO_ROUTE;
	id = nexthop_host(w->sw->nexthops, zone, address, 0);
	nh = nexthop_get(w->sw->nexthops, id);
	if (!nh)
		return DROP_ROUTE_NO_ROUTE;
	where = route_host_where(w->sw, b->policy, nh);
	atomic_store_explicit(&nh->where, where, memory_order_relaxed);
	if (!where)
		return DROP_ROUTE_NO_ROUTE;
	nexthop_unpack(where, &port, &mac);
	p->nexthop = id;
	p->out_port = (uint16_t)port;
	return DROP_NONE;
}

static enum drop_reason to_uplink(
	struct worker *w, const struct policy_prt *up, struct packet *p, uint32_t zone, be32 dst)
{
	bool on_link = ipv4_in_prefix(dst, up->p->address, up->uplink->prefix_len);
	be32 via = on_link ? dst : up->uplink->gateway;
	struct nexthop *nh;

	if (!via || via == up->p->address)
		return DROP_ROUTE_NO_ROUTE;
	if (on_link && !ipv4_is_host(dst, up->uplink->prefix_len))
		return DROP_ROUTE_MULTICAST;
	p->nexthop = nexthop_neighbour(w->sw->nexthops, up->p->id, via, !on_link, zone);
	nh = nexthop_get(w->sw->nexthops, p->nexthop);
	if (!nh)
		return DROP_NEXTHOP_QUEUE_FULL;
	atomic_store_explicit(&nh->src_mac, nexthop_pack(0, &up->p->mac), memory_order_relaxed);
	p->out_port = (uint16_t)up->p->id;
	return DROP_NONE;
}

// Only TCP, UDP and ICMP echo have what can be told apart behind one address.
static bool has_port_id(struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);

	if (p->proto == IPPROTO_ICMP && (p->flags & PACKET_HAS_L4) &&
		((const struct icmp_hdr *)packet_l4(m))->type != ICMP_ECHO_REQUEST)
		return false;
	return (p->flags & PACKET_HAS_L4) &&
	       (p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP || p->proto == IPPROTO_ICMP);
}

// Takes the mapping of the sender's endpoint behind the uplink's address.
static enum drop_reason snat(
	struct worker *w, const struct burst *b, const struct policy_prt *up, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	be32 src = ((const struct ipv4_hdr *)packet_l3(m))->src;
	struct nat_pool pool = { .zone = up->uplink->zone,
		.address = up->p->address,
		.port_first = up->uplink->nat_port_first,
		.port_last = up->uplink->nat_port_last };
	uint32_t mapping;

	if (!has_port_id(m))
		return DROP_POLICY_DENY;
	if (p->flags & PACKET_TAKEN)
		return DROP_SESSION_TAKEN;
	if (!session_may_begin(w->sw, p))
		return DROP_SESSION_FULL;
	if (nat_map(w->sw->mappings, &pool, p->zone, p->proto, src, p->src_port, b->now_ns,
		    &mapping) < 0)
		return DROP_NAT_EXHAUSTED;
	p->mapping = mapping;
	return DROP_NONE;
}

// RFC 3927 section 7: for no router to pass on. Beyond an uplink they may be the host's own: in a
// cloud its metadata, say, and its name server by the same address, which the network then names.
static bool is_link_local(be32 address)
{
	return ntohl(address) >> 16 == 0xa9fe; // 169.254.0.0/16
}

static bool is_to_name_server(const struct policy_segment *s, const struct packet *p, be32 dst)
{
	bool is_named = false;

	if ((p->proto != IPPROTO_UDP && p->proto != IPPROTO_TCP) || p->dst_port != htons(DNS_PORT))
		return false;
	for (unsigned i = 0; i < s->n_dns; i++)
		is_named |= s->dns[i] == dst;
	return is_named;
}

static enum drop_reason route_new(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	const struct policy_segment *s = packet_segment(b, p)->s;
	const struct ipv4_hdr *ip = packet_l3(m);
	const struct policy_prt *up;
	enum drop_reason r;

	if (policy_port(b->policy, p->in_port)->p->mode == POLICY_PORT_TRUNK)
		return DROP_ROUTE_FROM_TRUNK;
	if (ntohl(ip->dst) >= 0xe0000000u) // 224/4 multicast, 240/4 reserved, broadcast
		return DROP_ROUTE_MULTICAST;
	if (is_link_local(ip->dst) && !is_to_name_server(s, p, ip->dst))
		return DROP_ROUTE_LINK_LOCAL;
	r = to_host(w, b, p, p->zone, ip->dst);
	if (r == DROP_NONE)
		return r;
	if (policy_is_inside(b->policy, p->zone, ip->dst))
		return DROP_ROUTE_NO_ROUTE; // the tenant's own subnet, but nobody is there
	up = s->snat_port ? policy_port(b->policy, s->snat_port) : NULL;
	if (!up)
		return DROP_ROUTE_NO_ROUTE;
	r = to_uplink(w, up, p, p->zone, ip->dst);
	return r == DROP_NONE ? snat(w, b, up, m) : r;
}

// A hit without a usable next hop: a fresh process, or an entry that changed its meaning.
static enum drop_reason route_hit(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	struct session_record *rec = session_get(w->sw->sessions, p->session);
	unsigned dir = p->flags & PACKET_REVERSE ? SESSION_REVERSE : SESSION_FORWARD;
	const struct session_key *fwd = &rec->d.key[SESSION_FORWARD];
	enum drop_reason r;

	if (dir == SESSION_REVERSE) {
		r = to_host(w, b, p, fwd->zone, fwd->src);
	} else if (rec->d.flags & SESSION_F_SNAT) {
		const struct policy_prt *up = policy_port(b->policy, rec->d.dst_port);

		r = up && up->uplink ? to_uplink(w, up, p, fwd->zone, fwd->dst)
				     : DROP_NAT_NO_UPLINK;
	} else {
		r = to_host(w, b, p, fwd->zone, fwd->dst);
	}
	if (r == DROP_NONE)
		__atomic_store_n(&rec->d.nexthop[dir], p->nexthop, __ATOMIC_RELAXED);
	return r;
}

static enum drop_reason route(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);

	if (!(p->flags & PACKET_ROUTED))
		return DROP_NONE;
	if (((const struct ipv4_hdr *)packet_l3(m))->ttl <= 1)
		return DROP_ROUTE_TTL;
	if (!(p->flags & PACKET_HIT))
		return route_new(w, b, m);
	return p->nexthop == NEXTHOP_NONE ? route_hit(w, b, m) : DROP_NONE;
}

void stage_route(struct worker *w, struct burst *b)
{
	burst_filter(w, b, route);
}
