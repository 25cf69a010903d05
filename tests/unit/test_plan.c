// SPDX-License-Identifier: BSD-3-Clause
// desired − actual in words: what is new, different and gone, in which order; and the candidates of
// a port in their order of fallback.
#include "tests/unit/desired_fixture.h"
#include <errno.h>
#include "control/describe.h"
#include "control/plan.h"
#include "control/port_spec.h"

#define RED(vlan, nics) \
	"version: 1\n" \
	"tenants:\n" \
	"  - name: red\n" \
	"    networks:\n" \
	"      - {name: lan, vlan: " vlan ", subnet: 10.0.0.0/24, gateway: 10.0.0.1}\n" \
	"    instances:\n" \
	"      - name: one\n" \
	"        kind: external\n" \
	"        nics:\n" nics
#define TAP "          - {network: lan, address: 10.0.0.11, type: tap, interface: t1}\n"
#define VHOST "          - {name: v, network: lan, type: vhost-user}\n"

static void is_change(
	const json_t *changes, size_t i, const char *op, const char *kind, const char *name)
{
	const json_t *c = json_array_get(changes, i);

	assert_non_null(c);
	assert_string_equal(json_string_value(json_object_get(c, "op")), op);
	assert_string_equal(json_string_value(json_object_get(c, "kind")), kind);
	assert_string_equal(json_string_value(json_object_get(c, "name")), name);
}

static const char *detail(const json_t *changes, size_t i)
{
	return json_string_value(json_object_get(json_array_get(changes, i), "detail"));
}

static json_t *plan(const struct desired *was, const struct desired *will)
{
	json_t *a = describe_all(was, "/run/insula"), *b = describe_all(will, "/run/insula");
	json_t *changes = plan_changes(a, b);

	json_decref(a);
	json_decref(b);
	return changes;
}

static void test_create_update_delete(void **state)
{
	struct desired *empty = fixture_desired("version: 1\n");
	struct desired *one = fixture_desired(RED("10", TAP));
	struct desired *other = fixture_desired(RED("11", VHOST));
	json_t *c = plan(empty, one);

	assert_int_equal(json_array_size(c), 3);
	is_change(c, 0, "create", "tenant", "red");
	is_change(c, 1, "create", "network", "red/lan");
	is_change(c, 2, "create", "port", "red/one.eth0");
	assert_non_null(strstr(detail(c, 2), "tap t1"));
	assert_non_null(strstr(detail(c, 2), "10.0.0.11"));
	json_decref(c);
	c = plan(one, one);
	assert_int_equal(json_array_size(c), 0);
	json_decref(c);
	c = plan(one, other);
	assert_int_equal(json_array_size(c), 3);
	is_change(c, 0, "update", "network", "red/lan");
	assert_string_equal(detail(c, 0), "vlan 10 -> 11");
	is_change(c, 1, "create", "port", "red/one.v");
	is_change(c, 2, "delete", "port", "red/one.eth0");
	json_decref(c);
	c = plan(one, empty); // what is needed longest goes last
	assert_int_equal(json_array_size(c), 3);
	is_change(c, 0, "delete", "port", "red/one.eth0");
	is_change(c, 2, "delete", "tenant", "red");
	json_decref(c);
	desired_free(empty);
	desired_free(one);
	desired_free(other);
}

#define TRUNK(more) "version: 1\ntrunks:\n  - {name: lab, interface: e1, allowed: [10]" more "}\n"

static void test_trunk_without_vlans(void **state)
{
	struct desired *empty = fixture_desired("version: 1\n");
	struct desired *bare = fixture_desired(TRUNK(""));
	struct desired *native = fixture_desired(TRUNK(", native_vlan: 10"));
	json_t *c = plan(empty, bare);

	assert_non_null(strstr(detail(c, 0), "native none, outer none"));
	json_decref(c);
	c = plan(bare, native);
	assert_string_equal(detail(c, 0), "native none -> 10");
	json_decref(c);
	desired_free(empty);
	desired_free(bare);
	desired_free(native);
}

#define TAP2 "          - {network: lan, address: 10.0.0.11, type: tap, interface: t1, queues: 2}\n"

static void test_what_absence_means(void **state)
{
	struct desired *one = fixture_desired(RED("10", TAP));
	struct desired *two = fixture_desired(RED("10, dns: [9.9.9.9, 1.1.1.1]", TAP2));
	json_t *c = plan(one, two), *network = json_object(), *dns;
	be32 host = htonl(0x0a000035);

	assert_int_equal(json_array_size(c), 2);
	assert_string_equal(detail(c, 0), "dns the host's -> 9.9.9.9 1.1.1.1");
	assert_string_equal(detail(c, 1), "queues default -> 2");
	json_decref(c);
	c = plan(two, one);
	assert_string_equal(detail(c, 0), "dns 9.9.9.9 1.1.1.1 -> the host's");
	assert_string_equal(detail(c, 1), "queues 2 -> default");
	json_decref(c);
	describe_dns(network, one->segments[0].network, &host, 1);
	dns = json_object_get(network, "dns");
	assert_int_equal(json_array_size(dns), 1);
	assert_string_equal(json_string_value(json_array_get(dns, 0)), "10.0.0.53");
	assert_string_equal(json_string_value(json_object_get(network, "dns_source")), "host");
	describe_dns(network, two->segments[0].network, &host, 1);
	dns = json_object_get(network, "dns");
	assert_int_equal(json_array_size(dns), 2);
	assert_string_equal(json_string_value(json_array_get(dns, 1)), "1.1.1.1");
	assert_string_equal(json_string_value(json_object_get(network, "dns_source")), "file");
	json_decref(network);
	desired_free(one);
	desired_free(two);
}

