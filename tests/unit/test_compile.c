// SPDX-License-Identifier: BSD-3-Clause
// From YAML to policy sections: the numbers arrive, the host's share and each tenant's are apart,
// an unchanged tenant keeps its hash and revision, and the order of the file says nothing.
#include "tests/unit/desired_fixture.h"
#include <errno.h>
#include <fcntl.h>
#include "control/compile.h"

#define UPLINK \
	"version: 1\n" \
	"uplinks:\n" \
	"  - {name: internet, mode: routed, interface: up0, address: 198.51.100.2/24, gateway: " \
	"198.51.100.1}\n" \
	"tenants:\n"
#define TENANT(name, vlan, subnet) \
	"  - name: " name "\n" \
	"    networks:\n" \
	"      - {name: lan, vlan: " vlan ", subnet: " subnet \
	", gateway: 10.0.0.1, snat: internet}\n" \
	"    instances:\n" \
	"      - name: one\n" \
	"        kind: external\n" \
	"        nics:\n" \
	"          - {network: lan, address: 10.0.0.11, type: tap, interface: " name "1}\n" \
	"      - name: two\n" \
	"        kind: external\n" \
	"        nics:\n" \
	"          - {network: lan, type: tap, interface: " name "2}\n"
#define TENANT_POOL(pool, more) \
	"  - name: red\n" \
	"    networks: [{name: lan, vlan: 10, subnet: 10.0.0.0/24, gateway: 10.0.0.1" pool "}]\n" \
	"    instances:\n" \
	"      - {name: one, nics: [{network: lan, interface: t1}]}\n" more
#define LATER "      - {name: later, nics: [{network: lan, interface: t2}]}\n"

static const be32 no_dns[POLICY_MAX_DNS];

static struct compiled *compile(
	const struct desired *d, const struct compiled *previous, uint64_t generation)
{
	struct compiled *c = NULL;
	char err[256] = "";

	if (compile_policy(d, no_dns, 0, previous ? previous->root.data : NULL, generation, &c, err,
		    sizeof(err)) < 0)
		fail_msg("%s", err);
	return c;
}

static const struct policy_section *section_of(const struct compiled *c, uint32_t tenant)
{
	for (unsigned i = 0; i < c->n_sections; i++) {
		const struct policy_section *s = c->sections[i].data;
		if (s->tenant == tenant)
			return s;
	}
	fail_msg("no section of tenant %u", tenant);
	return NULL;
}

static void test_contents(void **state)
{
	struct desired *d = fixture_desired(
		UPLINK TENANT("red", "10", "10.0.0.0/24") TENANT("blue", "20", "10.0.0.0/24"));
	struct compiled *c = compile(d, NULL, 7);
	const struct policy_section *red = section_of(c, d->tenants[0].id);
	const struct policy_section *blue = section_of(c, d->tenants[1].id);
	const struct policy_section *host = section_of(c, POLICY_HOST_TENANT);
	const struct policy_segment *lan = (const void *)(red + 1);
	const struct policy_port *ports = (const void *)(lan + 1);
	const struct policy_port *blue_ports =
		(const void *)((const struct policy_segment *)(blue + 1) + 1);
	const struct policy_port *up = (const void *)(host + 1);
	const struct policy_uplink *uplink = (const void *)(up + 1);

	assert_int_equal(c->generation, 7);
	assert_int_equal(c->n_sections, 3);
	assert_string_equal(red->name, "red");
	assert_int_equal(red->n_segments, 1);
	assert_int_equal(red->n_ports, 2);
	assert_int_equal(red->size, sizeof(*red) + sizeof(*lan) + 2 * sizeof(*ports));
	assert_int_equal(lan->vlan, 10);
	assert_int_equal(lan->zone, red->tenant);
	assert_int_equal(lan->snat_port, up->id);
	assert_int_equal(ports[0].address, inet_addr("10.0.0.11"));
	assert_int_equal(ports[1].address, inet_addr("10.0.0.2")); // the first free one
	assert_string_equal(ports[0].name, "one.eth0");
	assert_int_equal(ports[0].segment, lan->id);
	// Same names and addresses, yet another port, MAC, segment and zone.
	assert_int_equal(blue_ports[0].address, ports[0].address);
	assert_int_not_equal(blue_ports[0].id, ports[0].id);
	assert_false(mac_equal(&blue_ports[0].mac, &ports[0].mac));
	assert_int_equal(ports[0].mac.b[0], 0x02);
	assert_int_not_equal(blue_ports[0].segment, ports[0].segment);
	assert_int_equal(up->mode, POLICY_PORT_UPLINK);
	assert_int_equal(uplink->zone, 0x80000000u | up->id);
	assert_int_equal(uplink->gateway, inet_addr("198.51.100.1"));
	compiled_free(c);
	desired_free(d);
}

