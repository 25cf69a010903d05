// SPDX-License-Identifier: BSD-3-Clause
// ARP for IPv4 over Ethernet (RFC 826, 5227): validating parser and builders. Pure.
#pragma once

#include "vlan/wire.h"

enum { ARP_FRAME_SIZE = ETH_HDR_SIZE + 28 };

struct arp_msg {
	uint16_t op;
	struct mac eth_src, eth_dst;
	struct mac sha, tha;
	be32 spa, tpa;
};

// 0; -EBADMSG if it is not a well-formed IPv4-over-Ethernet ARP request or reply.
int arp_parse(const uint8_t *data, size_t size, struct arp_msg *ret_msg);

// RFC 5227 §1.1: sender address 0.0.0.0.
static inline bool arp_is_probe(const struct arp_msg *m)
{
	return m->op == ARP_OP_REQUEST && m->spa == 0;
}

// Writes an ARP_FRAME_SIZE frame answering `request`: `mac` is at request->tpa.
void arp_build_reply(
	const struct arp_msg *request, const struct mac *mac, uint8_t buf[ARP_FRAME_SIZE]);
// Writes a request for `target`; broadcast, or unicast to *to (a probe of a known neighbour).
void arp_build_request(const struct mac *sha, be32 spa, be32 target, const struct mac *to,
	uint8_t buf[ARP_FRAME_SIZE]);
// Writes a gratuitous announcement (RFC 5227 §3) of spa at sha.
void arp_build_announce(const struct mac *sha, be32 spa, uint8_t buf[ARP_FRAME_SIZE]);
