// SPDX-License-Identifier: BSD-3-Clause
// The whole pipeline, frame in to frame out: isolation, guard, ARP, DHCP, echo, SNAT with ARP on
// the uplink, ICMP errors, VLAN tags on a trunk, and sessions that outlive the switch.
#include "tests/unit/datagrams.h"

static void count_nexthop(void *arg, struct nexthop *nh)
{
	++*(unsigned *)arg;
}

static void inside_a_tenant(void **state)
{
	struct datagram d = udp(mac_of(RED_1), mac_of(RED_2), "10.0.0.11", 1000, "10.0.0.12", 2000);
	struct datagram back =
		udp(mac_of(RED_2), mac_of(RED_1), "10.0.0.12", 2000, "10.0.0.11", 1000);
	size_t size = 0;
	const uint8_t *got;

	send_udp(RED_1, &d);
	got = fixture_received(RED_2, &size);
	assert_non_null(got);
	assert_int_equal(size, sizeof(d));
	assert_memory_equal(got, &d, sizeof(d));
	assert_null(fixture_received(BLUE_2, NULL));
	assert_int_equal(session_count(fx.sw->sessions), 1);
	send_udp(RED_2, &back);
	assert_non_null(fixture_received(RED_1, NULL));
	assert_int_equal(session_count(fx.sw->sessions), 1);
	send_udp(RED_1, &d); // by its session now
	assert_non_null(fixture_received(RED_2, NULL));
}

static void between_tenants(void **state)
{
	// blue-2's MAC is not in red's segment, nor does its address help
	struct datagram d = udp(mac_of(RED_1), mac_of(BLUE_2), "10.0.0.11", 1, "10.0.0.12", 2);

	send_udp(RED_1, &d);
	assert_null(fixture_received(BLUE_2, NULL));
	assert_null(fixture_received(RED_2, NULL));
	assert_non_null(fixture_received(TRUNK, NULL)); // unknown unicast: trunks only
	d = udp(mac_of(BLUE_1), mac_of(RED_2), "10.0.0.11", 1, "10.0.0.12", 2);
	send_udp(BLUE_1, &d);
	assert_int_equal(fixture_drops(BLUE_1, DROP_FDB_UNKNOWN_UNICAST), 1);
	assert_int_equal(session_count(fx.sw->sessions), 0);
}

static void guard_holds(void **state)
{
	struct datagram d = udp(mac_of(RED_2), mac_of(RED_2), "10.0.0.11", 1, "10.0.0.12", 2);

	send_udp(RED_1, &d);
	assert_int_equal(fixture_drops(RED_1, DROP_GUARD_SRC_MAC), 1);
	d = udp(mac_of(RED_1), mac_of(RED_2), "10.0.0.99", 1, "10.0.0.12", 2);
	send_udp(RED_1, &d);
	assert_int_equal(fixture_drops(RED_1, DROP_GUARD_SRC_IPV4), 1);
	d = udp(mac_of(RED_1), mac_of(RED_2), "10.0.0.11", 67, "10.0.0.12", 68);
	send_udp(RED_1, &d);
	assert_int_equal(fixture_drops(RED_1, DROP_GUARD_DHCP_SERVER), 1);
	d = udp(mac_of(RED_1), mac_of(RED_2), "10.0.0.11", 1, "10.0.0.12", 2);
	d.eth.type = htons(ETHTYPE_IPV6);
	send_udp(RED_1, &d);
	assert_int_equal(fixture_drops(RED_1, DROP_PARSE_IPV6_HEADER), 1);
	assert_null(fixture_received(RED_2, NULL));
}

