// SPDX-License-Identifier: BSD-3-Clause
// The mistakes that need more than one value to be seen: duplicates, references, addresses against
// their subnet, keys against the type. Every duplicate is one look-up in a tree, so that 10,000
// ports cost milliseconds. Called by model_from_yaml with the tree the model was read from; a value
// that could not be read is zero here and is not judged again.
#include "control/model_yaml.h"

#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A set of names in one scope, each with the line it was first seen in.
struct seen {
	void *root; // of tsearch
	struct report *r;
};

struct seen_entry {
	int line;
	unsigned index;
	char key[];
};

struct checker {
	const struct model *m;
	struct report *r;
	struct seen uplinks, host_ports, tenants, vlans, interfaces, sockets, devargs;
	unsigned n_ports, n_segments;
};

// The two ways of writing an address, for messages.
struct text {
	char s[32];
};

// Behind a message: ": red, blue".
struct names {
	char s[200];
};

static void check_uplinks(struct checker *c, const struct yaml_node *n);
static void check_trunks(struct checker *c, const struct yaml_node *n);
static void check_tenant(
	struct checker *c, const struct model_tenant *t, const struct yaml_node *n, unsigned index);

static void seen_free(struct seen *s)
{
	tdestroy(s->root, free);
}

static int seen_compare(const void *a, const void *b)
{
	const struct seen_entry *x = a, *y = b;

	return strcmp(x->key, y->key);
}

// Enters a key; returns the entry that was there already, else NULL.
static const struct seen_entry *seen_add(struct seen *s, int line, unsigned index,
	const char *format, ...) __attribute__((format(printf, 4, 5)));
static const struct seen_entry *seen_add(
	struct seen *s, int line, unsigned index, const char *format, ...)
{
	struct seen_entry *e, **found;
	char key[320];
	va_list ap;

	va_start(ap, format);
	vsnprintf(key, sizeof(key), format, ap);
	va_end(ap);
	e = malloc(sizeof(*e) + strlen(key) + 1);
	found = NULL;
	if (e != NULL) {
		*e = (struct seen_entry){ .line = line, .index = index };
		strcpy(e->key, key);
		found = tsearch(e, &s->root, seen_compare);
	}
	if (found == NULL) {
		free(e);
		s->r->no_memory = true;
		return NULL;
	}
	if (*found == e)
		return NULL;
	free(e);
	return *found;
}

static const struct seen_entry *seen_find(const struct seen *s, const char *key)
{
	_Alignas(struct seen_entry) char buf[sizeof(struct seen_entry) + 320];
	struct seen_entry *e = (void *)buf, **found;

	if (strlen(key) >= 320)
		return NULL;
	strcpy(e->key, key);
	found = tfind(e, (void *const *)&s->root, seen_compare);
	return found != NULL ? *found : NULL;
}

// The line a key's value stands in, else the object's own.
static int line_of(const struct yaml_node *map, const char *key)
{
	const struct yaml_node *n = yaml_get(map, key);

	return n != NULL ? n->key_line : map->line;
}

static const struct yaml_node *first_of(const struct yaml_node *map, const char *key)
{
	const struct yaml_node *n = yaml_get(map, key);

	return n != NULL ? n->first : NULL;
}

static struct text addr(be32 a)
{
	struct text t;

	inet_ntop(AF_INET, &a, t.s, sizeof(t.s));
	return t;
}

static struct text cidr(be32 a, uint8_t prefix_len)
{
	struct text t = addr(a & htonl(ipv4_mask(prefix_len)));
	size_t n = strlen(t.s);

	snprintf(t.s + n, sizeof(t.s) - n, "/%u", prefix_len);
	return t;
}

static void check_name(struct checker *c, struct seen *s, const struct yaml_node *n,
	const char *name, unsigned index)
{
	const struct seen_entry *twin;
	int line = line_of(n, "name");

	if (name[0] == '\0')
		return;
	twin = seen_add(s, line, index, "%s", name);
	if (twin != NULL)
		report(c->r, line,
			"the name \"%s\" is used twice, first in line %d; each name once", name,
			twin->line);
}

