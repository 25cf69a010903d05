// SPDX-License-Identifier: BSD-3-Clause
// Builds the policy workers read from validated sections: flat arrays and indices over all
// tenants. Called by the control thread for each commit; the result is immutable.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "vswitch/policy.h"

static uint32_t host_hash(uint32_t zone, be32 address)
{
	uint64_t h = ((uint64_t)zone << 32 | address) * 0x9e3779b97f4a7c15ull;

	return (uint32_t)(h >> 32);
}

const struct policy_prt *policy_host_port(const struct policy *pol, uint32_t zone, be32 address)
{
	if (pol->n_hosts == 0)
		return NULL;
	for (uint32_t i = host_hash(zone, address);; i++) {
		const struct policy_host *h = &pol->hosts[i & pol->hosts_mask];

		if (h->port == UINT32_MAX)
			return NULL;
		if (h->zone == zone && h->address == address)
			return &pol->ports[h->port];
	}
}

bool policy_is_inside(const struct policy *pol, uint32_t zone, be32 address)
{
	if (zone >= POLICY_MAX_SECTIONS)
		return false; // an uplink's
	for (uint32_t i = pol->tenant_segment[zone];
		i < pol->n_segments && pol->segments[i].s->zone == zone; i++)
		if (ipv4_in_prefix(
			    address, pol->segments[i].s->subnet, pol->segments[i].s->prefix_len))
			return true;
	return false;
}

uint32_t policy_segment_by_id(const struct policy *pol, uint32_t id)
{
	for (uint32_t i = 0; i < pol->n_segments; i++)
		if (pol->segments[i].s->id == id)
			return i;
	return POLICY_NO_SEGMENT;
}

const struct policy_prt *policy_uplink_of_zone(const struct policy *pol, uint32_t zone)
{
	// insulad numbers uplink zones by their port (0x80000000 | port id); the loader insists.
	const struct policy_prt *p =
		zone & 0x80000000u ? policy_port(pol, zone & 0x7fffffffu) : NULL;

	return p && p->uplink ? p : NULL;
}

static int host_add(
	struct policy *pol, uint32_t zone, be32 address, uint32_t port, char *err, size_t err_size)
{
	uint32_t i = host_hash(zone, address) & pol->hosts_mask;

	while (pol->hosts[i].port != UINT32_MAX) {
		if (pol->hosts[i].zone == zone && pol->hosts[i].address == address)
			return policy_refuse(err, err_size, "port %s: address is taken by port %s",
				pol->ports[port].p->name, pol->ports[pol->hosts[i].port].p->name);
		i = (i + 1) & pol->hosts_mask;
	}
	pol->hosts[i] = (struct policy_host){ zone, address, port };
	pol->n_hosts++;
	return 0;
}

static int add_segments(
	struct policy *pol, const struct policy_part *part, char *err, size_t err_size)
{
	pol->tenant_segment[part->raw->tenant] = pol->n_segments;
	for (uint32_t i = 0; i < part->raw->n_segments; i++) {
		const struct policy_segment *s = &part->segments[i];
		struct policy_seg *seg = &pol->segments[pol->n_segments];

		if (pol->vlan_segment[s->vlan] != POLICY_NO_SEGMENT)
			return policy_refuse(
				err, err_size, "segment %s: VLAN %u is taken", s->name, s->vlan);
		pol->vlan_segment[s->vlan] = pol->n_segments++;
		seg->s = s;
		seg->dhcp = (struct dhcp4_config){
			.server_ip = s->gateway,
			.server_mac = s->gateway_mac,
			.subnet = s->subnet,
			.prefix_len = s->prefix_len,
			.router = s->gateway,
			.mtu = s->mtu,
			.n_dns = s->n_dns,
			.lease_s = s->lease_s,
		};
		memcpy(seg->dhcp.dns, s->dns, sizeof(seg->dhcp.dns));
	}
	return 0;
}

