// SPDX-License-Identifier: BSD-3-Clause
// Where routed and bridged next hops lead under a policy; used by the stages and, after a policy
// change, by the control thread to refresh the entries. 0 = nowhere now.
#pragma once

#include "vswitch/nexthop.h"
#include "vswitch/policy.h"

struct switch_;

// NEXTHOP_HOST: the port and MAC of the guest that owns nh->address; also sets nh->src_mac.
uint64_t route_host_where(struct switch_ *sw, const struct policy *pol, struct nexthop *nh);
// NEXTHOP_BRIDGED: what the forwarding database says of nh->mac.
uint64_t forward_bridged_where(struct switch_ *sw, const struct nexthop *nh);
