// SPDX-License-Identifier: BSD-3-Clause
// A packet in the switch: an rte_mbuf chain whose first segment is private memory holding at least
// the headers (up to 256 bytes), and one cache line of our own metadata in the mbuf's private area.
// Inside the pipeline a frame is untagged Ethernet; tags live in `tci` and are pushed at egress.
// Owned by exactly one worker from rx to tx.
#pragma once

#include <rte_mbuf.h>
#include "vswitch/drop.h"
#include "vlan/wire.h"

enum packet_flags {
	PACKET_IPV4 = 1 << 0,
	PACKET_IPV6 = 1 << 1,
	PACKET_ARP = 1 << 2,
	PACKET_FRAGMENT = 1 << 3, // any IPv4 fragment
	PACKET_MULTICAST = 1 << 4, // group bit of the destination MAC (broadcast too)
	PACKET_HAS_L4 = 1 << 5, // l4_off valid and the header complete (TCP, UDP, ICMP)
	PACKET_HIT = 1 << 6, // a session decided; policy stages pass it by
	PACKET_ROUTED = 1 << 7, // goes through the gateway
	PACKET_LOCAL = 1 << 8, // made by the switch itself
	PACKET_NEEDS_CSUM = 1 << 9, // the checksum at csum_start + csum_offset is partial
	PACKET_DATA_VALID = 1 << 10, // VIRTIO_NET_HDR_F_DATA_VALID
	PACKET_ICMP_ERROR = 1 << 11,
	PACKET_NEW_SESSION = 1 << 12, // policy allowed it; the session stage must create one
	PACKET_REVERSE = 1 << 13, // matched its session in the reverse direction
	PACKET_FLOOD = 1 << 14, // to every port of the segment but the one it came from
	PACKET_TAKEN = 1 << 15, // its tuple is that of a session of another kind, not translated
};

enum packet_gso { // values of virtio_net_hdr.gso_type without the ECN bit
	PACKET_GSO_NONE = 0,
	PACKET_GSO_TCP4 = 1,
	PACKET_GSO_UDP_UFO = 3, // refused
	PACKET_GSO_TCP6 = 4,
	PACKET_GSO_UDP_L4 = 5, // USO
	PACKET_GSO_ECN = 0x80, // bit
};

#define PACKET_HEADROOM RTE_PKTMBUF_HEADROOM // 128: room for tags and virtio_net_hdr
#define PACKET_SMALL_ROOM 2048 // data room of the small pool's mbufs, without headroom
// Data room of the big pool's mbufs: behind a full small one it holds 65535 bytes of IP, Ethernet
// and tags. DPDK keeps buffer sizes in 16 bits, so headroom and this must stay under 64 KiB.
#define PACKET_BIG_ROOM 63744
#define PACKET_HEADERS_MAX 256

struct packet {
	uint16_t in_port; // port id it came in on
	uint16_t out_port; // port id it leaves on (set by session hit, forward or route)
	uint16_t flags; // enum packet_flags
	uint16_t in_queue;
	uint32_t zone; // zone the packet is in (changes with NAT: uplink -> tenant)
	uint32_t segment; // index into policy->segments, or UINT32_MAX
	uint16_t l3_off, l4_off; // from frame start
	uint16_t l3_len; // bytes of the IP packet as its header says (frame minus Ethernet if ARP)
	uint16_t l4_hdr_size; // bytes of the L4 header
	be16 src_port, dst_port; // L4; ICMP echo: identifier in both
	uint8_t proto; // IP protocol
	uint8_t tcp_flags;
	uint8_t n_tags; // as parsed; 0 after vlan ingress
	uint8_t pcp; // 802.1p priority carried through
	uint16_t csum_start, csum_offset; // valid with PACKET_NEEDS_CSUM, from frame start
	uint16_t gso_size;
	uint8_t gso_type; // enum packet_gso
	uint8_t drop; // enum drop_reason, DROP_NONE while alive
	uint32_t session; // id, or SESSION_NONE
	uint32_t nexthop; // id, or NEXTHOP_NONE
	uint32_t mapping; // NAT mapping taken for a session about to be made, or MAPPING_NONE
	uint16_t tpid[2], tci[2]; // parsed tags, outermost first, host order
	uint32_t trace; // replay: number of the received packet this is or comes of; live: 0
};
static_assert(sizeof(struct packet) == 64, "one cache line");

static inline struct packet *packet_of(struct rte_mbuf *m)
{
	return (struct packet *)rte_mbuf_to_priv(m);
}