// Two users of one kernel interface, socket or device would take it from each other.
static void check_device(
	struct checker *c, const struct yaml_node *n, const char *netns, const char *interface)
{
	const struct seen_entry *twin;
	int line = line_of(n, "interface");

	if (interface[0] == '\0')
		return;
	twin = seen_add(&c->interfaces, line, 0, "%s/%s", netns, interface);
	if (twin != NULL)
		report(c->r, line,
			"interface \"%s\"%s%s is used twice, first in line %d; one port per "
			"interface",
			interface, netns[0] != '\0' ? " in netns " : "", netns, twin->line);
}

static void check_once(struct checker *c, struct seen *s, const struct yaml_node *n,
	const char *key, const char *value)
{
	const struct seen_entry *twin;
	int line = line_of(n, key);

	if (value[0] == '\0')
		return;
	twin = seen_add(s, line, 0, "%s", value);
	if (twin != NULL)
		report(c->r, line, "%s \"%s\" is used twice, first in line %d; one port each", key,
			value, twin->line);
}

static bool prefixes_overlap(be32 a, uint8_t a_len, be32 b, uint8_t b_len)
{
	return ipv4_in_prefix(a, b, a_len < b_len ? a_len : b_len);
}

// Can a host of this subnet have that address?
static bool check_host(
	struct checker *c, int line, const char *key, be32 address, be32 subnet, uint8_t prefix_len)
{
	uint32_t host = ntohl(address) & ~ipv4_mask(prefix_len);
	const char *what = NULL;

	if (address == 0 || prefix_len == 0)
		return false;
	if (!ipv4_in_prefix(address, subnet, prefix_len))
		what = "is outside";
	else if (host == 0)
		what = "is the network address of";
	else if (host == (uint32_t)~ipv4_mask(prefix_len))
		what = "is the broadcast address of";
	if (what == NULL)
		return true;
	report(c->r, line, "%s %s %s %s; allowed: %s to %s", key, addr(address).s, what,
		cidr(subnet, prefix_len).s,
		addr(htonl((ntohl(subnet) & ipv4_mask(prefix_len)) + 1)).s,
		addr(htonl((ntohl(subnet) | ~ipv4_mask(prefix_len)) - 1)).s);
	return false;
}

void model_check(const struct model *m, const struct yaml_node *root, struct report *r)
{
	struct checker c = { .m = m, .r = r };
	struct seen *all[] = { &c.uplinks, &c.host_ports, &c.tenants, &c.vlans, &c.interfaces,
		&c.sockets, &c.devargs };
	const struct yaml_node *n = first_of(root, "tenants");

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		all[i]->r = r;
	check_uplinks(&c, root);
	check_trunks(&c, root);
	for (unsigned t = 0; t < m->n_tenants; t++, n = n->next)
		check_tenant(&c, &m->tenants[t], n, t);
	if (c.n_ports > POLICY_MAX_PORTS)
		report(r, line_of(root, "tenants"),
			"%u ports (nics, uplinks and trunks); at most %d", c.n_ports,
			POLICY_MAX_PORTS);
	if (c.n_segments > POLICY_MAX_SEGMENTS)
		report(r, line_of(root, "tenants"), "%u networks; at most %d", c.n_segments,
			POLICY_MAX_SEGMENTS);
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		seen_free(all[i]);
}

static bool says(const struct yaml_node *map, const char *key, const char *word)
{
	const struct yaml_node *n = yaml_get(map, key);

	return n != NULL && n->kind == YAML_SCALAR && strcmp(n->text, word) == 0;
}

static void check_uplink_mode(
	struct checker *c, const struct model_uplink *u, const struct yaml_node *n)
{
	if (says(n, "mode", "nat")) {
		if (yaml_get(n, "devargs") != NULL)
			report(c->r, line_of(n, "devargs"),
				"devargs does not go with mode nat; allowed: with mode routed");
		if ((u->address == 0) != (u->gateway == 0))
			report(c->r, n->line,
				"only one of address and gateway; both or, for the default, "
				"neither");
	} else if (says(n, "mode", "routed")) {
		if (yaml_get(n, "interface") == NULL && yaml_get(n, "devargs") == NULL)
			report(c->r, n->line,
				"interface is missing; an uplink of mode routed needs interface or "
				"devargs");
		if (yaml_get(n, "address") == NULL)
			report(c->r, n->line,
				"address is missing; an uplink of mode routed needs one, like "
				"192.0.2.2/24");
	}
}