// Ids of segments are looked up among the part's own: a port cannot name another tenant's.
static uint32_t own_segment(
	const struct policy *pol, const struct policy_part *part, uint32_t first, uint32_t id)
{
	for (uint32_t i = 0; i < part->raw->n_segments; i++)
		if (pol->segments[first + i].s->id == id)
			return first + i;
	return POLICY_NO_SEGMENT;
}

static int add_port(struct policy *pol, const struct policy_part *part, uint32_t first_segment,
	const struct policy_port *p, char *err, size_t err_size)
{
	uint32_t index = pol->n_ports;
	struct policy_prt *prt = &pol->ports[index];

	if (pol->port[p->id])
		return policy_refuse(err, err_size, "port %s: id %u is taken", p->name, p->id);
	*prt = (struct policy_prt){
		.p = p, .segment = POLICY_NO_SEGMENT, .revision = (uint32_t)part->revision
	};
	if (p->mode == POLICY_PORT_ACCESS) {
		prt->segment = own_segment(pol, part, first_segment, p->segment);
		if (prt->segment == POLICY_NO_SEGMENT)
			return policy_refuse(
				err, err_size, "port %s: no segment %u", p->name, p->segment);
		prt->vlan.mode = VLAN_MODE_ACCESS;
		prt->vlan.access_vid = pol->segments[prt->segment].s->vlan;
		prt->zone = pol->segments[prt->segment].s->zone;
	} else if (p->mode == POLICY_PORT_TRUNK) {
		const struct policy_trunk *t = &part->trunks[p->trunk];

		prt->vlan = (struct vlan_port){ .mode = VLAN_MODE_TRUNK,
			.native_vid = t->native_vid,
			.outer_vid = t->outer_vid,
			.allowed = t->allowed };
	} else {
		prt->uplink = &part->uplinks[p->uplink];
		prt->zone = prt->uplink->zone;
		if (prt->uplink->zone != (0x80000000u | p->id))
			return policy_refuse(
				err, err_size, "uplink %s: zone is not its port's", p->name);
	}
	pol->n_ports++;
	pol->port[p->id] = prt;
	if (p->mode != POLICY_PORT_ACCESS || !p->address)
		return 0;
	return host_add(pol, pol->segments[prt->segment].s->zone, p->address, index, err, err_size);
}

static bool carries(const struct policy_prt *prt, uint32_t segment, uint16_t vlan)
{
	if (prt->p->mode == POLICY_PORT_ACCESS)
		return prt->segment == segment;
	if (prt->p->mode != POLICY_PORT_TRUNK)
		return false;
	return prt->vlan.native_vid == vlan || (prt->vlan.allowed[vlan >> 3] >> (vlan & 7) & 1);
}

// Counting sort of ports by segment; trunks (few) are in every segment they carry.
static int add_members(struct policy *pol)
{
	uint32_t n = 0, next = 0, n_trunks = 0;
	uint32_t *trunks = calloc(pol->n_ports + 1, sizeof(*trunks));

	if (!trunks)
		return -ENOMEM;
	for (uint32_t i = 0; i < pol->n_ports; i++) {
		if (pol->ports[i].p->mode == POLICY_PORT_TRUNK)
			trunks[n_trunks++] = i;
		else if (pol->ports[i].segment != POLICY_NO_SEGMENT)
			pol->segments[pol->ports[i].segment].n_members++;
	}
	for (uint32_t s = 0; s < pol->n_segments; s++)
		for (uint32_t t = 0; t < n_trunks; t++)
			if (carries(&pol->ports[trunks[t]], s, pol->segments[s].s->vlan))
				pol->segments[s].n_members++;
	for (uint32_t s = 0; s < pol->n_segments; s++) {
		pol->segments[s].first_member = next;
		next += pol->segments[s].n_members;
		pol->segments[s].n_members = 0;
	}
	n = next;
	pol->members = calloc(n + 1, sizeof(*pol->members));
	if (!pol->members) {
		free(trunks);
		return -ENOMEM;
	}
	pol->n_members = n;
	for (uint32_t i = 0; i < pol->n_ports; i++) {
		struct policy_seg *seg;

		if (pol->ports[i].segment == POLICY_NO_SEGMENT)
			continue;
		seg = &pol->segments[pol->ports[i].segment];
		pol->members[seg->first_member + seg->n_members++] = (uint16_t)pol->ports[i].p->id;
	}
	for (uint32_t s = 0; s < pol->n_segments; s++)
		for (uint32_t t = 0; t < n_trunks; t++) {
			struct policy_seg *seg = &pol->segments[s];

			if (carries(&pol->ports[trunks[t]], s, seg->s->vlan))
				pol->members[seg->first_member + seg->n_members++] =
					(uint16_t)pol->ports[trunks[t]].p->id;
		}
	free(trunks);
	return 0;
}

