// SPDX-License-Identifier: BSD-3-Clause
// The validating loader and the builder against sections that lie: cut at every byte, counts that
// overflow, every field out of its range, parts that contradict each other.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "vswitch/policy.h"

struct sample {
	struct policy_section h;
	struct policy_segment s;
	struct policy_port p;
};

static char err[256];

static struct sample tenant(uint32_t id, uint16_t vlan)
{
	struct sample x = { .h = { POLICY_SECTION_MAGIC, POLICY_VERSION, id, sizeof(x), 1, 1, 0, 0,
				    "tenant" },
		.s = { .id = id,
			.zone = id,
			.vlan = vlan,
			.mtu = 1500,
			.subnet = htonl(0x0a000000),
			.gateway = htonl(0x0a000001),
			.gateway_mac = { { 2, 0, 0, 0, 0, 1 } },
			.prefix_len = 24,
			.lease_s = 3600,
			.name = "lan" },
		.p = { .id = id,
			.segment = id,
			.mac = { { 2, 0, 0, 0, 0, 9 } },
			.address = htonl(0x0a00000b),
			.trunk = UINT32_MAX,
			.uplink = UINT32_MAX,
			.name = "one" } };

	return x;
}

// Loads from a heap block of the exact size, so that ASan sees a read past it.
static int load(const void *data, size_t size, struct policy_part **ret)
{
	void *copy = malloc(size ? size : 1);
	int r;

	memcpy(copy, data, size);
	err[0] = '\0';
	r = policy_part_load(copy, size, ret, err, sizeof(err));
	free(copy);
	return r;
}

static void assert_refused(const struct sample *x, const char *what)
{
	struct policy_part *part;

	if (load(x, sizeof(*x), &part) != -EINVAL)
		fail_msg("%s was accepted", what);
	if (err[0] == '\0')
		fail_msg("%s was refused without a word", what);
}

static void cut_at_every_byte(void **state)
{
	struct sample x = tenant(1, 10);
	struct policy_part *part;

	for (size_t size = 0; size < sizeof(x); size++)
		assert_int_equal(load(&x, size, &part), -EINVAL);
	assert_int_equal(load(&x, sizeof(x), &part), 0);
	policy_part_unref(part);
}

static void counts_that_lie(void **state)
{
	uint32_t lies[] = { 0, 2, 0x10000, 0x7fffffff, 0x80000000, UINT32_MAX };

	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct sample x = tenant(1, 10);
		uint32_t *counts[] = { &x.h.n_segments, &x.h.n_ports };

		for (unsigned k = 0; k < 2; k++) {
			x = tenant(1, 10);
			*counts[k] = lies[i];
			assert_refused(&x, "a count");
		}
		x = tenant(1, 10);
		x.h.n_trunks = lies[i];
		if (lies[i])
			assert_refused(&x, "n_trunks");
		x = tenant(1, 10);
		x.h.n_uplinks = lies[i];
		if (lies[i])
			assert_refused(&x, "n_uplinks");
	}
}

