// SPDX-License-Identifier: BSD-3-Clause
// Tags for one frame leaving on one port. Workers.
#pragma once

#include "vswitch/pipeline.h"

// The same for a trunk alone.
enum drop_reason vlan_egress_trunk(
	const struct burst *b, const struct policy_prt *out, struct rte_mbuf *m);

// Pushes the tags of m's segment on port `out`; a reason if it may not leave there.
static inline enum drop_reason vlan_egress(
	const struct burst *b, const struct policy_prt *out, struct rte_mbuf *m)
{
	uint32_t segment = packet_of(m)->segment;

	if (unlikely(!out))
		return DROP_TX_NO_PORT;
	if (out->segment != POLICY_NO_SEGMENT) // access: its segment's frames, untagged
		return likely(segment == out->segment) ? DROP_NONE : DROP_TX_VLAN;
	if (out->uplink)
		return segment != POLICY_NO_SEGMENT ? DROP_TX_VLAN : DROP_NONE;
	return vlan_egress_trunk(b, out, m);
}