static int allocate(struct policy *pol, uint32_t n_segments, uint32_t n_ports)
{
	uint32_t slots = 16;

	while (slots < 2 * n_ports)
		slots *= 2;
	pol->segments = calloc(n_segments + 1, sizeof(*pol->segments));
	pol->ports = calloc(n_ports + 1, sizeof(*pol->ports));
	pol->hosts = malloc(slots * sizeof(*pol->hosts));
	if (!pol->segments || !pol->ports || !pol->hosts)
		return -ENOMEM;
	pol->hosts_mask = slots - 1;
	for (uint32_t i = 0; i < slots; i++)
		pol->hosts[i].port = UINT32_MAX;
	for (uint32_t i = 0; i < 4096; i++)
		pol->vlan_segment[i] = POLICY_NO_SEGMENT;
	return 0;
}

int policy_build(const struct policy_root *root, struct policy_part **parts, struct policy **ret,
	char *err, size_t err_size)
{
	struct policy *pol = calloc(1, sizeof(*pol));
	uint32_t n_segments = 0, n_ports = 0;
	int r = -ENOMEM;

	if (!pol)
		return -ENOMEM;
	pol->generation = root->generation;
	pol->parts = calloc(root->n_sections + 1, sizeof(struct policy_part *));
	if (!pol->parts)
		goto fail;
	for (uint32_t i = 0; i < root->n_sections; i++) {
		n_segments += parts[i]->raw->n_segments;
		n_ports += parts[i]->raw->n_ports;
		pol->parts[i] = parts[i];
		parts[i]->refs++;
		pol->n_parts++;
	}
	if (n_segments > POLICY_MAX_SEGMENTS || n_ports > POLICY_MAX_PORTS) {
		r = policy_refuse(err, err_size, "%u segments and %u ports are too many",
			n_segments, n_ports);
		goto fail;
	}
	r = allocate(pol, n_segments, n_ports);
	for (uint32_t i = 0; r == 0 && i < root->n_sections; i++) {
		uint32_t first = pol->n_segments;

		r = add_segments(pol, parts[i], err, err_size);
		for (uint32_t k = 0; r == 0 && k < parts[i]->raw->n_ports; k++)
			r = add_port(pol, parts[i], first, &parts[i]->ports[k], err, err_size);
	}
	if (r == 0)
		r = policy_check(pol, err, err_size);
	if (r == 0)
		r = add_members(pol);
	if (r < 0)
		goto fail;
	*ret = pol;
	return 0;
fail:
	policy_free(pol);
	return r;
}

void policy_free(struct policy *pol)
{
	if (!pol)
		return;
	for (uint32_t i = 0; i < pol->n_parts; i++)
		policy_part_unref(pol->parts[i]);
	free(pol->parts);
	free(pol->segments);
	free(pol->ports);
	free(pol->members);
	free(pol->hosts);
	free(pol);
}

const struct policy *policy_empty(void)
{
	static const struct policy empty;

	return &empty;
}
