// SPDX-License-Identifier: BSD-3-Clause
// A DHCP client (RFC 2131): DISCOVER, REQUEST, and what the ACK gave.
#pragma once

#include "net.h"

struct dhcp_lease {
	be32 ip, mask, router, server;
	uint32_t seconds;
};

// false: no ACK until then.
bool dhcp_ask(struct net *net, uint64_t until_ns, struct dhcp_lease *ret_lease);
