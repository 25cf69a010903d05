// SPDX-License-Identifier: BSD-3-Clause
// What changes under a switch that runs: another policy, ports that go, come back, die or cannot be
// made; what their sessions and forwarding entries become.
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/unit/datagrams.h"
#include "vswitch/control.h"

static void policy_change_redecides(void **state)
{
	struct datagram o = out_through_snat(RED_1, red_gw, 5000);

	fixture_publish(2, 2); // red changed, nothing that forbids: the mapping stays
	fixture_clear();
	answer_arrives(RED_1, 5000, o.udp.src_port);
	assert_int_equal(switch_port_del(fx.sw, RED_1), 0);
	struct datagram d = udp(
		world, mac_of(UPLINK), "203.0.113.9", 53, "198.51.100.2", ntohs(o.udp.src_port));
	send_udp(UPLINK, &d);
	assert_int_equal(fixture_drops(UPLINK, DROP_TX_NO_PORT), 1);
}

static void publish_parts(uint64_t generation, struct policy_part *parts[3])
{
	struct policy_root root = { POLICY_ROOT_MAGIC, POLICY_VERSION, generation, parts[2] ? 3 : 2,
		0 };
	struct policy *pol;
	char err[256] = "";

	if (policy_build(&root, parts, &pol, err, sizeof(err)) < 0)
		fail_msg("policy_build: %s", err);
	for (unsigned i = 0; i < root.n_sections; i++)
		policy_part_unref(parts[i]);
	switch_policy_publish(fx.sw, pol);
}

// The host's part and these.
static void publish(uint64_t generation, struct policy_part *a, struct policy_part *b)
{
	publish_parts(generation, (struct policy_part *[3]){ host_part(), a, b });
}

// The part, with a second network.
static struct policy_part *widened(struct policy_part *part, uint64_t revision, const char *subnet)
{
	size_t size = part->raw->size + sizeof(struct policy_segment);
	struct policy_section *sec = calloc(1, size);
	struct policy_segment *s = (void *)(sec + 1);
	struct policy_part *ret;
	char err[256] = "";

	*sec = *part->raw;
	sec->size = (uint32_t)size;
	sec->n_segments = 2;
	s[0] = s[1] = part->segments[0];
	s[1].id = 100;
	s[1].vlan = 100;
	s[1].subnet = addr(subnet);
	s[1].gateway = addr(subnet) | htonl(1);
	memcpy(s + 2, part->ports, sec->n_ports * sizeof(*part->ports));
	if (policy_part_load(sec, size, &ret, err, sizeof(err)) < 0)
		fail_msg("policy_part_load: %s", err);
	ret->revision = revision;
	policy_part_unref(part);
	free(sec);
	return ret;
}

// A tenant takes for its own what was outside: who has the address there is not spoken with any
// more, in neither direction.
static void what_was_outside_is_inside(void **state)
{
	struct datagram o = out_through_snat(RED_1, red_gw, 5000), d;

	out_through_snat(BLUE_1, blue_gw, 5000);
	publish(2, widened(tenant_part(RED, 10, 1), 2, "203.0.113.0"), tenant_part(BLUE, 20, 1));
	fixture_round(); // the uplink announces itself
	fixture_clear();
	d = udp(world, mac_of(UPLINK), "203.0.113.9", 53, "198.51.100.2", ntohs(o.udp.src_port));
	send_udp(UPLINK, &d);
	assert_null(fixture_received(RED_1, NULL));
	assert_int_equal(fixture_drops(UPLINK, DROP_POLICY_UPLINK_UNSOLICITED), 1);
	d = udp(mac_of(RED_1), red_gw, "10.0.0.11", 5000, "203.0.113.9", 53);
	send_udp(RED_1, &d);
	assert_null(fixture_received(UPLINK, NULL));
	assert_int_equal(fixture_drops(RED_1, DROP_ROUTE_NO_ROUTE), 1);
	out_through_snat(BLUE_1, blue_gw, 5000); // asserts that blue goes on
}

