// SPDX-License-Identifier: BSD-3-Clause
// What the parts of a policy may each say alone but not together: an id, MAC, address or subnet
// that two claim. Whatever passes here has one answer to "whose is this?", so that tables filled
// from it cannot refuse an entry. Sorts instead of comparing pairs: a policy has thousands of
// ports. Called by policy_build in the control thread.
#include <errno.h>
#include <stdlib.h>
#include "vswitch/policy.h"

struct key {
	uint64_t scope, value;
	uint32_t index; // into policy.segments or policy.ports
};

static int by_key(const void *a, const void *b)
{
	const struct key *x = a, *y = b;

	if (x->scope != y->scope)
		return x->scope < y->scope ? -1 : 1;
	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

// Sorts; returns the second of the first two equal keys (the first is right before it), or NULL.
static const struct key *twin(struct key *keys, uint32_t n)
{
	qsort(keys, n, sizeof(*keys), by_key);
	for (uint32_t i = 1; i < n; i++)
		if (keys[i].scope == keys[i - 1].scope && keys[i].value == keys[i - 1].value)
			return &keys[i];
	return NULL;
}

static uint64_t mac_number(const struct mac *m)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < sizeof(m->b); i++)
		v = v << 8 | m->b[i];
	return v;
}

// Can a host of the segment have this address?
static bool is_host_of(const struct policy_segment *s, be32 address)
{
	uint32_t host_bits = ~ipv4_mask(s->prefix_len), host = ntohl(address) & host_bits;

	return ipv4_in_prefix(address, s->subnet, s->prefix_len) && host != 0 && host != host_bits;
}

static int segments_check(const struct policy *pol, struct key *keys, char *err, size_t err_size)
{
	uint64_t last = 0;
	const struct key *k;

	for (uint32_t i = 0; i < pol->n_segments; i++)
		keys[i] = (struct key){ 0, pol->segments[i].s->id, i };
	k = twin(keys, pol->n_segments);
	if (k)
		return policy_refuse(err, err_size, "segment %s: id %u is that of segment %s too",
			pol->segments[k->index].s->name, pol->segments[k->index].s->id,
			pol->segments[k[-1].index].s->name);
	for (uint32_t i = 0; i < pol->n_segments; i++) {
		const struct policy_segment *s = pol->segments[i].s;

		if (s->gateway && !is_host_of(s, s->gateway))
			return policy_refuse(err, err_size,
				"segment %s: gateway is no host's address in its subnet", s->name);
		keys[i] = (struct key){ s->zone, ntohl(s->subnet), i };
	}
	qsort(keys, pol->n_segments, sizeof(*keys), by_key);
	// Subnets are nested or disjoint: one that overlaps any overlaps its forerunner here.
	for (uint32_t i = 0; i < pol->n_segments; i++) {
		const struct policy_segment *s = pol->segments[keys[i].index].s;

		if (i > 0 && keys[i].scope == keys[i - 1].scope && keys[i].value <= last)
			return policy_refuse(err, err_size,
				"segment %s: subnet overlaps that of segment %s", s->name,
				pol->segments[keys[i - 1].index].s->name);
		last = keys[i].value | (uint32_t)~ipv4_mask(s->prefix_len);
	}
	return 0;
}

static int access_check(
	const struct policy_port *p, const struct policy_segment *s, char *err, size_t err_size)
{
	if (p->address && !is_host_of(s, p->address))
		return policy_refuse(err, err_size,
			"port %s: address is no host's in the subnet of segment %s", p->name,
			s->name);
	if (s->gateway && p->address == s->gateway)
		return policy_refuse(err, err_size,
			"port %s: address is the gateway's of segment %s", p->name, s->name);
	if (s->gateway && mac_equal(&p->mac, &s->gateway_mac))
		return policy_refuse(err, err_size, "port %s: MAC is the gateway's of segment %s",
			p->name, s->name);
	return 0;
}

static int macs_check(const struct policy *pol, struct key *keys, char *err, size_t err_size)
{
	const struct key *k;
	uint32_t n = 0;

	for (uint32_t i = 0; i < pol->n_ports; i++) {
		const struct policy_prt *prt = &pol->ports[i];
		int r;

		if (prt->segment == POLICY_NO_SEGMENT)
			continue;
		r = access_check(prt->p, pol->segments[prt->segment].s, err, err_size);
		if (r < 0)
			return r;
		if (!mac_is_zero(&prt->p->mac)) // many clients: each has its own
			keys[n++] = (struct key){ prt->segment, mac_number(&prt->p->mac), i };
	}
	k = twin(keys, n);
	if (!k)
		return 0;
	return policy_refuse(err, err_size, "port %s: MAC is that of port %s in the same segment",
		pol->ports[k->index].p->name, pol->ports[k[-1].index].p->name);
}

static int uplinks_check(const struct policy *pol, struct key *keys, char *err, size_t err_size)
{
	const struct key *k;
	uint32_t n = 0;

	for (uint32_t i = 0; i < pol->n_ports; i++)
		if (pol->ports[i].uplink)
			keys[n++] = (struct key){ 0, pol->ports[i].p->address, i };
	k = twin(keys, n);
	if (!k)
		return 0;
	return policy_refuse(err, err_size, "port %s: address is that of uplink %s too",
		pol->ports[k->index].p->name, pol->ports[k[-1].index].p->name);
}

static int snat_check(const struct policy *pol, char *err, size_t err_size)
{
	for (uint32_t i = 0; i < pol->n_segments; i++) {
		const struct policy_segment *s = pol->segments[i].s;
		const struct policy_prt *u = s->snat_port ? policy_port(pol, s->snat_port) : NULL;

		if (s->snat_port && (!u || !u->uplink))
			return policy_refuse(err, err_size,
				"segment %s: SNAT names port %u, no uplink", s->name, s->snat_port);
	}
	return 0;
}

int policy_check(const struct policy *pol, char *err, size_t err_size)
{
	struct key *keys = calloc((size_t)pol->n_segments + pol->n_ports + 1, sizeof(*keys));
	int r;

	if (!keys)
		return -ENOMEM;
	r = segments_check(pol, keys, err, err_size);
	if (r == 0)
		r = macs_check(pol, keys, err, err_size);
	if (r == 0)
		r = uplinks_check(pol, keys, err, err_size);
	if (r == 0)
		r = snat_check(pol, err, err_size);
	free(keys);
	return r;
}
