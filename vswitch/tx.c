// SPDX-License-Identifier: BSD-3-Clause
// Stage: sends. Groups a burst by port, replicates what is for a whole segment, does in software
// the checksums and segments that the far end cannot. Workers.
#include "vswitch/gso.h"
#include "vswitch/switch.h"
#include "vswitch/vlan_egress.h"

struct out {
	struct port *port;
	uint16_t n;
	struct rte_mbuf *pkts[BURST_MAX];
};

static void begin(struct out *o, struct port *port)
{
	o->port = port;
	o->n = 0;
}

static void flush(struct worker *w, struct out *o)
{
	struct port_counters *c = o->port->counters[w->index];
	struct port_sent sent = { .why = DROP_TX_FULL };
	uint16_t n;

	if (o->n == 0)
		return;
	n = o->port->ops->tx(
		w, o->port, (uint16_t)(w->index % o->port->n_queues), o->pkts, o->n, &sent);
	c->tx_packets += n;
	c->tx_bytes += sent.bytes;
	c->drops[sent.why] += (uint64_t)(o->n - n);
	o->n = 0;
}

static void append(struct worker *w, struct out *o, struct rte_mbuf *m)
{
	if (unlikely(o->n == BURST_MAX))
		flush(w, o);
	o->pkts[o->n++] = m;
}

// What one wire frame of this packet is in IP bytes; a super-frame counts as its segments.
static uint32_t wire_l3_size(const struct packet *p, const struct rte_mbuf *m)
{
	if (p->gso_type != PACKET_GSO_NONE)
		return (uint32_t)(p->l4_off - p->l3_off) + p->l4_hdr_size + p->gso_size;
	return m->pkt_len - p->l3_off;
}

static bool takes_gso(uint32_t offloads, uint8_t gso_type)
{
	switch (gso_type & (uint8_t)~PACKET_GSO_ECN) {
	case PACKET_GSO_TCP4:
		return offloads & PORT_OFFLOAD_TSO4;
	case PACKET_GSO_TCP6:
		return offloads & PORT_OFFLOAD_TSO6;
	case PACKET_GSO_UDP_L4:
		return offloads & PORT_OFFLOAD_USO;
	}
	return false;
}

static __rte_noinline void segment(struct worker *w, struct out *o, struct rte_mbuf *m)
{
	struct rte_mbuf *pieces[GSO_MAX_SEGMENTS];
	int n = gso_segment(w, m, pieces, GSO_MAX_SEGMENTS);

	if (n < 0) {
		worker_drop(w, m, DROP_TX_OFFLOAD);
		return;
	}
	for (int i = 0; i < n; i++)
		append(w, o, pieces[i]);
}

static __rte_always_inline void prepare(struct worker *w, struct out *o, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	uint32_t offloads;

	if (unlikely(wire_l3_size(p, m) > o->port->params.mtu)) {
		worker_drop(w, m, p->flags & PACKET_ROUTED ? DROP_ROUTE_MTU : DROP_TX_MTU);
		return;
	}
	if (likely(!(p->flags & PACKET_NEEDS_CSUM))) { // without, parse lets no super-frame pass
		append(w, o, m);
		return;
	}
	offloads = atomic_load_explicit(&o->port->offloads, memory_order_relaxed);
	if (p->gso_type != PACKET_GSO_NONE && !takes_gso(offloads, p->gso_type)) {
		segment(w, o, m);
		return;
	}
	if ((p->flags & PACKET_NEEDS_CSUM) && !(offloads & PORT_OFFLOAD_CSUM) &&
		gso_complete_csum(m) < 0) {
		worker_drop(w, m, DROP_TX_OFFLOAD);
		return;
	}
	append(w, o, m);
}

static struct rte_mbuf *copy_of(struct worker *w, struct rte_mbuf *m)
{
	struct rte_mbuf *c = rte_pktmbuf_copy(m, w->small, 0, UINT32_MAX);

	if (c)
		*packet_of(c) = *packet_of(m);
	return c;
}

// Broadcast and multicast go to every member but the sender; unknown unicast to trunks alone.
static void flood(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	const struct policy_seg *seg = packet_segment(b, p);
	bool to_all = p->flags & PACKET_MULTICAST;
	unsigned sent = 0;

	for (uint32_t i = 0; i < seg->n_members; i++) {
		uint32_t id = b->policy->members[seg->first_member + i];
		const struct policy_prt *out = policy_port(b->policy, id);
		struct out o;
		struct rte_mbuf *c;
		enum drop_reason r;

		begin(&o, switch_open_port(w->sw, id));
		if (id == p->in_port || !o.port || (!to_all && out->p->mode != POLICY_PORT_TRUNK))
			continue;
		c = copy_of(w, m);
		if (!c) {
			worker_drop(w, m, DROP_NO_MEMORY);
			return;
		}
		packet_of(c)->flags &= (uint16_t)~PACKET_FLOOD;
		r = vlan_egress(b, out, c);
		if (r != DROP_NONE) {
			worker_drop(w, c, r);
			continue;
		}
		prepare(w, &o, c);
		flush(w, &o);
		sent++;
	}
	if (sent == 0)
		worker_drop(w, m, DROP_FLOOD_NO_RECEIVER);
	else
		rte_pktmbuf_free(m);
}

// Takes this port's packets out of the first n, in their order. Returns how many are left.
static uint16_t take(
	struct worker *w, struct rte_mbuf **pkts, uint16_t n, uint16_t out_port, struct out *o)
{
	uint16_t left = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		const struct packet *p = packet_of(m);

		if (p->out_port != out_port || unlikely(p->flags & PACKET_FLOOD))
			pkts[left++] = m;
		else if (unlikely(!o->port))
			worker_drop(w, m, DROP_TX_NO_PORT);
		else
			prepare(w, o, m);
	}
	return left;
}

void stage_tx(struct worker *w, struct burst *b)
{
	struct rte_mbuf **first = b->pkts;
	struct out o;

	while (b->n > 0) {
		uint16_t out_port = packet_of(*first)->out_port;

		if (unlikely(packet_of(*first)->flags & PACKET_FLOOD)) {
			flood(w, b, *first++);
			b->n--;
			continue;
		}
		begin(&o, switch_open_port(w->sw, out_port));
		b->n = take(w, first, b->n, out_port, &o);
		if (o.port)
			flush(w, &o);
	}
}
