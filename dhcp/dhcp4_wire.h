// SPDX-License-Identifier: BSD-3-Clause
// BOOTP's layout and DHCPv4's option codes, shared by the parser and the builder (and by nobody
// else: dhcp4.h is the interface).
#pragma once

#include <assert.h>
#include "vlan/wire.h"

enum {
	BOOTP_REQUEST = 1,
	BOOTP_REPLY = 2,
	BOOTP_HTYPE_ETHERNET = 1,
	BOOTP_FLAG_BROADCAST = 0x8000,
	BOOTP_MIN_SIZE = 300, // RFC 951 §3, RFC 1542 §2.1: some clients insist
	DHCP4_COOKIE = 0x63825363, // RFC 2131 §3
};

enum dhcp4_option { // RFC 2132, RFC 3046
	OPTION_PAD = 0,
	OPTION_SUBNET_MASK = 1,
	OPTION_ROUTER = 3,
	OPTION_DNS = 6,
	OPTION_HOSTNAME = 12,
	OPTION_MTU = 26,
	OPTION_BROADCAST = 28,
	OPTION_REQUESTED_IP = 50,
	OPTION_LEASE_TIME = 51,
	OPTION_OVERLOAD = 52,
	OPTION_TYPE = 53,
	OPTION_SERVER_ID = 54,
	OPTION_PRL = 55,
	OPTION_MESSAGE = 56,
	OPTION_MAX_SIZE = 57,
	OPTION_T1 = 58,
	OPTION_T2 = 59,
	OPTION_CLIENT_ID = 61,
	OPTION_END = 255,
};

// RFC 2131 §2, figure 1. Options follow.
struct bootp {
	uint8_t op, htype, hlen, hops;
	be32 xid;
	be16 secs, flags;
	be32 ciaddr, yiaddr, siaddr, giaddr;
	struct mac chaddr;
	uint8_t chaddr_pad[10];
	uint8_t sname[64];
	uint8_t file[128];
	be32 cookie;
} WIRE_PACKED;
static_assert(sizeof(struct bootp) == 240, "wire format");