static void gateway_answers(void **state)
{
	struct mac me = mac_of(BLUE_1);
	uint8_t frame[ARP_FRAME_SIZE];
	struct arp_msg arp;
	const uint8_t *got;
	size_t size = 0;

	arp_build_request(&me, addr("10.0.0.11"), addr("10.0.0.1"), NULL, frame);
	fixture_send(BLUE_1, frame, sizeof(frame));
	got = fixture_received(BLUE_1, &size);
	assert_non_null(got);
	assert_int_equal(arp_parse(got, size, &arp), 0);
	assert_memory_equal(&arp.sha, &blue_gw, sizeof(blue_gw));
	// somebody else's address in a request is a lie
	arp_build_request(&me, addr("10.0.0.12"), addr("10.0.0.1"), NULL, frame);
	fixture_send(BLUE_1, frame, sizeof(frame));
	assert_int_equal(fixture_drops(BLUE_1, DROP_GUARD_ARP), 1);
	// a request for a neighbour is heard by the neighbour, and by no other tenant
	arp_build_request(&me, addr("10.0.0.11"), addr("10.0.0.12"), NULL, frame);
	fixture_send(BLUE_1, frame, sizeof(frame));
	assert_non_null(fixture_received(BLUE_2, NULL));
	assert_null(fixture_received(RED_2, NULL));
	assert_null(fixture_received(TRUNK, NULL)); // VLAN 20 is not on it
}

static void dhcp_answers(void **state)
{
	struct {
		struct eth_hdr eth;
		struct ipv4_hdr ip;
		struct udp_hdr udp;
		uint8_t bootp[300];
	} WIRE_PACKED d = { .eth = { { { 255, 255, 255, 255, 255, 255 } }, mac_of(RED_1),
				    htons(ETHTYPE_IPV4) },
		.ip = { 0x45, 0, htons(328), 1, 0, 64, IPPROTO_UDP, 0, 0, UINT32_MAX },
		.udp = { htons(68), htons(67), htons(308), 0 } };
	struct mac me = mac_of(RED_1);
	const uint8_t *got;
	be32 yiaddr;

	d.bootp[0] = 1;
	d.bootp[1] = 1;
	d.bootp[2] = 6;
	memcpy(d.bootp + 28, &me, sizeof(me));
	memcpy(d.bootp + 236, (uint8_t[]){ 0x63, 0x82, 0x53, 0x63, 53, 1, DHCP4_DISCOVER, 255 }, 8);
	d.ip.csum = csum_finish(csum_add(0, &d.ip, sizeof(d.ip)));
	fixture_send(RED_1, &d, sizeof(d));
	got = fixture_received(RED_1, NULL);
	assert_non_null(got);
	memcpy(&yiaddr, got + 42 + 16, sizeof(yiaddr));
	assert_int_equal(yiaddr, addr("10.0.0.11"));
}

static void snat_both_tenants(void **state)
{
	struct datagram r = out_through_snat(RED_1, red_gw, 5000);
	struct datagram b = out_through_snat(BLUE_1, blue_gw, 5000);

	assert_int_not_equal(r.udp.src_port, b.udp.src_port);
	answer_arrives(RED_1, 5000, r.udp.src_port);
	answer_arrives(BLUE_1, 5000, b.udp.src_port);
	answer_arrives(RED_1, 5000, r.udp.src_port); // and again, by next hops that are known
	assert_int_equal(session_count(fx.sw->sessions), 2);
	// nobody else gets in
	answer_arrives(RED_1, 5000, r.udp.src_port);
	struct datagram d = udp(
		world, mac_of(UPLINK), "203.0.113.8", 53, "198.51.100.2", ntohs(r.udp.src_port));
	send_udp(UPLINK, &d);
	assert_null(fixture_received(RED_1, NULL));
	assert_int_equal(fixture_drops(UPLINK, DROP_POLICY_UPLINK_UNSOLICITED), 1);
}

struct unreachable {
	struct eth_hdr eth;
	struct ipv4_hdr ip;
	struct icmp_hdr icmp;
	struct ipv4_hdr inner;
	struct udp_hdr udp;
} WIRE_PACKED;

// Somebody outside says that `o` does not get there.
static struct unreachable unreachable(const char *from, const struct datagram *o)
{
	struct unreachable e = { .eth = { mac_of(UPLINK), world, htons(ETHTYPE_IPV4) },
		.ip = { 0x45, 0, htons(56), 1, 0, 60, IPPROTO_ICMP, 0, addr(from),
			addr("198.51.100.2") },
		.icmp = { ICMP_UNREACHABLE, 3, 0, 0, 0 },
		.inner = o->ip,
		.udp = o->udp };

