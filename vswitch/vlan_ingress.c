// SPDX-License-Identifier: BSD-3-Clause
// Stage: which segment a frame is in. Takes the tags off, so that every later stage sees untagged
// Ethernet; sets segment and zone. Frames on uplinks are in the uplink's zone and in no segment.
#include "vswitch/pipeline.h"

static enum drop_reason reason_of(enum vlan_verdict v)
{
	switch (v) {
	case VLAN_OK:
		return DROP_NONE;
	case VLAN_DROP_TAGGED_ON_ACCESS:
		return DROP_VLAN_TAGGED_ON_ACCESS;
	case VLAN_DROP_UNTAGGED_ON_TRUNK:
		return DROP_VLAN_UNTAGGED_ON_TRUNK;
	case VLAN_DROP_NOT_ALLOWED:
		return DROP_VLAN_NOT_ALLOWED;
	case VLAN_DROP_BAD_VID:
		return DROP_VLAN_BAD_VID;
	case VLAN_DROP_TOO_MANY_TAGS:
		return DROP_VLAN_TOO_MANY_TAGS;
	case VLAN_DROP_BAD_OUTER:
		return DROP_VLAN_BAD_OUTER;
	case VLAN_DROP_NATIVE_TAGGED:
		return DROP_VLAN_NATIVE_TAGGED;
	case VLAN_VERDICT_COUNT:
		break;
	}
	return DROP_VLAN_BAD_VID;
}

// Removes the n outermost tags; every offset moves with them.
static void strip(struct rte_mbuf *m, struct packet *p, uint8_t n)
{
	uint16_t size = (uint16_t)(n * VLAN_TAG_SIZE);
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);

	if (n == 0)
		return;
	p->pcp = (uint8_t)(p->tci[n - 1] >> 13);
	memmove(data + size, data, 2 * sizeof(struct mac));
	rte_pktmbuf_adj(m, size);
	p->l3_off = (uint16_t)(p->l3_off - size);
	p->l4_off = (uint16_t)(p->l4_off - size);
	p->csum_start = (uint16_t)(p->csum_start - size);
	p->n_tags = 0;
}

// Tags, or a port that reads them.
static enum drop_reason tagged(
	const struct burst *b, const struct policy_prt *prt, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	const struct vlan_tags tags = {
		.n = p->n_tags, .tpid = { p->tpid[0], p->tpid[1] }, .tci = { p->tci[0], p->tci[1] }
	};
	enum vlan_verdict v;
	uint16_t vid;
	uint8_t n_strip;

	v = vlan_tags_ingress(&prt->vlan, &tags, &vid, &n_strip);
	if (v != VLAN_OK)
		return reason_of(v);
	if (n_strip < p->n_tags)
		return DROP_VLAN_TOO_MANY_TAGS;
	strip(m, p, n_strip);
	p->segment =
		prt->segment != POLICY_NO_SEGMENT ? prt->segment : b->policy->vlan_segment[vid];
	if (p->segment == POLICY_NO_SEGMENT)
		return DROP_VLAN_NO_SEGMENT;
	p->zone = b->policy->segments[p->segment].s->zone;
	return DROP_NONE;
}

static enum drop_reason vlan_ingress(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	const struct policy_prt *prt = policy_port(b->policy, p->in_port);

	if (unlikely(!prt))
		return DROP_PORT_NO_POLICY;
	p->zone = prt->zone;
	if (prt->uplink)
		return p->n_tags ? DROP_VLAN_TAGGED_ON_ACCESS : DROP_NONE;
	if (prt->segment == POLICY_NO_SEGMENT || unlikely(p->n_tags))
		return tagged(b, prt, m);
	p->segment = prt->segment;
	return DROP_NONE;
}

void stage_vlan_ingress(struct worker *w, struct burst *b)
{
	burst_filter(w, b, vlan_ingress);
}
