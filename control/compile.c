// SPDX-License-Identifier: BSD-3-Clause
// The policy compiler, see compile.h. Called by apply.c, main thread.
#include "control/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "control/log.h"

enum {
	UPLINK_LEARN_LIMIT = 1024,
};

// Cuts to the policy's size, zero padded.
static void put_name(char to[POLICY_NAME_SIZE], const char *name)
{
	size_t n = strnlen(name, POLICY_NAME_SIZE - 1);

	memset(to, 0, POLICY_NAME_SIZE);
	memcpy(to, name, n);
}

static void put_segment(struct policy_segment *to, const struct desired *d,
	const struct desired_segment *s, const be32 *dns, unsigned n_dns)
{
	const struct model_network *n = s->network;

	to->id = s->id;
	to->zone = d->tenants[s->tenant].id;
	to->vlan = n->vlan;
	to->mtu = n->mtu;
	to->subnet = n->subnet;
	to->gateway = n->gateway;
	to->gateway_mac = s->gateway_mac;
	to->prefix_len = n->prefix_len;
	to->n_dns = (uint8_t)(n->n_dns ? n->n_dns : n_dns);
	if (to->n_dns)
		memcpy(to->dns, n->n_dns ? n->dns : dns, to->n_dns * sizeof(be32));
	to->pool_first = n->pool_first;
	to->pool_last = n->pool_last;
	to->lease_s = n->lease_s;
	to->snat_port = s->snat_port;
	put_name(to->name, n->name);
}

static void put_nic(struct policy_port *to, const struct desired *d, const struct desired_port *p)
{
	to->id = p->id;
	to->segment = d->segments[p->segment].id;
	to->mode = POLICY_PORT_ACCESS;
	to->flags = (uint8_t)((p->nic->clients_many ? POLICY_PORT_CLIENTS_MANY : 0) |
			      (p->nic->allow_non_ip ? POLICY_PORT_ALLOW_NON_IP : 0));
	to->mac = p->mac;
	to->address = p->address;
	to->storm_pps = p->nic->storm_pps;
	to->trunk = to->uplink = UINT32_MAX;
	put_name(to->name, strchr(p->name, '/') + 1);
}

static void put_uplink(struct policy_port *to, struct policy_uplink *uplink,
	const struct desired_port *p, uint32_t index)
{
	to->id = p->id;
	to->mode = POLICY_PORT_UPLINK;
	to->mac = p->mac;
	to->address = p->address;
	to->learn_limit = UPLINK_LEARN_LIMIT;
	to->trunk = UINT32_MAX;
	to->uplink = index;
	put_name(to->name, p->name);
	uplink->zone = 0x80000000u | p->id;
	uplink->gateway = p->gateway;
	uplink->prefix_len = p->prefix_len;
	uplink->mtu = p->mtu;
	uplink->nat_port_first = p->uplink->nat_port_first;
	uplink->nat_port_last = p->uplink->nat_port_last;
}

static void put_trunk(struct policy_port *to, struct policy_trunk *trunk,
	const struct desired_port *p, uint32_t index)
{
	to->id = p->id;
	to->mode = POLICY_PORT_TRUNK;
	to->storm_pps = p->trunk->storm_pps;
	to->learn_limit = p->trunk->learn_limit;
	to->trunk = index;
	to->uplink = UINT32_MAX;
	put_name(to->name, p->name);
	trunk->native_vid = p->trunk->native_vid;
	trunk->outer_vid = p->trunk->outer_vid;
	memcpy(trunk->allowed, p->trunk->allowed, sizeof(trunk->allowed));
}

// Room for a section with these counts; pointers to its arrays in ret_*.
struct section_arrays {
	struct policy_segment *segments;
	struct policy_port *ports;
	struct policy_trunk *trunks;
	struct policy_uplink *uplinks;
};

