// SPDX-License-Identifier: BSD-3-Clause
// Stage: translation, TTL and MACs, as the session says and the next hop stands now. After it a
// packet is as it leaves, but for tags. Workers.
#include "vswitch/rewrite.h"

// A partial checksum (PACKET_NEEDS_CSUM) holds the plain sum of the pseudo header: it follows
// addresses, not ports, and is not inverted.
static void partial_update32(be16_field *csum, be32 from, be32 to)
{
	*csum = (be16)~csum_update32((be16) ~*csum, from, to);
}

static be16_field *l4_csum(struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	uint8_t *l4 = packet_l4(m);

	if (!(p->flags & PACKET_HAS_L4))
		return NULL;
	if (p->proto == IPPROTO_TCP)
		return (be16_field *)(void *)(l4 + offsetof(struct tcp_hdr, csum));
	if (p->proto == IPPROTO_UDP)
		return (be16_field *)(void *)(l4 + offsetof(struct udp_hdr, csum));
	return NULL;
}

void rewrite_ipv4_address(struct rte_mbuf *m, be32_field *field, be32 to)
{
	const struct packet *p = packet_of(m);
	struct ipv4_hdr *ip = packet_l3(m);
	be16_field *csum = l4_csum(m);
	be32 from = *field;

	ip->csum = csum_update32(ip->csum, from, to);
	*field = to;
	if (!csum)
		return;
	if (p->flags & PACKET_NEEDS_CSUM) {
		partial_update32(csum, from, to);
	} else if (p->proto != IPPROTO_UDP || *csum) { // RFC 768: 0 = no checksum
		*csum = csum_update32(*csum, from, to);
		if (p->proto == IPPROTO_UDP && *csum == 0)
			*csum = 0xffff;
	}
}

void rewrite_l4_port(struct rte_mbuf *m, be16_field *field, be16 to)
{
	const struct packet *p = packet_of(m);
	be16_field *csum = l4_csum(m);
	be16 from = *field;

	*field = to;
	if (!csum || (p->flags & PACKET_NEEDS_CSUM))
		return;
	if (p->proto != IPPROTO_UDP || *csum) {
		*csum = csum_update16(*csum, from, to);
		if (p->proto == IPPROTO_UDP && *csum == 0)
			*csum = 0xffff;
	}
}

static void rewrite_echo_id(struct rte_mbuf *m, be16 to)
{
	struct icmp_hdr *icmp = packet_l4(m);

	icmp->csum = csum_not_zero(csum_update16(icmp->csum, icmp->id, to));
	icmp->id = to;
}

// SNAT: forward packets get the external source, reverse ones the internal destination. Both come
// from the two keys of the session.
static void translate(struct rte_mbuf *m, const struct session_desc *d)
{
	struct packet *p = packet_of(m);
	struct ipv4_hdr *ip = packet_l3(m);
	be16_field *ports = packet_l4(m); // source, destination
	bool reverse = p->flags & PACKET_REVERSE;
	const struct session_key *k = &d->key[reverse ? SESSION_FORWARD : SESSION_REVERSE];
	be32 address = reverse ? k->src : k->dst;
	be16 port = reverse ? k->src_port : k->dst_port;

	rewrite_ipv4_address(m, rewrite_address_field(ip, reverse), address);
	if (p->proto == IPPROTO_ICMP)
		rewrite_echo_id(m, port);
	else
		rewrite_l4_port(m, reverse ? &ports[1] : &ports[0], port);
	if (reverse)
		p->zone = k->zone;
}

static void decrement_ttl(struct ipv4_hdr *ip)
{
	be16 from, to;

	memcpy(&from, &ip->ttl, sizeof(from)); // TTL and protocol are one 16-bit word of the sum
	ip->ttl--;
	memcpy(&to, &ip->ttl, sizeof(to));
	ip->csum = csum_update16(ip->csum, from, to);
}

static enum drop_reason to_nexthop(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	struct nexthop *nh = nexthop_get(w->sw->nexthops, p->nexthop);
	enum drop_reason r = DROP_NONE;
	uint64_t where, src;
	uint32_t port;

	if (!nh)
		return DROP_TX_NO_PORT;
	src = atomic_load_explicit(&nh->src_mac, memory_order_relaxed);
	nexthop_unpack(src, &port, &packet_eth(m)->src);
	if (nh->kind == NEXTHOP_NEIGHBOUR) {
		p->out_port = (uint16_t)nh->domain;
		p->segment = POLICY_NO_SEGMENT;
		if (!neighbour_use(w, b, nh, m, &r))
			return r;
	}
	where = atomic_load_explicit(&nh->where, memory_order_relaxed);
	if (!where)
		return DROP_TX_NO_PORT;
	nexthop_unpack(where, &port, &packet_eth(m)->dst);
	p->out_port = (uint16_t)port;
	if (nh->kind == NEXTHOP_HOST) {
		const struct policy_prt *prt = policy_port(b->policy, port);

		if (!prt || prt->segment == POLICY_NO_SEGMENT)
			return DROP_TX_NO_PORT;
		p->segment = prt->segment;
	}
	return DROP_NONE;
}

static enum drop_reason rewrite(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	const struct session_record *rec;

	if (!(p->flags & PACKET_ROUTED)) // goes as it came, where session or forward said
		return DROP_NONE;
	if (p->session == SESSION_NONE)
		return DROP_POLICY_DENY;
	rec = session_get(w->sw->sessions, p->session);
	if ((rec->d.flags & SESSION_F_SNAT) && !(p->flags & PACKET_ICMP_ERROR))
		translate(m, &rec->d);
	decrement_ttl(packet_l3(m));
	return to_nexthop(w, b, m);
}

void stage_rewrite(struct worker *w, struct burst *b)
{
	burst_filter(w, b, rewrite);
}
