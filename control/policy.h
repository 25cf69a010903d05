// SPDX-License-Identifier: BSD-3-Clause
// The policy as it crosses from insulad to insula-switch: immutable, versioned, in sealed memfds.
// A root names sections by the SHA-256 of their bytes; a section holds one tenant's (or the host's)
// share. insulad's compiler (compile.c) writes it; the switch's loader (vswitch/policy_load.c)
// validates every byte as hostile input. One of the two headers that cross process boundaries
// (proto.h is the other).
//
// Kept in a file (for a replay), a policy is its root and behind it the sections in the root's
// order.
//
// All integers are host order unless their type says otherwise; structures have no implicit padding
// and are multiples of 8 bytes; spare bytes are zero and the loader insists on it.
#pragma once

#include <assert.h>
#include "vlan/wire.h"

enum {
	POLICY_ROOT_MAGIC = 0x52504e49, // "INPR"
	POLICY_SECTION_MAGIC = 0x53504e49, // "INPS"
	POLICY_VERSION = 1,
	POLICY_HASH_SIZE = 32,
	POLICY_NAME_SIZE = 32, // terminated, padded with zeros
	POLICY_MAX_SECTIONS = 4096,
	POLICY_MAX_SECTION_SIZE = 16 << 20,
	POLICY_MAX_SEGMENTS = 8192, // in one policy
	POLICY_MAX_PORTS = 16384,
	POLICY_MAX_UPLINKS = 64,
	POLICY_MAX_PORT_ID = 65535, // ports are numbered 1..65535 by insulad; 0 = none
	POLICY_MAX_DNS = 3,
	POLICY_HOST_TENANT = 0, // tenant id of the host's section
};

struct policy_section_ref {
	uint8_t hash[POLICY_HASH_SIZE];
	uint32_t tenant; // POLICY_HOST_TENANT or the tenant's id, below POLICY_MAX_SECTIONS; unique
	uint32_t size; // bytes
	uint64_t revision; // grows when the content changes: sessions record it
};

struct policy_root {
	uint32_t magic, version;
	uint64_t generation;
	uint32_t n_sections;
	uint32_t size; // of the whole root in bytes
	struct policy_section_ref sections[];
};

// A broadcast domain. Its VLAN is unique on the host.
struct policy_segment {
	uint32_t id; // unique on the host, 1..
	uint32_t zone; // tenant's routing domain (its tenant id); the host's segments have zone 0
	uint16_t vlan; // 1..4094
	uint16_t mtu; // 576..9216, IP bytes
	be32 subnet;
	be32 gateway; // address the switch answers for; 0 = none (pure L2)
	struct mac gateway_mac;
	uint8_t prefix_len;
	uint8_t n_dns;
	be32 dns[POLICY_MAX_DNS];
	be32 pool_first, pool_last; // dynamic pool; 0 = none
	uint32_t lease_s;
	uint32_t snat_port; // uplink (port id) behind whose address it is hidden; 0 = none
	char name[POLICY_NAME_SIZE];
};
static_assert(sizeof(struct policy_segment) % 8 == 0, "no tail padding");

enum policy_port_mode {
	POLICY_PORT_ACCESS,
	POLICY_PORT_TRUNK,
	POLICY_PORT_UPLINK, // the switch is an IP host here
	POLICY_PORT_MODE_COUNT
};

enum policy_port_flags {
	POLICY_PORT_CLIENTS_MANY = 1, // takes any DHCP client; addresses from the segment's pool
	POLICY_PORT_ALLOW_NON_IP = 2, // other EtherTypes than IPv4, IPv6, ARP pass
};

struct policy_port {
	uint32_t id; // 1..POLICY_MAX_PORT_ID
	uint32_t segment; // access: segment id; trunk and uplink: 0
	uint8_t mode; // enum policy_port_mode
	uint8_t flags; // enum policy_port_flags
	struct mac mac; // access: the guest's; uplink: the switch's own
	be32 address; // access: the guest's configured address; uplink: the switch's own; 0 = none
	uint32_t storm_pps; // broadcast and multicast; 0 = unlimited
	uint32_t learn_limit; // trunk, uplink: most learned addresses
	uint32_t trunk; // trunk: index into the section's trunks; else UINT32_MAX
	uint32_t uplink; // uplink: index into the section's uplinks; else UINT32_MAX
	uint8_t spare[4];
	char name[POLICY_NAME_SIZE];
};
static_assert(sizeof(struct policy_port) % 8 == 0, "no tail padding");

struct policy_trunk {
	uint16_t native_vid; // 0 = untagged frames are dropped
	uint16_t outer_vid; // 802.1ad S-tag; 0 = none
	uint8_t spare[4];
	uint8_t allowed[512]; // bit map of VLANs
};

struct policy_uplink {
	uint32_t zone; // of the world outside; unique, not a tenant's
	be32 gateway; // default next hop; 0 = only the connected subnet
	uint8_t prefix_len;
	uint8_t spare;
	uint16_t mtu;
	uint16_t nat_port_first, nat_port_last; // host order, inclusive
};

// Follows: segments[], ports[], trunks[], uplinks[], in this order, without gaps.
struct policy_section {
	uint32_t magic, version;
	uint32_t tenant;
	uint32_t size; // of the whole section in bytes
	uint32_t n_segments, n_ports, n_trunks, n_uplinks;
	char name[POLICY_NAME_SIZE]; // the tenant's; of the host's section "host"
};
