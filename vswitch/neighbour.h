// SPDX-License-Identifier: BSD-3-Clause
// ARP resolution of next hops on uplinks, with the states of RFC 4861 §7.3.2. At most three packets
// wait for an unresolved neighbour; requests go out at most once a second each.
// Threads: any worker sends and hears; each entry has its own lock, taken only in states other than
// REACHABLE and when ARP is heard. Timers are run by worker 0.
#pragma once

#include "vswitch/nexthop.h"
#include "vswitch/pipeline.h"

enum neighbour_state {
	NEIGHBOUR_NONE,
	NEIGHBOUR_INCOMPLETE,
	NEIGHBOUR_REACHABLE,
	NEIGHBOUR_STALE,
	NEIGHBOUR_DELAY,
	NEIGHBOUR_PROBE,
	NEIGHBOUR_FAILED, // nobody answered for it; tried again after a pause
	NEIGHBOUR_STATE_COUNT
};

enum { NEIGHBOUR_HELD_MAX = 3 };

struct neighbours;

struct neighbours *neighbours_new(uint32_t capacity);
void neighbours_free(struct neighbours *n);

// Called when a packet wants to leave by `nh` (kind NEXTHOP_NEIGHBOUR): true = `where` may be
// used now. Else the packet is held (DROP_COUNT = PACKET_CONSUMED) or dropped with the reason in
// *ret_reason, and a request has been sent if one was due.
bool neighbour_use(struct worker *w, const struct burst *b, struct nexthop *nh, struct rte_mbuf *m,
	enum drop_reason *ret_reason);
// ARP heard on an uplink: sender address and MAC. Only known entries change. Sends what waited.
// `solicited`: a reply to our MAC, which is ARP's equivalent of the Solicited flag of RFC 4861
// §4.4. With it an entry that asked becomes REACHABLE; requests, announcements and replies to
// others make an unknown neighbour STALE (§7.2.5, §7.2.3) and no other MAC of a known one.
// true = used: it answered the switch's question, or told where a neighbour is that was sought.
bool neighbour_heard(struct worker *w, const struct burst *b, uint32_t uplink_port, be32 address,
	const struct mac *mac, bool solicited);
// The uplink's port went: what was known on its wire need not be so on the next. Control thread,
// when no worker uses the port any more.
void neighbours_forget(struct neighbours *n, uint32_t uplink_port);
// Timers; worker 0, about once a second of the burst's time.
void neighbour_tick(struct worker *w, const struct burst *b);