static void test_unchanged_tenant_keeps_revision(void **state)
{
	struct desired *before = fixture_desired(
		UPLINK TENANT("red", "10", "10.0.0.0/24") TENANT("blue", "20", "10.0.0.0/24"));
	struct compiled *c1 = compile(before, NULL, 1);
	// Other order, and blue's VLAN changed.
	struct desired *after = fixture_desired(
		UPLINK TENANT("blue", "21", "10.0.0.0/24") TENANT("red", "10", "10.0.0.0/24"));
	struct compiled *c2 = compile(after, c1, 2);
	const struct policy_root *r1 = c1->root.data, *r2 = c2->root.data;

	assert_int_equal(r2->generation, 2);
	for (uint32_t i = 0; i < 3; i++) {
		bool blue = r1->sections[i].tenant == before->tenants[1].id;
		assert_int_equal(r1->sections[i].tenant, r2->sections[i].tenant);
		assert_int_equal(r2->sections[i].revision, blue ? 2 : 1);
		assert_int_equal(
			memcmp(r1->sections[i].hash, r2->sections[i].hash, 32) == 0, !blue);
	}
	compiled_free(c1);
	compiled_free(c2);
	desired_free(before);
	desired_free(after);
}

static void test_same_is_the_same_generation(void **state)
{
	struct desired *a = fixture_desired(
		UPLINK TENANT("red", "10", "10.0.0.0/24") TENANT("blue", "20", "10.0.0.0/24"));
	struct compiled *c1 = compile(a, NULL, 1);
	struct desired *b = fixture_desired(
		UPLINK TENANT("blue", "20", "10.0.0.0/24") TENANT("red", "10", "10.0.0.0/24"));
	struct compiled *c2 = compile(b, c1, 2);

	assert_int_equal(c2->generation, 1);
	assert_int_equal(c1->root.size, c2->root.size);
	assert_memory_equal(c1->root.data, c2->root.data, c1->root.size);
	compiled_free(c1);
	compiled_free(c2);
	desired_free(a);
	desired_free(b);
}

static const struct desired_port *two(const struct desired *d)
{
	return desired_port_by_name(d, "red/two.eth0");
}

// What guests have in their ARP tables stays true: of a nic that comes back, of a gateway whose
// network gets another name and VLAN.
static void test_macs_last(void **state)
{
	struct desired *before = fixture_desired(UPLINK TENANT("red", "10", "10.0.0.0/24"));
	struct desired *without =
		fixture_desired("version: 1\n"
				"tenants:\n"
				"  - name: red\n"
				"    networks:\n"
				"      - {name: lan, vlan: 10, subnet: 10.0.0.0/24}\n"
				"      - {name: wan, vlan: 11, subnet: 10.0.1.0/24, gateway: "
				"10.0.1.1}\n");
	struct desired *after = fixture_desired(
		UPLINK TENANT("blue", "20", "10.0.0.0/24") TENANT("red", "10", "10.0.0.0/24"));

	assert_non_null(two(before));
	assert_null(two(without));
	assert_memory_equal(&two(after)->mac, &two(before)->mac, sizeof(struct mac));
	assert_int_equal(two(after)->address, two(before)->address);
	assert_memory_equal(&without->segments[1].gateway_mac, &before->segments[0].gateway_mac,
		sizeof(struct mac));
	assert_int_not_equal(without->segments[1].id, before->segments[0].id);
	desired_free(before);
	desired_free(without);
	desired_free(after);
}

static void test_dns_of_the_host(void **state)
{
	struct desired *d = fixture_desired(UPLINK TENANT("red", "10", "10.0.0.0/24"));
	const be32 dns[POLICY_MAX_DNS] = { inet_addr("192.0.2.53") };
	struct compiled *c;
	char err[256];

	assert_int_equal(compile_policy(d, dns, 1, NULL, 1, &c, err, sizeof(err)), 0);
	const struct policy_segment *lan = (const void *)(section_of(c, d->tenants[0].id) + 1);
	assert_int_equal(lan->n_dns, 1);
	assert_int_equal(lan->dns[0], dns[0]);
	compiled_free(c);
	desired_free(d);
}

static void test_memfd_is_sealed(void **state)
{
	static const char data[] = "policy";
	char back[sizeof(data)];
	int fd;

	assert_int_equal(compile_memfd(data, sizeof(data), &fd), 0);
	assert_int_equal(
		fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	assert_int_equal(pread(fd, back, sizeof(back), 0), sizeof(data));
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(errno, EPERM);
	close(fd);
}

static be32 address_of(const struct desired *d, const char *name)
{
	const struct desired_port *p = desired_port_by_name(d, name);

	assert_non_null(p);
	return p->address;
}

// A pool keeps away from what ports have, and what ports get next keeps away from it.
static void test_pool_over_addresses(void **state)
{
	const char *before = "version: 1\ntenants:\n" TENANT_POOL("", "");
	const char *after =
		"version: 1\ntenants:\n" TENANT_POOL(", pool: 10.0.0.2-10.0.0.9", LATER);
	struct desired *d = fixture_desired(before);
	be32 was = address_of(d, "red/one.eth0");

	assert_int_equal(was, inet_addr("10.0.0.2"));
	desired_free(d);
	d = fixture_desired(after);
	assert_int_equal(address_of(d, "red/one.eth0"), was);
	assert_int_equal(address_of(d, "red/later.eth0"), inet_addr("10.0.0.10"));
	desired_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_contents, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_unchanged_tenant_keeps_revision, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_same_is_the_same_generation, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_macs_last, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_dns_of_the_host, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_pool_over_addresses, fixture_setup, fixture_teardown),
		cmocka_unit_test(test_memfd_is_sealed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