	e.ip.csum = csum_finish(csum_add(0, &e.ip, sizeof(e.ip)));
	e.icmp.csum = csum_finish(csum_add(0, &e.icmp, 36));
	return e;
}

static void icmp_error_through_snat(void **state)
{
	struct datagram o = out_through_snat(RED_1, red_gw, 5000);
	struct unreachable e = unreachable("192.0.2.1", &o), i;
	const uint8_t *got;

	fixture_send(UPLINK, &e, sizeof(e));
	got = fixture_received(RED_1, NULL);
	assert_non_null(got);
	memcpy(&i, got, sizeof(i));
	assert_sums(got);
	assert_int_equal(csum_fold(csum_add(0, &i.icmp, 36)), 0xffff);
	assert_int_equal(csum_fold(csum_add(0, &i.inner, 20)), 0xffff);
	assert_int_equal(i.ip.src, addr("192.0.2.1"));
	assert_int_equal(i.ip.dst, addr("10.0.0.11"));
	assert_int_equal(i.inner.src, addr("10.0.0.11"));
	assert_int_equal(i.udp.src_port, htons(5000));
	assert_int_equal(i.udp.dst_port, htons(53));
	// the quoted UDP checksum is right for the quoted header again
	assert_int_equal(csum_fold(csum_add(csum_add(csum_pseudo_ipv4(i.inner.src, i.inner.dst,
							     IPPROTO_UDP, 16),
						    &i.udp, 8),
				 "payload", 8)),
		0xffff);
	// a redirect about the same packet is nobody's business behind the gateway
	e.icmp.type = 5;
	e.icmp.csum = 0;
	e.icmp.csum = csum_finish(csum_add(0, &e.icmp, 36));
	fixture_send(UPLINK, &e, sizeof(e));
	assert_null(fixture_received(RED_1, NULL));
	assert_int_equal(fixture_drops(UPLINK, DROP_POLICY_DENY), 1);
	e.icmp.type = ICMP_UNREACHABLE;
	// an error about something never sent goes nowhere
	e.udp.dst_port = htons(54);
	e.icmp.csum = 0;
	e.icmp.csum = csum_finish(csum_add(0, &e.icmp, 36));
	fixture_send(UPLINK, &e, sizeof(e));
	assert_int_equal(fixture_drops(UPLINK, DROP_POLICY_NOT_FIRST), 1);
}

// From outside nobody speaks as a neighbour of the receiver, as its gateway or as the switch.
static void nobody_outside_is_inside(void **state)
{
	static const char *const inside[] = { "10.0.0.12", "10.0.0.1", "10.0.0.11", "10.0.0.77",
		"198.51.100.2" };
	const unsigned n = sizeof(inside) / sizeof(inside[0]);
	struct datagram o = out_through_snat(RED_1, red_gw, 5000), d;
	struct unreachable e;

	for (unsigned i = 0; i < n; i++) {
		e = unreachable(inside[i], &o);
		fixture_send(UPLINK, &e, sizeof(e));
		assert_null(fixture_received(RED_1, NULL));
	}
	assert_int_equal(fixture_drops(UPLINK, DROP_GUARD_SRC_IPV4), n);
	d = udp(world, mac_of(UPLINK), "198.51.100.2", 53, "198.51.100.2", ntohs(o.udp.src_port));
	send_udp(UPLINK, &d);
	assert_int_equal(fixture_drops(UPLINK, DROP_GUARD_SRC_IPV4), n + 1);
	e = unreachable("10.0.1.12", &o); // nobody's of this tenant
	fixture_send(UPLINK, &e, sizeof(e));
	assert_non_null(fixture_received(RED_1, NULL));
}

