// SPDX-License-Identifier: BSD-3-Clause
// The policy in force, as workers read it: immutable once published by a release store of
// switch.policy, freed after a grace period (deferred QSBR). Built by policy_load.c from the
// sections insulad sends; sections that did not change are shared with the previous policy.
#pragma once

#include "control/policy.h"
#include "dhcp/dhcp4.h"
#include "vlan/tags.h"

#define POLICY_NO_SEGMENT UINT32_MAX

// One validated section: a private copy, never guest or shared memory. Control thread counts
// references.
struct policy_part {
	uint32_t refs;
	uint64_t revision;
	uint8_t hash[POLICY_HASH_SIZE];
	const struct policy_section *raw; // malloc'ed, raw->size bytes
	const struct policy_segment *segments;
	const struct policy_port *ports;
	const struct policy_trunk *trunks;
	const struct policy_uplink *uplinks;
};

struct policy_seg {
	const struct policy_segment *s;
	uint32_t first_member,
		n_members; // in policy.members: ids of the ports that carry this segment
	struct dhcp4_config dhcp;
};

struct policy_prt {
	const struct policy_port *p;
	const struct policy_uplink *uplink; // uplink ports only
	struct vlan_port vlan;
	uint32_t segment; // index into policy.segments; POLICY_NO_SEGMENT for trunks and uplinks
	uint32_t zone; // of that segment, or the uplink's own; 0 for trunks
	uint32_t revision; // of its section, truncated: what sessions record
};

struct policy_host { // a configured guest address: where a routed packet for it goes
	uint32_t zone;
	be32 address;
	uint32_t port; // index into policy.ports
};

struct policy {
	uint64_t generation;
	uint8_t root_hash[POLICY_HASH_SIZE];
	uint32_t n_parts, n_segments, n_ports, n_members, n_hosts, hosts_mask;
	struct policy_part **parts;
	struct policy_seg *segments;
	struct policy_prt *ports;
	uint16_t *members;
	struct policy_host *hosts; // open-addressed by (zone, address); port UINT32_MAX = empty
	uint32_t vlan_segment[4096]; // VLAN -> segment index or POLICY_NO_SEGMENT
	uint32_t tenant_segment[POLICY_MAX_SECTIONS]; // tenant -> its first segment; others follow
	const struct policy_prt *port[POLICY_MAX_PORT_ID + 1]; // by id; NULL = unknown
};

// The policy of a port, or NULL.
static inline const struct policy_prt *policy_port(const struct policy *pol, uint32_t port_id)
{
	return port_id <= POLICY_MAX_PORT_ID ? pol->port[port_id] : NULL;
}

// The port whose guest owns `address` in `zone`, or NULL.
const struct policy_prt *policy_host_port(const struct policy *pol, uint32_t zone, be32 address);
// Is the address in one of the subnets of the tenant whose zone this is?
bool policy_is_inside(const struct policy *pol, uint32_t zone, be32 address);
// Index of the segment with this id, POLICY_NO_SEGMENT if there is none. Linear: control thread
// only.
uint32_t policy_segment_by_id(const struct policy *pol, uint32_t id);
// The uplink port whose zone this is, or NULL.
const struct policy_prt *policy_uplink_of_zone(const struct policy *pol, uint32_t zone);

// Builds a policy from a root and its parts (in the root's order; a reference is taken on each).
// -EINVAL with a sentence in err when parts contradict each other.
int policy_build(const struct policy_root *root, struct policy_part **parts, struct policy **ret,
	char *err, size_t err_size);
// The last step of policy_build: do the parts contradict each other? 0, -EINVAL with a sentence,
// -ENOMEM.
int policy_check(const struct policy *pol, char *err, size_t err_size);
void policy_free(struct policy *pol);
const struct policy *policy_empty(void); // generation 0: knows no port

// Validates one section's bytes and copies them. -EINVAL with a sentence, -ENOMEM.
int policy_part_load(
	const void *data, size_t size, struct policy_part **ret, char *err, size_t err_size);
void policy_part_unref(struct policy_part *part);
// Validates a root's bytes: 0 or -EINVAL with a sentence.
int policy_root_check(const void *data, size_t size, char *err, size_t err_size);
// Writes the sentence and returns -EINVAL.
__attribute__((format(printf, 3, 4))) int policy_refuse(
	char *err, size_t err_size, const char *format, ...);
