// SPDX-License-Identifier: BSD-3-Clause
// The only place that walks headers. Every claimed length is checked against the real one; later
// stages use the offsets found here and need no checks of their own. Called first by the pipeline,
// on the worker that received the packet.
#pragma once

#include "vswitch/packet.h"

// Parses packets until one is no good: how many were good, and the reason of the one behind them.
uint16_t parse_packets(struct rte_mbuf **pkts, uint16_t n, enum drop_reason *ret_reason);

// Reads a frame as it came from rx (tags included) and fills packet_of(m): tags, l3_off, l3_len,
// l4_off, l4_hdr_size, proto, ports, tcp_flags, and the flags IPV4, IPV6, ARP, FRAGMENT, MULTICAST,
// HAS_L4, ICMP_ERROR; nothing is decided of it: no segment, session, next hop. After DROP_NONE:
// - the first segment holds min(frame, PACKET_HEADERS_MAX) bytes;
// - the frame ends where its IP packet (or ARP message) ends: padding is cut off;
// - l3_off points behind the last tag, the EtherType lies in the two bytes before it. With n_tags
//   == 3 (three or more) nothing behind the second tag has been looked at;
// - with NEEDS_CSUM, csum_start and csum_offset name the checksum of this TCP or UDP header; with a
//   gso_type the cut makes 2..GSO_MAX_SEGMENTS frames. A super-frame that needs no cut has lost its
//   type.
// A frame that is neither IP nor ARP passes with none of the L3 flags.
static inline enum drop_reason parse_packet(struct rte_mbuf *m)
{
	enum drop_reason r = DROP_NONE;

	parse_packets(&m, 1, &r);
	return r;
}