static int new_section(struct policy_blob *b, uint32_t tenant, const char *name, size_t n_segments,
	size_t n_ports, size_t n_trunks, size_t n_uplinks, struct section_arrays *ret)
{
	size_t size = sizeof(struct policy_section) + n_segments * sizeof(struct policy_segment) +
		      n_ports * sizeof(struct policy_port) +
		      n_trunks * sizeof(struct policy_trunk) +
		      n_uplinks * sizeof(struct policy_uplink);
	if (size > POLICY_MAX_SECTION_SIZE)
		return -E2BIG;
	struct policy_section *s = calloc(1, size);
	if (!s)
		return -ENOMEM;
	s->magic = POLICY_SECTION_MAGIC;
	s->version = POLICY_VERSION;
	s->tenant = tenant;
	s->size = (uint32_t)size;
	s->n_segments = (uint32_t)n_segments;
	s->n_ports = (uint32_t)n_ports;
	s->n_trunks = (uint32_t)n_trunks;
	s->n_uplinks = (uint32_t)n_uplinks;
	put_name(s->name, name);
	b->data = s;
	b->size = size;
	ret->segments = (struct policy_segment *)(s + 1);
	ret->ports = (struct policy_port *)(ret->segments + n_segments);
	ret->trunks = (struct policy_trunk *)(ret->ports + n_ports);
	ret->uplinks = (struct policy_uplink *)(ret->trunks + n_trunks);
	return 0;
}

static int compile_host(const struct desired *d, struct policy_blob *b)
{
	struct section_arrays to;
	uint32_t n_uplinks = 0, n_trunks = 0;
	int r = new_section(b, POLICY_HOST_TENANT, "host", 0, d->n_uplinks + d->n_trunks,
		d->n_trunks, d->n_uplinks, &to);

	for (unsigned i = 0; r == 0 && i < d->n_uplinks + d->n_trunks; i++) {
		const struct desired_port *p = &d->ports[i];
		if (p->kind == DESIRED_UPLINK) {
			put_uplink(&to.ports[i], &to.uplinks[n_uplinks], p, n_uplinks);
			n_uplinks++;
		} else {
			put_trunk(&to.ports[i], &to.trunks[n_trunks], p, n_trunks);
			n_trunks++;
		}
	}
	return r;
}

static int compare_segments(const void *a, const void *b)
{
	const struct policy_segment *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int compare_ports(const void *a, const void *b)
{
	const struct policy_port *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

// By number: the same things in another order are the same section.
static int compile_tenant(const struct desired *d, const struct desired_tenant *t, const be32 *dns,
	unsigned n_dns, struct policy_blob *b)
{
	struct section_arrays to;
	int r = new_section(b, t->id, t->tenant->name, t->n_segments, t->n_ports, 0, 0, &to);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < t->n_segments; i++)
		put_segment(&to.segments[i], d, &d->segments[t->first_segment + i], dns, n_dns);
	for (unsigned i = 0; i < t->n_ports; i++)
		put_nic(&to.ports[i], d, &d->ports[t->first_port + i]);
	qsort(to.segments, t->n_segments, sizeof(*to.segments), compare_segments);
	qsort(to.ports, t->n_ports, sizeof(*to.ports), compare_ports);
	return 0;
}

// Sections lie by tenant id: the order of the file says nothing.
static int compare_sections(const void *a, const void *b)
{
	const struct policy_section *x = ((const struct policy_blob *)a)->data;
	const struct policy_section *y = ((const struct policy_blob *)b)->data;

	return x->tenant < y->tenant ? -1 : x->tenant > y->tenant;
}

static void hash(struct policy_blob *b)
{
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, b->data, b->size);
	SHA256Final(b->hash, &ctx);
}

static const struct policy_section_ref *find_ref(const struct policy_root *root, uint32_t tenant)
{
	for (uint32_t i = 0; root && i < root->n_sections; i++)
		if (root->sections[i].tenant == tenant)
			return &root->sections[i];
	return NULL;
}

