// SPDX-License-Identifier: BSD-3-Clause
// Stage: a port speaks only for itself. On access ports source MAC, source address and ARP contents
// must be the port's own; trunks and uplinks learn, with a limit. Nobody on an uplink has the
// switch's own address (nor one of the receiving tenant's: icmp_error.c, session.c). Broadcast and
// multicast pass the storm limit. IPv6 from tenant ports is a named drop until guard and sessions
// know it.
#include "dhcp/arp.h"
#include "vswitch/switch.h"

enum { LEARNED_AGE_S = 300, STORM_BURST = 128 };

#define SECOND 1000000000ull

static bool is_dhcp_client(const struct packet *p)
{
	return p->proto == IPPROTO_UDP && (p->flags & PACKET_HAS_L4) &&
	       p->src_port == htons(DHCP4_CLIENT_PORT) && p->dst_port == htons(DHCP4_SERVER_PORT);
}

// A client takes what comes to its port (RFC 2131 §4.1) and asks not from which port it comes.
static bool is_dhcp_server(const struct packet *p)
{
	return p->proto == IPPROTO_UDP && (p->flags & PACKET_HAS_L4) &&
	       p->dst_port == htons(DHCP4_CLIENT_PORT);
}

// The address the sender may use; 0 = none yet. False if the MAC may not speak here at all.
static bool sender_address(struct worker *w, const struct burst *b, const struct policy_prt *prt,
	const struct mac *src, be32 *ret_address)
{
	struct binding bound;

	*ret_address = 0;
	if (!(prt->p->flags & POLICY_PORT_CLIENTS_MANY)) {
		*ret_address = prt->p->address;
		return mac_equal(src, &prt->p->mac);
	}
	if (!binding_by_mac(w->sw->bindings, b->policy->segments[prt->segment].s->id, src,
		    b->now_ns, &bound))
		return true; // a new client: may only speak DHCP
	*ret_address = bound.address;
	return bound.port == prt->p->id;
}

static enum drop_reason check_ipv4(
	const struct packet *p, struct rte_mbuf *m, be32 address, be32 dhcp_server)
{
	const struct ipv4_hdr *ip = packet_l3(m);

	if (is_dhcp_server(p))
		return DROP_GUARD_DHCP_SERVER;
	if (address && ip->src == address)
		return DROP_NONE;
	if (!is_dhcp_client(p))
		return DROP_GUARD_SRC_IPV4;
	// Whose lease has ended hears so (a NAK) when it renews: from its old address, by unicast.
	return ip->src == 0 || (dhcp_server && ip->dst == dhcp_server) ? DROP_NONE
								       : DROP_GUARD_SRC_IPV4;
}

static enum drop_reason check_arp(struct rte_mbuf *m, const struct mac *src, be32 address)
{
	struct arp_msg arp;

	if (arp_parse(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, &arp) < 0)
		return DROP_PARSE_ARP;
	if (!mac_equal(&arp.sha, src) || address == 0)
		return DROP_GUARD_ARP;
	return arp.spa == address || arp_is_probe(&arp) ? DROP_NONE : DROP_GUARD_ARP;
}

static enum drop_reason guard_access(
	struct worker *w, const struct burst *b, const struct policy_prt *prt, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	const struct mac *src = &packet_eth(m)->src;
	be32 address;

	if (!sender_address(w, b, prt, src, &address))
		return DROP_GUARD_SRC_MAC;
	if (p->flags & PACKET_IPV4)
		return check_ipv4(
			p, m, address, !address ? b->policy->segments[prt->segment].s->gateway : 0);
	if (p->flags & PACKET_ARP)
		return check_arp(m, src, address);
	if (p->flags & PACKET_IPV6)
		return DROP_GUARD_IPV6;
	return address && (prt->p->flags & POLICY_PORT_ALLOW_NON_IP) ? DROP_NONE
								     : DROP_GUARD_NON_IP;
}