static void neighbour_that_stays_silent(void **state)
{
	struct datagram d = udp(mac_of(RED_1), red_gw, "10.0.0.11", 7, "203.0.113.9", 53);

	for (unsigned i = 0; i < 5; i++)
		send_udp(RED_1, &d);
	assert_int_equal(fixture_drops(RED_1, DROP_NEXTHOP_QUEUE_FULL), 2);
	assert_int_equal(wires[UPLINK]->n_out, 1); // one request, not five
	for (unsigned i = 0; i < 8; i++) {
		fx.now_ns += SECOND;
		fixture_round();
	}
	assert_int_equal(wires[UPLINK]->n_out, 3);
	assert_int_equal(fixture_drops(RED_1, DROP_NEXTHOP_UNRESOLVED), 3);
}

static void trunk_carries_its_vlan(void **state)
{
	struct datagram d = udp(world, mac_of(RED_1), "10.0.0.50", 1, "10.0.0.11", 2);
	uint8_t tagged[sizeof(d) + 4];
	const uint8_t *got;
	size_t size = 0;

	memcpy(tagged, &d, 12);
	memcpy(tagged + 12, (uint8_t[]){ 0x81, 0, 0, 10 }, 4);
	memcpy(tagged + 16, (uint8_t *)&d + 12, sizeof(d) - 12);
	fixture_send(TRUNK, tagged, sizeof(tagged));
	got = fixture_received(RED_1, &size);
	assert_non_null(got);
	assert_int_equal(size, sizeof(d));
	assert_memory_equal(got, &d, sizeof(d));
	d = udp(mac_of(RED_1), world, "10.0.0.11", 2, "10.0.0.50", 1);
	send_udp(RED_1, &d);
	got = fixture_received(TRUNK, &size);
	assert_non_null(got);
	assert_int_equal(size, sizeof(d) + 4);
	assert_memory_equal(got + 12, "\x81\0\0\x0a", 4);
	tagged[15] = 20; // blue's VLAN is not on this trunk
	fixture_send(TRUNK, tagged, sizeof(tagged));
	assert_int_equal(fixture_drops(TRUNK, DROP_VLAN_NOT_ALLOWED), 1);
	memcpy(tagged + 6, &red_gw, 6); // the gateway's MAC is nobody else's
	tagged[15] = 10;
	fixture_send(TRUNK, tagged, sizeof(tagged));
	assert_int_equal(fixture_drops(TRUNK, DROP_GUARD_MAC_MOVED), 1);
}

static void fragments_are_named(void **state)
{
	struct datagram d = udp(mac_of(RED_1), mac_of(RED_2), "10.0.0.11", 1, "10.0.0.12", 2);

	d.ip.frag_off = htons(IPV4_FLAG_MF);
	d.ip.csum = 0;
	d.ip.csum = csum_finish(csum_add(0, &d.ip, sizeof(d.ip)));
	send_udp(RED_1, &d);
	assert_int_equal(fixture_drops(RED_1, DROP_POLICY_FRAGMENT), 1);
}

static void sessions_outlive_the_switch(void **state)
{
	struct datagram o = out_through_snat(RED_1, red_gw, 5000);

	fixture_switch_down();
	fx.now_ns += SECOND;
	fixture_switch_up(false);
	fixture_round();
	fixture_clear();
	assert_int_equal(session_count(fx.sw->sessions), 1);
	assert_int_equal(nat_count(fx.sw->mappings), 1);
	answer_arrives(RED_1, 5000, o.udp.src_port);
	struct datagram again = out_through_snat(RED_1, red_gw, 5000);
	assert_int_equal(again.udp.src_port, o.udp.src_port);
	assert_int_equal(session_count(fx.sw->sessions), 1);
}

static void neighbours_are_forgotten_with_their_port(void **state)
{
	struct datagram o = out_through_snat(RED_1, red_gw, 5000);
	struct datagram d = udp(mac_of(RED_1), red_gw, "10.0.0.11", 5000, "203.0.113.9", 53);

	assert_int_equal(switch_port_del(fx.sw, UPLINK), 0);
	fixture_add_port(UPLINK); // another wire, with another router
	fixture_round();
	fixture_clear();
	send_udp(RED_1, &d);
	answer_arp("198.51.100.1"); // asked at once, not when the old entry has aged
	assert_int_equal(((const struct datagram *)(const void *)fixture_received(UPLINK, NULL))
				 ->udp.src_port,
		o.udp.src_port);
}

