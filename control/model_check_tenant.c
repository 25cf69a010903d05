// SPDX-License-Identifier: BSD-3-Clause
// A tenant's networks, instances and nics: names, addresses, subnets, keys against the nic's type,
// and what a network cannot serve. Called by model_check.c, main thread.
#include "control/model_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Without an address of its own in the subnet the switch cannot be a DHCP server (RFC 2131 section
// 4.3.1: the server identifier), let alone a router: what only these use would never be served.
static void check_gateway(struct checker *c, const struct yaml_node *n)
{
	static const char *const keys[] = { "pool", "dns", "lease", "snat" };

	if (yaml_has(n, "gateway"))
		return;
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (yaml_get(n, keys[i]) != NULL)
			report(c->r, line_of(n, keys[i]),
				"%s in a network without gateway%s; a gateway, or no %s", keys[i],
				i < 3 ? ", where nobody answers DHCP" : "", keys[i]);
}

static void check_pool(
	struct checker *c, const struct model_network *net, const struct yaml_node *n)
{
	int line = line_of(n, "pool");

	if (net->pool_first == 0)
		return;
	if (!check_host(c, line, "pool's first", net->pool_first, net->subnet, net->prefix_len) ||
		!check_host(c, line, "pool's last", net->pool_last, net->subnet, net->prefix_len))
		return;
	if (ntohl(net->gateway) >= ntohl(net->pool_first) &&
		ntohl(net->gateway) <= ntohl(net->pool_last))
		report(c->r, line, "pool contains the gateway %s; a range without it",
			addr(net->gateway).s);
}

// What the uplink reaches directly and the network has too, guests could not reach.
static void check_snat_overlap(struct checker *c, const struct model_network *net,
	const struct model_uplink *u, const struct yaml_node *n)
{
	if (net->prefix_len == 0 || u->address == 0 ||
		!prefixes_overlap(net->subnet, net->prefix_len, u->address, u->prefix_len))
		return;
	report(c->r, line_of(n, "subnet"),
		"subnet %s overlaps %s of its uplink %s in line %d; allowed: one disjoint from it",
		cidr(net->subnet, net->prefix_len).s, cidr(u->address, u->prefix_len).s, u->name,
		u->line);
}

static void report_no_uplink(
	struct checker *c, const struct model_network *net, const struct yaml_node *n)
{
	struct names names = { "" };

	for (unsigned i = 0; i < c->m->n_uplinks; i++)
		add_name(&names, c->m->uplinks[i].name);
	report(c->r, line_of(n, "snat"), "snat names no uplink: \"%s\"; the name of one%s",
		net->snat, c->m->n_uplinks == 0 ? " (the file has none)" : names.s);
}

static void check_network(
	struct checker *c, const struct model_network *net, const struct yaml_node *n)
{
	const struct seen_entry *twin = NULL, *uplink;

	c->n_segments++;
	if (net->vlan != 0)
		twin = seen_add(&c->vlans, line_of(n, "vlan"), 0, "%u", net->vlan);
	if (twin != NULL)
		report(c->r, line_of(n, "vlan"),
			"vlan %u is used twice, first in line %d; one network per VLAN on the host",
			net->vlan, twin->line);
	check_host(c, line_of(n, "gateway"), "gateway", net->gateway, net->subnet, net->prefix_len);
	check_gateway(c, n);
	check_pool(c, net, n);
	if (net->snat[0] == '\0')
		return;
	uplink = seen_find(&c->uplinks, net->snat);
	if (uplink == NULL)
		report_no_uplink(c, net, n);
	else
		check_snat_overlap(c, net, &c->m->uplinks[uplink->index], n);
}

struct range {
	uint32_t first, last;
	const struct model_network *net;
	int line;
};

static int by_first(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return x->line < y->line ? -1 : 1;
}

// Subnets are nested or disjoint, so one walk in order of address finds every overlap.
static void check_overlaps(
	struct checker *c, const struct model_tenant *t, const struct yaml_node *n)
{
	struct range *v = calloc(t->n_networks + 1, sizeof(*v));
	const struct range *outer = v;
	unsigned count = 0;

