// SPDX-License-Identifier: BSD-3-Clause
// A replay's bursts: packets of one input and time stamp through the stages. A result is one of the
// packets' order alone, as if each went by itself through the whole pipeline; so only those
// share a burst that cannot tell whether they do: up to the session stage what stands in the
// packet alone decides (may_share), from there on, what they find (may_join). One thread.
#include <string.h>
#include "vswitch/message.h"
#include "vswitch/port_fd.h"
#include "vswitch/replay_private.h"
#include "vswitch/session.h"
#include "vswitch/vnet_hdr.h"

static struct rte_mbuf *mbuf_of(struct worker *w, struct port *port, const struct replay_frame *f)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(worker_small_pool(w)), *tail = NULL;
	uint32_t first = RTE_MIN(f->size, (uint32_t)PACKET_SMALL_ROOM);

	if (m && f->size > first) {
		tail = rte_pktmbuf_alloc(worker_big_pool(w));
		if (!tail) {
			rte_pktmbuf_free(m);
			return NULL;
		}
		memcpy(rte_pktmbuf_mtod(tail, uint8_t *), f->data + first, f->size - first);
	}
	if (!m)
		return NULL;
	memcpy(rte_pktmbuf_mtod(m, uint8_t *), f->data, first);
	port_fd_rx_lengths(m, tail, f->size);
	port_fd_rx_packet(port, 0, m);
	if (f->vnet) {
		struct virtio_net_hdr hdr;

		memcpy(&hdr, f->data - sizeof(hdr), sizeof(hdr));
		vnet_hdr_read(&hdr, packet_of(m));
	}
	return m;
}

// Those that `before` had and the burst has no more, without a word: a stage consumed them.
static void note_consumed(struct replay *r, const struct stage *s, const uint32_t *before,
	uint16_t n_before, const struct burst *b)
{
	for (uint16_t i = 0, k = 0; i < n_before; i++) {
		struct replay_verdict *v = replay_record(r, before[i]);

		if (k < b->n && packet_of(b->pkts[k])->trace == before[i])
			k++;
		else if (v && v->outcome == REPLAY_OPEN && s->run != stage_rewrite) {
			v->outcome = REPLAY_TAKEN;
			v->stage = s->name;
		}
	}
}

// pipeline_run from stage `at` on, seen from outside, to the end or to stage `end`.
static unsigned run_stages(struct replay *r, struct worker *w, struct burst *b, unsigned at,
	void (*end)(struct worker *w, struct burst *b))
{
	uint32_t before[BURST_MAX];

	for (; at < pipeline_n_stages && pipeline[at].run != end; at++) {
		const struct stage *s = &pipeline[at];
		uint16_t n = b->n;

		if (!stage_concerns(s, b))
			continue;
		for (uint16_t k = 0; k < n; k++)
			before[k] = packet_of(b->pkts[k])->trace;
		r->stage = s->name;
		s->run(w, b);
		if (b->n < n && s->run != stage_tx)
			note_consumed(r, s, before, n, b);
		if (s->run == stage_parse)
			for (uint16_t k = 0; k < b->n; k++)
				replay_note_tuple(r, b->pkts[k]);
	}
	return at;
}

// --- who may go on together ---

// Whether the session found for a packet decides it and knows where it goes, as stage_session will
// see it. (The policy stays the same all through a run.)
static bool is_settled(struct worker *w, const struct session_record *rec, enum session_dir dir,
	struct rte_mbuf *m, bool routed)
{
	const struct nexthop *nh = nexthop_get(w->sw->nexthops, rec->d.nexthop[dir]);
	uint64_t where = nh ? nh->where : 0;

	if (!nh || routed != !!(rec->d.flags & SESSION_F_ROUTED) ||
		(nh->kind == NEXTHOP_BRIDGED) == routed)
		return false;
	return routed || (where && nexthop_is_mac(where, &packet_eth(m)->dst) &&
				 nexthop_port(where) != packet_of(m)->in_port);
}

static bool same_flow(const struct session_key *a, const struct session_key *b)
{
	return a->zone == b->zone && a->proto == b->proto &&
	       ((a->src == b->src && a->dst == b->dst && a->src_port == b->src_port &&
			a->dst_port == b->dst_port) ||
		       (a->src == b->dst && a->dst == b->src && a->src_port == b->dst_port &&
			       a->dst_port == b->src_port));
}

// Members that are trunks stand last.
static bool floods(const struct policy *pol, const struct policy_seg *s)
{
	return s->n_members &&
	       policy_port(pol, pol->members[s->first_member + s->n_members - 1])->p->mode ==
		       POLICY_PORT_TRUNK;
}

struct together {
	struct burst b;
	struct session_key begun[BURST_MAX]; // by its packets
	unsigned n_begun;
};

// Whether a packet can neither change what becomes of those before it nor meet what they change,
// in whatever order the stages see them. That are packets of sessions that know their way, and
// those that begin one inside the segment, of other addresses and ports: quotas and tables are
// asked for one packet after the other there. All else (translation, which takes mappings two
// stages before its session is made; sessions of another kind, or without a way) goes alone.
static bool may_join(struct worker *w, struct together *t, struct rte_mbuf *m)
{
	const struct policy_seg *segment = packet_segment(&t->b, packet_of(m));
	struct session_key *key = &t->begun[t->n_begun];
	bool routed = session_is_routed(&t->b, m);
	enum session_dir dir;
	uint32_t id;

	if (!session_key_of(m, key))
		return false;
	id = session_lookup(w->sw->sessions, key, &dir);
	if (id != SESSION_NONE)
		return is_settled(w, session_get(w->sw->sessions, id), dir, m, routed);
	if (routed || !segment || floods(t->b.policy, segment))
		return false;
	for (unsigned i = 0; i < t->n_begun; i++)
		if (same_flow(&t->begun[i], key))
			return false;
	t->n_begun++;
	return true;
}

