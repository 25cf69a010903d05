// SPDX-License-Identifier: BSD-3-Clause
// Addresses that are the host's own, see host_address.h. Main thread.
#include "control/host_address.h"

#include <net/if.h>
#include <stdio.h>
#include "control/describe.h"
#include "control/link.h"

// Will the switch answer for it on a wire that the host may be on? Not behind the nat tap, which is
// also what an uplink without its interface falls back to.
static bool is_on_a_wire(const struct desired_port *p)
{
	return p->kind == DESIRED_UPLINK && !p->nat &&
	       (p->uplink->devargs[0] || if_nametoindex(p->uplink->interface) != 0);
}

bool host_address_taken(const struct desired_port *p, char *text, size_t size)
{
	char address[INET_ADDRSTRLEN], ifname[IF_NAMESIZE] = "?";
	struct nl_sock *s;
	int ifindex;

	if (!is_on_a_wire(p) || link_socket_open(&s) < 0)
		return false;
	int r = link_find_address(s, p->uplink->address, &ifindex);
	link_socket_close(s);
	if (r < 0)
		return false;
	describe_address(p->uplink->address, address);
	if_indextoname((unsigned)ifindex, ifname);
	snprintf(text, size,
		"%s is this host's own address on %s; give the uplink one of its own in that "
		"subnet",
		address, ifname);
	return true;
}