static void a_tenant_cannot_fill_the_table(void **state)
{
	struct datagram d,
		blue = udp(mac_of(BLUE_1), mac_of(BLUE_2), "10.0.0.11", 1, "10.0.0.12", 2);

	for (uint16_t i = 0; i < 300; i++) { // a quota is an eighth of 1024
		d = udp(mac_of(RED_1), mac_of(RED_2), "10.0.0.11", (uint16_t)(1000 + i),
			"10.0.0.12", 9);
		send_udp(RED_1, &d);
		fixture_clear();
	}
	assert_int_equal(session_count(fx.sw->sessions), 128);
	assert_int_equal(fixture_drops(RED_1, DROP_SESSION_FULL), 300 - 128);
	send_udp(BLUE_1, &blue);
	assert_non_null(fixture_received(BLUE_2, NULL));
}

// Onto a port's wire, for the next round: what stands there together is one burst.
static void put(uint32_t port, const struct datagram *d)
{
	struct wire_port *wire = wires[port];

	memcpy(wire->in[wire->n_in], d, sizeof(*d));
	wire->in_size[wire->n_in++] = sizeof(*d);
}

// Nor the uplink's ports: a flow that there is no room for takes none, also where room ends in the
// middle of a burst.
static void a_refused_flow_takes_no_port(void **state)
{
	struct datagram d;
	uint32_t before;

	out_through_snat(BLUE_1, blue_gw, 1);
	nat_set_quota(fx.sw->mappings, 0);
	before = nat_count(fx.sw->mappings);
	for (uint16_t i = 0; i < 300; i++) {
		d = udp(mac_of(RED_1), red_gw, "10.0.0.11", (uint16_t)(1000 + i), "203.0.113.9",
			53);
		put(RED_1, &d);
		if (i % 3 == 2) { // 128 is no multiple of 3
			fixture_round();
			fixture_clear();
		}
	}
	assert_int_equal(fixture_drops(RED_1, DROP_SESSION_FULL), 300 - 128);
	assert_int_equal(nat_expire(fx.sw->mappings, fx.now_ns, 120, 1024), 1); // the third's
	assert_int_equal(nat_count(fx.sw->mappings), before + 128);
}

// A tuple that a bridged session has is known before a port is taken for it.
static void a_taken_tuple_takes_no_port(void **state)
{
	struct datagram d = udp(mac_of(RED_1), mac_of(RED_2), "10.0.0.11", 1, "203.0.113.9", 53);
	uint32_t before = nat_count(fx.sw->mappings);

	send_udp(RED_1, &d);
	d = udp(mac_of(RED_1), red_gw, "10.0.0.11", 1, "203.0.113.9", 53);
	send_udp(RED_1, &d);
	assert_int_equal(fixture_drops(RED_1, DROP_SESSION_TAKEN), 1);
	assert_int_equal(nat_count(fx.sw->mappings), before);
}

// In one burst neither packet finds a session: the second meets what the first has just made. The
// bridged one is not translated; of a translated one, more packets go the same way, and so does
// the same tuple to the neighbour's MAC, straight.
static void one_tuple_twice_in_a_burst(void **state)
{
	struct datagram bridged, routed, first = out_through_snat(RED_1, red_gw, 1);
	uint32_t before = nat_count(fx.sw->mappings);

	bridged = udp(mac_of(RED_1), mac_of(RED_2), "10.0.0.11", 2, "203.0.113.9", 53);
	routed = udp(mac_of(RED_1), red_gw, "10.0.0.11", 2, "203.0.113.9", 53);
	put(RED_1, &bridged);
	put(RED_1, &routed);
	fixture_round();
	assert_non_null(fixture_received(RED_2, NULL));
	assert_null(fixture_received(UPLINK, NULL));
	assert_int_equal(fixture_drops(RED_1, DROP_SESSION_TAKEN), 1);
	assert_int_equal(nat_expire(fx.sw->mappings, fx.now_ns, 120, 1024), 1); // cancelled
	assert_int_equal(nat_count(fx.sw->mappings), before);

	bridged = udp(mac_of(RED_1), mac_of(RED_2), "10.0.0.11", 3, "203.0.113.9", 53);
	routed = udp(mac_of(RED_1), red_gw, "10.0.0.11", 3, "203.0.113.9", 53);
	put(RED_1, &routed);
	put(RED_1, &routed);
	put(RED_1, &bridged);
	fixture_round();
	assert_non_null(fixture_received(RED_2, NULL));
	assert_int_equal(wires[UPLINK]->n_out, 2);
	for (unsigned i = 0; i < 2; i++) {
		const struct datagram *o = (const void *)wires[UPLINK]->out[i];

		assert_int_equal(o->ip.src, addr("198.51.100.2"));
		assert_int_not_equal(o->udp.src_port, first.udp.src_port);
	}
	assert_int_equal(fixture_drops(RED_1, DROP_SESSION_TAKEN), 1);
	assert_int_equal(nat_count(fx.sw->mappings), before + 1);
	assert_int_equal(session_count(fx.sw->sessions), 3);
}

