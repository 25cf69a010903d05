// SPDX-License-Identifier: BSD-3-Clause
// Adding a port that cannot be: the reason names what was asked for and what there is, and fds that
// came along are closed.
#include <fcntl.h>
#include <unistd.h>
#include "tests/unit/switch_fixture.h"

enum { SPARE_ID = 60 };

static struct port_params spare(enum proto_port_kind kind, const char *arg)
{
	struct port_params p = { .id = SPARE_ID, .kind = kind, .mtu = 1500, .n_queues = 1 };

	snprintf(p.name, sizeof(p.name), "spare");
	snprintf(p.arg, sizeof(p.arg), "%s", arg);
	return p;
}

// Kinds that open for themselves: nobody would ever close what was sent along.
static void fds_that_a_kind_does_not_take(void **state)
{
	const struct {
		enum proto_port_kind kind;
		const char *name, *arg;
	} kinds[] = { { PROTO_PORT_VHOST, "vhost", "/nonexistent/socket" },
		{ PROTO_PORT_ETHDEV, "ethdev", "net_null7" },
		{ PROTO_PORT_PCAP, "pcap", "out=/dev/null" } };

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct port_params p = spare(kinds[i].kind, kinds[i].arg);
		char err[PROTO_TEXT_SIZE] = "";

		assert_return_code(pipe2(p.fds, O_CLOEXEC), errno);
		p.n_fds = 2;
		assert_int_equal(switch_port_add(fx.sw, &p, err, sizeof(err)), -EINVAL);
		assert_non_null(strstr(err, "spare: 2 fds"));
		assert_non_null(strstr(err, kinds[i].name));
		assert_int_equal(fcntl(p.fds[0], F_GETFD), -1);
		assert_int_equal(fcntl(p.fds[1], F_GETFD), -1);
		assert_null(switch_port(fx.sw, SPARE_ID));
	}
}

static void devargs_without_a_driver(void **state)
{
	struct port_params p = spare(PROTO_PORT_ETHDEV, "net_nonsense0");
	char err[PROTO_TEXT_SIZE] = "";

	assert_int_equal(switch_port_add(fx.sw, &p, err, sizeof(err)), -ENODEV);
	assert_non_null(strstr(err, "net_nonsense0"));
	assert_non_null(strstr(err, "net_af_packet"));
	assert_null(strstr(err, "Bad address"));
	p = spare(PROTO_PORT_ETHDEV, "0000:7f:1f.7");
	assert_true(switch_port_add(fx.sw, &p, err, sizeof(err)) < 0);
	assert_non_null(strstr(err, "no PCI devices yet: name the kernel's interface"));
	p = spare(PROTO_PORT_ETHDEV, "net_ring0,nodeaction=nonsense");
	assert_true(switch_port_add(fx.sw, &p, err, sizeof(err)) < 0);
	assert_non_null(strstr(err, "net_ring0,nodeaction=nonsense"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			fds_that_a_kind_does_not_take, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			devargs_without_a_driver, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, fixture_eal, NULL);
}