static void test_details_are_added(void **state)
{
	json_t *c = json_pack("[{s:s, s:s, s:s, s:s}]", "op", "create", "kind", "port", "name", "a",
		"detail", "x");

	plan_add_detail(c, "port", "a", "y");
	assert_string_equal(detail(c, 0), "x; y");
	plan_add_detail(c, "port", "b", "is broken");
	is_change(c, 1, "update", "port", "b");
	json_decref(c);
}

static void test_fallback_order(void **state)
{
	struct port_spec s[PORT_MAX_CANDIDATES];
	struct model_uplink u = { .name = "internet",
		.mode = MODEL_UPLINK_ROUTED,
		.interface = "up0",
		.devargs = "net_null0",
		.mtu = 1500 };
	struct desired_port up = {
		.id = 1, .kind = DESIRED_UPLINK, .name = "internet", .uplink = &u
	};

	assert_int_equal(port_spec_candidates(&up, "/run/insula", 1, s), 3);
	assert_int_equal(s[0].kind, PROTO_PORT_ETHDEV);
	assert_int_equal(s[1].kind, PROTO_PORT_PACKET);
	assert_int_equal(s[2].kind, PROTO_PORT_TAP);
	assert_true(s[2].host_nat);
	u.mode = MODEL_UPLINK_NAT;
	assert_int_equal(port_spec_candidates(&up, "/run/insula", 1, s), 1);
	assert_true(s[0].host_nat);

	struct desired *d = fixture_desired(RED("10", VHOST));
	assert_int_equal(port_spec_candidates(&d->ports[0], "/run/insula", 2, s), 2);
	assert_int_equal(s[0].kind, PROTO_PORT_VHOST);
	assert_string_equal(s[0].arg, "/run/insula/vhost/red.one.v");
	assert_int_equal(s[0].n_queues, 2);
	assert_int_equal(s[1].kind, PROTO_PORT_TAP);
	assert_memory_equal(s[1].ifname, "ins", 3); // and its number
	desired_free(d);
}

// The subnet that the file could not give it, either.
static void test_no_fallback_to_nat(void **state)
{
	static const struct {
		const char *address, *subnet;
		unsigned n;
	} cases[] = { { "100.126.255.2/24", "10.1.0.0/24", 2 },
		{ "100.127.255.2/24", "10.1.0.0/24", 1 }, { "192.0.2.2/24", "100.127.0.0/16", 1 } };
	struct port_spec s[PORT_MAX_CANDIDATES];
	char yaml[1024];

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(yaml, sizeof(yaml),
			"version: 1\n"
			"uplinks:\n"
			"  - {name: own, mode: routed, interface: up0, address: 198.51.100.2/24}\n"
			"  - {name: other, mode: routed, interface: up1, address: %s}\n"
			"tenants:\n"
			"  - name: red\n"
			"    networks:\n"
			"      - {name: lan, vlan: 10, subnet: %s, gateway: %.*s.0.1, snat: own}\n"
			"    instances: []\n",
			cases[i].address, cases[i].subnet, i == 2 ? 7 : 4, cases[i].subnet);
		struct desired *d = fixture_desired(yaml);
		assert_int_equal(
			port_spec_candidates(&d->ports[0], "/run/insula", 1, s), cases[i].n);
		// Its own subnet goes with its own device, and no network is behind the other.
		assert_int_equal(port_spec_candidates(&d->ports[1], "/run/insula", 1, s), 2);
		desired_free(d);
	}
}

static void test_taps_that_change_hands(void **state)
{
	struct port_spec a = { .kind = PROTO_PORT_TAP, .n_queues = 1, .ifname = "t", .netns = "n" };
	struct port_spec b = a;

	assert_true(port_spec_same_tap(&a, &b));
	b.n_queues = 2; // a multi-queue tap is another device
	assert_false(port_spec_same_tap(&a, &b));
	assert_true(port_spec_replaces_tap(&a, &b));
	strcpy(b.netns, "m");
	assert_false(port_spec_replaces_tap(&a, &b));
}

static void test_two_ports_with_one_mac(void **state)
{
	struct desired *d = fixture_desired(RED("10", TAP)), *clash = NULL;
	struct model_errors errors = { 0 };
	char mac[18], yaml[1024];

	// Written down for another port: the MAC that the first was given.
	describe_mac(&d->ports[0].mac, mac);
	snprintf(yaml, sizeof(yaml),
		RED("10", TAP) "          - {name: b, network: lan, type: tap, interface: t3, mac: "
			       "'%s'}\n",
		mac);
	assert_int_equal(store_begin(fixture_store), 0);
	assert_int_equal(fixture_alloc(yaml, &clash, &errors), -EINVAL);
	store_rollback(fixture_store);
	assert_int_equal(errors.n, 1);
	assert_non_null(strstr(errors.text[0], "'red/one.b' has the MAC of 'red/one.eth0'"));
	model_errors_free(&errors);
	desired_free(d);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		T(test_create_update_delete),
		T(test_trunk_without_vlans),
		T(test_what_absence_means),
		cmocka_unit_test(test_details_are_added),
		T(test_fallback_order),
		T(test_no_fallback_to_nat),
		cmocka_unit_test(test_taps_that_change_hands),
		T(test_two_ports_with_one_mac),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
