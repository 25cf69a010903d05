// SPDX-License-Identifier: BSD-3-Clause
// Helpers that the session stages share. Workers.
#pragma once

#include "vswitch/switch.h"

// The key of a packet as it arrived, in its zone. False for packets that have no session:
// fragments, multicast, non-IP, ICMP errors.
static inline bool session_key_of(struct rte_mbuf *m, struct session_key *ret_key)
{
	const struct packet *p = packet_of(m);
	const struct ipv4_hdr *ip;

	if ((p->flags & (PACKET_IPV4 | PACKET_FRAGMENT | PACKET_MULTICAST | PACKET_ICMP_ERROR)) !=
		PACKET_IPV4)
		return false;
	ip = packet_l3(m);
	*ret_key = (struct session_key){ .zone = p->zone,
		.src = ip->src,
		.dst = ip->dst,
		.src_port = p->src_port,
		.dst_port = p->dst_port,
		.proto = p->proto };
	return true;
}
// A session was made / was removed, by whomever: the tenant's count and the NAT mapping follow.
void session_counted(struct switch_ *sw, const struct session_record *rec);
void session_released(struct switch_ *sw, const struct session_record *rec, uint64_t now_ns);
// Is there room for another session of this packet's tenant and port? What there is no room for
// takes no external port: the mapping of a refused flow would be held down from all others.
bool session_may_begin(struct switch_ *sw, const struct packet *p);
// Removes a session and gives back its mapping; harmless if another worker was first.
void session_end(struct switch_ *sw, uint32_t id, uint64_t now_ns);
// A session that was decided under other revisions: is it allowed today? Updates or ends it.
bool session_decide_again(
	struct worker *w, const struct burst *b, uint32_t id, struct session_record *rec);
// What session_decide_again answers, which mostly needs not be asked.
static inline bool session_is_allowed(
	struct worker *w, const struct burst *b, uint32_t id, struct session_record *rec)
{
	const struct policy_prt *src = policy_port(b->policy, rec->d.src_port);
	const struct policy_prt *dst = policy_port(b->policy, rec->d.dst_port);

	return (src && dst &&
		       __atomic_load_n(&rec->d.revision[0], __ATOMIC_RELAXED) == src->revision &&
		       __atomic_load_n(&rec->d.revision[1], __ATOMIC_RELAXED) == dst->revision) ||
	       session_decide_again(w, b, id, rec);
}

// True if the packet is addressed to the gateway of its segment or comes from an uplink.
static inline bool session_is_routed(const struct burst *b, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	const struct policy_segment *s;

	if (p->segment == POLICY_NO_SEGMENT)
		return true;
	s = b->policy->segments[p->segment].s;
	return s->gateway && mac_equal(&packet_eth(m)->dst, &s->gateway_mac);
}
