// SPDX-License-Identifier: BSD-3-Clause
// Desired things as flat JSON objects, see describe.h. Called by plan.c and daemon_lists.c.
#include "control/describe.h"

#include <stdio.h>
#include "control/port_spec.h"

void describe_address(be32 a, char ret_text[INET_ADDRSTRLEN])
{
	ret_text[0] = 0;
	if (a)
		inet_ntop(AF_INET, &a, ret_text, INET_ADDRSTRLEN);
}

void describe_mac(const struct mac *m, char ret_text[18])
{
	snprintf(ret_text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m->b[0], m->b[1], m->b[2], m->b[3],
		m->b[4], m->b[5]);
}

static void put(json_t *o, const char *key, const char *value)
{
	if (value[0])
		json_object_set_new(o, key, json_string(value));
}

static void put_number(json_t *o, const char *key, uint64_t value)
{
	json_object_set_new(o, key, json_integer((json_int_t)value));
}

static void put_vid(json_t *o, const char *key, unsigned vid)
{
	if (vid)
		put_number(o, key, vid);
	else
		put(o, key, "none");
}

static void put_address(json_t *o, const char *key, be32 a, int prefix_len)
{
	char text[INET_ADDRSTRLEN + 12];

	describe_address(a, text);
	if (prefix_len >= 0 && a)
		snprintf(text + strlen(text), 12, "/%d", prefix_len);
	put(o, key, text);
}

json_t *describe_tenant(const struct desired *d, const struct desired_tenant *t)
{
	json_t *o = json_object();

	put(o, "kind", "tenant");
	put(o, "name", t->tenant->name);
	put_number(o, "id", t->id);
	put_number(o, "networks", t->n_segments);
	put_number(o, "instances", t->tenant->n_instances);
	put_number(o, "ports", t->n_ports);
	return o;
}

static json_t *addresses(const be32 *a, unsigned n)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < n; i++) {
		char text[INET_ADDRSTRLEN];
		describe_address(a[i], text);
		json_array_append_new(list, json_string(text));
	}
	return list;
}

void describe_dns(json_t *o, const struct model_network *n, const be32 *host, unsigned n_host)
{
	if (!n->gateway) // nobody there to tell them
		return;
	json_object_set_new(
		o, "dns", n->n_dns ? addresses(n->dns, n->n_dns) : addresses(host, n_host));
	put(o, "dns_source", n->n_dns ? "file" : "host");
}

// For a plan.
static void put_dns(json_t *o, const struct model_network *n)
{
	if (n->n_dns)
		json_object_set_new(o, "dns", addresses(n->dns, n->n_dns));
	else
		put(o, "dns", "the host's");
}

json_t *describe_network(const struct desired *d, const struct desired_segment *s)
{
	const struct model_network *n = s->network;
	json_t *o = json_object();

	put(o, "kind", "network");
	put(o, "name", s->name);
	put_number(o, "id", s->id);
	put_number(o, "vlan", n->vlan);
	put_address(o, "subnet", n->subnet, n->prefix_len);
	put_address(o, "gateway", n->gateway, -1);
	if (n->gateway)
		put_dns(o, n);
	if (n->pool_first) {
		char text[2 * INET_ADDRSTRLEN + 2], last[INET_ADDRSTRLEN];
		describe_address(n->pool_first, text);
		describe_address(n->pool_last, last);
		snprintf(text + strlen(text), sizeof(last) + 1, "-%s", last);
		put(o, "pool", text);
	}
	if (n->gateway)
		put_number(o, "lease_s", n->lease_s);
	put_number(o, "mtu", n->mtu);
	put(o, "snat", n->snat);
	return o;
}