	if (v == NULL) {
		c->r->no_memory = true;
		return;
	}
	for (unsigned i = 0; i < t->n_networks; i++, n = n->next) {
		const struct model_network *net = &t->networks[i];
		uint32_t first = ntohl(net->subnet);

		if (net->prefix_len != 0)
			v[count++] = (struct range){ first, first | ~ipv4_mask(net->prefix_len),
				net, line_of(n, "subnet") };
	}
	qsort(v, count, sizeof(*v), by_first);
	for (unsigned i = 1; i < count; i++) {
		if (v[i].first > outer->last) {
			outer = &v[i];
			continue;
		}
		report(c->r, v[i].line,
			"subnet %s overlaps %s of network %s in line %d; disjoint ones within a "
			"tenant",
			cidr(v[i].net->subnet, v[i].net->prefix_len).s,
			cidr(outer->net->subnet, outer->net->prefix_len).s, outer->net->name,
			outer->line);
	}
	free(v);
}

// Which keys a nic's type has, and which it needs; bits by enum model_nic_type.
static const struct {
	const char *key;
	unsigned types, needed_by;
	const char *belongs;
} nic_keys[] = {
	{ "interface", 1u << MODEL_NIC_TAP | 1u << MODEL_NIC_VHOST_USER | 1u << MODEL_NIC_PACKET,
		1u << MODEL_NIC_PACKET, "type tap, vhost-user or packet" },
	{ "netns", 1u << MODEL_NIC_TAP | 1u << MODEL_NIC_VHOST_USER, 0, "type tap or vhost-user" },
	{ "socket", 1u << MODEL_NIC_VHOST_USER, 0, "type vhost-user" },
	{ "server", 1u << MODEL_NIC_VHOST_USER, 0, "type vhost-user" },
	{ "devargs", 1u << MODEL_NIC_ETHDEV, 1u << MODEL_NIC_ETHDEV, "type ethdev" },
};

static void check_nic_type(struct checker *c, const struct model_instance *in,
	const struct model_nic *nic, const struct yaml_node *n)
{
	static const char *const words[] = { "tap", "vhost-user", "packet", "ethdev" };
	const char *type = words[nic->type];

	if (n->kind != YAML_MAP || (yaml_has(n, "type") && !says(n, "type", type)))
		return;
	if (in->kind == MODEL_INSTANCE_VM) {
		check_vm_nic(c, nic, n);
		return;
	}
	for (unsigned i = 0; i < sizeof(nic_keys) / sizeof(nic_keys[0]); i++) {
		bool there = yaml_get(n, nic_keys[i].key) != NULL;

		if (there && (nic_keys[i].types & 1u << nic->type) == 0)
			report(c->r, line_of(n, nic_keys[i].key),
				"%s does not go with type %s; allowed: with %s", nic_keys[i].key,
				type, nic_keys[i].belongs);
		if (!yaml_has(n, nic_keys[i].key) && (nic_keys[i].needed_by & 1u << nic->type) != 0)
			report(c->r, n->line, "%s is missing; a nic of type %s needs it",
				nic_keys[i].key, type);
	}
	if (nic->type == MODEL_NIC_TAP && !yaml_has(n, "interface") && !yaml_has(n, "netns"))
		report(c->r, n->line,
			"interface is missing; the tap's name in the host, unless netns is given");
	check_device(c, n, nic->netns, nic->interface);
	if (nic->type == MODEL_NIC_PACKET)
		check_wire(c, n, nic->interface);
	check_once(c, &c->sockets, n, "socket", nic->socket);
	check_vhost_places(c, n, nic);
	check_devargs(c, n, nic->devargs, DEVARGS_NIC);
}

// `pool`: the network's file has the key. A range that could not be read is a mistake by itself.
static void check_nic_address(struct checker *c, const struct model_nic *nic,
	const struct model_network *net, bool pool, const struct yaml_node *n)
{
	int line = line_of(n, "address");

	if (nic->clients_many) {
		if (nic->address != 0)
			report(c->r, line,
				"address on a nic with clients: many; they get theirs from the "
				"pool");
		if (!pool)
			report(c->r, line_of(n, "clients"),
				"clients: many in network %s, which has no pool; a network with "
				"one",
				net->name);
		return;
	}
	if (check_host(c, line, "address", nic->address, net->subnet, net->prefix_len) &&
		nic->address == net->gateway)
		report(c->r, line, "address %s is the gateway's; another one of %s",
			addr(nic->address).s, cidr(net->subnet, net->prefix_len).s);
}

