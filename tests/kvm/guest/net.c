// SPDX-License-Identifier: BSD-3-Clause
// An IPv4 host on each nic: see net.h. Here: nics, waiting, ARP, frames in.
#include "base.h"
#include "cpu.h"
#include "ip.h"
#include "net.h"
#include "tcp.h"

enum {
	IDLE_ROUNDS = 256, // polled in vain, before a sleep
	BURST = 64,
	RESOLVE_AGAIN_NS = 200000000,
	NAP_NS = 1000000, // without an interrupt to wait for
};

static struct net nets[NET_MAX];
static bool opened[NET_MAX];
static unsigned current;

void net_select(unsigned nth)
{
	current = nth;
}

struct net *net_current(void)
{
	int r = current < NET_MAX ? 0 : -1;

	if (r == 0 && !opened[current])
		r = nic_open(current, &nets[current].nic);
	if (r < 0) {
		say("fail nic %u: cannot be opened: error %d", current, -r);
		cpu_end(false);
	}
	opened[current] = true;
	return &nets[current];
}

static bool frames_handle(void)
{
	bool busy = false;

	for (unsigned i = 0; i < NET_MAX; i++) {
		struct nic_frame frame;

		for (unsigned n = 0; opened[i] && n < BURST; n++) {
			if (!nic_receive(&nets[i].nic, &frame))
				break;
			frame_input(&nets[i], &frame);
			busy = true;
		}
	}
	return busy;
}

static void nics_sleep(uint64_t until_ns)
{
	bool ready = false;

	for (unsigned i = 0; i < NET_MAX; i++) {
		if (!opened[i])
			continue;
		ready |= virtq_arm(&nets[i].nic.rx);
		if (!nets[i].nic.rx.has_vector && until_ns > time_ns() + NAP_NS)
			until_ns = time_ns() + NAP_NS;
	}
	if (!ready)
		cpu_sleep(until_ns);
	for (unsigned i = 0; i < NET_MAX; i++) {
		if (opened[i])
			virtq_disarm(&nets[i].nic.rx);
	}
}

bool net_wait(bool (*done)(void *arg), void *arg, uint64_t until_ns)
{
	bool sleeps = cmdline_get("poll") == NULL;

	for (unsigned idle = 0; !done(arg); idle++) {
		uint64_t now = time_ns(), timer;

		if (now >= until_ns)
			return false;
		if (frames_handle())
			idle = 0;
		timer = tcp_timers(now);
		if (idle > IDLE_ROUNDS && sleeps) {
			nics_sleep(timer < until_ns ? timer : until_ns);
			idle = 0;
		}
	}
	return true;
}

// RFC 826: frames out and in.

static be32 next_hop(const struct net *net, be32 ip)
{
	bool near = net->prefix_len == 0 || ipv4_in_prefix(ip, net->ip, net->prefix_len);

	return near || !net->gateway ? ip : net->gateway;
}

const struct mac *neighbour_find(const struct net *net, be32 ip)
{
	static const struct mac everybody = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };
	be32 hop = next_hop(net, ip);

	if (ip == 0xffffffff)
		return &everybody;
	for (unsigned i = 0; i < NET_NEIGHBOURS; i++) {
		if (hop != 0 && net->neighbours[i].ip == hop)
			return &net->neighbours[i].mac;
	}
	return NULL;
}

void neighbour_learn(struct net *net, be32 ip, const struct mac *mac)
{
	struct neighbour *n = &net->neighbours[net->n_neighbours % NET_NEIGHBOURS];
	be32 hop = next_hop(net, ip);

	for (unsigned i = 0; i < NET_NEIGHBOURS; i++) {
		if (net->neighbours[i].ip == hop)
			n = &net->neighbours[i];
	}
	if (n->ip != hop)
		net->n_neighbours++;
	*n = (struct neighbour){ .ip = hop, .mac = *mac };
}

static void arp_send(struct net *net, uint16_t op, be32 ip, const struct mac *to)
{
	static const struct mac everybody = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };
	struct nic_tx *tx = nic_tx_begin(&net->nic);
	struct eth_hdr *eth;
	struct arp_ipv4 *arp;

	if (!tx)
		return;
	eth = (struct eth_hdr *)tx->data;
	arp = (struct arp_ipv4 *)(eth + 1);
	*eth = (struct eth_hdr){ to ? *to : everybody, net->nic.mac, htons(ETHTYPE_ARP) };
	*arp = (struct arp_ipv4){ .htype = htons(1),
		.ptype = htons(ETHTYPE_IPV4),
		.hlen = 6,
		.plen = 4,
		.op = htons(op),
		.sha = net->nic.mac,
		.spa = net->ip,
		.tpa = ip };
	if (to)
		arp->tha = *to;
	nic_send(&net->nic, tx, sizeof(*eth) + sizeof(*arp));
}

void net_announce(struct net *net)
{
	arp_send(net, ARP_OP_REQUEST, net->ip, NULL);
}

void arp_input(struct net *net, const struct nic_frame *frame)
{
	const struct arp_ipv4 *arp = (const struct arp_ipv4 *)(frame->data + ETH_HDR_SIZE);

	if (frame->size < ETH_HDR_SIZE + sizeof(*arp) || arp->ptype != htons(ETHTYPE_IPV4) ||
		arp->hlen != 6 || arp->plen != 4) {
		net->n_dropped++;
		return;
	}
	if (arp->tpa != net->ip || net->ip == 0)
		return;
	if (arp->spa != 0)
		neighbour_learn(net, arp->spa, &arp->sha);
	if (arp->op == htons(ARP_OP_REQUEST))
		arp_send(net, ARP_OP_REPLY, arp->spa, &arp->sha);
}

struct resolve {
	struct net *net;
	be32 ip;
};

static bool is_resolved(void *arg)
{
	struct resolve *r = arg;

	return neighbour_find(r->net, r->ip) != NULL;
}

bool net_resolve(struct net *net, be32 ip, uint64_t until_ns)
{
	struct resolve r = { net, ip };

	while (!is_resolved(&r) && time_ns() < until_ns) {
		uint64_t again = time_ns() + RESOLVE_AGAIN_NS;

		arp_send(net, ARP_OP_REQUEST, next_hop(net, ip), NULL);
		net_wait(is_resolved, &r, again < until_ns ? again : until_ns);
	}
	return is_resolved(&r);
}

void frame_input(struct net *net, const struct nic_frame *frame)
{
	const struct eth_hdr *eth = (const struct eth_hdr *)frame->data;

	if (frame->size < sizeof(*eth))
		net->n_dropped++;
	else if (eth->type == htons(ETHTYPE_ARP))
		arp_input(net, frame);
	else if (eth->type == htons(ETHTYPE_IPV4))
		ip_input(net, frame);
}