static void check_uplink(struct checker *c, const struct model_uplink *u, const struct yaml_node *n)
{
	check_uplink_mode(c, u, n);
	check_host(c, line_of(n, "address"), "address", u->address, u->address, u->prefix_len);
	if (check_host(
		    c, line_of(n, "gateway"), "gateway", u->gateway, u->address, u->prefix_len) &&
		u->gateway == u->address)
		report(c->r, line_of(n, "gateway"),
			"gateway %s is the uplink's own address; the next router's",
			addr(u->gateway).s);
	check_device(c, n, "", u->interface);
	check_once(c, &c->devargs, n, "devargs", u->devargs);
}

// Two uplinks that both reach a subnet leave open through which: no two may overlap.
static void check_uplink_overlap(
	struct checker *c, const struct model_uplink *u, unsigned i, const struct yaml_node *n)
{
	for (unsigned j = 0; j < i; j++) {
		const struct model_uplink *v = &c->m->uplinks[j];

		if (u->address != 0 && v->address != 0 &&
			prefixes_overlap(u->address, u->prefix_len, v->address, v->prefix_len))
			report(c->r, line_of(n, "address"),
				"subnet %s overlaps that of uplink %s in line %d; allowed: "
				"disjoint ones",
				cidr(u->address, u->prefix_len).s, v->name, v->line);
	}
}

static void check_uplinks(struct checker *c, const struct yaml_node *root)
{
	const struct yaml_node *n = first_of(root, "uplinks");

	for (unsigned i = 0; i < c->m->n_uplinks; i++, n = n->next) {
		const struct model_uplink *u = &c->m->uplinks[i];

		c->n_ports++;
		check_name(c, &c->host_ports, n, u->name, i);
		seen_add(&c->uplinks, u->line, i, "%s", u->name);
		check_uplink(c, u, n);
		check_uplink_overlap(c, u, i, n); // at most 64 of them
	}
}

