// SPDX-License-Identifier: BSD-3-Clause
// Traffic for the benchmarks: the far ends of two vhost-user ports of whatever switch is measured.
// Listens on two sockets (virtio-user), sends UDP from each to the other, the one direction's
// tuples being the replies of the other's, and checks each frame that comes back: which, in which
// order, at the right port, with the right headers; of one in SAMPLE, every byte. Closed loop: no
// more than WINDOW frames are under way per direction, so a switch that loses nothing can lose
// none, and its speed decides.
//   generator [OPTION...] SOCKET SOCKET
// -a MAC,IP  -b MAC,IP   the two ends
// -s SIZE    bytes of a frame, with its check sequence of 4 (64)
// -f FLOWS   UDP tuples, taken in turn (1)
// -w WINDOW  frames under way per direction (128)
// -t SECONDS how long is measured (4), after as much warm-up as -u SECONDS (1)
// -1         one direction only, a to b
// -o         order does not matter (several queues on the way)
// Prints "begin" and "end" when it measures, then one line of JSON; exits with 1 if a frame was
// lost, bad or misdelivered. `idle` is the share of its time in which there was nothing to do: near
// 0, the generator was what was measured.

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>

enum {
	BURST = 32,
	RING = 1024,
	CRC_SIZE = 4,
	PORTS_MAX = 50000, // of source ports; then the destination port is counted up
	FLOWS_MAX = PORTS_MAX * 40000,
	FIRST_PORT = 10000,
	SAMPLE = 61, // a prime: no multiple of a burst, of a ring or of the flows
	STALL_MS = 1000, // nothing came back for so long: lost
	START_MS = 20000, // for the switch to serve both ports
};

struct payload {
	uint32_t magic, direction;
	uint64_t sequence;
} __attribute__((packed));

struct frame {
	struct rte_ether_hdr eth;
	struct rte_ipv4_hdr ip;
	struct rte_udp_hdr udp;
	struct payload payload;
} __attribute__((packed, aligned(2)));

struct end {
	struct rte_ether_addr mac;
	uint32_t address; // network order
};

// What goes from end i to the other.
struct direction {
	struct frame template;
	uint64_t sent, received, lost, bad;
};

struct generator {
	struct end ends[2];
	struct direction directions[2];
	struct rte_mempool *pool;
	unsigned frame_size, n_flows, window;
	double seconds, warm_seconds;
	bool one_way, any_order;
	uint64_t idle_cycles;
};

static const uint32_t magic = 0x1a5b1a5b;
static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
	stopped = 1;
}

static void make_template(struct generator *g, int i)
{
	struct frame *f = &g->directions[i].template;
	uint16_t ip_size = (uint16_t)(g->frame_size - sizeof(f->eth));

	f->eth.src_addr = g->ends[i].mac;
	f->eth.dst_addr = g->ends[!i].mac;
	f->eth.ether_type = htons(RTE_ETHER_TYPE_IPV4);
	f->ip = (struct rte_ipv4_hdr){ .version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = htons(ip_size),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_UDP,
		.src_addr = g->ends[i].address,
		.dst_addr = g->ends[!i].address };
	f->ip.hdr_checksum = rte_ipv4_cksum(&f->ip);
	f->udp.dgram_len = htons((uint16_t)(ip_size - sizeof(f->ip)));
	f->payload.magic = magic;
	f->payload.direction = (uint32_t)i;
}

// Of direction 0; direction 1 has them the other way round.
static void flow_ports(
	const struct generator *g, uint64_t sequence, uint16_t *ret_a, uint16_t *ret_b)
{
	unsigned flow = (unsigned)(sequence % g->n_flows);

	*ret_a = htons((uint16_t)(FIRST_PORT + flow % PORTS_MAX));
	*ret_b = htons((uint16_t)(FIRST_PORT + flow / PORTS_MAX));
}

// What is behind the headers in one frame of SAMPLE, in none as in another: buffers are used again,
// and a switch that leaves an old frame's bytes in them is to be seen. The others have any bytes:
// writing and reading all would make the generator the slower one.
static void make_rest(const struct generator *g, int i, uint64_t sequence, uint8_t *ret)
{
	uint64_t word = sequence * 2 + (uint64_t)i;
	size_t size = g->frame_size - sizeof(struct frame);

	for (size_t at = 0; at < size; at += sizeof(word)) {
		word = word * 6364136223846793005u + 1442695040888963407u; // Knuth's MMIX
		memcpy(ret + at, &word, RTE_MIN(sizeof(word), size - at));
	}
}

