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
	b.s.snat_port = 1;
	assert_contradict(&a, &b, "SNAT behind a guest's port");
	b = tenant(2, 20);
	b.s.snat_port = 77;
	assert_contradict(&a, &b, "SNAT behind nothing");
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
		cmocka_unit_test(same_addresses_in_two_tenants),
		cmocka_unit_test(roots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