static void put_vlans(json_t *o, const struct model_trunk *t)
{
	char text[256] = "";

	for (unsigned first = 1; first < 4095; first++) {
		unsigned last = first;
		size_t used = strlen(text);
		if (!(t->allowed[first / 8] & (1 << first % 8)))
			continue;
		while (last + 1 < 4095 && (t->allowed[(last + 1) / 8] & (1 << (last + 1) % 8)))
			last++;
		if (last > first)
			snprintf(text + used, sizeof(text) - used, "%s%u-%u", used ? "," : "",
				first, last);
		else
			snprintf(text + used, sizeof(text) - used, "%s%u", used ? "," : "", first);
		first = last;
	}
	put(o, "vlans", text);
	put_vid(o, "native", t->native_vid);
	put_vid(o, "outer", t->outer_vid);
}

static void put_devices(json_t *o, const struct desired_port *p, const char *run_dir)
{
	struct port_spec specs[PORT_MAX_CANDIDATES];
	unsigned n = port_spec_candidates(p, run_dir, 1, specs);
	char text[300], others[2 * sizeof(text)] = "";
	size_t used = 0;

	if (!n)
		return;
	port_spec_describe(&specs[0], text, sizeof(text));
	put(o, "device", text);
	for (unsigned i = 1; i < n; i++) {
		port_spec_describe(&specs[i], text, sizeof(text));
		used += (size_t)snprintf(
			others + used, sizeof(others) - used, "%s%s", used ? ", then " : "", text);
	}
	put(o, "else", others);
}

static void describe_nic(json_t *o, const struct desired *d, const struct desired_port *p)
{
	const struct model_nic *nic = p->nic;
	char mac[18];

	put(o, "tenant", d->tenants[p->tenant].tenant->name);
	put(o, "network", d->segments[p->segment].name);
	describe_mac(&p->mac, mac);
	put(o, "mac", mac);
	put_address(o, "address", p->address, -1);
	put(o, "clients", nic->clients_many ? "many" : "one");
	put_number(o, "mtu", p->mtu);
	if (nic->allow_non_ip)
		put(o, "allow_non_ip", "yes");
	if (nic->storm_pps)
		put_number(o, "storm_pps", nic->storm_pps);
	if (nic->n_queues)
		put_number(o, "queues", nic->n_queues);
}

static void describe_uplink(json_t *o, const struct desired_port *p)
{
	const struct model_uplink *u = p->uplink;
	char ports[16], mac[18];

	// As the file says, also after a fallback: a plan compares two files.
	put(o, "mode", u->mode == MODEL_UPLINK_NAT ? "nat" : "routed");
	put_address(o, "address", u->address, u->prefix_len);
	put_address(o, "gateway", u->gateway, -1);
	describe_mac(&p->mac, mac);
	put(o, "mac", mac);
	put_number(o, "mtu", p->mtu);
	snprintf(ports, sizeof(ports), "%u-%u", u->nat_port_first, u->nat_port_last);
	put(o, "nat_ports", ports);
}

void describe_fallback_to_nat(json_t *o, const struct desired_port *p)
{
	put(o, "mode", "nat");
	put_address(o, "address", p->address, p->prefix_len);
	put_address(o, "gateway", p->gateway, -1);
}

json_t *describe_port(const struct desired *d, const struct desired_port *p, const char *run_dir)
{
	json_t *o = json_object();
	static const char *const kinds[DESIRED_PORT_KIND_COUNT] = { "uplink", "trunk", "port" };

	put(o, "kind", kinds[p->kind]);
	put(o, "name", p->name);
	put_number(o, "id", p->id);
	put_devices(o, p, run_dir);
	switch (p->kind) {
	case DESIRED_UPLINK:
		describe_uplink(o, p);
		break;
	case DESIRED_TRUNK:
		put_vlans(o, p->trunk);
		break;
	case DESIRED_NIC:
		describe_nic(o, d, p);
		break;
	case DESIRED_PORT_KIND_COUNT:
		break;
	}
	return o;
}

static json_t *nics_of(const struct desired *d, const struct desired_instance *in)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < in->n_ports; i++)
		json_array_append_new(list, json_string(d->ports[in->first_port + i].nic->name));
	return list;
}

