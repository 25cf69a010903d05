// SPDX-License-Identifier: BSD-3-Clause
// Adding a port that cannot be: the reason names what was asked for and what there is, and fds that
// came along are closed.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <rte_dev.h>
#include "tests/unit/switch_fixture.h"

enum { SPARE_ID = 60 };

static const char *probed_as; // in place of the devargs, if set

// DPDK 22.11's virtio_user forgets 24 bytes of a back end when a later step of its probe fails.
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:vhost_user_setup\n";
}

// In DPDK's place (--wrap): what the allow list keeps from drivers gets to them.
int __real_rte_dev_probe(const char *devargs);
int __wrap_rte_dev_probe(const char *devargs);

int __wrap_rte_dev_probe(const char *devargs)
{
	return __real_rte_dev_probe(probed_as ? probed_as : devargs);
}

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
	assert_non_null(strstr(err, "net_virtio_user"));
	assert_null(strstr(err, "Bad address"));
	// insulad looks before; the switch has a word for it too
	p = spare(PROTO_PORT_ETHDEV, "0000:7f:1f.7");
	assert_true(switch_port_add(fx.sw, &p, err, sizeof(err)) < 0);
	assert_true(strstr(err, "no PCI device '0000:7f:1f.7'") || strstr(err, "/dev/vfio/vfio"));
}

// Its reason is in DPDK's log only.
static void what_the_driver_says(void **state)
{
	const struct {
		const char *devargs, *words;
	} cases[] = { { "net_virtio_user0,path=/nonexistent",
			      "': its driver says: connect error, No such file or" },
		{ "net_af_packet0,iface=nope", "CAP_NET_RAW, which the switch never has" },
		{ "net_tap0,iface=nope", "CAP_NET_ADMIN, which the switch never has" } };

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct port_params p = spare(PROTO_PORT_ETHDEV, cases[i].devargs);
		char err[PROTO_TEXT_SIZE] = "";

		assert_true(switch_port_add(fx.sw, &p, err, sizeof(err)) < 0);
		if (!strstr(err, cases[i].words) || strstr(err, "linked in"))
			fail_msg("%s: %s", cases[i].devargs, err);
	}
}

// DPDK's own ways to select devices, its parser dies of some; arguments that the switch would die
// of.
// What an attempt adds to the log, in bytes; it fails for one reason.
static size_t logged_by(const char *devargs)
{
	struct port_params p = spare(PROTO_PORT_ETHDEV, devargs);
	char err[PROTO_TEXT_SIZE] = "";
	int log = memfd_create("log", MFD_CLOEXEC), before = dup(STDERR_FILENO);
	off_t size;

	assert_true(log >= 0 && before >= 0);
	dup2(log, STDERR_FILENO);
	int r = switch_port_add(fx.sw, &p, err, sizeof(err));
	fflush(stderr);
	dup2(before, STDERR_FILENO);
	close(before);
	size = lseek(log, 0, SEEK_END);
	close(log);
	assert_true(r < 0 && err[0]);
	return (size_t)size;
}

// Ports that broke are tried every second: what their drivers say is in the log once.
static void a_driver_is_not_repeated(void **state)
{
	static const char first[] = "net_virtio_user0,path=/nonexistent/first",
			  second[] = "net_virtio_user1,path=/nonexistent/second";

	assert_int_not_equal(logged_by(first), 0);
	assert_int_not_equal(logged_by(second), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(logged_by(first), 0);
		assert_int_equal(logged_by(second), 0);
	}
}

static void devargs_that_are_refused(void **state)
{
	static const char *const cases[] = { "class=eth", "class=eth/", "bus=pci", "bus=vdev",
		"bus=pci,addr=0000:00:03.0", "bus=vdev,name=net_null0", "net_null0/class=eth",
		"net_null0,x=/class=eth", "bus", "pci", "vdev", "vdevxnet_null0", "auxiliary:x", "",
		",", "-1:00:00.0", "pci:0000:00:zz.0", "0000:00:03.0/../..",
		"net_ring0,internal=0x1234", "eth_ring0,internal=1", "net_null0,copy=1,no-rx=1" };

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct port_params p = spare(PROTO_PORT_ETHDEV, cases[i]);
		char err[PROTO_TEXT_SIZE] = "", quoted[64];

		assert_int_equal(switch_port_add(fx.sw, &p, err, sizeof(err)), -EINVAL);
		snprintf(quoted, sizeof(quoted), "'%s' ", cases[i]);
		assert_non_null(strstr(err, quoted));
		assert_non_null(strstr(err, "; allowed: "));
		assert_null(switch_port(fx.sw, SPARE_ID));
	}
}

