// SPDX-License-Identifier: BSD-3-Clause
// The way of one packet: one const array of stages over a burst, in the order of the wire. A stage
// sees only packets that are still alive; what it drops or consumes it takes out of the burst.
// Every worker runs it to completion; stages read no clock (burst.now_ns is the time).
#pragma once

#include "vswitch/policy.h"
#include "vswitch/worker.h"

struct burst {
	const struct policy *policy; // in force for this burst
	uint64_t now_ns;
	bool settled; // sessions decided every packet, and know where it goes
	bool routed; // and take some through the gateway
	uint16_t n;
	struct rte_mbuf *pkts[BURST_MAX];
};

enum stage_scope { // which packets it does something to
	STAGE_ALL,
	STAGE_UNDECIDED, // those that no session has decided
	STAGE_ROUTED, // those, and what goes through the gateway
};

struct stage {
	const char *name;
	void (*run)(struct worker *w, struct burst *b);
	enum stage_scope scope;
};

extern const struct stage pipeline[];
extern const unsigned pipeline_n_stages;

// Whether the stage has anything to do: a burst of nothing but hits passes by those that decide.
static inline bool stage_concerns(const struct stage *s, const struct burst *b)
{
	return b->n &&
	       (!b->settled || s->scope == STAGE_ALL || (s->scope == STAGE_ROUTED && b->routed));
}

// A burst of no packets yet. Not by an initialiser: that would clear room for all of them.
static inline void burst_begin(struct burst *b, const struct policy *policy, uint64_t now_ns)
{
	b->policy = policy;
	b->now_ns = now_ns;
	b->settled = false;
	b->routed = false;
	b->n = 0;
}

// Runs a burst through every stage; all its packets are gone afterwards.
void pipeline_run(struct worker *w, struct burst *b);
// Runs the last stages (vlan egress, tx) over packets whose out_port is decided.
void pipeline_run_tail(struct worker *w, struct burst *b);

// One function per stage, in the file of its name.
void stage_parse(struct worker *w, struct burst *b);
void stage_vlan_ingress(struct worker *w, struct burst *b);
void stage_guard(struct worker *w, struct burst *b);
void stage_service(struct worker *w, struct burst *b);
void stage_session(struct worker *w, struct burst *b);
void stage_icmp_error(struct worker *w, struct burst *b);
void stage_policy(struct worker *w, struct burst *b);
void stage_route(struct worker *w, struct burst *b);
void stage_forward(struct worker *w, struct burst *b);
void stage_new_session(struct worker *w, struct burst *b);
void stage_rewrite(struct worker *w, struct burst *b);
void stage_vlan_egress(struct worker *w, struct burst *b);
void stage_tx(struct worker *w, struct burst *b);

// What a per-packet function answers besides a drop reason: the packet is no longer the burst's.
#define PACKET_CONSUMED ((enum drop_reason)DROP_COUNT)

// Runs `check` over the burst: DROP_NONE keeps the packet, a reason drops it.
typedef enum drop_reason (*packet_fn)(struct worker *w, struct burst *b, struct rte_mbuf *m);

static inline __attribute__((always_inline)) void burst_filter(
	struct worker *w, struct burst *b, packet_fn check)
{
	size_t n = b->n, kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct rte_mbuf *m = b->pkts[i];
		enum drop_reason r = check(w, b, m);

		if (likely(r == DROP_NONE))
			b->pkts[kept++] = m;
		else if (r != PACKET_CONSUMED)
			worker_drop(w, m, r);
	}
	b->n = (uint16_t)kept;
}

static inline struct eth_hdr *packet_eth(struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod(m, struct eth_hdr *);
}

static inline void *packet_l3(struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod_offset(m, void *, packet_of(m)->l3_off);
}

static inline void *packet_l4(struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod_offset(m, void *, packet_of(m)->l4_off);
}

// The segment a packet is in, or NULL (uplinks).
static inline const struct policy_seg *packet_segment(const struct burst *b, const struct packet *p)
{
	return p->segment == POLICY_NO_SEGMENT ? NULL : &b->policy->segments[p->segment];
}