static json_t *disks_of(const struct model_instance *m)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < m->n_disks; i++) {
		const struct model_disk *disk = &m->disks[i];

		json_array_append_new(list,
			json_sprintf("%s%s%s%s%s", disk->volume[0] ? "volume " : "",
				disk->volume[0] ? disk->volume : disk->path,
				disk->readonly ? ":readonly" : "", disk->direct ? ":direct" : "",
				disk->n_queues > 1 ? ":queues" : ""));
	}
	return list;
}

static void describe_vm(json_t *o, const struct model_instance *m)
{
	static const char *const restarts[MODEL_RESTART_COUNT] = { "on-failure", "always",
		"never" };

	put_number(o, "cpus", m->cpus);
	put_number(o, "memory_mib", m->memory_mib);
	if (m->hugepages)
		put(o, "hugepages", "yes");
	put(o, "image", m->image);
	put(o, "kernel", m->kernel ? m->kernel : "");
	put(o, "initrd", m->initrd ? m->initrd : "");
	put(o, "cmdline", m->cmdline ? m->cmdline : "");
	if (m->n_disks)
		json_object_set_new(o, "disks", disks_of(m));
	if (m->user_data)
		put_number(o, "user_data_bytes", strlen(m->user_data));
	put(o, "restart", restarts[m->restart]);
	put_number(o, "stop_timeout_s", m->stop_timeout_s);
}

json_t *describe_instance(const struct desired *d, const struct desired_instance *in)
{
	bool vm = in->instance->kind == MODEL_INSTANCE_VM;
	json_t *o = json_object();

	put(o, "kind", "instance");
	put(o, "name", in->name);
	if (in->id)
		put_number(o, "id", in->id);
	put(o, "type", vm ? "vm" : "external");
	if (vm)
		describe_vm(o, in->instance);
	json_object_set_new(o, "nics", nics_of(d, in));
	return o;
}

static void add(json_t *all, json_t *o)
{
	char key[DESIRED_NAME_SIZE + 16];

	snprintf(key, sizeof(key), "%s %s", json_string_value(json_object_get(o, "kind")),
		json_string_value(json_object_get(o, "name")));
	json_object_set_new(all, key, o);
}

static void describe_settings(json_t *o, const struct switch_settings *s)
{
	put_number(o, "workers", s->workers);
	put(o, "mode", s->poll ? "poll" : "adaptive");
	put_number(o, "sessions", s->sessions);
	put_number(o, "sessions_per_tenant", s->sessions_per_tenant);
	put_number(o, "sessions_per_port", s->sessions_per_port);
	put(o, "hugepages", s->hugepages == SWITCH_HUGEPAGES_2M ? "2M" : "none");
	put_number(o, "device_queues", s->device_queues);
}

json_t *describe_all(const struct desired *d, const char *run_dir)
{
	json_t *all = json_object();

	if (!d)
		return all;
	json_t *o = json_object();
	put(o, "kind", "switch");
	put(o, "name", "insula-switch");
	describe_settings(o, &d->model->settings);
	add(all, o);
	for (unsigned i = 0; i < d->n_uplinks + d->n_trunks; i++)
		add(all, describe_port(d, &d->ports[i], run_dir));
	for (unsigned i = 0; i < d->n_tenants; i++) {
		const struct desired_tenant *t = &d->tenants[i];
		add(all, describe_tenant(d, t));
		for (unsigned j = 0; j < t->n_segments; j++)
			add(all, describe_network(d, &d->segments[t->first_segment + j]));
		for (unsigned j = 0; j < t->n_ports; j++)
			add(all, describe_port(d, &d->ports[t->first_port + j], run_dir));
		for (unsigned j = 0; j < t->n_instances; j++)
			if (d->instances[t->first_instance + j].id)
				add(all,
					describe_instance(d, &d->instances[t->first_instance + j]));
	}
	return all;
}
