// SPDX-License-Identifier: BSD-3-Clause
// The pipeline: its order is this array and nothing else. Runs on workers.
#include "vswitch/parse.h"
#include "vswitch/pipeline.h"

const struct stage pipeline[] = {
	{ "parse", stage_parse, STAGE_ALL }, // walk the headers once, check every length
	{ "vlan_ingress", stage_vlan_ingress, STAGE_ALL }, // port -> segment, zone; tags off
	{ "guard", stage_guard, STAGE_ALL }, // source MAC, addresses, ARP belong to the port
	{ "service", stage_service, STAGE_ALL }, // ARP, DHCP, ICMP to the gateway: answered here
	{ "session", stage_session, STAGE_ALL }, // one lookup: a hit passes by all that decides
	{ "icmp_error", stage_icmp_error, STAGE_UNDECIDED }, // belongs to the session it quotes
	{ "policy", stage_policy, STAGE_UNDECIDED }, // may this begin?
	{ "route", stage_route, STAGE_ROUTED }, // through the gateway: SNAT, next hop
	{ "forward", stage_forward, STAGE_UNDECIDED }, // inside the segment: forwarding database
	{ "new_session", stage_new_session, STAGE_UNDECIDED }, // remember the verdict
	{ "rewrite", stage_rewrite, STAGE_ROUTED }, // NAT, TTL, MACs
	{ "vlan_egress", stage_vlan_egress, STAGE_ALL }, // tags on
	{ "tx", stage_tx, STAGE_ALL }, // offloads the far end lacks; send
};
const unsigned pipeline_n_stages = sizeof(pipeline) / sizeof(pipeline[0]);

void pipeline_run(struct worker *w, struct burst *b)
{
	for (unsigned i = 0; i < pipeline_n_stages; i++)
		if (stage_concerns(&pipeline[i], b))
			pipeline[i].run(w, b);
}

void pipeline_run_tail(struct worker *w, struct burst *b)
{
	stage_vlan_egress(w, b);
	if (b->n)
		stage_tx(w, b);
}

void stage_parse(struct worker *w, struct burst *b)
{
	enum drop_reason reason;
	uint16_t kept = 0;

	for (uint16_t i = 0; i < b->n; i++) { // of one that is no good
		uint16_t n_good = parse_packets(&b->pkts[i], (uint16_t)(b->n - i), &reason);

		if (unlikely(kept != i))
			memmove(&b->pkts[kept], &b->pkts[i], n_good * sizeof(b->pkts[0]));
		kept = (uint16_t)(kept + n_good);
		i = (uint16_t)(i + n_good);
		if (i < b->n)
			worker_drop(w, b->pkts[i], reason);
	}
	b->n = kept;
}
