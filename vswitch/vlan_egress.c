// SPDX-License-Identifier: BSD-3-Clause
// Stage: puts the tags on that the way out wants, and makes sure that a frame never leaves on a
// port that does not carry its segment. Replicated frames get theirs copy by copy in tx. Workers.
#include "vswitch/vlan_egress.h"

// Makes room for the tags behind the MACs; every offset moves with them.
static enum drop_reason push(struct rte_mbuf *m, const struct vlan_tags *tags)
{
	struct packet *p = packet_of(m);
	uint16_t size = (uint16_t)(tags->n * VLAN_TAG_SIZE);
	uint8_t *data;

	data = (uint8_t *)rte_pktmbuf_prepend(m, size);
	if (!data)
		return DROP_NO_MEMORY;
	memmove(data, data + size, 2 * sizeof(struct mac));
	for (uint8_t i = 0; i < tags->n; i++) {
		struct vlan_tag tag = { htons(tags->tpid[i]), htons(tags->tci[i]) };

		memcpy(data + 2 * sizeof(struct mac) + i * sizeof(tag), &tag, sizeof(tag));
	}
	p->l3_off = (uint16_t)(p->l3_off + size);
	p->l4_off = (uint16_t)(p->l4_off + size);
	p->csum_start = (uint16_t)(p->csum_start + size);
	return DROP_NONE;
}

enum drop_reason vlan_egress_trunk(
	const struct burst *b, const struct policy_prt *out, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	const struct policy_seg *seg = packet_segment(b, p);
	struct vlan_tags tags;

	if (!seg || vlan_tags_egress(&out->vlan, seg->s->vlan, p->pcp, &tags) != VLAN_OK)
		return DROP_TX_VLAN;
	return tags.n ? push(m, &tags) : DROP_NONE;
}

static enum drop_reason egress(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);

	if (p->flags & PACKET_FLOOD)
		return DROP_NONE;
	return vlan_egress(b, policy_port(b->policy, p->out_port), m);
}

void stage_vlan_egress(struct worker *w, struct burst *b)
{
	burst_filter(w, b, egress);
}
