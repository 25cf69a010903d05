// SPDX-License-Identifier: BSD-3-Clause
// The mistakes that need more than one value to be seen: duplicates, references, addresses against
// their subnet, keys against the type. Every duplicate is one look-up in a tree, so that 10,000
// ports cost milliseconds. Called by model_from_yaml with the tree the model was read from; a value
// that could not be read is zero here and is not judged again. Here the whole and the host's side;
// tenants are in model_check_tenant.c.
#include "control/model_check.h"

static void check_uplinks(struct checker *c, const struct yaml_node *n);
// What could not be read is empty.
static bool has_vlans(const struct model_trunk *t)
{
	for (size_t i = 0; i < sizeof(t->allowed); i++)
		if (t->allowed[i] != 0)
			return true;
	return false;
}

static void check_trunks(struct checker *c, const struct yaml_node *n);

static void check_settings(struct checker *c, const struct yaml_node *n)
{
	struct switch_settings s = c->m->settings;

	if ((yaml_has(n, "sessions") && s.sessions == 0) ||
		(yaml_has(n, "sessions_per_tenant") && s.sessions_per_tenant == 0) ||
		(yaml_has(n, "sessions_per_port") && s.sessions_per_port == 0))
		return;
	switch_settings_fill(&s);
	if (s.sessions_per_tenant > s.sessions)
		report(c->r, line_of(n, "sessions_per_tenant"),
			"sessions_per_tenant is %u, and there are %u sessions; at most that many",
			s.sessions_per_tenant, s.sessions);
	if (s.sessions_per_port > s.sessions_per_tenant)
		report(c->r, line_of(n, "sessions_per_port"),
			"sessions_per_port is %u, and sessions_per_tenant %u; at most that many",
			s.sessions_per_port, s.sessions_per_tenant);
}

void model_check(const struct model *m, const struct yaml_node *root, struct report *r)
{
	struct checker c = { .m = m, .r = r };
	struct seen *all[] = { &c.uplinks, &c.host_ports, &c.tenants, &c.vlans, &c.interfaces,
		&c.sockets, &c.devargs, &c.disks };
	const struct yaml_node *n = first_of(root, "tenants");

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		all[i]->r = r;
	check_settings(&c, yaml_get(root, "settings"));
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
		check_wire(c, n, u->interface);
		if (!yaml_has(n, "interface") && !yaml_has(n, "devargs"))
			report(c->r, n->line,
				"interface is missing; an uplink of mode routed needs interface or "
				"devargs");
		if (!yaml_has(n, "address"))
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
	check_devargs(c, n, u->devargs, DEVARGS_UPLINK);
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
		check_wire(c, n, t->interface);
		check_devargs(c, n, t->devargs, DEVARGS_TRUNK);
		if (n->kind == YAML_MAP && !yaml_has(n, "interface") && !yaml_has(n, "devargs"))
			report(c->r, n->line,
				"interface is missing; a trunk needs interface or devargs");
		if (vid != 0 && has_vlans(t) && (t->allowed[vid / 8] & 1u << (vid % 8)) == 0)
			report(c->r, line_of(n, "native_vlan"),
				"native_vlan %u is not in the list of allowed VLANs; one of them",
				vid);
	}
}