static void fill(const struct generator *g, int i, struct rte_mbuf *m, uint64_t sequence)
{
	struct frame *f = rte_pktmbuf_mtod(m, struct frame *);
	uint16_t a, b;

	memcpy(f, &g->directions[i].template, sizeof(*f));
	flow_ports(g, sequence, &a, &b);
	f->udp.src_port = i == 0 ? a : b;
	f->udp.dst_port = i == 0 ? b : a;
	f->payload.sequence = sequence;
	if (sequence % SAMPLE == 0)
		make_rest(g, i, sequence, (uint8_t *)(f + 1));
	m->data_len = (uint16_t)g->frame_size;
	m->pkt_len = g->frame_size;
}

static bool is_rest_right(const struct generator *g, int i, const struct frame *f)
{
	uint8_t want[RTE_ETHER_MAX_LEN];

	if (f->payload.sequence % SAMPLE != 0)
		return true;
	make_rest(g, i, f->payload.sequence, want);
	return memcmp(f + 1, want, g->frame_size - sizeof(*f)) == 0;
}

// Whether it is a frame of direction i, unchanged.
static bool is_right(const struct generator *g, int i, const struct rte_mbuf *m)
{
	const struct frame *f = rte_pktmbuf_mtod(m, const struct frame *), *t;
	uint16_t a, b;

	if (m->pkt_len != g->frame_size || m->data_len != g->frame_size ||
		f->payload.magic != magic || f->payload.direction != (uint32_t)i)
		return false;
	t = &g->directions[i].template;
	flow_ports(g, f->payload.sequence, &a, &b);
	return memcmp(f, t, offsetof(struct frame, udp)) == 0 &&
	       f->udp.src_port == (i == 0 ? a : b) && f->udp.dst_port == (i == 0 ? b : a) &&
	       f->udp.dgram_len == t->udp.dgram_len && f->udp.dgram_cksum == t->udp.dgram_cksum &&
	       is_rest_right(g, i, f);
}

