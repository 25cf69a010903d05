// SPDX-License-Identifier: BSD-3-Clause
// Numbers, MACs and addresses for a model; see desired.h. MACs are computed, not stored: 02 (guests
// and uplinks) or 0a (the host's end of a nat tap), 24 bits of this installation's salt, 16 bits of
// number; 06 (gateways) and the salt. Called by apply.c, main thread.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "control/desired.h"

struct alloc {
	struct store *store;
	struct desired *d;
	struct model_errors *errors;
	uint64_t round;
};

static int report(struct alloc *a, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int report(struct alloc *a, int line, const char *fmt, ...)
{
	char *what, *text;
	va_list ap;

	va_start(ap, fmt);
	int n = vasprintf(&what, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -ENOMEM;
	n = asprintf(&text, "%s:%d: %s", a->d->model->file ? a->d->model->file : "-", line, what);
	free(what);
	if (n < 0)
		return -ENOMEM;
	char **grown = realloc(a->errors->text, (a->errors->n + 1) * sizeof(*grown));
	if (!grown) {
		free(text);
		return -ENOMEM;
	}
	grown[a->errors->n++] = text;
	a->errors->text = grown;
	return -EINVAL;
}

static struct mac make_mac(const struct alloc *a, uint8_t first, uint32_t id)
{
	uint32_t salt = store_salt(a->store);

	return (struct mac){ { first, (uint8_t)(salt >> 16), (uint8_t)(salt >> 8), (uint8_t)salt,
		(uint8_t)(id >> 8), (uint8_t)id } };
}

static int give_id(struct alloc *a, enum store_id_kind kind, const char *key, uint32_t max,
	int line, uint32_t *ret_id)
{
	int r = store_id(a->store, a->round, kind, key, max, ret_id);

	if (r == -ENOSPC)
		return report(a, line, "'%s' is one too many; at most %u are allowed", key, max);
	return r;
}

// The model's check does so for what the file says; a last resort that it would refuse is none.
static bool nat_would_overlap(const struct model *m, const struct model_uplink *u)
{
	const be32 nat = htonl(DESIRED_NAT_SUBNET); // no prefix is longer than its

	for (unsigned i = 0; i < m->n_uplinks; i++) {
		const struct model_uplink *v = &m->uplinks[i];
		if (v != u && v->mode != MODEL_UPLINK_NAT && v->address &&
			ipv4_in_prefix(nat, v->address, v->prefix_len))
			return true;
	}
	for (unsigned t = 0; t < m->n_tenants; t++)
		for (unsigned i = 0; i < m->tenants[t].n_networks; i++) {
			const struct model_network *n = &m->tenants[t].networks[i];
			if (strcmp(n->snat, u->name) == 0 && n->prefix_len &&
				ipv4_in_prefix(nat, n->subnet, n->prefix_len))
				return true;
		}
	return false;
}

static int alloc_uplinks(struct alloc *a)
{
	struct desired *d = a->d;
	unsigned n_nat = 0;

	for (unsigned i = 0; i < d->model->n_uplinks; i++) {
		const struct model_uplink *u = &d->model->uplinks[i];
		struct desired_port *p = &d->ports[d->n_ports++];
		p->kind = DESIRED_UPLINK;
		p->uplink = u;
		snprintf(p->name, sizeof(p->name), "%s", u->name);
		int r = give_id(a, STORE_ID_PORT, p->name, POLICY_MAX_PORT_ID, u->line, &p->id);
		if (r < 0)
			return r;
		p->mac = make_mac(a, 0x02, p->id);
		p->host_mac = make_mac(a, 0x0a, p->id);
		p->mtu = u->mtu;
		p->address = u->address;
		p->prefix_len = u->prefix_len;
		p->gateway = u->gateway;
		p->no_nat = u->mode != MODEL_UPLINK_NAT && nat_would_overlap(d->model, u);
		if (u->mode == MODEL_UPLINK_NAT) {
			desired_uplink_to_nat(p); // checked with the model
			if (++n_nat > 1)
				return report(a, u->line,
					"uplink '%s' is a second one of mode nat; one is allowed",
					u->name);
		}
	}
	d->n_uplinks = d->model->n_uplinks;
	return 0;
}

static int alloc_trunks(struct alloc *a)
{
	struct desired *d = a->d;

	for (unsigned i = 0; i < d->model->n_trunks; i++) {
		const struct model_trunk *t = &d->model->trunks[i];
		struct desired_port *p = &d->ports[d->n_ports++];
		p->kind = DESIRED_TRUNK;
		p->trunk = t;
		p->mtu = 1500;
		snprintf(p->name, sizeof(p->name), "%s", t->name);
		int r = give_id(a, STORE_ID_PORT, p->name, POLICY_MAX_PORT_ID, t->line, &p->id);
		if (r < 0)
			return r;
	}
	d->n_trunks = d->model->n_trunks;
	return 0;
}

static int alloc_segment(struct alloc *a, unsigned tenant, const struct model_tenant *t,
	const struct model_network *n)
{
	struct desired *d = a->d;
	struct desired_segment *s = &d->segments[d->n_segments++];

	s->tenant = tenant;
	s->network = n;
	snprintf(s->name, sizeof(s->name), "%s/%s", t->name, n->name);
	int r = give_id(a, STORE_ID_SEGMENT, s->name, POLICY_MAX_SEGMENTS, n->line, &s->id);
	if (r < 0)
		return r;
	// One for all: guests need no new ARP entry when a network is renamed or its VLAN changed.
	s->gateway_mac = make_mac(a, 0x06, 0);
	if (!n->snat[0])
		return 0;
	for (unsigned i = 0; i < d->n_uplinks; i++)
		if (strcmp(d->ports[i].name, n->snat) == 0)
			s->snat_port = d->ports[i].id;
	if (!s->snat_port)
		return report(a, n->line,
			"network '%s': there is no uplink '%s'; name one under uplinks", s->name,
			n->snat);
	return 0;
}

static int find_segment(const struct desired *d, unsigned tenant, const char *network)
{
	const struct desired_tenant *t = &d->tenants[tenant];

	for (unsigned i = 0; i < t->n_segments; i++)
		if (strcmp(d->segments[t->first_segment + i].network->name, network) == 0)
			return (int)(t->first_segment + i);
	return -1;
}

// What an allocated address may not be: asked for by name, the gateway's, in the dynamic pool. A
// pool laid over one that a port has already leaves it to the port.
struct taken {
	const struct model_network *network;
	const uint32_t *fixed; // sorted
	unsigned n_fixed;
};

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static bool is_taken(void *arg, uint32_t address, bool its)
{
	const struct taken *t = arg;
	const struct model_network *n = t->network;

	return address == ntohl(n->gateway) ||
	       (n->pool_first && !its && address >= ntohl(n->pool_first) &&
		       address <= ntohl(n->pool_last)) ||
	       bsearch(&address, t->fixed, t->n_fixed, sizeof(*t->fixed), compare_u32);
}

static int alloc_address(struct alloc *a, struct desired_port *p, const struct taken *taken)
{
	const struct model_network *n = taken->network;
	uint32_t base = ntohl(n->subnet) & ipv4_mask(n->prefix_len);
	uint32_t last = base | ~ipv4_mask(n->prefix_len), address = 0;
	struct taken t = *taken;

	// Network and broadcast address are nobody's, but for /31 and /32 (RFC 3021).
	if (n->prefix_len < 31) {
		base++;
		last--;
	}
	int r = store_address(a->store, a->round, a->d->segments[p->segment].id, p->name, base,
		last, is_taken, &t, &address);
	if (r == -ENOSPC)
		return report(a, p->nic->line,
			"'%s': network '%s' has no address left; widen its subnet or shrink its "
			"pool",
			p->name, n->name);
	p->address = htonl(address);
	return r;
}

static int alloc_nic(struct alloc *a, unsigned tenant, const struct model_instance *instance,
	const struct model_nic *nic)
{
	struct desired *d = a->d;
	struct desired_port *p = &d->ports[d->n_ports++];
	int segment = find_segment(d, tenant, nic->network);

	p->kind = DESIRED_NIC;
	p->nic = nic;
	p->instance = instance;
	p->tenant = tenant;
	snprintf(p->name, sizeof(p->name), "%s/%s.%s", d->tenants[tenant].tenant->name,
		instance->name, nic->name);
	if (segment < 0)
		return report(a, nic->line, "'%s': there is no network '%s' in this tenant",
			p->name, nic->network);
	p->segment = (unsigned)segment;
	p->mtu = d->segments[segment].network->mtu;
	p->address = nic->address;
	int r = give_id(a, STORE_ID_PORT, p->name, POLICY_MAX_PORT_ID, nic->line, &p->id);
	if (r < 0)
		return r;
	p->mac = mac_is_zero(&nic->mac) ? make_mac(a, 0x02, p->id) : nic->mac;
	return 0;
}

static int alloc_instance(struct alloc *a, unsigned tenant, const struct model_instance *instance)
{
	struct desired *d = a->d;
	struct desired_instance *in = &d->instances[d->n_instances++];
	int r = 0;

	in->tenant = tenant;
	in->instance = instance;
	in->first_port = d->n_ports;
	in->n_ports = instance->n_nics;
	snprintf(in->name, sizeof(in->name), "%s/%s", d->tenants[tenant].tenant->name,
		instance->name);
	if (instance->kind == MODEL_INSTANCE_VM)
		r = give_id(a, STORE_ID_INSTANCE, in->name, DESIRED_MAX_INSTANCES, instance->line,
			&in->id);
	for (unsigned j = 0; r == 0 && j < instance->n_nics; j++)
		r = alloc_nic(a, tenant, instance, &instance->nics[j]);
	return r;
}

// The addresses of a segment's ports, after all ports are known: fixed ones go first.
static int alloc_addresses(struct alloc *a, const struct desired_tenant *t, unsigned segment)
{
	struct desired *d = a->d;
	struct taken taken = { .network = d->segments[segment].network };
	uint32_t *fixed = calloc(t->n_ports + 1, sizeof(*fixed));
	int r = 0;

	if (!fixed)
		return -ENOMEM;
	for (unsigned i = 0; i < t->n_ports; i++) {
		const struct desired_port *p = &d->ports[t->first_port + i];
		if (p->segment == segment && p->address)
			fixed[taken.n_fixed++] = ntohl(p->address);
	}
	qsort(fixed, taken.n_fixed, sizeof(*fixed), compare_u32);
	taken.fixed = fixed;
	for (unsigned i = 0; r == 0 && i < t->n_ports; i++) {
		struct desired_port *p = &d->ports[t->first_port + i];
		if (p->segment == segment && !p->address && !p->nic->clients_many &&
			taken.network->prefix_len)
			r = alloc_address(a, p, &taken);
	}
	free(fixed);
	return r;
}

static int alloc_tenant(struct alloc *a, const struct model_tenant *t)
{
	struct desired *d = a->d;
	unsigned index = d->n_tenants++;
	struct desired_tenant *dt = &d->tenants[index];
	int r = give_id(a, STORE_ID_TENANT, t->name, POLICY_MAX_SECTIONS - 1, t->line, &dt->id);

	dt->tenant = t;
	dt->first_segment = d->n_segments;
	dt->n_segments = t->n_networks;
	for (unsigned i = 0; r == 0 && i < t->n_networks; i++)
		r = alloc_segment(a, index, t, &t->networks[i]);
	dt->first_port = d->n_ports;
	dt->first_instance = d->n_instances;
	for (unsigned i = 0; r == 0 && i < t->n_instances; i++)
		r = alloc_instance(a, index, &t->instances[i]);
	dt->n_instances = d->n_instances - dt->first_instance;
	dt->n_ports = d->n_ports - dt->first_port;
	for (unsigned i = 0; r == 0 && i < dt->n_segments; i++)
		r = alloc_addresses(a, dt, dt->first_segment + i);
	return r;
}

static int compare_ports(const void *a, const void *b)
{
	const struct desired_port *x = *(const struct desired_port *const *)a;
	const struct desired_port *y = *(const struct desired_port *const *)b;

	if (x->segment != y->segment)
		return x->segment < y->segment ? -1 : 1;
	return memcmp(&x->mac, &y->mac, sizeof(x->mac));
}

// A MAC somebody wrote down may be one that another port was given.
static int check_macs(struct alloc *a)
{
	struct desired *d = a->d;
	unsigned n = 0;
	int r = 0;
	const struct desired_port **sorted = calloc(d->n_ports + 1, sizeof(*sorted));

	if (!sorted)
		return -ENOMEM;
	for (unsigned i = 0; i < d->n_ports; i++)
		if (d->ports[i].kind == DESIRED_NIC)
			sorted[n++] = &d->ports[i];
	qsort(sorted, n, sizeof(*sorted), compare_ports);
	for (unsigned i = 0; i + 1 < n; i++)
		if (compare_ports(&sorted[i], &sorted[i + 1]) == 0)
			r = report(a, sorted[i + 1]->nic->line,
				"'%s' has the MAC of '%s'; each needs its own", sorted[i + 1]->name,
				sorted[i]->name);
	free(sorted);
	return r;
}

static int make_room(struct desired *d, const struct model *m)
{
	size_t n_segments = 0, n_ports = m->n_uplinks + m->n_trunks, n_instances = 0;

	for (unsigned i = 0; i < m->n_tenants; i++) {
		n_segments += m->tenants[i].n_networks;
		n_instances += m->tenants[i].n_instances;
		for (unsigned j = 0; j < m->tenants[i].n_instances; j++)
			n_ports += m->tenants[i].instances[j].n_nics;
	}
	d->tenants = calloc(m->n_tenants + 1, sizeof(*d->tenants));
	d->segments = calloc(n_segments + 1, sizeof(*d->segments));
	d->ports = calloc(n_ports + 1, sizeof(*d->ports));
	d->instances = calloc(n_instances + 1, sizeof(*d->instances));
	return d->tenants && d->segments && d->ports && d->instances ? 0 : -ENOMEM;
}

int alloc_desired(
	struct store *s, struct model *m, struct desired **ret_desired, struct model_errors *errors)
{
	struct desired *d = calloc(1, sizeof(*d));
	struct alloc a = { .store = s, .d = d, .errors = errors };
	int r;

	if (!d) {
		model_free(m);
		return -ENOMEM;
	}
	d->model = m;
	r = make_room(d, m);
	if (r == 0)
		r = store_round_begin(s, &a.round);
	d->round = a.round;
	if (r == 0)
		r = alloc_uplinks(&a);
	if (r == 0)
		r = alloc_trunks(&a);
	for (unsigned i = 0; r == 0 && i < m->n_tenants; i++)
		r = alloc_tenant(&a, &m->tenants[i]);
	if (r == 0)
		r = check_macs(&a);
	if (r < 0) {
		desired_free(d);
		return r;
	}
	*ret_desired = d;
	return 0;
}

void desired_free(struct desired *d)
{
	if (!d)
		return;
	model_free(d->model);
	free(d->tenants);
	free(d->segments);
	free(d->ports);
	for (unsigned i = 0; i < d->n_instances; i++)
		free(d->instances[i].image);
	free(d->instances);
	free(d);
}

void desired_uplink_to_nat(struct desired_port *p)
{
	p->nat = true;
	if (p->uplink->mode == MODEL_UPLINK_NAT && p->uplink->address)
		return; // as the file says
	p->address = htonl(DESIRED_NAT_SWITCH);
	p->prefix_len = DESIRED_NAT_PREFIX;
	p->gateway = htonl(DESIRED_NAT_HOST);
}

const struct desired_port *desired_nat_uplink(const struct desired *d)
{
	for (unsigned i = 0; i < d->n_uplinks; i++)
		if (d->ports[i].uplink->mode == MODEL_UPLINK_NAT)
			return &d->ports[i];
	return NULL;
}

const struct desired_port *desired_port_by_id(const struct desired *d, uint32_t id)
{
	for (unsigned i = 0; i < d->n_ports; i++)
		if (d->ports[i].id == id)
			return &d->ports[i];
	return NULL;
}

const struct desired_port *desired_port_by_name(const struct desired *d, const char *name)
{
	for (unsigned i = 0; i < d->n_ports; i++)
		if (strcmp(d->ports[i].name, name) == 0)
			return &d->ports[i];
	return NULL;
}

const struct desired_instance *desired_instance_by_name(const struct desired *d, const char *name)
{
	for (unsigned i = 0; i < d->n_instances; i++)
		if (strcmp(d->instances[i].name, name) == 0)
			return &d->instances[i];
	return NULL;
}
