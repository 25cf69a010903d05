// SPDX-License-Identifier: BSD-3-Clause
// Stage: may this packet begin something? First cut: inside a tenant's zone everything, from an
// uplink nothing unasked, between tenants nothing (a zone is all a tenant can name). Workers.
#include "vswitch/session.h"

static enum drop_reason policy(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);

	if (p->flags & PACKET_HIT)
		return DROP_NONE;
	if (p->flags & PACKET_FRAGMENT)
		return DROP_POLICY_FRAGMENT;
	if (p->segment == POLICY_NO_SEGMENT)
		return DROP_POLICY_UPLINK_UNSOLICITED;
	if (!(p->flags & PACKET_IPV4) || (p->flags & PACKET_MULTICAST))
		return DROP_NONE;
	if (p->proto == IPPROTO_ICMP && (p->flags & PACKET_HAS_L4) &&
		((const struct icmp_hdr *)packet_l4(m))->type == ICMP_ECHO_REPLY)
		return DROP_POLICY_NOT_FIRST;
	p->flags |= PACKET_NEW_SESSION;
	if (session_is_routed(b, m))
		p->flags |= PACKET_ROUTED;
	return DROP_NONE;
}

void stage_policy(struct worker *w, struct burst *b)
{
	burst_filter(w, b, policy);
}