// The tenant's section, its two ports with each other's address.
static struct policy_part *exchanged(uint32_t tenant, uint16_t vlan, uint64_t revision)
{
	struct policy_part *part = tenant_part(tenant, vlan, 1), *ret;
	struct policy_section *sec = malloc(part->raw->size);
	struct policy_port *p;
	char err[256] = "";

	memcpy(sec, part->raw, part->raw->size);
	p = (void *)((uint8_t *)(sec + 1) + sizeof(struct policy_segment));
	be32 address = p[0].address;
	p[0].address = p[1].address;
	p[1].address = address;
	if (policy_part_load(sec, sec->size, &ret, err, sizeof(err)) < 0)
		fail_msg("policy_part_load: %s", err);
	ret->revision = revision;
	policy_part_unref(part);
	free(sec);
	return ret;
}

static uint32_t port_of(uint32_t nexthop)
{
	const struct nexthop *nh = nexthop_get(fx.sw->nexthops, nexthop);
	uint32_t port;
	struct mac mac;

	assert_non_null(nh);
	nexthop_unpack(atomic_load(&nh->where), &port, &mac);
	return port;
}

// A worker in the middle of a burst goes by the policy before, and stores where that one pointed.
static void what_a_late_burst_stored_does_not_last(void **state)
{
	struct datagram d = udp(mac_of(RED_1), red_gw, "10.0.0.11", 5000, "10.0.0.12", 53);
	struct burst b = { .policy = fx.sw->policy, .now_ns = fx.now_ns, .n = 1 };
	uint32_t nexthop, stored;

	assert_int_equal(rte_rcu_qsbr_thread_register(fx.sw->qsbr, 0), 0);
	rte_rcu_qsbr_thread_online(fx.sw->qsbr, 0);
	send_udp(RED_1, &d);
	nexthop = nexthop_find_host(fx.sw->nexthops, RED, addr("10.0.0.12"), 0);
	assert_int_equal(port_of(nexthop), RED_2);
	publish(2, exchanged(RED, 10, 2), tenant_part(BLUE, 20, 1));
	assert_int_equal(port_of(nexthop), RED_1);
	d.udp.src_port = htons(5001); // another flow: to be decided
	d.udp.csum = 0;
	b.pkts[0] = wire_mbuf(fx.sw->workers[0], (const uint8_t *)&d, sizeof(d));
	packet_of(b.pkts[0])->in_port = RED_1;
	pipeline_run(fx.sw->workers[0], &b);
	stored = port_of(nexthop);
	switch_retire_poll(fx.sw);
	rte_rcu_qsbr_quiescent(fx.sw->qsbr, 0);
	switch_retire_poll(fx.sw);
	rte_rcu_qsbr_thread_offline(fx.sw->qsbr, 0);
	rte_rcu_qsbr_thread_unregister(fx.sw->qsbr, 0);
	assert_int_equal(stored, RED_2); // what the test is about has happened
	assert_int_equal(port_of(nexthop), RED_1);
}

// An id that a session kept over a restart may be that of another kind of next hop by now: nothing
// is sent where that one leads, and the session finds its own again.
static void a_next_hop_of_another_kind_is_not_ours(void **state)
{
	struct datagram routed = udp(mac_of(RED_1), red_gw, "10.0.0.11", 5000, "10.0.0.12", 53);
	struct datagram bridged =
		udp(mac_of(RED_1), mac_of(RED_2), "10.0.0.11", 5001, "10.0.0.12", 53);
	struct session_record copy, *rec = NULL;
	uint32_t cursor = 0, id, host, own;

	send_udp(RED_1, &routed);
	assert_non_null(fixture_received(RED_2, NULL));
	host = nexthop_find_host(fx.sw->nexthops, RED, addr("10.0.0.12"), 0);
	send_udp(RED_1, &bridged);
	assert_non_null(fixture_received(RED_2, NULL));
	while (session_next(fx.sw->sessions, &cursor, UINT32_MAX, &id, &copy))
		if (!(copy.d.flags & SESSION_F_ROUTED))
			rec = session_get(fx.sw->sessions, id);
	assert_non_null(rec);
	own = rec->d.nexthop[SESSION_FORWARD];
	assert_int_not_equal(own, host);
	rec->d.nexthop[SESSION_FORWARD] = host;
	send_udp(RED_1, &bridged);
	assert_non_null(fixture_received(RED_2, NULL));
	assert_int_equal(rec->d.nexthop[SESSION_FORWARD], own);
	assert_int_equal(fixture_drops(RED_1, DROP_TX_NO_PORT), 0);
}

