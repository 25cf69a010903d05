// SPDX-License-Identifier: BSD-3-Clause
// Checks behind checks: what no packet comes to while the stages before do what they should, so no
// capture of pcap-fixtures shows it. The stage is called with what would have slipped through.
#include "tests/unit/datagrams.h"
#include "vswitch/vlan_egress.h"

// Whatever was decided before, no port sends what is not its segment's.
static void no_port_sends_of_another_segment(void **state)
{
	const uint32_t red = policy_port(fx.sw->policy, RED_1)->segment,
		       blue = policy_port(fx.sw->policy, BLUE_1)->segment;
	const struct {
		uint32_t port, segment;
	} wrong[] = { { RED_1, blue }, { RED_1, POLICY_NO_SEGMENT }, { UPLINK, red },
		{ TRUNK, blue }, { TRUNK, POLICY_NO_SEGMENT } };
	struct burst b;

	burst_begin(&b, fx.sw->policy, fx.now_ns);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(worker_small_pool(fx.sw->workers[0]));

		assert_non_null(m);
		memset(packet_of(m), 0, sizeof(struct packet));
		packet_of(m)->segment = wrong[i].segment;
		assert_int_equal(
			vlan_egress(&b, policy_port(b.policy, wrong[i].port), m), DROP_TX_VLAN);
		rte_pktmbuf_free(m);
	}
}

// A session ends with its uplink. One that did not, and has forgotten its way, finds no other.
static void no_way_out_but_an_uplink(void **state)
{
	const struct policy_prt *other = policy_port(fx.sw->policy, RED_2);
	struct datagram d = udp(mac_of(RED_1), red_gw, "10.0.0.11", 5000, "203.0.113.9", 53);
	struct session_record copy, *rec = NULL;
	uint32_t cursor = 0, id;

	out_through_snat(RED_1, red_gw, 5000);
	while (session_next(fx.sw->sessions, &cursor, UINT32_MAX, &id, &copy))
		rec = session_get(fx.sw->sessions, id);
	assert_non_null(rec);
	rec->d.dst_port = RED_2;
	rec->d.revision[1] = other->revision;
	rec->d.nexthop[SESSION_FORWARD] = NEXTHOP_NONE;
	fixture_clear();
	send_udp(RED_1, &d);
	assert_null(fixture_received(UPLINK, NULL));
	assert_int_equal(fixture_drops(RED_1, DROP_NAT_NO_UPLINK), 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		T(no_port_sends_of_another_segment),
		T(no_way_out_but_an_uplink),
	};

	return cmocka_run_group_tests(tests, fixture_eal, NULL);
}