static int build_root(struct compiled *c, const struct policy_root *previous, uint64_t generation)
{
	size_t size =
		sizeof(struct policy_root) + c->n_sections * sizeof(struct policy_section_ref);
	struct policy_root *root = calloc(1, size);
	bool same = previous && previous->n_sections == c->n_sections;

	if (!root)
		return -ENOMEM;
	*root = (struct policy_root){ .magic = POLICY_ROOT_MAGIC,
		.version = POLICY_VERSION,
		.n_sections = c->n_sections,
		.size = (uint32_t)size };
	for (unsigned i = 0; i < c->n_sections; i++) {
		const struct policy_section *s = c->sections[i].data;
		struct policy_section_ref *ref = &root->sections[i];
		const struct policy_section_ref *old = find_ref(previous, s->tenant);
		bool kept = old && memcmp(old->hash, c->sections[i].hash, POLICY_HASH_SIZE) == 0;
		memcpy(ref->hash, c->sections[i].hash, POLICY_HASH_SIZE);
		ref->tenant = s->tenant;
		ref->size = (uint32_t)c->sections[i].size;
		ref->revision = kept ? old->revision : generation;
		same = same && kept;
	}
	root->generation = c->generation = same ? previous->generation : generation;
	c->root.data = root;
	c->root.size = size;
	hash(&c->root);
	return 0;
}

int compile_policy(const struct desired *d, const be32 *dns, unsigned n_dns,
	const struct policy_root *previous, uint64_t generation, struct compiled **ret_compiled,
	char *err, size_t err_size)
{
	struct compiled *c = NULL;
	int r = -ENOMEM;

	if (d->n_tenants + 1 > POLICY_MAX_SECTIONS || d->n_segments > POLICY_MAX_SEGMENTS ||
		d->n_ports > POLICY_MAX_PORTS || d->n_uplinks > POLICY_MAX_UPLINKS)
		return log_reason(-E2BIG, err, err_size,
			"%u tenants, %u networks, %u ports, %u uplinks; at most %d, %d, %d and %d "
			"are "
			"allowed",
			d->n_tenants, d->n_segments, d->n_ports, d->n_uplinks,
			POLICY_MAX_SECTIONS - 1, POLICY_MAX_SEGMENTS, POLICY_MAX_PORTS,
			POLICY_MAX_UPLINKS);
	c = calloc(1, sizeof(*c));
	if (!c)
		goto fail;
	c->n_sections = d->n_tenants + 1;
	c->sections = calloc(c->n_sections, sizeof(*c->sections));
	if (!c->sections)
		goto fail;
	r = compile_host(d, &c->sections[0]);
	for (unsigned i = 0; r == 0 && i < d->n_tenants; i++)
		r = compile_tenant(d, &d->tenants[i], dns, n_dns, &c->sections[i + 1]);
	if (r < 0)
		goto fail;
	qsort(c->sections, c->n_sections, sizeof(*c->sections), compare_sections);
	for (unsigned i = 0; i < c->n_sections; i++)
		hash(&c->sections[i]);
	r = build_root(c, previous, generation);
	if (r < 0)
		goto fail;
	*ret_compiled = c;
	return 0;
fail:
	compiled_free(c);
	return log_reason(r, err, err_size, "%s",
		r == -E2BIG ? "a tenant's share of the policy exceeds 16 MiB; split the tenant"
			    : "out of memory");
}

void compiled_free(struct compiled *c)
{
	if (!c)
		return;
	for (unsigned i = 0; c->sections && i < c->n_sections; i++)
		free(c->sections[i].data);
	free(c->sections);
	free(c->root.data);
	free(c);
}

int compile_memfd(const void *data, size_t size, int *ret_fd)
{
	const uint8_t *p = data;
	int fd = memfd_create("insula-policy", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	for (size_t done = 0; done < size;) {
		ssize_t n = write(fd, p + done, size - done);
		if (n <= 0) {
			int r = n < 0 ? -errno : -EIO;
			close(fd);
			return r;
		}
		done += (size_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}