// Addresses and MACs are unique in a network: `used` is the tenant's, so the network's index is
// part of the key.
static void check_nic_unique(struct checker *c, const struct model_nic *nic, struct seen *used,
	unsigned net, const char *net_name, const struct yaml_node *n)
{
	const struct seen_entry *twin = NULL;
	const struct mac *m = &nic->mac;

	if (nic->address != 0)
		twin = seen_add(
			used, line_of(n, "address"), 0, "%u/%08x", net, ntohl(nic->address));
	if (twin != NULL)
		report(c->r, line_of(n, "address"),
			"address %s is used twice in network %s, first in line %d; one nic per "
			"address",
			addr(nic->address).s, net_name, twin->line);
	twin = NULL;
	if (!mac_is_zero(m))
		twin = seen_add(used, line_of(n, "mac"), 0, "%u/%02x%02x%02x%02x%02x%02x", net,
			m->b[0], m->b[1], m->b[2], m->b[3], m->b[4], m->b[5]);
	if (twin != NULL)
		report(c->r, line_of(n, "mac"),
			"mac %02x:%02x:%02x:%02x:%02x:%02x is used twice in network %s, "
			"first in line %d; one nic per MAC",
			m->b[0], m->b[1], m->b[2], m->b[3], m->b[4], m->b[5], net_name, twin->line);
}

static void report_no_network(struct checker *c, const struct model_tenant *t,
	const struct model_nic *nic, const struct yaml_node *n)
{
	struct names names = { "" };

	for (unsigned i = 0; i < t->n_networks; i++)
		add_name(&names, t->networks[i].name);
	report(c->r, line_of(n, "network"),
		"tenant %s has no network \"%s\"; the name of one of its own networks%s", t->name,
		nic->network, t->n_networks == 0 ? " (it has none)" : names.s);
}

// The networks of a tenant: their names, and the nodes they were read from.
struct networks {
	struct seen names;
	const struct yaml_node *first;
};

static bool has_pool(const struct networks *networks, unsigned index)
{
	const struct yaml_node *n = networks->first;

	while (index-- > 0)
		n = n->next;
	return yaml_has(n, "pool");
}

static bool has_nameless(const struct model_tenant *t)
{
	for (unsigned i = 0; i < t->n_networks; i++)
		if (t->networks[i].name[0] == '\0')
			return true;
	return false;
}

static void check_nic(struct checker *c, const struct model_tenant *t,
	const struct networks *networks, struct seen *used, const struct model_instance *in,
	const struct model_nic *nic, const struct yaml_node *n)
{
	const struct seen_entry *net;

	c->n_ports++;
	check_nic_type(c, in, nic, n);
	if (nic->network[0] == '\0')
		return;
	net = seen_find(&networks->names, nic->network);
	if (net == NULL) {
		if (!has_nameless(t)) // it may be that one
			report_no_network(c, t, nic, n);
		return;
	}
	check_nic_address(c, nic, &t->networks[net->index],
		nic->clients_many && has_pool(networks, net->index), n);
	check_nic_unique(c, nic, used, net->index, nic->network, n);
}

static void check_instance(struct checker *c, const struct model_tenant *t,
	const struct networks *networks, struct seen *used, const struct model_instance *in,
	const struct yaml_node *n)
{
	const struct yaml_node *child = first_of(n, "nics");
	struct seen names = { .r = c->r };

	check_vm(c, in, n);

	for (unsigned i = 0; i < in->n_nics; i++, child = child->next) {
		const struct model_nic *nic = &in->nics[i];

		check_nic(c, t, networks, used, in, nic, child);
		check_name(c, &names, child, nic->name, i);
		if (strlen(in->name) + 1 + strlen(nic->name) >= POLICY_NAME_SIZE)
			report(c->r, line_of(child, "name"),
				"the port's name %s.%s is too long; INSTANCE.NIC of at most %d "
				"characters",
				in->name, nic->name, POLICY_NAME_SIZE - 1);
	}
	seen_free(&names);
}

void check_tenant(
	struct checker *c, const struct model_tenant *t, const struct yaml_node *n, unsigned index)
{
	struct networks networks = { { .r = c->r }, first_of(n, "networks") };
	struct seen instances = { .r = c->r }, used = { .r = c->r };
	const struct yaml_node *child;

	check_name(c, &c->tenants, n, t->name, index);
	child = networks.first;
	for (unsigned i = 0; i < t->n_networks; i++, child = child->next) {
		check_name(c, &networks.names, child, t->networks[i].name, i);
		check_network(c, &t->networks[i], child);
	}
	check_overlaps(c, t, networks.first);
	child = first_of(n, "instances");
	for (unsigned i = 0; i < t->n_instances; i++, child = child->next) {
		check_name(c, &instances, child, t->instances[i].name, i);
		check_instance(c, t, &networks, &used, &t->instances[i], child);
	}
	seen_free(&networks.names);
	seen_free(&instances);
	seen_free(&used);
}
