// SPDX-License-Identifier: BSD-3-Clause
// Changing header fields with their checksums, complete or partial. Workers.
#pragma once

#include "vswitch/session.h"

// The source or destination address of an IPv4 header, wherever it lies.
static inline be32_field *rewrite_address_field(struct ipv4_hdr *ip, bool destination)
{
	uint8_t *p = (uint8_t *)ip;

	return (be32_field *)(void *)(p + (destination ? offsetof(struct ipv4_hdr, dst)
						       : offsetof(struct ipv4_hdr, src)));
}

// Sets the source or destination address of the packet's IPv4 header (*field lies in it).
void rewrite_ipv4_address(struct rte_mbuf *m, be32_field *field, be32 to);
// Sets the source or destination port of the packet's TCP or UDP header.
void rewrite_l4_port(struct rte_mbuf *m, be16_field *field, be16 to);