#define REFUSE(field, value) \
	do { \
		struct sample x = tenant(1, 10); \
		x.field = (value); \
		assert_refused(&x, #field " = " #value); \
	} while (0)

static void fields_out_of_range(void **state)
{
	REFUSE(h.magic, 1);
	REFUSE(h.version, 2);
	REFUSE(h.size, 1);
	REFUSE(h.tenant, 0x80000001);
	REFUSE(h.tenant, POLICY_MAX_SECTIONS);
	REFUSE(h.name[0], '\0');
	REFUSE(h.name[31], 'x');
	REFUSE(s.id, 0);
	REFUSE(s.zone, 2);
	REFUSE(s.vlan, 0);
	REFUSE(s.vlan, 4095);
	REFUSE(s.mtu, 575);
	REFUSE(s.mtu, 9217);
	REFUSE(s.prefix_len, 0);
	REFUSE(s.prefix_len, 31);
	REFUSE(s.subnet, htonl(0x0a000001));
	REFUSE(s.gateway, htonl(0x0b000001));
	REFUSE(s.gateway_mac.b[0], 1);
	REFUSE(s.n_dns, 4);
	REFUSE(s.pool_first, htonl(0x0a000020));
	REFUSE(s.lease_s, 0);
	REFUSE(s.snat_port, 65536);
	REFUSE(s.name[3], '\n');
	REFUSE(p.id, 0);
	REFUSE(p.id, 65536);
	REFUSE(p.segment, 0);
	REFUSE(p.mode, POLICY_PORT_TRUNK);
	REFUSE(p.mode, POLICY_PORT_UPLINK);
	REFUSE(p.mode, POLICY_PORT_MODE_COUNT);
	REFUSE(p.flags, 0x80);
	REFUSE(p.mac.b[0], 3);
	REFUSE(p.trunk, 0);
	REFUSE(p.uplink, 0);
	REFUSE(p.spare[0], 1);
	REFUSE(p.name[0], '\0');
}

// What each part may say alone, but not both together.
static void assert_contradict(const struct sample *a, const struct sample *b, const char *what)
{
	struct policy_root root = { POLICY_ROOT_MAGIC, POLICY_VERSION, 1, 2, 0 };
	struct policy_part *parts[2];
	struct policy *pol;

	assert_int_equal(load(a, sizeof(*a), &parts[0]), 0);
	assert_int_equal(load(b, sizeof(*b), &parts[1]), 0);
	if (policy_build(&root, parts, &pol, err, sizeof(err)) != -EINVAL)
		fail_msg("%s was accepted", what);
	policy_part_unref(parts[0]);
	policy_part_unref(parts[1]);
}

static void parts_that_contradict(void **state)
{
	struct sample a = tenant(1, 10), b = tenant(2, 10);

	assert_contradict(&a, &b, "one VLAN for two tenants");
	b = tenant(2, 20);
	b.p.id = 1;
	assert_contradict(&a, &b, "one port id twice");
	b = tenant(2, 20);
	b.p.segment = 1;
	assert_contradict(&a, &b, "a port in another tenant's segment");
	b = tenant(2, 20);
	b.s.id = b.p.segment = 1;
	assert_contradict(&a, &b, "one segment id for two tenants");
	b = tenant(2, 20);
	b.s.snat_port = 1;
	assert_contradict(&a, &b, "SNAT behind a guest's port");
	b = tenant(2, 20);
	b.s.snat_port = 77;
	assert_contradict(&a, &b, "SNAT behind nothing");
}

// One tenant's section of two segments and two ports in the first of them.
struct pair {
	struct policy_section h;
	struct policy_segment s[2];
	struct policy_port p[2];
};

static struct pair pair(void)
{
	struct sample x = tenant(1, 10);
	struct pair y = { .h = x.h, .s = { x.s, x.s }, .p = { x.p, x.p } };

	y.h.size = sizeof(y);
	y.h.n_segments = y.h.n_ports = 2;
	y.s[1].id = 2;
	y.s[1].vlan = 20;
	y.s[1].subnet = htonl(0x0a000100);
	y.s[1].gateway = htonl(0x0a000101);
	y.p[1].id = 2;
	y.p[1].mac.b[5] = 10;
	y.p[1].address = htonl(0x0a00000c);
	return y;
}

static int build_one(const void *section, size_t size)
{
	struct policy_root root = { POLICY_ROOT_MAGIC, POLICY_VERSION, 1, 1, 0 };
	struct policy_part *part;
	struct policy *pol = NULL;
	int r;

	assert_int_equal(load(section, size, &part), 0);
	r = policy_build(&root, &part, &pol, err, sizeof(err));
	if (r < 0 && err[0] == '\0')
		fail_msg("refused without a word");
	policy_part_unref(part);
	policy_free(pol);
	return r;
}

#define CONTRADICT(field, value) \
	do { \
		struct pair x = pair(); \
		x.field = (value); \
		if (build_one(&x, sizeof(x)) != -EINVAL) \
			fail_msg("%s was accepted", #field " = " #value); \
	} while (0)

static void part_that_contradicts_itself(void **state)
{
	struct pair y = pair();

	assert_int_equal(build_one(&y, sizeof(y)), 0);
	CONTRADICT(s[1].id, 1);
	CONTRADICT(s[0].gateway, htonl(0x0a000000));
	CONTRADICT(s[0].gateway, htonl(0x0a0000ff));
	CONTRADICT(p[1].mac, x.p[0].mac);
	CONTRADICT(p[1].mac, x.s[0].gateway_mac);
	CONTRADICT(p[1].address, x.p[0].address);
	CONTRADICT(p[1].address, x.s[0].gateway);
	CONTRADICT(p[1].address, htonl(0x0a000000));
	CONTRADICT(p[1].address, htonl(0x0a0000ff));
	CONTRADICT(p[1].address, htonl(0x0a00010c));
	// The same, equal subnet; one around both; one inside, behind another one inside.
	y.s[1].subnet = y.s[0].subnet;
	y.s[1].gateway = htonl(0x0a000002);
	assert_int_equal(build_one(&y, sizeof(y)), -EINVAL);
	y.s[1].prefix_len = 8;
	assert_int_equal(build_one(&y, sizeof(y)), -EINVAL);
	y.s[1].prefix_len = 26;
	y.s[1].subnet = htonl(0x0a000080);
	y.s[1].gateway = htonl(0x0a000081);
	assert_int_equal(build_one(&y, sizeof(y)), -EINVAL);
}

static void one_mac_in_two_segments(void **state)
{
	struct pair y = pair();

	y.p[1].mac = y.p[0].mac;
	y.p[1].segment = 2;
	y.p[1].address = htonl(0x0a00010c);
	assert_int_equal(build_one(&y, sizeof(y)), 0);
	y = pair();
	y.p[0].flags = y.p[1].flags = POLICY_PORT_CLIENTS_MANY; // two without a MAC of their own
	y.p[0].mac = y.p[1].mac = (struct mac){ 0 };
	assert_int_equal(build_one(&y, sizeof(y)), 0);
}

struct host_sample {
	struct policy_section h;
	struct policy_port p[2];
	struct policy_uplink u[2];
};

static struct host_sample host(void)
{
	struct host_sample x = { .h = { POLICY_SECTION_MAGIC, POLICY_VERSION, 0, sizeof(x), 0, 2, 0,
					 2, "host" } };

	for (uint32_t i = 0; i < 2; i++) {
		x.p[i] = (struct policy_port){ .id = i + 1,
			.mode = POLICY_PORT_UPLINK,
			.mac = { { 2, 0, 0, 0, 0, 1 } },
			.address = htonl(0xc6336402 + i),
			.trunk = UINT32_MAX,
			.uplink = i,
			.name = "internet" };
		x.u[i] = (struct policy_uplink){ .zone = 0x80000001u + i,
			.prefix_len = 24,
			.mtu = 1500,
			.nat_port_first = 1024,
			.nat_port_last = 65535 };
	}
	return x;
}

static void uplink_addresses(void **state)
{
	uint32_t bad[] = { 0, 1, 0x00ffffff, 0x7f000001, 0xe0000001, 0xf0000001, UINT32_MAX };
	struct host_sample x = host();
	struct policy_part *part;

	assert_int_equal(build_one(&x, sizeof(x)), 0);
	x.p[1].address = x.p[0].address;
	assert_int_equal(build_one(&x, sizeof(x)), -EINVAL);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		x.p[1].address = htonl(bad[i]);
		if (load(&x, sizeof(x), &part) != -EINVAL)
			fail_msg("uplink address %08x was accepted", bad[i]);
	}
}

// As many ports as there can be: no pair of them is compared that sorting does not bring together.
static void as_many_ports_as_can_be(void **state)
{
	struct sample one = tenant(1, 10);
	uint32_t n = POLICY_MAX_PORTS;
	size_t size = sizeof(one) + (n - 1) * sizeof(one.p);
	struct sample *x = malloc(size);
	struct policy_port *p = &x->p;

	*x = one;
	x->h.n_ports = n;
	x->h.size = (uint32_t)size;
	x->s.prefix_len = 8;
	for (uint32_t i = 0; i < n; i++) {
		p[i] = one.p;
		p[i].id = n - i;
		p[i].address = htonl(0x0a010000 + i);
		p[i].mac = (struct mac){ { 2, 1, 0, 0, (uint8_t)(i >> 8), (uint8_t)i } };
	}
	assert_int_equal(build_one(x, size), 0);
	p[n - 1].mac = p[0].mac;
	assert_int_equal(build_one(x, size), -EINVAL);
	free(x);
}

static void same_addresses_in_two_tenants(void **state)
{
	struct sample a = tenant(1, 10), b = tenant(2, 20);
	struct policy_root root = { POLICY_ROOT_MAGIC, POLICY_VERSION, 1, 2, 0 };
	struct policy_part *parts[2];
	struct policy *pol;

	assert_int_equal(load(&a, sizeof(a), &parts[0]), 0);
	assert_int_equal(load(&b, sizeof(b), &parts[1]), 0);
	assert_int_equal(policy_build(&root, parts, &pol, err, sizeof(err)), 0);
	assert_int_equal(policy_host_port(pol, 1, a.p.address)->p->id, 1);
	assert_int_equal(policy_host_port(pol, 2, a.p.address)->p->id, 2);
	assert_null(policy_host_port(pol, 3, a.p.address));
	policy_free(pol);
	policy_part_unref(parts[0]);
	policy_part_unref(parts[1]);
}

static void roots(void **state)
{
	uint8_t bytes[sizeof(struct policy_root) + 2 * sizeof(struct policy_section_ref)] = { 0 };
	struct policy_root *root = (struct policy_root *)bytes;

	*root = (struct policy_root){ POLICY_ROOT_MAGIC, POLICY_VERSION, 1, 2, sizeof(bytes) };
	assert_int_equal(policy_root_check(bytes, sizeof(bytes), err, sizeof(err)), 0);
	for (size_t size = 0; size < sizeof(bytes); size++)
		assert_int_equal(policy_root_check(bytes, size, err, sizeof(err)), -EINVAL);
	root->n_sections = UINT32_MAX;
	assert_int_equal(policy_root_check(bytes, sizeof(bytes), err, sizeof(err)), -EINVAL);
	root->n_sections = 2;
	root->generation = 0;
	assert_int_equal(policy_root_check(bytes, sizeof(bytes), err, sizeof(err)), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cut_at_every_byte),
		cmocka_unit_test(counts_that_lie),
		cmocka_unit_test(fields_out_of_range),
		cmocka_unit_test(parts_that_contradict),
		cmocka_unit_test(part_that_contradicts_itself),
		cmocka_unit_test(one_mac_in_two_segments),
		cmocka_unit_test(uplink_addresses),
		cmocka_unit_test(as_many_ports_as_can_be),
		cmocka_unit_test(same_addresses_in_two_tenants),
		cmocka_unit_test(roots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