static void sessions_end_with_their_tenant(void **state)
{
	out_through_snat(RED_1, red_gw, 5000);
	out_through_snat(BLUE_1, blue_gw, 5000);
	assert_int_equal(session_count(fx.sw->sessions), 2);
	publish(2, tenant_part(BLUE, 20, 1), NULL);
	assert_int_equal(session_count(fx.sw->sessions), 1); // blue's
}

static int refusing_create(
	struct port *p, const struct port_params *params, char *err, size_t err_size)
{
	return -EIO;
}

static void closing_destroy(struct port *p)
{
	wire_destroy(p);
	for (unsigned i = 0; i < p->params.n_fds; i++)
		assert_int_equal(close(p->params.fds[i]), 0);
}

static int unwatchable_fd(struct port *p, uint16_t queue)
{
	return 1 << 30; // epoll takes no such thing
}

// An fd given with a port is closed once and by the switch, wherever the making of the port fails.
static void fds_of_a_failed_port(void **state)
{
	const struct port_ops refusing = { .name = "refusing", .create = refusing_create },
			      queueless = { .name = "queueless",
				      .create = wire_create,
				      .destroy = closing_destroy,
				      .rx = wire_rx,
				      .tx = wire_tx,
				      .event_fd = unwatchable_fd };
	const struct {
		uint32_t id;
		const struct port_ops *ops;
	} cases[] = { { RED_1, &refusing }, { RED_1, &queueless }, { RED_2, &wire_ops },
		{ 0, &wire_ops } };
	char err[256];

	assert_int_equal(switch_port_del(fx.sw, RED_1), 0);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fds[2];

		assert_int_equal(pipe(fds), 0);
		struct port_params params = { .id = cases[i].id,
			.kind = PROTO_PORT_PCAP,
			.mtu = 1500,
			.n_queues = 1,
			.n_fds = 1,
			.fds = { fds[1] } };

		err[0] = '\0';
		assert_true(
			switch_port_add_kind(fx.sw, &params, cases[i].ops, err, sizeof(err)) < 0);
		assert_int_equal(close(fds[1]), -1);
		assert_int_equal(errno, EBADF);
		close(fds[0]);
		assert_true(fx.sw->ports[RED_1] == NULL);
	}
	fixture_add_port(RED_1);
}

// A guest may take over the MAC that its segment's gateway had under the policy before.
static void gateways_leave_the_fdb(void **state)
{
	const struct mac gateway = { { 2, 0, 0, 0, 1, BLUE } };
	uint32_t port;

	assert_true(fdb_lookup(fx.sw->fdb, BLUE, &gateway, fx.now_ns, &port));
	publish(2, tenant_part(RED, 10, 1), NULL);
	assert_false(fdb_lookup(fx.sw->fdb, BLUE, &gateway, fx.now_ns, &port));
	assert_true(fdb_lookup(
		fx.sw->fdb, RED, &(struct mac){ { 2, 0, 0, 0, 1, RED } }, fx.now_ns, &port));
}