// A driver that refuses and says that all is well: what it refused does not stand in the way.
static void a_device_without_a_port(void **state)
{
	char err[PROTO_TEXT_SIZE] = "";
	struct port_params p = spare(PROTO_PORT_ETHDEV, "net_null6");

	probed_as = "net_null6,copy=1,no-rx=1";
	assert_int_equal(switch_port_add(fx.sw, &p, err, sizeof(err)), -ENODEV);
	assert_non_null(strstr(err, "'net_null6': its driver says: Both copy and no-rx"));
	probed_as = NULL;
	if (switch_port_add(fx.sw, &p, err, sizeof(err)) != 0)
		fail_msg("%s", err);
	assert_int_equal(switch_port_del(fx.sw, SPARE_ID), 0);
}

// Whoever listens there need not answer: the switch's control thread would wait for ever.
static void a_socket_that_nobody_answers_at(void **state)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char err[PROTO_TEXT_SIZE] = "", devargs[160];
	struct port_params p;

	assert_return_code(fd, errno);
	snprintf(at.sun_path, sizeof(at.sun_path), "/tmp/insula-silent-%d", getpid());
	snprintf(devargs, sizeof(devargs), "net_virtio_user0,path=%s", at.sun_path);
	assert_return_code(bind(fd, (struct sockaddr *)&at, sizeof(at)), errno);
	// The first is never accepted, and no message of it answered; the second waits for room.
	assert_return_code(listen(fd, 0), errno);
	alarm(60);
	for (int i = 0; i < 2; i++) {
		p = spare(PROTO_PORT_ETHDEV, devargs);
		assert_true(switch_port_add(fx.sw, &p, err, sizeof(err)) < 0);
		if (!strstr(err, at.sun_path) || !strstr(err, "does not answer within 1 s"))
			fail_msg("%s", err);
	}
	alarm(0);
	close(fd);
	unlink(at.sun_path);
}

// Two names of one device: DPDK would hand out the same port again.
static void a_device_twice(void **state)
{
	struct port_params p = spare(PROTO_PORT_ETHDEV, "net_null5");
	char err[PROTO_TEXT_SIZE] = "";

	assert_int_equal(switch_port_add(fx.sw, &p, err, sizeof(err)), 0);
	p = spare(PROTO_PORT_ETHDEV, "net_null5,size=64");
	p.id++;
	assert_int_equal(switch_port_add(fx.sw, &p, err, sizeof(err)), -EBUSY);
	assert_non_null(strstr(err, "'net_null5,size=64' is another port's device"));
	assert_int_equal(switch_port_del(fx.sw, SPARE_ID), 0);
	assert_int_equal(switch_port_add(fx.sw, &p, err, sizeof(err)), 0);
	assert_int_equal(switch_port_del(fx.sw, p.id), 0);
}

// What VFIO needs, and no more of it.
static void too_many_fds(void **state)
{
	struct port_params p = spare(PROTO_PORT_ETHDEV, "0000:7f:1f.7");
	char err[PROTO_TEXT_SIZE] = "";

	for (p.n_fds = 0; p.n_fds < 3; p.n_fds++) {
		p.fds[p.n_fds] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
		assert_return_code(p.fds[p.n_fds], errno);
	}
	assert_int_equal(switch_port_add(fx.sw, &p, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "3 fds for"));
	for (unsigned i = 0; i < p.n_fds; i++)
		assert_int_equal(fcntl(p.fds[i], F_GETFD), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			fds_that_a_kind_does_not_take, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			devargs_without_a_driver, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			what_the_driver_says, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			a_driver_is_not_repeated, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			devargs_that_are_refused, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			a_device_without_a_port, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			a_socket_that_nobody_answers_at, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_device_twice, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(too_many_fds, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, fixture_eal, NULL);
}
