// SPDX-License-Identifier: BSD-3-Clause
// Two ports of the switch's own kinds and one worker that forwards between them, nothing else:
// proves and measures port kinds vhost-user and ethdev against real peers (tests/net/*.sh,
// tests/hostile/*.sh).
//   vhost_loop [-s] [-q QUEUES] [-p] [-i] [-n] [--] PORT PORT
// PORT is the path of a vhost-user socket (-s: listen on it) or devargs of an ethdev. -p polls and
// never sleeps, -i echoes each port's packets back to it, -n sends nothing. Prints a line whenever
// a port changes; on SIGUSR1 the totals; on SIGUSR2 destroys and creates the ports; stops on
// SIGTERM or SIGINT, destroying the ports.

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include "vswitch/parse.h"
#include "vswitch/port.h"

enum { N_PORTS = 2, IDLE_ROUNDS = 256 };

struct worker {
	struct rte_mempool *small, *big;
};

struct loop {
	struct worker worker;
	struct port ports[N_PORTS];
	struct port_counters counters[N_PORTS];
	uint64_t csum[N_PORTS], gso[N_PORTS], lost[N_PORTS], bad[N_PORTS],
		by_queue[N_PORTS][PORT_MAX_QUEUES];
	uint32_t seen_up[N_PORTS], seen_offloads[N_PORTS];
	uint64_t sleeps;
	int epoll_fd, signal_fd;
	bool poll, echo, sink, stop, server;
	char **args;
	unsigned n_queues;
};

struct rte_mempool *worker_small_pool(struct worker *w)
{
	return w->small;
}

struct rte_mempool *worker_big_pool(struct worker *w)
{
	return w->big;
}

unsigned worker_index(const struct worker *w)
{
	return 0;
}

static void print_changes(struct loop *l)
{
	for (int i = 0; i < N_PORTS; i++) {
		uint32_t up = atomic_load(&l->ports[i].up),
			 offloads = atomic_load(&l->ports[i].offloads);

		if (up == l->seen_up[i] && offloads == l->seen_offloads[i])
			continue;
		l->seen_up[i] = up;
		l->seen_offloads[i] = offloads;
		printf("port %d %s offloads %u\n", i, up ? "up" : "down", offloads);
		fflush(stdout);
	}
}

static void print_totals(const struct loop *l)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("totals at %.3f sleeps %" PRIu64, (double)now.tv_sec + (double)now.tv_nsec / 1e9,
		l->sleeps);
	for (int i = 0; i < N_PORTS; i++) {
		printf(" | rx%d %" PRIu64 " tx%d %" PRIu64 " lost%d %" PRIu64 " csum%d %" PRIu64
		       " bad%d %" PRIu64 " gso%d %" PRIu64 " queues%d",
			i, l->counters[i].rx_packets, i, l->counters[i].tx_packets, i, l->lost[i],
			i, l->csum[i], i, l->bad[i], i, l->gso[i], i);
		for (unsigned q = 0; q < l->ports[i].n_queues; q++)
			printf(" %" PRIu64, l->by_queue[i][q]);
	}
	printf(" | mbufs %u\n", rte_mempool_in_use_count(l->worker.small));
	fflush(stdout);
}

static unsigned forward(struct loop *l, int from, uint16_t queue)
{
	struct port *in = &l->ports[from], *out = &l->ports[l->echo ? from : !from];
	int to = l->echo ? from : !from;
	struct rte_mbuf *pkts[BURST_MAX];
	struct port_sent sent = { .why = DROP_TX_FULL };
	uint16_t n = in->ops->rx(&l->worker, in, queue, pkts, BURST_MAX, 0), n_sent, n_good = 0;

	if (n == 0)
		return 0;
	l->counters[from].rx_packets += n;
	l->by_queue[from][queue] += n;
	for (uint16_t i = 0; i < n; i++) {
		const struct packet *pk = packet_of(pkts[i]);

		l->csum[from] += !!(pk->flags & PACKET_NEEDS_CSUM);
		l->gso[from] += pk->gso_type != 0;
		// tx takes what has passed parse: lies about offloads never reach it
		if (parse_packet(pkts[i]) == DROP_NONE)
			pkts[n_good++] = pkts[i];
		else
			rte_pktmbuf_free(pkts[i]);
	}
	l->bad[from] += (uint64_t)(n - n_good);
	n = n_good;
	if (l->sink) {
		rte_pktmbuf_free_bulk(pkts, n);
		return n;
	}
	n_sent = out->ops->tx(&l->worker, out, (uint16_t)(queue % out->n_queues), pkts, n, &sent);
	l->counters[to].tx_packets += n_sent;
	l->counters[to].tx_bytes += sent.bytes;
	l->lost[to] += (uint64_t)(n - n_sent);
	return n;
}

static int add_ports(struct loop *l);

static void destroy_ports(struct loop *l)
{
	for (int i = 0; i < N_PORTS; i++)
		l->ports[i].ops->destroy(&l->ports[i]);
}

static void on_signal(struct loop *l)
{
	struct signalfd_siginfo info;

	while (read(l->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGUSR1) {
			print_totals(l);
		} else if (info.ssi_signo == SIGUSR2) {
			destroy_ports(l);
			if (add_ports(l) != 0)
				exit(1);
			printf("anew\n");
			fflush(stdout);
		} else {
			l->stop = true;
		}
	}
}

