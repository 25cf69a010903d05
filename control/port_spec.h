// SPDX-License-Identifier: BSD-3-Clause
// What a desired port is to be made as: one candidate, or several in the order of fallback (uplink:
// ethdev, packet, nat; instance: vhost-user, tap). Pure.
#pragma once

#include "control/desired.h"
#include "control/proto.h"

enum {
	PORT_MAX_CANDIDATES = 3,
};

// Filled with zeros first: compared as bytes.
struct port_spec {
	uint16_t kind; // enum proto_port_kind
	uint16_t flags; // enum proto_port_flags
	uint32_t mtu, n_queues;
	uint32_t host_nat; // the tap of uplink mode nat, with the two ends' addresses
	be32 nat_host, nat_switch;
	struct mac mac; // tap: of the device
	uint8_t nat_prefix, spare;
	char netns[64], ifname[16]; // tap; packet: ifname
	char arg[256]; // as in proto_port_add; tap: NETNS/IFNAME, packet: IFNAME, for re-adoption
};

// Returns how many.
unsigned port_spec_candidates(const struct desired_port *p, const char *run_dir, unsigned workers,
	struct port_spec ret_specs[PORT_MAX_CANDIDATES]);
// How many queues of a DPDK device it may have; 0 = it is none.
uint32_t port_spec_device_queues(const struct desired_port *p, unsigned workers);
// The socket of a vhost-user port whose file names none.
void port_spec_vhost_path(
	const struct desired_port *p, const char *run_dir, char *ret_path, size_t size);
// "tap eth0 in netns red-1", "packet socket on eth1", …
void port_spec_describe(const struct port_spec *s, char *ret_text, size_t size);
const char *port_spec_kind_name(const struct port_spec *s);
// Do both name the same kernel device, so that one's tap can become the other's?
bool port_spec_same_tap(const struct port_spec *a, const struct port_spec *b);
// The same name, but the device has to be made anew: another number of queues than one, or another
// address of the host.
bool port_spec_replaces_tap(const struct port_spec *a, const struct port_spec *b);
