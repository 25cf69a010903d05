// SPDX-License-Identifier: BSD-3-Clause
// A worker in mode poll beside queues that it polls: its epoll is asked every 10 us, and in every
// round while something is ready, so that a tap waits for 10 us at most.
#include <sys/eventfd.h>
#include <unistd.h>
#include "tests/unit/switch_fixture.h"

static int event = -1; // readable while the port has frames, as a tap is

static uint16_t tap_rx(struct worker *w, struct port *p, uint16_t queue, struct rte_mbuf **pkts,
	uint16_t n, uint64_t now_ns)
{
	uint64_t count;

	assert_int_equal(read(event, &count, sizeof(count)), sizeof(count));
	return wire_rx(w, p, queue, pkts, n, now_ns);
}

static int tap_event_fd(struct port *p, uint16_t queue)
{
	return event;
}

static const struct port_ops tap_ops = { .name = "tap",
	.create = wire_create,
	.destroy = wire_destroy,
	.rx = tap_rx,
	.tx = wire_tx,
	.event_fd = tap_event_fd };

static void put_frame(void)
{
	struct wire_port *wire = wires[RED_1];
	uint64_t one = 1;

	memset(wire->in[0], 0, 60);
	wire->in_size[0] = 60;
	wire->n_in = 1;
	assert_int_equal(write(event, &one, sizeof(one)), sizeof(one));
}

// How many frames of the port has a round at that time taken?
static unsigned round_at(uint64_t ns)
{
	const struct port_counters *c = fx.sw->ports[RED_1]->counters[0];
	uint64_t before = c->rx_packets;

	worker_round(fx.sw->workers[0], fx.now_ns + ns);
	return (unsigned)(c->rx_packets - before);
}

static void use_tap(void)
{
	struct port_params params = { .id = RED_1, .mtu = 1500, .n_queues = 1 };
	char err[PROTO_TEXT_SIZE] = "";

	event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(event >= 0);
	assert_int_equal(switch_port_del(fx.sw, RED_1), 0);
	assert_int_equal(switch_port_add_kind(fx.sw, &params, &tap_ops, err, sizeof(err)), 0);
	fixture_round(); // what the changes woke it for
	fixture_round();
}

static void every_ten_microseconds(void **state)
{
	fx.sw->cfg.poll = true;
	use_tap();
	assert_int_equal(round_at(100000), 0); // asks
	put_frame();
	assert_int_equal(round_at(100001), 0);
	assert_int_equal(round_at(109999), 0);
	assert_int_equal(round_at(110000), 1);
	put_frame(); // it was busy: looked at in the next round
	assert_int_equal(round_at(110001), 1);
	assert_int_equal(round_at(110002), 0);
	put_frame();
	assert_int_equal(round_at(110003), 0);
	assert_int_equal(round_at(120002), 1);
	fx.now_ns += SECOND;
	close(event);
}

// Whoever may sleep hears in every round: it would wait for nothing.
static void adaptive_every_round(void **state)
{
	use_tap();
	assert_int_equal(round_at(100000), 0);
	put_frame();
	assert_int_equal(round_at(100001), 1);
	fx.now_ns += SECOND;
	close(event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			every_ten_microseconds, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			adaptive_every_round, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, fixture_eal, NULL);
}
