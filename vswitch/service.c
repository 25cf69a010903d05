// SPDX-License-Identifier: BSD-3-Clause
// Stage: what the switch answers itself: ARP for addresses it owns, ICMP echo to the gateway and to
// uplink addresses, DHCP (service_dhcp.c). Answered packets leave from here and are done.
#include "dhcp/arp.h"
#include "dhcp/icmp_echo.h"
#include "vswitch/service.h"
#include "vswitch/switch.h"

static enum drop_reason reply_in_place(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	struct burst tail;

	p->out_port = p->in_port;
	p->flags |= PACKET_LOCAL;
	burst_begin(&tail, b->policy, b->now_ns);
	tail.pkts[tail.n++] = m;
	pipeline_run_tail(w, &tail);
	return PACKET_CONSUMED;
}

static enum drop_reason arp_answer(struct worker *w, const struct burst *b, const struct packet *p,
	const struct arp_msg *arp, const struct mac *mac, struct rte_mbuf *m)
{
	uint8_t frame[ARP_FRAME_SIZE];
	uint32_t port = p->in_port, segment = p->segment, trace = p->trace;

	arp_build_reply(arp, mac, frame);
	rte_pktmbuf_free(m);
	worker_emit(w, b->policy, port, segment, trace, frame, sizeof(frame));
	return PACKET_CONSUMED;
}

static enum drop_reason arp_in_segment(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	const struct policy_segment *s = packet_segment(b, p)->s;
	struct arp_msg arp;

	if (arp_parse(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, &arp) < 0)
		return DROP_PARSE_ARP;
	if (!s->gateway)
		return DROP_NONE;
	if (arp.spa == s->gateway) // nobody else speaks for the gateway
		return DROP_GUARD_ARP;
	if (arp.op == ARP_OP_REQUEST && arp.tpa == s->gateway)
		return arp_answer(w, b, p, &arp, &s->gateway_mac, m);
	return mac_equal(&arp.eth_dst, &s->gateway_mac) ? DROP_SERVICE_ARP_UNWANTED : DROP_NONE;
}

static enum drop_reason arp_on_uplink(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	const struct policy_prt *prt = policy_port(b->policy, p->in_port);
	struct arp_msg arp;
	bool used = false;

	if (arp_parse(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, &arp) < 0)
		return DROP_PARSE_ARP;
	if (arp.spa == prt->p->address)
		return DROP_GUARD_ARP;
	if (!arp_is_probe(&arp) && mac_equal(&arp.sha, &arp.eth_src))
		used = neighbour_heard(w, b, p->in_port, arp.spa, &arp.sha,
			arp.op == ARP_OP_REPLY && mac_equal(&arp.eth_dst, &prt->p->mac));
	if (arp.op == ARP_OP_REQUEST && arp.tpa == prt->p->address)
		return arp_answer(w, b, p, &arp, &prt->p->mac, m);
	if (!used)
		return DROP_SERVICE_ARP_UNWANTED;
	rte_pktmbuf_free(m);
	return PACKET_CONSUMED;
}

static enum drop_reason echo(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	const struct icmp_hdr *icmp = packet_l4(m);

	if (p->proto != IPPROTO_ICMP || !(p->flags & PACKET_HAS_L4) ||
		icmp->type != ICMP_ECHO_REQUEST)
		return DROP_SERVICE_GATEWAY_CLOSED;
	if (icmp_echo_reply_in_place(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, m->pkt_len) < 0)
		return DROP_PARSE_L4_HEADER;
	return reply_in_place(w, b, m);
}

static enum drop_reason ipv4_in_segment(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	const struct policy_segment *s = packet_segment(b, p)->s;
	const struct ipv4_hdr *ip = packet_l3(m);

	if (unlikely(p->src_port == htons(DHCP4_CLIENT_PORT)) &&
		p->dst_port == htons(DHCP4_SERVER_PORT) && p->proto == IPPROTO_UDP &&
		policy_port(b->policy, p->in_port)->p->mode == POLICY_PORT_ACCESS)
		return service_dhcp(w, b, m);
	if (!s->gateway || ip->dst != s->gateway)
		return DROP_NONE;
	if (p->flags & PACKET_FRAGMENT)
		return DROP_POLICY_FRAGMENT;
	return mac_equal(&packet_eth(m)->dst, &s->gateway_mac) ? echo(w, b, m)
							       : DROP_SERVICE_GATEWAY_CLOSED;
}

// On an uplink only an echo request to the switch's own address is answered here; all else may
// belong to a session.
static enum drop_reason ipv4_on_uplink(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	const struct policy_prt *prt = policy_port(b->policy, p->in_port);
	const struct ipv4_hdr *ip = packet_l3(m);

	if (ip->dst != prt->p->address || (p->flags & PACKET_MULTICAST))
		return DROP_POLICY_UPLINK_UNSOLICITED;
	if (p->proto == IPPROTO_ICMP && (p->flags & PACKET_HAS_L4) &&
		((const struct icmp_hdr *)packet_l4(m))->type == ICMP_ECHO_REQUEST)
		return echo(w, b, m);
	return DROP_NONE;
}

static enum drop_reason service(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	bool uplink = p->segment == POLICY_NO_SEGMENT;

	if (p->flags & PACKET_ARP)
		return uplink ? arp_on_uplink(w, b, m) : arp_in_segment(w, b, m);
	if (p->flags & PACKET_IPV4)
		return uplink ? ipv4_on_uplink(w, b, m) : ipv4_in_segment(w, b, m);
	return DROP_NONE;
}

void stage_service(struct worker *w, struct burst *b)
{
	burst_filter(w, b, service);
}
