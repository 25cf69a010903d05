// SPDX-License-Identifier: BSD-3-Clause
// Tap and packet ports against the real kernel, and against each other: what the tap port sends,
// the packet port on the same interface receives, and the other way round. Run in a network
// namespace of its own by test_port_kinds.sh.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <net/if.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#define EAL_FIXTURE_POOLS
#include "tests/unit/eal_fixture.h"
#include "tests/unit/frames.h"
#include "vswitch/gso.h"
#include "vswitch/parse.h"
#include "vswitch/port.h"
#include <linux/if_packet.h>

enum { WAIT_MS = 5000 };

static struct port tap, pkt_port;
static struct frame f;
static uint8_t copy[70000];
static char err[256];

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s failed", command);
}

static int open_tap(const char *name, short flags)
{
	struct ifreq ifr = { .ifr_flags = flags };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	assert_true(fd >= 0);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

// A packet socket with `options`, a bit each: 0 VNET_HDR, 1 AUXDATA, 2 IGNORE_OUTGOING, 3 bound.
static int open_packet(const char *ifname, unsigned options)
{
	static const int names[] = { PACKET_VNET_HDR, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING };
	struct sockaddr_ll ll = { .sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(ifname) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1;

	assert_true(fd >= 0);
	for (unsigned i = 0; i < 3; i++) {
		if (options & 1u << i)
			assert_int_equal(
				setsockopt(fd, SOL_PACKET, names[i], &one, sizeof(one)), 0);
	}
	if (options & 8)
		assert_int_equal(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), 0);
	return fd;
}

static int create(struct port *p, const struct port_ops *ops, const int *fds, unsigned n)
{
	*p = (struct port){ .id = 7, .ops = ops, .n_queues = (uint16_t)n };
	p->params = (struct port_params){ .id = 7, .n_fds = n, .n_queues = n, .name = "x" };
	if (n)
		memcpy(p->params.fds, fds, n * sizeof(*fds));
	err[0] = '\0';
	return ops->create(p, &p->params, err, sizeof(err));
}

static int setup(void **state)
{
	int fd = open_tap("tap0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);

	run("ip link set tap0 up");
	assert_int_equal(create(&tap, &port_tap_ops, &fd, 1), 0);
	fd = open_packet("tap0", 15);
	assert_int_equal(create(&pkt_port, &port_packet_ops, &fd, 1), 0);
	return 0;
}

static int teardown(void **state)
{
	port_tap_ops.destroy(&tap);
	port_packet_ops.destroy(&pkt_port);
	return eal_fixture_no_leak(state);
}

// A frame for tx, in a chain; csum and gso as said. Freed by tx.
static struct rte_mbuf *outgoing(uint32_t proto, bool partial, uint8_t gso_type, uint16_t gso_size)
{
	struct rte_mbuf *m = eal_fixture_mbuf(f.data, f.size, 300);
	struct packet *pkt = packet_of(m);

	if (partial) {
		pkt->flags = PACKET_NEEDS_CSUM;
		pkt->csum_start = (uint16_t)f.l4_off;
		pkt->csum_offset = (uint16_t)frame_csum_offset(proto);
		pkt->gso_type = gso_type;
		pkt->gso_size = gso_size;
	}
	assert_int_equal(parse_packet(m), DROP_NONE);
	return m;
}

static struct port_sent sent; // what the last transmit() said

static uint16_t transmit(struct port *p, struct rte_mbuf **pkts, uint16_t n)
{
	sent = (struct port_sent){ .why = DROP_TX_FULL };
	return p->ops->tx(NULL, p, 0, pkts, n, &sent);
}

// The next frame of p from our MAC; the kernel may send of its own. NULL after WAIT_MS.
static struct rte_mbuf *receive(struct port *p)
{
	struct pollfd pfd = { .fd = p->ops->event_fd(p, 0), .events = POLLIN };
	struct rte_mbuf *m;

	while (poll(&pfd, 1, WAIT_MS) > 0) {
		while (p->ops->rx(NULL, p, 0, &m, 1, 0) == 1) {
			if (memcmp(rte_pktmbuf_mtod(m, uint8_t *) + 6, f.data + 6, 6) == 0)
				return m;
			rte_pktmbuf_free(m);
		}
		if (atomic_load(&p->dead))
			return NULL;
	}
	return NULL;
}

static bool has_bytes(struct rte_mbuf *m, const uint8_t *data, uint32_t size)
{
	return m->pkt_len == size && memcmp(rte_pktmbuf_read(m, 0, size, copy), data, size) == 0;
}

// Sends f from one port, expects it and its metadata at the other.
static void pass(struct port *from, struct port *to, uint32_t proto, bool partial, uint8_t gso_type,
	uint16_t gso_size)
{
	struct rte_mbuf *m = outgoing(proto, partial, gso_type, gso_size);
	struct packet *pkt;

	assert_int_equal(transmit(from, &m, 1), 1);
	assert_int_equal(sent.bytes, f.size);
	m = receive(to);
	assert_non_null(m);
	rte_mbuf_sanity_check(m, 1);
	assert_true(has_bytes(m, f.data, f.size));
	assert_true(m->data_len >= RTE_MIN(f.size, (uint32_t)PACKET_HEADERS_MAX));
	pkt = packet_of(m);
	assert_int_equal(pkt->in_port, 7);
	assert_int_equal(pkt->gso_type, gso_type);
	assert_int_equal(pkt->flags & PACKET_NEEDS_CSUM, partial ? PACKET_NEEDS_CSUM : 0);
	if (gso_type != PACKET_GSO_NONE)
		assert_int_equal(pkt->gso_size, gso_size);
	assert_int_equal(parse_packet(m), DROP_NONE);
	rte_pktmbuf_free(m);
}

static void both_ways(uint32_t proto, bool partial, uint8_t gso_type, uint16_t gso_size)
{
	pass(&tap, &pkt_port, proto, partial, gso_type, gso_size);
	pass(&pkt_port, &tap, proto, partial, gso_type, gso_size);
}

static void test_frames(void **state)
{
	for (unsigned ip = 4; ip <= 6; ip += 2) {
		for (uint32_t payload = 0; payload < 1400; payload += 97) {
			frame_build(&f, 0, ip, FRAME_TCP, payload, false);
			both_ways(FRAME_TCP, false, 0, 0);
			frame_build(&f, 0, ip, FRAME_UDP, payload, true);
			both_ways(FRAME_UDP, true, 0, 0);
		}
	}
}

static void test_super_frames(void **state)
{
	static const uint32_t sizes[] = { 3000, 20000, 65000 };
	bool uso = (tap.offloads & PORT_OFFLOAD_USO) && (pkt_port.offloads & PORT_OFFLOAD_USO);

	for (size_t i = 0; i < RTE_DIM(sizes); i++) {
		frame_build(&f, 0, 4, FRAME_TCP, sizes[i], true);
		both_ways(FRAME_TCP, true, PACKET_GSO_TCP4, 1400);
		frame_build(&f, 0, 6, FRAME_TCP, sizes[i], true);
		both_ways(FRAME_TCP, true, PACKET_GSO_TCP6, 1400);
		if (!uso)
			continue;
		frame_build(&f, 0, 4, FRAME_UDP, sizes[i], true);
		both_ways(FRAME_UDP, true, PACKET_GSO_UDP_L4, 1400);
		frame_build(&f, 0, 6, FRAME_UDP, sizes[i], true);
		both_ways(FRAME_UDP, true, PACKET_GSO_UDP_L4, 1400);
	}
}

// The kernel takes the outer tag out of what the packet socket receives; rx puts it back.
static void test_tags(void **state)
{
	for (unsigned n_tags = 1; n_tags <= 2; n_tags++) {
		frame_build(&f, n_tags, 4, FRAME_UDP, 100, false);
		both_ways(FRAME_UDP, false, 0, 0);
		frame_build(&f, n_tags, 4, FRAME_TCP, 100, true);
		both_ways(FRAME_TCP, true, 0, 0);
		frame_build(&f, n_tags, 4, FRAME_TCP, 9000, true);
		both_ways(FRAME_TCP, true, PACKET_GSO_TCP4, 1400);
	}
}

// Of a burst, all arrive in order; nothing of what the packet port sends comes back to it.
static void test_burst(void **state)
{
	struct rte_mbuf *out[BURST_MAX], *in;

	for (unsigned i = 0; i < BURST_MAX; i++) {
		frame_build(&f, 0, 4, FRAME_UDP, i, false);
		out[i] = outgoing(FRAME_UDP, false, 0, 0);
	}
	assert_int_equal(transmit(&pkt_port, out, BURST_MAX), BURST_MAX);
	for (unsigned i = 0; i < BURST_MAX; i++) {
		in = receive(&tap);
		assert_non_null(in);
		assert_int_equal(in->pkt_len, f.payload_off + i);
		rte_pktmbuf_free(in);
	}
	frame_build(&f, 0, 4, FRAME_UDP, 500, false);
	pass(&tap, &pkt_port, FRAME_UDP, false, 0, 0); // the next it receives is this
}

static void test_link_down(void **state)
{
	struct rte_mbuf *m;

	frame_build(&f, 0, 4, FRAME_UDP, 10, false);
	run("ip link set tap0 down");
	m = outgoing(FRAME_UDP, false, 0, 0);
	assert_int_equal(transmit(&tap, &m, 1), 0);
	assert_int_equal(sent.why, DROP_TX_NO_PORT);
	assert_int_equal(sent.bytes, 0);
	assert_int_equal(tap.ops->rx(NULL, &tap, 0, &m, 1, 0), 0);
	assert_int_equal(atomic_load(&tap.dead), 0);
	m = outgoing(FRAME_UDP, false, 0, 0);
	assert_int_equal(transmit(&pkt_port, &m, 1), 0);
	assert_int_equal(sent.why, DROP_TX_NO_PORT);
	assert_int_equal(sent.bytes, 0);
	assert_int_equal(pkt_port.ops->rx(NULL, &pkt_port, 0, &m, 1, 0), 0);
	assert_int_equal(atomic_load(&pkt_port.up), 0);
	assert_int_equal(atomic_load(&pkt_port.dead), 0);
	run("ip link set tap0 up");
	both_ways(FRAME_UDP, false, 0, 0);
	assert_int_equal(atomic_load(&pkt_port.up), 1);
}

static void test_link_deleted(void **state)
{
	struct rte_mbuf *m;

	frame_build(&f, 0, 4, FRAME_UDP, 10, false);
	run("ip link del tap0");
	assert_null(receive(&tap));
	assert_int_equal(atomic_load(&tap.dead), 1);
	m = outgoing(FRAME_UDP, false, 0, 0);
	assert_int_equal(transmit(&tap, &m, 1), 0);
	assert_null(receive(&pkt_port));
	m = outgoing(FRAME_UDP, false, 0, 0);
	assert_int_equal(transmit(&pkt_port, &m, 1), 0);
	assert_int_equal(atomic_load(&pkt_port.dead), 1);
}

static void test_get_fds(void **state)
{
	int fds[PORT_MAX_QUEUES];
	struct ifreq ifr;

	assert_int_equal(tap.ops->get_fds(&tap, fds), 1);
	assert_int_not_equal(fds[0], tap.params.fds[0]);
	assert_int_equal(ioctl(fds[0], TUNGETIFF, &ifr), 0);
	close(fds[0]);
}

static void refuse(const struct port_ops *ops, const int *fds, unsigned n, const char *why)
{
	struct port p;

	if (create(&p, ops, fds, n) >= 0)
		fail_msg("accepted; expected '%s'", why);
	if (strstr(err, why) == NULL)
		fail_msg("'%s' does not say '%s'", err, why);
	for (unsigned i = 0; i < n; i++) // still the caller's
		assert_int_equal(close(fds[i]), 0);
}

static void test_refusals(void **state)
{
	const short good = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;

	refuse(&port_tap_ops, NULL, 0, "0 fds");
	refuse(&port_tap_ops, (int[]){ open("/dev/null", O_RDWR) }, 1, "not an attached tap queue");
	refuse(&port_tap_ops, (int[]){ open("/dev/net/tun", O_RDWR) }, 1, "not an attached tap");
	refuse(&port_tap_ops, (int[]){ open_tap("t1", IFF_TAP | IFF_NO_PI) }, 1, "VNET_HDR");
	refuse(&port_tap_ops, (int[]){ open_tap("t1", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR) }, 1,
		"TAP");
	refuse(&port_tap_ops, (int[]){ open_tap("t1", good), open_tap("t2", good) }, 2,
		"two interfaces");
	refuse(&port_packet_ops, (int[]){ socket(AF_INET, SOCK_DGRAM, 0) }, 1, "AF_PACKET");
	refuse(&port_packet_ops, (int[]){ socket(AF_PACKET, SOCK_DGRAM, 0) }, 1, "SOCK_RAW");
	refuse(&port_packet_ops, (int[]){ open("/dev/null", O_RDWR) }, 1, "AF_PACKET");
	refuse(&port_packet_ops, (int[]){ open_packet("lo", 7) }, 1, "bound");
	refuse(&port_packet_ops, (int[]){ open_packet("lo", 14) }, 1, "PACKET_VNET_HDR");
	refuse(&port_packet_ops, (int[]){ open_packet("lo", 13) }, 1, "PACKET_AUXDATA");
	refuse(&port_packet_ops, (int[]){ open_packet("lo", 11) }, 1, "PACKET_IGNORE_OUTGOING");
}

static int group_setup(void **state)
{
	int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY);

	// Fewer frames of the kernel's own; without IPv6 there is nothing to switch off.
	if (fd >= 0 && write(fd, "1", 1) != 1)
		fprintf(stderr, "IPv6 stays on\n");
	close(fd);
	return eal_fixture_init(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(test_super_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tags, setup, teardown),
		cmocka_unit_test_setup_teardown(test_burst, setup, teardown),
		cmocka_unit_test_setup_teardown(test_link_down, setup, teardown),
		cmocka_unit_test_setup_teardown(test_link_deleted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_get_fds, setup, teardown),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
