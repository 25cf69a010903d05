// SPDX-License-Identifier: BSD-3-Clause
// Tags for one frame leaving on one port. Workers.
#pragma once

#include "vswitch/pipeline.h"

// Pushes the tags of m's segment on port `out`; a reason if it may not leave there.
enum drop_reason vlan_egress(
	const struct burst *b, const struct policy_prt *out, struct rte_mbuf *m);