// The policy stays while a port's device is made anew: both the old flow and new ones go on.
static void port_made_anew(void **state)
{
	struct datagram d = udp(mac_of(RED_1), mac_of(RED_2), "10.0.0.11", 1, "10.0.0.12", 2);

	send_udp(RED_1, &d);
	assert_non_null(fixture_received(RED_2, NULL));
	assert_int_equal(switch_port_del(fx.sw, RED_2), 0);
	send_udp(RED_1, &d);
	fixture_add_port(RED_2);
	fixture_clear();
	send_udp(RED_1, &d);
	assert_non_null(fixture_received(RED_2, NULL));
	d = udp(mac_of(RED_1), mac_of(RED_2), "10.0.0.11", 3, "10.0.0.12", 4);
	send_udp(RED_1, &d);
	assert_non_null(fixture_received(RED_2, NULL));
	assert_null(fixture_received(TRUNK, NULL));
}

static void add_held(uint32_t id)
{
	struct port_params params = { .id = id,
		.kind = PROTO_PORT_PCAP,
		.flags = PROTO_PORT_HELD,
		.mtu = 1500,
		.n_queues = 1 };
	char err[256];

	assert_int_equal(switch_port_del(fx.sw, id), 0);
	assert_int_equal(switch_port_add_kind(fx.sw, &params, &wire_ops, err, sizeof(err)), 0);
}

// A trunk's new device carries nothing, in neither direction, before the policy made for it.
static void a_held_port_waits_for_its_policy(void **state)
{
	static const struct mac all = { { 255, 255, 255, 255, 255, 255 } };
	struct datagram d = udp(mac_of(RED_1), all, "10.0.0.11", 1, "10.0.0.255", 2);

	add_held(TRUNK);
	send_udp(RED_1, &d);
	assert_null(fixture_received(TRUNK, NULL));
	switch_serve_ports(fx.sw); // the housekeeping's
	wires[TRUNK]->n_in = 1;
	wires[TRUNK]->in_size[0] = 60;
	fixture_round();
	assert_int_equal(wires[TRUNK]->n_in, 1);
	fixture_publish(2, 1);
	fixture_round();
	assert_int_equal(wires[TRUNK]->n_in, 0);
	fixture_clear();
	send_udp(RED_1, &d);
	assert_non_null(fixture_received(TRUNK, NULL));
}

// The host's part, with a second uplink in place of the trunk.
static struct policy_part *two_uplinks(uint64_t revision)
{
	struct policy_part *part = host_part(), *ret;
	struct {
		struct policy_section h;
		struct policy_port p[2];
		struct policy_uplink u[2];
	} sec = { .h = *part->raw,
		.p = { part->ports[0], part->ports[1] },
		.u = { part->uplinks[0], part->uplinks[0] } };
	char err[256] = "";

	sec.h.size = sizeof(sec);
	sec.h.n_trunks = 0;
	sec.h.n_uplinks = 2;
	sec.p[1] = part->ports[0];
	sec.p[1].id = TRUNK;
	sec.p[1].mac = mac_of(TRUNK);
	sec.p[1].address = addr("192.0.2.2");
	sec.p[1].uplink = 1;
	sec.u[1].zone = 0x80000000u | TRUNK;
	sec.u[1].gateway = addr("192.0.2.1");
	if (policy_part_load(&sec, sizeof(sec), &ret, err, sizeof(err)) < 0)
		fail_msg("policy_part_load: %s", err);
	ret->revision = revision;
	policy_part_unref(part);
	return ret;
}

static void from_trunk(const struct datagram *d)
{
	uint8_t tagged[sizeof(*d) + 4];

	memcpy(tagged, d, 12);
	memcpy(tagged + 12, (uint8_t[]){ 0x81, 0, 0, 10 }, 4);
	memcpy(tagged + 16, (const uint8_t *)d + 12, sizeof(*d) - 12);
	fixture_send(TRUNK, tagged, sizeof(tagged));
}