// A session of a segment whose next hop there is no room for goes by the forwarding database.
static void bridged_without_a_next_hop(void **state)
{
	struct datagram d = udp(mac_of(RED_1), mac_of(RED_2), "10.0.0.11", 1, "10.0.0.12", 2);
	struct mac other = { { 2, 7 } };
	uint32_t i = 0;

	do {
		memcpy(&other.b[2], &i, sizeof(i));
		assert_true(i++ < 1 << 20);
	} while (nexthop_bridged(fx.sw->nexthops, RED, &other) != NEXTHOP_NONE);
	for (i = 0; i < 2; i++) {
		send_udp(RED_1, &d);
		assert_non_null(fixture_received(RED_2, NULL));
	}
	assert_int_equal(session_count(fx.sw->sessions), 1);
}

// Whoever scans a subnet behind the gateway makes no entries that stay.
static void scanning_makes_no_nexthops(void **state)
{
	unsigned before = 0, after = 0;

	nexthop_each(fx.sw->nexthops, count_nexthop, &before);
	for (unsigned i = 20; i < 200; i++) {
		char to[32];
		struct datagram d;

		snprintf(to, sizeof(to), "10.0.0.%u", i);
		d = udp(mac_of(RED_1), red_gw, "10.0.0.11", 1, to, 2);
		send_udp(RED_1, &d);
	}
	assert_int_equal(fixture_drops(RED_1, DROP_ROUTE_NO_ROUTE), 180);
	nexthop_each(fx.sw->nexthops, count_nexthop, &after);
	assert_int_equal(after, before);
}

// A forged ARP reply does not move a neighbour that answers; one that is silent gives way.
static void a_neighbour_is_not_hijacked(void **state)
{
	const struct mac thief = { { 2, 6, 6, 6, 6, 6 } };
	struct arp_msg ask = { .op = ARP_OP_REQUEST, .tpa = addr("198.51.100.1") };
	uint8_t forged[ARP_FRAME_SIZE];

	out_through_snat(RED_1, red_gw, 5000);
	ask.sha = ask.eth_src = mac_of(UPLINK);
	ask.spa = addr("198.51.100.2");
	arp_build_reply(&ask, &thief, forged);
	fixture_send(UPLINK, forged, sizeof(forged));
	fixture_clear();
	out_through_snat(RED_1, red_gw, 5000); // asserts that it still goes to `world`
	for (unsigned i = 0; i < 5; i++) { // three probes are not answered
		fx.now_ns += SECOND;
		fixture_round();
	}
	fixture_clear();
	struct datagram d = udp(mac_of(RED_1), red_gw, "10.0.0.11", 5000, "203.0.113.9", 53);
	send_udp(RED_1, &d); // asks anew, and everybody, at once (RFC 4861 §7.3.3)
	fixture_clear();
	fixture_send(UPLINK, forged, sizeof(forged));
	assert_memory_equal(
		((const struct eth_hdr *)fixture_received(UPLINK, NULL))->dst.b, thief.b, 6);
}

// The destination of the only frame on the uplink, or nothing.
static bool uplink_sent_to(const struct mac *mac)
{
	const struct eth_hdr *got = (const void *)fixture_received(UPLINK, NULL);

	return got && mac_equal(&got->dst, mac);
}