// As the switch's workers sleep: arm all, wait, disarm all.
static void sleep_idle(struct loop *l)
{
	struct epoll_event ev[8];
	unsigned armed = 0, n = 0;
	bool quiet = true;

	for (int i = 0; i < N_PORTS; i++)
		for (uint16_t q = 0; q < l->ports[i].n_queues && quiet; q++, armed++)
			quiet = l->ports[i].ops->arm == NULL ||
						l->ports[i].ops->event_fd(&l->ports[i], q) < 0
					? false
					: l->ports[i].ops->arm(&l->ports[i], q);
	if (quiet) {
		l->sleeps++;
		epoll_wait(l->epoll_fd, ev, 8, -1);
	} else {
		armed--;
	}
	for (int i = 0; i < N_PORTS; i++)
		for (uint16_t q = 0; q < l->ports[i].n_queues && n < armed; q++, n++)
			l->ports[i].ops->disarm(&l->ports[i], q);
}

static void run(struct loop *l)
{
	unsigned idle = 0, rounds = 0;

	while (!l->stop) {
		unsigned n = 0;

		for (int i = 0; i < N_PORTS; i++)
			for (uint16_t q = 0; q < l->ports[i].n_queues; q++)
				n += forward(l, i, q);
		idle = n > 0 ? 0 : idle + 1;
		if (!l->poll && idle >= IDLE_ROUNDS) {
			print_changes(l);
			sleep_idle(l);
			idle = 0;
			rounds = 0;
		}
		if (rounds++ % 1024 == 0) {
			print_changes(l);
			on_signal(l);
		}
	}
}

static int add_port(struct loop *l, int i)
{
	struct port *p = &l->ports[i];
	const char *arg = l->args[i];
	struct epoll_event ev = { .events = EPOLLIN };
	char err[PROTO_TEXT_SIZE] = "";
	int r;

	p->id = (uint32_t)i + 1;
	p->ops = arg[0] == '/' ? &port_vhost_ops : &port_ethdev_ops;
	p->params = (struct port_params){ .id = p->id,
		.kind = arg[0] == '/' ? PROTO_PORT_VHOST : PROTO_PORT_ETHDEV,
		.flags = l->server ? PROTO_PORT_VHOST_SERVER : 0,
		.mtu = 1500,
		.n_queues = l->n_queues };
	snprintf(p->params.arg, sizeof(p->params.arg), "%s", arg);
	p->counters[0] = &l->counters[i];
	p->n_queues = (uint16_t)l->n_queues;
	r = p->ops->create(p, &p->params, err, sizeof(err));
	if (r != 0) {
		fprintf(stderr, "%s: %s (%s)\n", arg, err, strerror(-r));
		return r;
	}
	for (uint16_t q = 0; q < p->n_queues; q++) {
		int fd = p->ops->event_fd(p, q);

		if (fd >= 0 && epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
			return -errno;
	}
	return 0;
}

static int add_ports(struct loop *l)
{
	int r = 0;

	memset(l->ports, 0, sizeof(l->ports));
	for (int i = 0; i < N_PORTS && r == 0; i++)
		r = add_port(l, i);
	return r;
}

static int start(struct loop *l)
{
	char *args[] = { "vhost_loop", "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry",
		"-m", "256", "--log-level=error", "-l", "0", NULL };
	struct epoll_event ev = { .events = EPOLLIN };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (rte_eal_init((int)RTE_DIM(args) - 1, args) < 0) {
		fprintf(stderr, "rte_eal_init: %s\n", rte_strerror(rte_errno));
		return -EIO;
	}
	l->worker.small = rte_pktmbuf_pool_create("small", 32767, 256, sizeof(struct packet),
		PACKET_HEADROOM + PACKET_SMALL_ROOM, SOCKET_ID_ANY);
	l->worker.big = rte_pktmbuf_pool_create(
		"big", 63, 0, sizeof(struct packet), UINT16_MAX, SOCKET_ID_ANY);
	l->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->worker.small == NULL || l->worker.big == NULL || l->signal_fd < 0 ||
		l->epoll_fd < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->signal_fd, &ev) != 0)
		return -ENOMEM;
	return 0;
}

int main(int argc, char **argv)
{
	static struct loop loop = { .n_queues = 1 };
	int option;

	while ((option = getopt(argc, argv, "sq:pin")) >= 0) {
		switch (option) {
		case 's':
			loop.server = true;
			break;
		case 'q':
			loop.n_queues = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'p':
			loop.poll = true;
			break;
		case 'i':
			loop.echo = true;
			break;
		case 'n':
			loop.sink = true;
			break;
		default:
			return 2;
		}
	}
	if (argc - optind != N_PORTS) {
		fprintf(stderr,
			"usage: vhost_loop [-s] [-q QUEUES] [-p] [-i] [-n] [--] PORT PORT\n");
		return 2;
	}
	if (start(&loop) != 0)
		return 1;
	loop.args = argv + optind;
	if (add_ports(&loop) != 0)
		return 1;
	printf("ready\n");
	fflush(stdout);
	run(&loop);
	destroy_ports(&loop);
	print_totals(&loop);
	return 0;
}