static unsigned receive(struct generator *g, int i)
{
	struct direction *d = &g->directions[i];
	struct rte_mbuf *pkts[BURST];
	uint16_t n = rte_eth_rx_burst((uint16_t)!i, 0, pkts, BURST);

	for (uint16_t k = 0; k < n; k++) {
		const struct frame *f = rte_pktmbuf_mtod(pkts[k], const struct frame *);

		if (!is_right(g, i, pkts[k])) {
			d->bad++;
			continue;
		}
		if (!g->any_order && f->payload.sequence != d->received + d->lost) {
			// Those between were lost; an older one is a duplicate or out of order.
			if (f->payload.sequence < d->received + d->lost) {
				d->bad++;
				continue;
			}
			d->lost = f->payload.sequence - d->received;
		}
		d->received++;
	}
	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

static unsigned transmit(struct generator *g, int i)
{
	struct direction *d = &g->directions[i];
	uint64_t room = g->window - (d->sent - d->received - d->lost);
	struct rte_mbuf *pkts[BURST];
	uint16_t n = (uint16_t)RTE_MIN(room, (uint64_t)BURST), n_sent;

	if (room > g->window || n == 0 || rte_pktmbuf_alloc_bulk(g->pool, pkts, n) != 0)
		return 0;
	for (uint16_t k = 0; k < n; k++)
		fill(g, i, pkts[k], d->sent + k);
	n_sent = rte_eth_tx_burst((uint16_t)i, 0, pkts, n);
	d->sent += n_sent;
	rte_pktmbuf_free_bulk(pkts + n_sent, n - n_sent);
	return n_sent;
}

// Until `seconds` are over, or nothing came for STALL_MS. Gives the seconds it took.
static double run(struct generator *g, double seconds)
{
	uint64_t hz = rte_get_tsc_hz(), begin = rte_rdtsc(), last = begin, now = begin,
		 arrived = begin;
	uint64_t end = begin + (uint64_t)(seconds * (double)hz);
	int n_directions = g->one_way ? 1 : 2;

	g->idle_cycles = 0;
	while (now < end && !stopped && now - arrived < hz / 1000 * STALL_MS) {
		unsigned n_received = 0, n_sent = 0;

		for (int i = 0; i < n_directions; i++) {
			n_received += receive(g, i);
			n_sent += transmit(g, i);
		}
		now = rte_rdtsc();
		if (n_received > 0)
			arrived = now;
		if (n_received == 0 && n_sent == 0)
			g->idle_cycles += now - last;
		last = now;
	}
	return (double)(now - begin) / (double)hz;
}

// What is still under way when the time is over comes in, or is lost.
static void collect(struct generator *g)
{
	uint64_t hz = rte_get_tsc_hz(), arrived = rte_rdtsc();

	while (rte_rdtsc() - arrived < hz / 1000 * STALL_MS) {
		bool all = true;

		for (int i = 0; i < 2; i++) {
			struct direction *d = &g->directions[i];

			if (receive(g, i) > 0)
				arrived = rte_rdtsc();
			all = all && d->sent == d->received + d->lost;
		}
		if (all)
			return;
	}
	for (int i = 0; i < 2; i++)
		g->directions[i].lost = g->directions[i].sent - g->directions[i].received;
}

// The switch dials when it likes and serves a port a moment later: until then frames get lost.
static bool wait_for_switch(struct generator *g)
{
	uint64_t hz = rte_get_tsc_hz(), end = rte_rdtsc() + hz / 1000 * START_MS;
	bool served[2] = { false, g->one_way };

	while (!(served[0] && served[1]) && rte_rdtsc() < end && !stopped) {
		for (int i = 0; i < (g->one_way ? 1 : 2); i++) {
			struct rte_mbuf *m = rte_pktmbuf_alloc(g->pool), *pkts[BURST];
			uint16_t n;

			if (m != NULL) {
				fill(g, i, m, 0);
				if (rte_eth_tx_burst((uint16_t)i, 0, &m, 1) == 0)
					rte_pktmbuf_free(m);
			}
			rte_delay_us_sleep(1000);
			n = rte_eth_rx_burst((uint16_t)!i, 0, pkts, BURST);
			served[i] = served[i] || n > 0;
			rte_pktmbuf_free_bulk(pkts, n);
		}
	}
	// The rest of them
	for (int idle = 0; idle < 100; idle++) {
		rte_delay_us_sleep(1000);
		for (uint16_t i = 0; i < 2; i++) {
			struct rte_mbuf *pkts[BURST];
			uint16_t n = rte_eth_rx_burst(i, 0, pkts, BURST);

			rte_pktmbuf_free_bulk(pkts, n);
			idle = n > 0 ? 0 : idle;
		}
	}
	return served[0] && served[1];
}

static int start_port(struct generator *g, uint16_t port)
{
	struct rte_eth_conf conf = { 0 };
	int r = rte_eth_dev_configure(port, 1, 1, &conf);

	if (r == 0)
		r = rte_eth_tx_queue_setup(port, 0, RING, SOCKET_ID_ANY, NULL);
	if (r == 0)
		r = rte_eth_rx_queue_setup(port, 0, RING, SOCKET_ID_ANY, NULL, g->pool);
	return r == 0 ? rte_eth_dev_start(port) : r;
}

static int start(struct generator *g, char *const sockets[2])
{
	char devices[2][256], prefix[64], folder[256], mac[RTE_ETHER_ADDR_FMT_SIZE];
	char *argv[] = { (char[]){ "generator" }, (char[]){ "--no-pci" }, (char[]){ "--in-memory" },
		(char[]){ "--single-file-segments" }, (char[]){ "--no-telemetry" },
		(char[]){ "-m" }, (char[]){ "256" }, (char[]){ "--log-level=error" },
		(char[]){ "-l" }, (char[]){ "1" }, prefix, devices[0], devices[1], NULL };
	int r;

	snprintf(prefix, sizeof(prefix), "--file-prefix=insula-generator-%d", getpid());
	for (int i = 0; i < 2; i++) {
		rte_ether_format_addr(mac, sizeof(mac), &g->ends[i].mac);
		snprintf(devices[i], sizeof(devices[i]),
			"--vdev=net_virtio_user%d,path=%s,mac=%s,server=1,queue_size=%d", i,
			sockets[i], mac, RING);
	}
	// DPDK leaves a folder behind: where the sockets are, it goes with them.
	snprintf(folder, sizeof(folder), "%s", sockets[0]);
	setenv("RUNTIME_DIRECTORY", dirname(folder), 1);
	if (rte_eal_init((int)RTE_DIM(argv) - 1, argv) < 0) {
		fprintf(stderr, "generator: no DPDK: %s\n", rte_strerror(rte_errno));
		return -1;
	}
	g->pool = rte_pktmbuf_pool_create(
		"frames", 16383, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (g->pool == NULL)
		return -ENOMEM;
	for (uint16_t port = 0; port < 2; port++) {
		r = start_port(g, port);
		if (r != 0) {
			fprintf(stderr, "generator: port %u: %s\n", port, strerror(-r));
			return r;
		}
	}
	return 0;
}

static bool parse_end(const char *text, struct end *ret)
{
	const char *comma = strchr(text, ',');
	char mac[32];

	if (comma == NULL || (size_t)(comma - text) >= sizeof(mac))
		return false;
	memcpy(mac, text, (size_t)(comma - text));
	mac[comma - text] = '\0';
	return rte_ether_unformat_addr(mac, &ret->mac) == 0 &&
	       inet_pton(AF_INET, comma + 1, &ret->address) == 1;
}

static bool parse(struct generator *g, int argc, char **argv)
{
	bool ends[2] = { false, false };
	int option;

	*g = (struct generator){
		.frame_size = 64, .n_flows = 1, .window = 128, .seconds = 4, .warm_seconds = 1
	};
	while ((option = getopt(argc, argv, "a:b:s:f:w:t:u:1o")) >= 0) {
		switch (option) {
		case 'a':
		case 'b':
			ends[option - 'a'] = parse_end(optarg, &g->ends[option - 'a']);
			break;
		case 's':
			g->frame_size = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'f':
			g->n_flows = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'w':
			g->window = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 't':
			g->seconds = strtod(optarg, NULL);
			break;
		case 'u':
			g->warm_seconds = strtod(optarg, NULL);
			break;
		case '1':
			g->one_way = true;
			break;
		case 'o':
			g->any_order = true;
			break;
		default:
			return false;
		}
	}
	g->frame_size -= CRC_SIZE;
	return ends[0] && ends[1] && argc - optind == 2 && g->frame_size >= sizeof(struct frame) &&
	       g->frame_size <= RTE_ETHER_MAX_LEN - CRC_SIZE && g->window > 0 &&
	       g->window <= RING && g->n_flows > 0 && g->n_flows <= FLOWS_MAX;
}

static int report(const struct generator *g, uint64_t n, double seconds)
{
	const struct direction *d = g->directions;
	uint64_t lost = d[0].lost + d[1].lost, bad = d[0].bad + d[1].bad;

	printf("{\"mpps\": %.4f, \"gbps\": %.4f, \"frames\": %" PRIu64 ", \"lost\": %" PRIu64
	       ", \"bad\": %" PRIu64 ", \"idle\": %.4f, \"seconds\": %.3f, \"tsc_hz\": %" PRIu64
	       "}\n",
		(double)n / seconds / 1e6, (double)n * g->frame_size * 8 / seconds / 1e9, n, lost,
		bad, (double)g->idle_cycles / (seconds * (double)rte_get_tsc_hz()), seconds,
		rte_get_tsc_hz());
	return lost == 0 && bad == 0 && n > 0 ? 0 : 1;
}

// For who reads the clocks of the threads meanwhile.
static void tell(const char *event)
{
	puts(event);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct generator g;
	uint64_t before;
	double seconds;

	if (!parse(&g, argc, argv)) {
		fprintf(stderr, "usage: generator -a MAC,IP -b MAC,IP [-s SIZE] [-f FLOWS] "
				"[-w WINDOW] [-t SECONDS] [-u SECONDS] [-1] [-o] SOCKET SOCKET\n");
		return 2;
	}
	for (int i = 0; i < 2; i++)
		make_template(&g, i);
	if (start(&g, argv + optind) != 0)
		return 2;
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	if (!wait_for_switch(&g)) {
		fprintf(stderr, "generator: no frame came through within %d s\n", START_MS / 1000);
		return 2;
	}
	run(&g, g.warm_seconds);
	tell("begin");
	before = g.directions[0].received + g.directions[1].received;
	seconds = run(&g, g.seconds);
	before = g.directions[0].received + g.directions[1].received - before;
	tell("end");
	collect(&g);
	return report(&g, before, seconds);
}