// Whom nobody has heard of since is asked for behind it, also within a session.
static void a_trunk_that_moves(void **state)
{
	struct datagram to = udp(mac_of(RED_1), world, "10.0.0.11", 2, "10.0.0.50", 1),
			from = udp(world, mac_of(RED_1), "10.0.0.50", 1, "10.0.0.11", 2);

	from_trunk(&from);
	send_udp(RED_1, &to);
	send_udp(RED_1, &to); // by the next hop that it has now
	fixture_clear();
	add_held(TRUNK);
	fixture_publish(2, 1);
	send_udp(RED_1, &to);
	assert_non_null(fixture_received(TRUNK, NULL));
	from_trunk(&from);
	fixture_clear();
	send_udp(RED_1, &to);
	assert_non_null(fixture_received(TRUNK, NULL));
	assert_int_equal(session_count(fx.sw->sessions), 1);
}

// What was bridged through a trunk ends when its port is an uplink.
static void a_trunk_that_becomes_an_uplink(void **state)
{
	struct datagram d = udp(mac_of(RED_1), mac_of(RED_2), "10.0.0.11", 1, "10.0.0.12", 2);
	struct policy_part *parts[3] = { two_uplinks(2), tenant_part(RED, 10, 1),
		tenant_part(BLUE, 20, 1) };

	send_udp(RED_1, &d); // another's session, which stays
	d = udp(world, mac_of(RED_1), "10.0.0.50", 1, "10.0.0.11", 2);
	from_trunk(&d);
	assert_int_equal(session_count(fx.sw->sessions), 2);
	add_held(TRUNK);
	publish_parts(2, parts);
	fixture_round(); // the uplink announces itself
	fixture_clear();
	d = udp(mac_of(RED_1), world, "10.0.0.11", 2, "10.0.0.50", 1);
	send_udp(RED_1, &d);
	assert_null(fixture_received(TRUNK, NULL));
	assert_int_equal(session_count(fx.sw->sessions), 1);
}

static void assert_announced(const char *address)
{
	uint8_t frame[ARP_FRAME_SIZE];
	struct mac mac = mac_of(UPLINK);
	size_t size;
	const uint8_t *got = fixture_received(UPLINK, &size);

	arp_build_announce(&mac, addr(address), frame);
	assert_non_null(got);
	assert_int_equal(size, sizeof(frame));
	assert_memory_equal(got, frame, sizeof(frame));
}

// RFC 5227 §3: who has a neighbour's old device or address in his cache hears of the new one.
static void uplinks_announce_themselves(void **state)
{
	fixture_publish(2, 1);
	fixture_round();
	assert_announced("198.51.100.2");
	fixture_round();
	assert_null(fixture_received(UPLINK, NULL));
	assert_int_equal(switch_port_del(fx.sw, UPLINK), 0);
	fixture_add_port(UPLINK);
	fixture_round();
	assert_announced("198.51.100.2");
}

// An uplink that moves says nothing of its former address on the new link, and what waited for a
// neighbour on the old one is not sent there.
static void an_uplink_that_moves(void **state)
{
	struct datagram d = udp(mac_of(RED_1), red_gw, "10.0.0.11", 5000, "203.0.113.9", 53);

	add_held(UPLINK);
	atomic_fetch_add(&fx.sw->announce, 1); // another port's making
	fixture_round();
	send_udp(RED_1, &d);
	fx.now_ns += 2 * SECOND; // it asks again
	fixture_round();
	assert_null(fixture_received(UPLINK, NULL));
	fixture_publish(2, 1);
	fixture_round();
	assert_announced("198.51.100.2");
	fx.now_ns += 2 * SECOND;
	fixture_round();
	assert_null(fixture_received(UPLINK, NULL)); // nor does it ask for the packet's neighbour
}

static bool epoll_full;

static int two_queues(struct port *p, const struct port_params *params, char *err, size_t err_size)
{
	int r = wire_create(p, params, err, err_size);

	p->n_queues = 2;
	return r;
}

