// SPDX-License-Identifier: BSD-3-Clause
// Validating loader of policy sections and roots (control/policy.h). Every byte is treated as
// hostile input: sizes, counts, ranges, references and spare bytes. Control thread, tests and
// fuzzers.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sha2.h>
#include "vswitch/policy.h"

int policy_refuse(char *err, size_t err_size, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(err, err_size, format, ap);
	va_end(ap);
	return -EINVAL;
}

// A name is terminated, not empty, printable ASCII and padded with zeros.
static bool name_ok(const char name[POLICY_NAME_SIZE])
{
	size_t len = strnlen(name, POLICY_NAME_SIZE);

	if (len == 0 || len == POLICY_NAME_SIZE)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] < 0x21 || name[i] > 0x7e)
			return false;
	for (size_t i = len; i < POLICY_NAME_SIZE; i++)
		if (name[i])
			return false;
	return true;
}

static bool zero(const uint8_t *p, size_t size)
{
	uint8_t any = 0;

	while (size--)
		any |= *p++;
	return any == 0;
}

static bool unicast_mac(const struct mac *m)
{
	return !mac_is_multicast(m) && !mac_is_zero(m);
}

// An address one host can have in the world outside: not 0/8, 127/8, multicast, reserved.
static bool uplink_address(be32 address)
{
	uint32_t net = ntohl(address) >> 24;

	return net != 0 && net != 127 && net < 224;
}

static int segment_check(const struct policy_segment *s, uint32_t tenant, char *err, size_t n)
{
	if (!name_ok(s->name))
		return policy_refuse(err, n, "segment %u: bad name", s->id);
	if (s->id == 0 || s->zone != tenant)
		return policy_refuse(err, n, "segment %s: id 0 or zone of another tenant", s->name);
	if (s->vlan < 1 || s->vlan > 4094)
		return policy_refuse(err, n, "segment %s: VLAN %u", s->name, s->vlan);
	if (s->mtu < 576 || s->mtu > 9216)
		return policy_refuse(err, n, "segment %s: MTU %u", s->name, s->mtu);
	if (s->prefix_len < 1 || s->prefix_len > 30)
		return policy_refuse(
			err, n, "segment %s: prefix length %u", s->name, s->prefix_len);
	if (ntohl(s->subnet) & ~ipv4_mask(s->prefix_len))
		return policy_refuse(err, n, "segment %s: subnet has host bits", s->name);
	if (s->gateway && (!ipv4_in_prefix(s->gateway, s->subnet, s->prefix_len) ||
				  !unicast_mac(&s->gateway_mac)))
		return policy_refuse(
			err, n, "segment %s: gateway outside the subnet or without MAC", s->name);
	if (s->n_dns > POLICY_MAX_DNS)
		return policy_refuse(err, n, "segment %s: %u DNS servers", s->name, s->n_dns);
	if (!s->pool_first != !s->pool_last || ntohl(s->pool_first) > ntohl(s->pool_last) ||
		(s->pool_first && (!ipv4_in_prefix(s->pool_first, s->subnet, s->prefix_len) ||
					  !ipv4_in_prefix(s->pool_last, s->subnet, s->prefix_len))))
		return policy_refuse(err, n, "segment %s: pool outside the subnet", s->name);
	if (s->lease_s < 10)
		return policy_refuse(err, n, "segment %s: lease of %u s", s->name, s->lease_s);
	if (s->snat_port > POLICY_MAX_PORT_ID || (s->snat_port && !s->gateway))
		return policy_refuse(err, n, "segment %s: SNAT without gateway or port", s->name);
	return 0;
}

static int port_check(
	const struct policy_port *p, const struct policy_section *sec, char *err, size_t n)
{
	uint8_t known = POLICY_PORT_CLIENTS_MANY | POLICY_PORT_ALLOW_NON_IP;

	if (!name_ok(p->name))
		return policy_refuse(err, n, "port %u: bad name", p->id);
	if (p->id == 0 || p->id > POLICY_MAX_PORT_ID)
		return policy_refuse(err, n, "port %s: id %u", p->name, p->id);
	if (p->flags & ~known || !zero(p->spare, sizeof(p->spare)))
		return policy_refuse(err, n, "port %s: unknown flags", p->name);
	if (p->mode >= POLICY_PORT_MODE_COUNT)
		return policy_refuse(err, n, "port %s: mode %u", p->name, p->mode);
	if ((p->mode == POLICY_PORT_ACCESS) != (p->segment != 0))
		return policy_refuse(err, n, "port %s: segment does not fit its mode", p->name);
	if ((p->mode == POLICY_PORT_TRUNK) ? p->trunk >= sec->n_trunks : p->trunk != UINT32_MAX)
		return policy_refuse(err, n, "port %s: trunk index", p->name);
	if ((p->mode == POLICY_PORT_UPLINK) ? p->uplink >= sec->n_uplinks : p->uplink != UINT32_MAX)
		return policy_refuse(err, n, "port %s: uplink index", p->name);
	if (p->mode != POLICY_PORT_ACCESS && sec->tenant != POLICY_HOST_TENANT)
		return policy_refuse(
			err, n, "port %s: only the host has trunks and uplinks", p->name);
	if (p->mode != POLICY_PORT_TRUNK && !(p->flags & POLICY_PORT_CLIENTS_MANY) &&
		!unicast_mac(&p->mac))
		return policy_refuse(err, n, "port %s: MAC is zero or multicast", p->name);
	if ((p->flags & POLICY_PORT_CLIENTS_MANY) && mac_is_multicast(&p->mac))
		return policy_refuse(err, n, "port %s: MAC is multicast", p->name);
	if (p->mode == POLICY_PORT_UPLINK && !uplink_address(p->address))
		return policy_refuse(
			err, n, "port %s: uplink address is missing or no host's", p->name);
	return 0;
}