static void run_together(struct replay *r, struct worker *w, struct together *t, unsigned at)
{
	r->several = t->b.n > 1;
	run_stages(r, w, &t->b, at, NULL);
	replay_write_late(r);
	burst_begin(&t->b, r->pol, r->now_ns);
	t->n_begun = 0;
}

// From the session stage on: the burst in its order, in pieces of those that may go together.
static void run_pieces(struct replay *r, struct worker *w, const struct burst *b, unsigned at)
{
	struct together t = { .n_begun = 0 };

	burst_begin(&t.b, r->pol, r->now_ns);
	for (uint16_t i = 0; i < b->n; i++) {
		bool joins = may_join(w, &t, b->pkts[i]);

		if (!joins && t.b.n) { // what it waited for may have let it join the next
			run_together(r, w, &t, at);
			joins = may_join(w, &t, b->pkts[i]);
		}
		t.b.pkts[t.b.n++] = b->pkts[i];
		if (!joins)
			run_together(r, w, &t, at);
	}
	if (t.b.n)
		run_together(r, w, &t, at);
}

// No insulad is there to take a lease: what it would have to answer is lost as without it.
static void drain_messages(struct replay *r, struct worker *w)
{
	struct worker_message *wm;

	while (rte_ring_dequeue(w->to_control, (void **)&wm) == 0) {
		struct replay_verdict *v = replay_record(r, r->next - 1);
		bool waits = wm->kind == MESSAGE_LEASE &&
			     (wm->lease.kind == PROTO_LEASE_REQUEST ||
				     wm->lease.kind == PROTO_LEASE_DISCOVER);

		if (waits && v) {
			v->outcome = REPLAY_DROPPED;
			v->drop = DROP_SERVICE_DHCP_BUSY;
		}
		rte_mempool_put(r->sw->messages, wm);
	}
}

int replay_run_burst(struct replay *r, uint32_t port_id, const struct replay_frame *f, uint16_t n)
{
	struct port *port = switch_port(r->sw, port_id);
	struct worker *w = r->sw->workers[port_id % r->sw->n_workers];
	struct burst b = { .policy = r->pol, .now_ns = r->now_ns, .n = n };
	struct replay_verdict *v = NULL;

	for (uint16_t i = 0; i < n; i++) {
		v = replay_begin(r, &f[i], port_id);
		b.pkts[i] = v && port ? mbuf_of(w, port, &f[i]) : NULL;
		if (!v || (port && !b.pkts[i])) {
			rte_pktmbuf_free_bulk(b.pkts, i);
			return -ENOMEM;
		}
		if (port)
			packet_of(b.pkts[i])->trace = (uint32_t)v->number;
	}
	if (!port) { // n is 1 then, and the old policy's verdict has the addresses
		v->outcome = REPLAY_DROPPED;
		v->drop = DROP_PORT_NO_POLICY;
		v->stage = "vlan_ingress";
		return 0;
	}
	w->now_ns = r->now_ns;
	if (n == 1)
		run_stages(r, w, &b, 0, NULL);
	else
		run_pieces(r, w, &b, run_stages(r, w, &b, 0, stage_session));
	replay_answer_asks(r);
	drain_messages(r, w);
	return r->error;
}

// What the switch answers or learns from before the session stage (ARP, DHCP, ICMP, trunks), and
// what may ask for a neighbour that replay plays, is a burst of its own: in a live burst these may
// overtake each other by a stage.
static bool may_share(const struct replay *r, const struct replay_frame *f)
{
	const struct policy_prt *prt = policy_port(r->pol, r->ports[f->input]);
	be16 ports[2];

	if (!prt || prt->p->mode == POLICY_PORT_TRUNK || f->vnet || f->size < 42 ||
		(f->data[0] & 1) || f->data[12] != 0x08 || f->data[13] != 0 ||
		f->data[14] != 0x45 || (f->data[23] != IPPROTO_TCP && f->data[23] != IPPROTO_UDP))
		return false;
	memcpy(ports, f->data + 34, sizeof(ports));
	if (r->plays && prt->segment != POLICY_NO_SEGMENT &&
		memcmp(f->data, &r->pol->segments[prt->segment].s->gateway_mac,
			sizeof(struct mac)) == 0)
		return false;
	return f->data[23] == IPPROTO_TCP || ports[1] != htons(67);
}

uint16_t replay_burst_size(const struct replay *r, size_t at)
{
	const struct replay_frames *f = r->o->frames;
	uint16_t n = 1;

	if (r->o->burst < 2 || !may_share(r, &f->v[at]))
		return 1;
	while (n < r->o->burst && at + n < f->n && f->v[at + n].input == f->v[at].input &&
		f->v[at + n].ts_ns == f->v[at].ts_ns && may_share(r, &f->v[at + n]))
		n++;
	return n;
}