static enum drop_reason guard_trunk(
	struct worker *w, const struct burst *b, const struct policy_prt *prt, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	const struct mac *src = &packet_eth(m)->src;
	uint32_t segment = b->policy->segments[p->segment].s->id, id;
	struct nexthop *nh;

	switch (fdb_learn(w->sw->fdb, segment, src, prt->p->id, prt->p->learn_limit, b->now_ns,
		LEARNED_AGE_S * SECOND)) {
	case FDB_STATIC:
		return DROP_GUARD_MAC_MOVED;
	case FDB_LIMIT:
	case FDB_FULL:
		return DROP_GUARD_MAC_LIMIT;
	case FDB_LEARNED: // perhaps again, elsewhere
	case FDB_MOVED: // sessions follow through their next hop
		id = nexthop_find_bridged(w->sw->nexthops, segment, src);
		nh = nexthop_get(w->sw->nexthops, id);
		if (nh)
			atomic_store_explicit(
				&nh->where, nexthop_pack(prt->p->id, src), memory_order_relaxed);
		break;
	case FDB_KNOWN:
		break;
	}
	if (p->flags & PACKET_ARP) {
		struct arp_msg arp;

		if (arp_parse(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, &arp) < 0)
			return DROP_PARSE_ARP;
	}
	return DROP_NONE;
}

// Whoever is outside: not us, and no address that an answer could not go to (RFC 1122 §3.2.1.3).
static bool may_send(const struct policy_prt *prt, be32 src)
{
	uint32_t s = ntohl(src);

	return src != prt->p->address && s >> 24 != 0 && s >> 28 < 0xe &&
	       (!ipv4_in_prefix(src, prt->p->address, prt->uplink->prefix_len) ||
		       ipv4_is_host(src, prt->uplink->prefix_len));
}

static enum drop_reason guard_uplink(const struct policy_prt *prt, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	const struct eth_hdr *eth = packet_eth(m);

	if (!mac_is_multicast(&eth->dst) && !mac_equal(&eth->dst, &prt->p->mac))
		return DROP_FDB_UNKNOWN_UNICAST;
	if (mac_equal(&eth->src, &prt->p->mac))
		return DROP_GUARD_SRC_MAC;
	if (p->flags & PACKET_IPV6)
		return DROP_GUARD_IPV6;
	if (p->flags & PACKET_IPV4 && !may_send(prt, ((const struct ipv4_hdr *)packet_l3(m))->src))
		return DROP_GUARD_SRC_IPV4;
	return p->flags & (PACKET_IPV4 | PACKET_ARP) ? DROP_NONE : DROP_GUARD_NON_IP;
}

// A super-frame is charged as what it becomes on the wire.
static bool storm_admits(const struct burst *b, const struct policy_prt *prt, struct port *port,
	const struct rte_mbuf *m, const struct packet *p)
{
	uint32_t n = 1, headers = (uint32_t)p->l4_off + p->l4_hdr_size;

	if (p->gso_type != PACKET_GSO_NONE && p->gso_size)
		n = (m->pkt_len - headers + p->gso_size - 1) / p->gso_size;
	while (n--)
		if (!storm_admit(&port->storm, prt->p->storm_pps, STORM_BURST, b->now_ns))
			return false;
	return true;
}

static enum drop_reason guard(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	const struct policy_prt *prt = policy_port(b->policy, p->in_port);
	enum drop_reason r;

	if (likely(prt->segment != POLICY_NO_SEGMENT))
		r = guard_access(w, b, prt, m);
	else if (prt->uplink)
		r = guard_uplink(prt, m);
	else
		r = guard_trunk(w, b, prt, m);
	if (r == DROP_NONE && unlikely(p->flags & PACKET_MULTICAST)) {
		struct port *port = switch_port(w->sw, p->in_port);

		if (port && !storm_admits(b, prt, port, m, p))
			r = DROP_GUARD_STORM;
	}
	return r;
}

void stage_guard(struct worker *w, struct burst *b)
{
	burst_filter(w, b, guard);
}