static int trunk_check(const struct policy_trunk *t, char *err, size_t n)
{
	if (t->native_vid > 4094 || t->outer_vid > 4094 || !zero(t->spare, sizeof(t->spare)))
		return policy_refuse(err, n, "trunk: native or outer VLAN out of range");
	if ((t->allowed[0] & 1) || (t->allowed[511] & 0x80))
		return policy_refuse(err, n, "trunk: VLAN 0 or 4095 allowed");
	return 0;
}

static int uplink_check(const struct policy_uplink *u, char *err, size_t n)
{
	if (!(u->zone & 0x80000000u) || u->spare)
		return policy_refuse(err, n, "uplink: zone %#x is not an uplink's", u->zone);
	if (u->prefix_len < 1 || u->prefix_len > 32 || u->mtu < 576 || u->mtu > 9216)
		return policy_refuse(err, n, "uplink: prefix length or MTU out of range");
	if (u->nat_port_first < 1 || u->nat_port_first > u->nat_port_last)
		return policy_refuse(err, n, "uplink: NAT port range");
	return 0;
}

static int part_check(const struct policy_part *part, char *err, size_t n)
{
	const struct policy_section *sec = part->raw;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < sec->n_segments; i++)
		r = segment_check(&part->segments[i], sec->tenant, err, n);
	for (uint32_t i = 0; r == 0 && i < sec->n_ports; i++)
		r = port_check(&part->ports[i], sec, err, n);
	for (uint32_t i = 0; r == 0 && i < sec->n_trunks; i++)
		r = trunk_check(&part->trunks[i], err, n);
	for (uint32_t i = 0; r == 0 && i < sec->n_uplinks; i++)
		r = uplink_check(&part->uplinks[i], err, n);
	return r;
}

static int header_check(const struct policy_section *sec, size_t size, char *err, size_t n)
{
	uint64_t want;

	if (sec->magic != POLICY_SECTION_MAGIC || sec->version != POLICY_VERSION)
		return policy_refuse(err, n, "section: magic or version unknown");
	if (sec->n_segments > POLICY_MAX_SEGMENTS || sec->n_ports > POLICY_MAX_PORTS ||
		sec->n_trunks > POLICY_MAX_PORTS || sec->n_uplinks > POLICY_MAX_UPLINKS)
		return policy_refuse(err, n, "section: too many entries");
	want = sizeof(*sec) + (uint64_t)sec->n_segments * sizeof(struct policy_segment) +
	       (uint64_t)sec->n_ports * sizeof(struct policy_port) +
	       (uint64_t)sec->n_trunks * sizeof(struct policy_trunk) +
	       (uint64_t)sec->n_uplinks * sizeof(struct policy_uplink);
	if (sec->size != size || want != size)
		return policy_refuse(err, n,
			"section: %zu bytes, header says %u, entries need %llu", size, sec->size,
			(unsigned long long)want);
	if (!name_ok(sec->name) || sec->tenant >= POLICY_MAX_SECTIONS)
		return policy_refuse(err, n, "section: bad name or tenant id");
	return 0;
}

int policy_part_load(
	const void *data, size_t size, struct policy_part **ret, char *err, size_t err_size)
{
	struct policy_part *part;
	struct policy_section *raw;
	SHA2_CTX sha;
	int r;

	if (size < sizeof(*raw) || size > POLICY_MAX_SECTION_SIZE)
		return policy_refuse(err, err_size, "section: %zu bytes", size);
	part = calloc(1, sizeof(*part));
	raw = malloc(size);
	if (!part || !raw) {
		r = -ENOMEM;
		goto fail;
	}
	memcpy(raw, data, size); // from here on only the copy is looked at
	part->refs = 1;
	part->raw = raw;
	r = header_check(raw, size, err, err_size);
	if (r < 0)
		goto fail;
	part->segments = (const void *)(raw + 1);
	part->ports = (const void *)(part->segments + raw->n_segments);
	part->trunks = (const void *)(part->ports + raw->n_ports);
	part->uplinks = (const void *)(part->trunks + raw->n_trunks);
	r = part_check(part, err, err_size);
	if (r < 0)
		goto fail;
	SHA256Init(&sha);
	SHA256Update(&sha, (const uint8_t *)raw, size);
	SHA256Final(part->hash, &sha);
	*ret = part;
	return 0;
fail:
	free(raw);
	free(part);
	return r;
}

void policy_part_unref(struct policy_part *part)
{
	if (!part || --part->refs)
		return;
	free((void *)(uintptr_t)part->raw);
	free(part);
}

int policy_root_check(const void *data, size_t size, char *err, size_t err_size)
{
	const struct policy_root *root = data;

	if (size < sizeof(*root))
		return policy_refuse(err, err_size, "root: %zu bytes", size);
	if (root->magic != POLICY_ROOT_MAGIC || root->version != POLICY_VERSION)
		return policy_refuse(err, err_size, "root: magic or version unknown");
	if (root->n_sections > POLICY_MAX_SECTIONS || root->size != size ||
		size != sizeof(*root) + root->n_sections * sizeof(root->sections[0]))
		return policy_refuse(
			err, err_size, "root: %zu bytes for %u sections", size, root->n_sections);
	if (root->generation == 0)
		return policy_refuse(err, err_size, "root: generation 0");
	return 0;
}
