// SPDX-License-Identifier: BSD-3-Clause
// 802.1Q/802.1ad tags: which VLAN a frame belongs to on a port, and which tags it leaves with.
// Pure functions; called by the vlan ingress and egress stages on any worker.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum vlan_mode {
	VLAN_MODE_ACCESS, // untagged frames (and priority tags, VID 0) of one VLAN
	VLAN_MODE_TRUNK, // tagged frames of an allowed list, untagged ones in the native VLAN
	VLAN_MODE_COUNT
};

// How a port reads tags. Immutable; lives in a policy.
struct vlan_port {
	uint8_t mode; // enum vlan_mode
	uint16_t access_vid; // access: the VLAN of the port, 1..4094
	uint16_t native_vid; // trunk: VLAN of untagged frames; 0 = untagged frames are dropped
	uint16_t outer_vid; // trunk: 802.1ad S-tag around every frame; 0 = none
	const uint8_t *allowed; // trunk: 4096-bit map, bit (vid & 7) of byte vid >> 3
};

// What a frame carried, outermost first, as the parser found it.
struct vlan_tags {
	uint8_t n; // number of tags parsed: 0, 1, 2; 3 = three or more
	uint16_t tpid[2]; // host order
	uint16_t tci[2]; // host order
};

enum vlan_verdict {
	VLAN_OK,
	VLAN_DROP_TAGGED_ON_ACCESS, // a VID other than 0 on an access port
	VLAN_DROP_UNTAGGED_ON_TRUNK, // no native VLAN
	VLAN_DROP_NOT_ALLOWED, // VID not in the trunk's list
	VLAN_DROP_BAD_VID, // VID 0 where one is needed, or 4095
	VLAN_DROP_TOO_MANY_TAGS, // stacked tags this port does not take
	VLAN_DROP_BAD_OUTER, // S-tag missing, unexpected or of another provider VLAN
	VLAN_DROP_NATIVE_TAGGED, // native VLAN arriving tagged on a trunk (native-VLAN hop)
	VLAN_VERDICT_COUNT
};

// Decides the VLAN of an arriving frame.
// ret_vid: VLAN of the frame; ret_n_strip: how many of the outermost tags to remove. Both
// untouched unless VLAN_OK is returned. The frame inside the switch is always untagged.
static inline enum vlan_verdict vlan_tags_ingress(const struct vlan_port *port,
	const struct vlan_tags *tags, uint16_t *ret_vid, uint8_t *ret_n_strip);

// Decides the tags of a leaving frame of VLAN `vid`, priority `pcp` (0..7).
// ret_tags gets 0, 1 or 2 tags to push, outermost first; VLAN_DROP_NOT_ALLOWED if the VLAN is not
// on this port.
static inline enum vlan_verdict vlan_tags_egress(
	const struct vlan_port *port, uint16_t vid, uint8_t pcp, struct vlan_tags *ret_tags);

const char *vlan_verdict_name(enum vlan_verdict v);

// The rest of both, for all but untagged frames on access ports, which nearly every frame is.
enum vlan_verdict vlan_tags_ingress_tagged(const struct vlan_port *port,
	const struct vlan_tags *tags, uint16_t *ret_vid, uint8_t *ret_n_strip);
enum vlan_verdict vlan_tags_egress_trunk(
	const struct vlan_port *port, uint16_t vid, uint8_t pcp, struct vlan_tags *ret_tags);

static inline enum vlan_verdict vlan_tags_ingress(const struct vlan_port *port,
	const struct vlan_tags *tags, uint16_t *ret_vid, uint8_t *ret_n_strip)
{
	if (port->mode == VLAN_MODE_TRUNK || tags->n > 0)
		return vlan_tags_ingress_tagged(port, tags, ret_vid, ret_n_strip);
	*ret_vid = port->access_vid;
	*ret_n_strip = 0;
	return VLAN_OK;
}

static inline enum vlan_verdict vlan_tags_egress(
	const struct vlan_port *port, uint16_t vid, uint8_t pcp, struct vlan_tags *ret_tags)
{
	if (port->mode == VLAN_MODE_TRUNK)
		return vlan_tags_egress_trunk(port, vid, pcp, ret_tags);
	if (vid != port->access_vid || vid == 0)
		return VLAN_DROP_NOT_ALLOWED;
	ret_tags->n = 0;
	return VLAN_OK;
}
