// SPDX-License-Identifier: BSD-3-Clause
// The least a switch between two taps can do: port_tap's rx into the other's tx, nothing between
// but (with --parse) the parser. What the pipeline costs is the distance to this. Run by
// tap_loop.sh.
//
//     tap_loop [--parse] NETNS_A NETNS_B     makes tap0 in both, runs until its stdin closes
#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <unistd.h>
#define EAL_FIXTURE_POOLS
#include "tests/unit/eal_fixture.h"
#include "vswitch/parse.h"
#include "vswitch/port.h"

static int open_tap(const char *netns)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE,
		.ifr_name = "tap0" };
	char path[256];
	int ns, fd;

	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
		return -1;
	close(ns);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &ifr) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

// One burst from a to b; returns whether there was any.
static bool pass(struct port *a, struct port *b, bool parse)
{
	struct rte_mbuf *pkts[BURST_MAX];
	uint16_t n = a->ops->rx(NULL, a, 0, pkts, BURST_MAX, 0), kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		if (!parse || parse_packet(pkts[i]) == DROP_NONE)
			pkts[kept++] = pkts[i];
		else
			rte_pktmbuf_free(pkts[i]);
	}
	if (kept > 0)
		b->ops->tx(NULL, b, 0, pkts, kept, &(struct port_sent){ 0 });
	return n > 0;
}

static int run(struct port ports[2], bool parse)
{
	struct epoll_event ev[3];
	int ep = epoll_create1(EPOLL_CLOEXEC);

	for (uint32_t i = 0; i < 3; i++) {
		int fd = i == 2 ? 0 : ports[i].ops->event_fd(&ports[i], 0);

		ev[i] = (struct epoll_event){ .events = EPOLLIN, .data.u32 = i };
		if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev[i]) < 0)
			return 1;
	}
	for (;;) {
		int n = epoll_wait(ep, ev, 3, -1);

		for (int i = 0; i < n; i++) {
			uint32_t k = ev[i].data.u32;

			if (k == 2)
				return 0;
			pass(&ports[k], &ports[1 - k], parse);
		}
	}
}

int main(int argc, char **argv)
{
	static struct port ports[2];
	bool parse = argc > 1 && strcmp(argv[1], "--parse") == 0;
	char err[256] = "";

	if (argc != 3 + parse)
		return 2;
	if (eal_fixture_init(NULL) < 0)
		return 1;
	for (int i = 0; i < 2; i++) {
		struct port *p = &ports[i];

		*p = (struct port){ .id = (uint32_t)i + 1, .ops = &port_tap_ops, .n_queues = 1 };
		p->params = (struct port_params){ .n_fds = 1, .n_queues = 1, .name = "tap0" };
		p->params.fds[0] = open_tap(argv[1 + parse + i]);
		if (p->ops->create(p, &p->params, err, sizeof(err)) < 0) {
			fprintf(stderr, "%s\n", err);
			return 1;
		}
	}
	puts("ready");
	fflush(stdout);
	return run(ports, parse);
}