static int second_may_fail(struct port *p, uint16_t queue)
{
	return queue == 1 && epoll_full ? unwatchable_fd(p, queue) : -1;
}

// A port whose second queue no worker can take has neither; it has both as soon as one can.
static void a_port_is_served_later(void **state)
{
	static const struct port_ops flaky = { .name = "flaky",
		.create = two_queues,
		.destroy = wire_destroy,
		.rx = wire_rx,
		.tx = wire_tx,
		.event_fd = second_may_fail };
	struct datagram d = udp(mac_of(RED_1), mac_of(RED_2), "10.0.0.11", 1, "10.0.0.12", 2);
	struct port_params params = {
		.id = RED_1, .kind = PROTO_PORT_PCAP, .mtu = 1500, .n_queues = 2, .name = "flaky"
	};
	char err[256];

	assert_int_equal(switch_port_del(fx.sw, RED_1), 0);
	publish(2, tenant_part(BLUE, 20, 1), NULL);
	assert_int_equal(switch_port_add_kind(fx.sw, &params, &flaky, err, sizeof(err)), 0);
	epoll_full = true;
	fixture_publish(3, 1);
	send_udp(RED_1, &d);
	assert_null(fixture_received(RED_2, NULL));
	epoll_full = false;
	switch_serve_ports(fx.sw);
	fixture_round();
	assert_non_null(fixture_received(RED_2, NULL));
	switch_serve_ports(fx.sw); // served: nothing to do
	send_udp(RED_1, &d);
	assert_non_null(fixture_received(RED_2, NULL));
}

// The event waiting on the socket, or 9 if there is none.
static uint32_t told_up(int fd)
{
	struct proto_port_event e = { 0 };
	ssize_t n = recv(fd, &e, sizeof(e), MSG_DONTWAIT);

	if (n < 0)
		return 9;
	assert_int_equal(n, sizeof(e));
	assert_int_equal(e.h.type, PROTO_EVENT_PORT);
	assert_int_equal(e.id, RED_1);
	return e.up;
}

// A port's death reaches insulad also when it was away, or its socket full, when it happened.
static void a_death_is_told_until_heard(void **state)
{
	static struct control c;
	struct port *p = fx.sw->ports[RED_1];
	int fds[2], n = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
	c.sw = fx.sw;
	c.conn_fd = -1;
	atomic_store(&p->dead, 1);
	control_watch_port(&c, p);
	c.conn_fd = fds[0];
	while (send(fds[0], "full", 4, 0) == 4)
		n++;
	control_watch_port(&c, p);
	while (n--)
		assert_int_equal(recv(fds[1], &(uint32_t){ 0 }, 4, 0), 4);
	assert_int_equal(told_up(fds[1]), 9);
	control_watch_port(&c, p);
	assert_int_equal(told_up(fds[1]), 2);
	control_watch_port(&c, p); // heard: not again
	assert_int_equal(told_up(fds[1]), 9);
	control_forget_told(&c); // another insulad
	control_watch_port(&c, p);
	assert_int_equal(told_up(fds[1]), 2);
	atomic_store(&p->dead, 0);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		T(policy_change_redecides),
		T(what_was_outside_is_inside),
		T(what_a_late_burst_stored_does_not_last),
		T(a_next_hop_of_another_kind_is_not_ours),
		T(sessions_end_with_their_tenant),
		T(gateways_leave_the_fdb),
		T(port_made_anew),
		T(a_trunk_that_moves),
		T(a_trunk_that_becomes_an_uplink),
		T(a_held_port_waits_for_its_policy),
		T(uplinks_announce_themselves),
		T(an_uplink_that_moves),
		T(fds_of_a_failed_port),
		T(a_port_is_served_later),
		T(a_death_is_told_until_heard),
	};

	return cmocka_run_group_tests(tests, fixture_eal, NULL);
}
