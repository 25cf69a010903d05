// SPDX-License-Identifier: BSD-3-Clause
// Reads and chooses the tags of a frame: access, trunk with allowed list and native VLAN, priority
// tags (VID 0, IEEE 802.1Q §6.9), 802.1ad service tag around a trunk. Pure: called by the vlan
// ingress and egress stages on any worker. A frame that is not understood exactly is dropped: a
// guessed VLAN is somebody else's VLAN.
#include "vlan/tags.h"
#include "vlan/wire.h"

enum {
	VID_PRIORITY = 0, // "no VLAN, priority only"
	VID_RESERVED = 4095,
	PCP_SHIFT = 13,
};

static uint16_t tag_vid(const struct vlan_tags *tags, unsigned i)
{
	return tags->tci[i] & VLAN_VID_MASK;
}

static bool is_allowed(const struct vlan_port *port, uint16_t vid)
{
	return vid != VID_PRIORITY && vid < VID_RESERVED && port->allowed != NULL &&
	       (port->allowed[vid >> 3] & (1u << (vid & 7))) != 0;
}

static enum vlan_verdict access_ingress(const struct vlan_port *port, const struct vlan_tags *tags,
	uint16_t *ret_vid, uint8_t *ret_n_strip)
{
	if (tag_vid(tags, 0) != VID_PRIORITY)
		return VLAN_DROP_TAGGED_ON_ACCESS;
	if (tags->n > 1)
		return VLAN_DROP_TOO_MANY_TAGS;
	if (tags->tpid[0] != ETHTYPE_VLAN)
		return VLAN_DROP_BAD_OUTER;
	*ret_vid = port->access_vid;
	*ret_n_strip = tags->n;
	return VLAN_OK;
}

// Checks the service tag. ret_skip: how many tags of the frame are the provider's.
static enum vlan_verdict trunk_outer(
	const struct vlan_port *port, const struct vlan_tags *tags, uint8_t *ret_skip)
{
	bool has_outer = tags->n > 0 && tags->tpid[0] == ETHTYPE_QINQ;

	if (has_outer != (port->outer_vid != 0))
		return VLAN_DROP_BAD_OUTER;
	if (has_outer && tag_vid(tags, 0) != port->outer_vid)
		return VLAN_DROP_BAD_OUTER;
	*ret_skip = has_outer ? 1 : 0;
	return VLAN_OK;
}

static enum vlan_verdict trunk_ingress(const struct vlan_port *port, const struct vlan_tags *tags,
	uint16_t *ret_vid, uint8_t *ret_n_strip)
{
	uint8_t skip = 0;
	enum vlan_verdict v = trunk_outer(port, tags, &skip);
	uint16_t vid = VID_PRIORITY;

	if (v != VLAN_OK)
		return v;
	if (tags->n > skip + 1)
		return VLAN_DROP_TOO_MANY_TAGS;
	if (tags->n > skip) {
		if (tags->tpid[skip] != ETHTYPE_VLAN)
			return VLAN_DROP_BAD_OUTER;
		vid = tag_vid(tags, skip);
	}
	if (vid == VID_PRIORITY) {
		if (port->native_vid == 0)
			return VLAN_DROP_UNTAGGED_ON_TRUNK;
		vid = port->native_vid;
	} else if (vid == VID_RESERVED) {
		return VLAN_DROP_BAD_VID;
	} else if (vid == port->native_vid) {
		// Only one way into the native VLAN: a tagged one is how a frame hops VLANs.
		return VLAN_DROP_NATIVE_TAGGED;
	} else if (!is_allowed(port, vid)) {
		return VLAN_DROP_NOT_ALLOWED;
	}
	*ret_vid = vid;
	*ret_n_strip = tags->n;
	return VLAN_OK;
}

enum vlan_verdict vlan_tags_ingress_tagged(const struct vlan_port *port,
	const struct vlan_tags *tags, uint16_t *ret_vid, uint8_t *ret_n_strip)
{
	if (tags->n > 2)
		return VLAN_DROP_TOO_MANY_TAGS;
	if (port->mode == VLAN_MODE_TRUNK)
		return trunk_ingress(port, tags, ret_vid, ret_n_strip);
	return access_ingress(port, tags, ret_vid, ret_n_strip);
}

static void push(struct vlan_tags *tags, uint16_t tpid, uint16_t vid, uint8_t pcp)
{
	tags->tpid[tags->n] = tpid;
	tags->tci[tags->n] = (uint16_t)((pcp & 7) << PCP_SHIFT | vid);
	tags->n++;
}

enum vlan_verdict vlan_tags_egress_trunk(
	const struct vlan_port *port, uint16_t vid, uint8_t pcp, struct vlan_tags *ret_tags)
{
	struct vlan_tags tags = { .n = 0 };

	bool native = vid != 0 && vid == port->native_vid;
	if (!native && !is_allowed(port, vid))
		return VLAN_DROP_NOT_ALLOWED;
	if (port->outer_vid != 0)
		push(&tags, ETHTYPE_QINQ, port->outer_vid, pcp);
	if (!native)
		push(&tags, ETHTYPE_VLAN, vid, pcp);
	*ret_tags = tags;
	return VLAN_OK;
}

const char *vlan_verdict_name(enum vlan_verdict v)
{
	switch (v) {
	case VLAN_OK:
		return "ok";
	case VLAN_DROP_TAGGED_ON_ACCESS:
		return "tagged_on_access";
	case VLAN_DROP_UNTAGGED_ON_TRUNK:
		return "untagged_on_trunk";
	case VLAN_DROP_NOT_ALLOWED:
		return "not_allowed";
	case VLAN_DROP_BAD_VID:
		return "bad_vid";
	case VLAN_DROP_TOO_MANY_TAGS:
		return "too_many_tags";
	case VLAN_DROP_BAD_OUTER:
		return "bad_outer";
	case VLAN_DROP_NATIVE_TAGGED:
		return "native_tagged";
	case VLAN_VERDICT_COUNT:
		break;
	}
	return "unknown";
}