static void check_trunks(struct checker *c, const struct yaml_node *root)
{
	const struct yaml_node *n = first_of(root, "trunks");

	for (unsigned i = 0; i < c->m->n_trunks; i++, n = n->next) {
		const struct model_trunk *t = &c->m->trunks[i];
		unsigned vid = t->native_vid;

		c->n_ports++;
		check_name(c, &c->host_ports, n, t->name, i); // one name space with the uplinks
		check_device(c, n, "", t->interface);
		check_once(c, &c->devargs, n, "devargs", t->devargs);
		if (n->kind == YAML_MAP && yaml_get(n, "interface") == NULL &&
			yaml_get(n, "devargs") == NULL)
			report(c->r, n->line,
				"interface is missing; a trunk needs interface or devargs");
		if (vid != 0 && (t->allowed[vid / 8] & 1u << (vid % 8)) == 0)
			report(c->r, line_of(n, "native_vlan"),
				"native_vlan %u is not in the list of allowed VLANs; one of them",
				vid);
	}
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

// One more of the names that would have been right; what is too much is left out.
static void add_name(struct names *list, const char *name)
{
	size_t used = strlen(list->s), more = strlen(name) + 2;

	if (name[0] == '\0') // could not be read
		return;
	if (used + more + sizeof(", …") <= sizeof(list->s))
		snprintf(list->s + used, more + 1, "%s%s", used ? ", " : ": ", name);
	else if (strcmp(list->s + used - strlen("…"), "…") != 0)
		strcat(list->s, ", …");
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
	check_pool(c, net, n);
	if (net->snat[0] == '\0')
		return;
	uplink = seen_find(&c->uplinks, net->snat);
	if (uplink == NULL)
		report_no_uplink(c, net, n);
	else
		check_snat_overlap(c, net, &c->m->uplinks[uplink->index], n);
	if (yaml_get(n, "gateway") == NULL)
		report(c->r, line_of(n, "snat"),
			"snat in a network without gateway; a gateway, or no snat");
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

static void check_nic_type(
	struct checker *c, const struct model_nic *nic, const struct yaml_node *n)
{
	static const char *const words[] = { "tap", "vhost-user", "packet", "ethdev" };
	const char *type = words[nic->type];

	if (n->kind != YAML_MAP || (yaml_get(n, "type") != NULL && !says(n, "type", type)))
		return;
	for (unsigned i = 0; i < sizeof(nic_keys) / sizeof(nic_keys[0]); i++) {
		bool there = yaml_get(n, nic_keys[i].key) != NULL;

		if (there && (nic_keys[i].types & 1u << nic->type) == 0)
			report(c->r, line_of(n, nic_keys[i].key),
				"%s does not go with type %s; allowed: with %s", nic_keys[i].key,
				type, nic_keys[i].belongs);
		if (!there && (nic_keys[i].needed_by & 1u << nic->type) != 0)
			report(c->r, n->line, "%s is missing; a nic of type %s needs it",
				nic_keys[i].key, type);
	}
	if (nic->type == MODEL_NIC_TAP && yaml_get(n, "interface") == NULL &&
		yaml_get(n, "netns") == NULL)
		report(c->r, n->line,
			"interface is missing; the tap's name in the host, unless netns is given");
	check_device(c, n, nic->netns, nic->interface);
	check_once(c, &c->sockets, n, "socket", nic->socket);
	check_once(c, &c->devargs, n, "devargs", nic->devargs);
}

static void check_nic_address(struct checker *c, const struct model_nic *nic,
	const struct model_network *net, const struct yaml_node *n)
{
	int line = line_of(n, "address");

	if (nic->clients_many) {
		if (nic->address != 0)
			report(c->r, line,
				"address on a nic with clients: many; they get theirs from the "
				"pool");
		if (net->pool_first == 0)
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

static void check_nic(struct checker *c, const struct model_tenant *t, const struct seen *networks,
	struct seen *used, const struct model_nic *nic, const struct yaml_node *n)
{
	const struct seen_entry *net;

	c->n_ports++;
	check_nic_type(c, nic, n);
	if (nic->network[0] == '\0')
		return;
	net = seen_find(networks, nic->network);
	if (net == NULL) {
		report_no_network(c, t, nic, n);
		return;
	}
	check_nic_address(c, nic, &t->networks[net->index], n);
	check_nic_unique(c, nic, used, net->index, nic->network, n);
}

static void check_instance(struct checker *c, const struct model_tenant *t,
	const struct seen *networks, struct seen *used, const struct model_instance *in,
	const struct yaml_node *n)
{
	const struct yaml_node *child = first_of(n, "nics");
	struct seen names = { .r = c->r };

	for (unsigned i = 0; i < in->n_nics; i++, child = child->next) {
		const struct model_nic *nic = &in->nics[i];

		check_nic(c, t, networks, used, nic, child);
		check_name(c, &names, child, nic->name, i);
		if (strlen(in->name) + 1 + strlen(nic->name) >= POLICY_NAME_SIZE)
			report(c->r, line_of(child, "name"),
				"the port's name %s.%s is too long; INSTANCE.NIC of at most %d "
				"characters",
				in->name, nic->name, POLICY_NAME_SIZE - 1);
	}
	seen_free(&names);
}

static void check_tenant(
	struct checker *c, const struct model_tenant *t, const struct yaml_node *n, unsigned index)
{
	struct seen networks = { .r = c->r }, instances = { .r = c->r }, used = { .r = c->r };
	const struct yaml_node *child;

	check_name(c, &c->tenants, n, t->name, index);
	child = first_of(n, "networks");
	for (unsigned i = 0; i < t->n_networks; i++, child = child->next) {
		check_name(c, &networks, child, t->networks[i].name, i);
		check_network(c, &t->networks[i], child);
	}
	check_overlaps(c, t, first_of(n, "networks"));
	child = first_of(n, "instances");
	for (unsigned i = 0; i < t->n_instances; i++, child = child->next) {
		check_name(c, &instances, child, t->instances[i].name, i);
		check_instance(c, t, &networks, &used, &t->instances[i], child);
	}
	seen_free(&networks);
	seen_free(&instances);
	seen_free(&used);
}