// RFC 4861 §7.2.5, §7.2.3: what nobody asked for makes an unknown neighbour usable and no more: it
// is probed five seconds later. An answer to our request saves that.
static void an_announcement_is_no_answer(void **state)
{
	struct datagram d = udp(mac_of(RED_1), red_gw, "10.0.0.11", 5000, "203.0.113.9", 53);
	uint8_t frame[ARP_FRAME_SIZE];

	for (unsigned asked_for = 0; asked_for < 2; asked_for++) {
		switch_port_del(fx.sw, UPLINK);
		fixture_add_port(UPLINK);
		fixture_round();
		fixture_clear();
		send_udp(RED_1, &d);
		if (asked_for) {
			answer_arp("198.51.100.1");
		} else {
			fixture_clear();
			arp_build_announce(&world, addr("198.51.100.1"), frame);
			fixture_send(UPLINK, frame, sizeof(frame));
		}
		assert_true(uplink_sent_to(&world)); // what waited
		for (unsigned i = 0; i < 4; i++) {
			fx.now_ns += SECOND;
			fixture_round();
		}
		assert_null(fixture_received(UPLINK, NULL));
		for (unsigned i = 0; i < 4 && !wires[UPLINK]->n_out; i++) {
			fx.now_ns += SECOND;
			fixture_round();
		}
		assert_int_equal(uplink_sent_to(&world), !asked_for); // a unicast probe
	}
}

static void only_echo_shares_an_address(void **state)
{
	struct {
		struct eth_hdr eth;
		struct ipv4_hdr ip;
		struct icmp_hdr icmp;
	} WIRE_PACKED f = { .eth = { red_gw, mac_of(RED_1), htons(ETHTYPE_IPV4) },
		.ip = { 0x45, 0, htons(28), 1, 0, 64, IPPROTO_ICMP, 0, addr("10.0.0.11"),
			addr("203.0.113.9") },
		.icmp = { 9, 0, 0, 0, 0 } }; // router advertisement

	f.ip.csum = csum_finish(csum_add(0, &f.ip, sizeof(f.ip)));
	f.icmp.csum = csum_finish(csum_add(0, &f.icmp, sizeof(f.icmp)));
	fixture_send(RED_1, &f, sizeof(f));
	assert_int_equal(fixture_drops(RED_1, DROP_POLICY_DENY), 1);
}

// The picture in the folder's README is the array, stage by stage.
static void readme_shows_the_pipeline(void **state)
{
	char path[512], line[256];
	unsigned next = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/vswitch/README.md", getenv("INSULA_SOURCE_ROOT"));
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		char name[64];

		// "     name  file.c ...": a stage
		if (strncmp(line, "     ", 5) != 0 || line[5] == ' ' ||
			sscanf(line, "%63s", name) != 1)
			continue;
		assert_true(next < pipeline_n_stages);
		assert_string_equal(name, pipeline[next++].name);
	}
	fclose(f);
	assert_int_equal(next, pipeline_n_stages);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		T(inside_a_tenant),
		T(between_tenants),
		T(guard_holds),
		T(gateway_answers),
		T(dhcp_answers),
		T(snat_both_tenants),
		T(icmp_error_through_snat),
		T(nobody_outside_is_inside),
		T(neighbour_that_stays_silent),
		T(trunk_carries_its_vlan),
		T(fragments_are_named),
		T(sessions_outlive_the_switch),
		T(neighbours_are_forgotten_with_their_port),
		T(a_tenant_cannot_fill_the_table),
		T(a_refused_flow_takes_no_port),
		T(a_taken_tuple_takes_no_port),
		T(one_tuple_twice_in_a_burst),
		T(bridged_without_a_next_hop),
		T(scanning_makes_no_nexthops),
		T(a_neighbour_is_not_hijacked),
		T(an_announcement_is_no_answer),
		T(only_echo_shares_an_address),
		cmocka_unit_test(readme_shows_the_pipeline),
	};

	return cmocka_run_group_tests(tests, fixture_eal, NULL);
}
