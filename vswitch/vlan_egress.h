// SPDX-License-Identifier: BSD-3-Clause
// Tags for one frame leaving on one port. Workers.
#pragma once

#include "vswitch/pipeline.h"

// Makes room for the tags behind the MACs; every offset moves with them.
enum drop_reason vlan_push(struct rte_mbuf *m, const struct vlan_tags *tags);

// Pushes the tags of m's segment on port `out`; a reason if it may not leave there.
static inline enum drop_reason vlan_egress(
	const struct burst *b, const struct policy_prt *out, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	const struct policy_seg *seg = packet_segment(b, p);
	struct vlan_tags tags;

	if (!out)
		return DROP_TX_NO_PORT;
	if (out->uplink)
		return seg ? DROP_TX_VLAN : DROP_NONE;
	if (!seg || (out->segment != POLICY_NO_SEGMENT && out->segment != p->segment))
		return DROP_TX_VLAN;
	if (vlan_tags_egress(&out->vlan, seg->s->vlan, p->pcp, &tags) != VLAN_OK)
		return DROP_TX_VLAN;
	return tags.n ? vlan_push(m, &tags) : DROP_NONE;
}
