// SPDX-License-Identifier: BSD-3-Clause
// The commands about nics: addresses, echo, UDP, TCP. ../README.md has what each does.
#include "base.h"
#include "cpu.h"
#include "dhcp.h"
#include "run_lists.h"
#include "tcp.h"

enum {
	ECHO_ID = 0x4954,
	ECHO_PORT = 7,
	STOP_PORT = 9,
	BUTTON_NS = 20000000, // between looks at it
	TCP_PORT = 7777,
	UDP_MAX_SIZE = 1472,
};

#define SECOND_NS 1000000000ull
#define WAIT_NS (2 * SECOND_NS)
#define REACH_AGAIN_NS (SECOND_NS / 5)

static bool never(void *arg)
{
	return false;
}

static bool is_true(void *arg)
{
	return *(bool *)arg;
}

static bool run_nic(const struct arguments *args)
{
	const struct net *net;
	const uint8_t *m;

	net_select((unsigned)argument_number(args, 1, 0));
	net = net_current();
	m = net->nic.mac.b;
	say("ok nic %s mac %02x:%02x:%02x:%02x:%02x:%02x features 0x%lx", args->text[1], m[0], m[1],
		m[2], m[3], m[4], m[5], net->nic.device.features);
	return true;
}

static bool run_dhcp(const struct arguments *args)
{
	struct net *net = net_current();
	struct dhcp_lease lease;

	if (!dhcp_ask(net, time_ns() + argument_number(args, 1, 5) * SECOND_NS, &lease)) {
		say("fail dhcp no answer");
		return false;
	}
	net->ip = lease.ip;
	net->gateway = lease.router;
	net->prefix_len = lease.mask ? (uint8_t)(32 - __builtin_ctz(ntohl(lease.mask))) : 0;
	say("ok dhcp %s/%u gateway %s lease %u", ipv4_text(lease.ip).text, net->prefix_len,
		ipv4_text(lease.router).text, lease.seconds);
	return true;
}

// ip:ADDRESS:PREFIX[:GATEWAY]
static bool run_ip(const struct arguments *args)
{
	struct net *net = net_current();

	net->ip = argument_ipv4(args, 1);
	net->prefix_len = (uint8_t)argument_number(args, 2, 24);
	net->gateway = args->n > 3 ? argument_ipv4(args, 3) : 0;
	say("ok ip %s/%u", args->text[1], net->prefix_len);
	return true;
}

static bool arp_or_fail(const struct arguments *args, be32 ip)
{
	if (net_resolve(net_current(), ip, time_ns() + WAIT_NS))
		return true;
	say("fail %s %s: no answer to ARP", args->text[0], args->text[1]);
	return false;
}

static bool run_arp(const struct arguments *args)
{
	if (!arp_or_fail(args, argument_ipv4(args, 1)))
		return false;
	say("ok arp %s", args->text[1]);
	return true;
}

// ping:ADDRESS:COUNT[:WAIT_MS[:SIZE]]: each is awaited before the next
static bool run_ping(const struct arguments *args)
{
	struct net *net = net_current();
	be32 ip = argument_ipv4(args, 1);
	uint64_t count = argument_number(args, 2, 1),
		 wait = argument_number(args, 3, 1000) * 1000000;
	uint64_t size = argument_number(args, 4, 56), answered = 0, sum = 0, worst = 0;

	if (!arp_or_fail(args, ip))
		return false;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t start = time_ns(), took;

		echo_send(net, ip, ECHO_ID, (uint16_t)i, NULL,
			size < UDP_MAX_SIZE ? size : UDP_MAX_SIZE);
		if (!net_wait(is_true, &net->echo_answered, start + wait))
			continue;
		took = (time_ns() - start) / 1000;
		answered++;
		sum += took;
		worst = took > worst ? took : worst;
	}
	say("%s ping %s %lu of %lu mean %lu us worst %lu us", answered == count ? "ok" : "fail",
		args->text[1], answered, count, answered ? sum / answered : 0, worst);
	return answered == count;
}

// reach:ADDRESS:SECONDS: asks again and again; good as soon as it answers
static bool run_reach(const struct arguments *args)
{
	struct net *net = net_current();
	be32 ip = argument_ipv4(args, 1);
	uint64_t start = time_ns(), until = start + argument_number(args, 2, 5) * SECOND_NS;
	bool answered = false;

	for (uint16_t i = 0; !answered && time_ns() < until; i++) {
		uint64_t again = time_ns() + REACH_AGAIN_NS;

		if (!net_resolve(net, ip, again))
			continue;
		echo_send(net, ip, ECHO_ID, i, NULL, 56);
		answered = net_wait(is_true, &net->echo_answered, again);
	}
	say("%s reach %s after %lu us", answered ? "ok" : "fail", args->text[1],
		(time_ns() - start) / 1000);
	return answered;
}

// no-ping:ADDRESS:COUNT[:WAIT_MS]: good if nothing answers, neither ARP nor echo
static bool run_no_ping(const struct arguments *args)
{
	struct net *net = net_current();
	be32 ip = argument_ipv4(args, 1);
	uint64_t count = argument_number(args, 2, 1),
		 wait = argument_number(args, 3, 200) * 1000000;

	if (net_resolve(net, ip, time_ns() + wait)) {
		for (uint64_t i = 0; i < count; i++) {
			echo_send(net, ip, ECHO_ID, (uint16_t)i, NULL, 56);
			if (net_wait(is_true, &net->echo_answered, time_ns() + wait)) {
				say("fail no-ping %s: it answers", args->text[1]);
				return false;
			}
		}
	}
	say("ok no-ping %s", args->text[1]);
	return true;
}

struct counted {
	uint64_t wanted, n, n_bytes, first_ns, last_ns;
};

static void count_take(const struct datagram *d, void *arg)
{
	struct counted *c = arg;

	c->last_ns = time_ns();
	if (c->n == 0)
		c->first_ns = c->last_ns;
	c->n++;
	c->n_bytes += d->size;
}

static bool is_counted(void *arg)
{
	const struct counted *c = arg;

	return c->n >= c->wanted;
}

// udp-echo:ADDRESS:PORT:COUNT:SIZE: each is awaited before the next
static bool run_udp_echo(const struct arguments *args)
{
	struct net *net = net_current();
	be32 ip = argument_ipv4(args, 1);
	uint16_t port = (uint16_t)argument_number(args, 2, ECHO_PORT);
	uint64_t count = argument_number(args, 3, 1), size = argument_number(args, 4, 64);
	struct counted got = { 0 };
	uint8_t data[UDP_MAX_SIZE];

	if (!arp_or_fail(args, ip))
		return false;
	size = size < sizeof(data) ? size : sizeof(data);
	udp_listen(TCP_PORT, count_take, &got);
	for (uint64_t i = 0; i < count; i++) {
		got.wanted = got.n + 1;
		pattern_fill(data, size, i, 0);
		udp_send(net, ip, TCP_PORT, port, data, size);
		net_wait(is_counted, &got, time_ns() + SECOND_NS);
	}
	udp_listen(TCP_PORT, NULL, NULL);
	say("%s udp-echo %s %lu of %lu bytes %lu", got.n == count ? "ok" : "fail", args->text[1],
		got.n, count, got.n_bytes);
	return got.n == count;
}

// udp-send:ADDRESS:PORT:COUNT:SIZE: as fast as buffers come back
static bool run_udp_send(const struct arguments *args)
{
	struct net *net = net_current();
	be32 ip = argument_ipv4(args, 1);
	uint16_t port = (uint16_t)argument_number(args, 2, STOP_PORT);
	uint64_t count = argument_number(args, 3, 1), size = argument_number(args, 4, 64), sent = 0;
	uint64_t start = time_ns(), progress = start;
	uint8_t data[UDP_MAX_SIZE];

	if (!arp_or_fail(args, ip))
		return false;
	size = size < sizeof(data) ? size : sizeof(data);
	pattern_fill(data, size, 0, 0);
	while (sent < count && time_ns() < progress + SECOND_NS) {
		if (!udp_send(net, ip, TCP_PORT, port, data, size)) {
			net_wait(never, NULL, time_ns());
			continue;
		}
		sent++;
		progress = time_ns();
	}
	say("%s udp-send %s %lu of %lu in %lu us", sent == count ? "ok" : "fail", args->text[1],
		sent, count, (time_ns() - start) / 1000);
	return sent == count;
}

// udp-count:PORT:COUNT:SECONDS: until so many came
static bool run_udp_count(const struct arguments *args)
{
	struct counted got = { .wanted = argument_number(args, 2, 1) };
	uint16_t port = (uint16_t)argument_number(args, 1, 0);
	uint64_t until = time_ns() + argument_number(args, 3, 5) * SECOND_NS;
	bool good;

	net_current();
	udp_listen(port, count_take, &got);
	say("ok udp-count listens");
	good = net_wait(is_counted, &got, until);
	udp_listen(port, NULL, NULL);
	say("%s udp-count %lu of %lu bytes %lu in %lu us", good ? "ok" : "fail", got.n, got.wanted,
		got.n_bytes, (got.last_ns - got.first_ns) / 1000);
	return good;
}

// A stream of the pattern one way, "BYTES CRC32" in hexadecimal the other.

static void make_pattern(struct tcp *c, uint8_t *to, size_t size, uint64_t offset)
{
	pattern_fill(to, size, c->seed, offset);
}

static void make_text(struct tcp *c, uint8_t *to, size_t size, uint64_t offset)
{
	memcpy(to, c->text + offset, size);
}

static void take_text(struct tcp *c, const uint8_t *data, size_t size)
{
	size_t room = sizeof(c->text) - 1 - c->n_text;

	size = size < room ? size : room;
	memcpy(c->text + c->n_text, data, size);
	c->n_text += size;
}

static void take_sum(struct tcp *c, const uint8_t *data, size_t size)
{
	c->crc = crc32(c->crc, data, size);
}

static void ended_nothing(struct tcp *c)
{
}

static void ended_answer(struct tcp *c)
{
	c->to_send = text_format(c->text, sizeof(c->text), "%lu %08x\n", c->n_received, c->crc);
	c->closes = true;
}

static bool tcp_is_over(void *arg)
{
	const struct tcp *c = arg;

	return c->state == TCP_CLOSED || (c->closed && c->peer_closed);
}

static uint32_t pattern_crc(uint64_t seed, uint64_t size)
{
	uint8_t piece[1024];
	uint32_t crc = 0;

	for (uint64_t at = 0; at < size; at += sizeof(piece)) {
		size_t n = size - at < sizeof(piece) ? (size_t)(size - at) : sizeof(piece);

		pattern_fill(piece, n, seed, at);
		crc = crc32(crc, piece, n);
	}
	return crc;
}

// tcp:ADDRESS:PORT:BYTES[:SECONDS]
static bool run_tcp(const struct arguments *args)
{
	be32 ip = argument_ipv4(args, 1);
	uint64_t start = time_ns(), size = argument_number(args, 3, 1000), took;
	struct tcp *c = tcp_new();
	char expected[sizeof(c->text)];
	bool good;

	if (!c || !arp_or_fail(args, ip))
		return false;
	c->to_send = size;
	c->closes = true;
	c->make = make_pattern;
	c->take = take_text;
	c->ended = ended_nothing;
	tcp_connect(c, net_current(), ip, (uint16_t)argument_number(args, 2, TCP_PORT));
	net_wait(tcp_is_over, c, start + argument_number(args, 4, 10) * SECOND_NS);
	took = (time_ns() - start) / 1000;
	text_format(expected, sizeof(expected), "%lu %08x\n", size, pattern_crc(c->seed, size));
	good = c->closed && c->peer_closed && text_equal(expected, c->text);
	if (good)
		say("ok tcp %s %lu bytes in %lu us retries %lu", args->text[1], size, took,
			c->n_retries);
	else
		say("fail tcp %s: state %u acknowledged %lu of %lu retries %lu%s", args->text[1],
			c->state, c->sent_from, size, c->n_retries, c->was_reset ? " reset" : "");
	tcp_drop(c);
	return good;
}

struct served {
	bool stop;
	uint64_t n_datagrams;
};

static struct tcp *served_streams[TCP_MAX];
static uint64_t n_streams, n_stream_bytes;

static void echo_take(const struct datagram *d, void *arg)
{
	struct served *s = arg;

	udp_send(d->net, d->src, d->dst_port, d->src_port, d->data, d->size);
	s->n_datagrams++;
}

static void stop_take(const struct datagram *d, void *arg)
{
	((struct served *)arg)->stop = true;
}

static void stream_fresh(struct tcp *c)
{
	c->make = make_text;
	c->take = take_sum;
	c->ended = ended_answer;
	for (unsigned i = 0; i < TCP_MAX; i++) {
		if (!served_streams[i]) {
			served_streams[i] = c;
			return;
		}
	}
}

static bool is_stopped(void *arg)
{
	for (unsigned i = 0; i < TCP_MAX; i++) {
		struct tcp *c = served_streams[i];

		if (!c || !tcp_is_over(c))
			continue;
		n_streams += c->closed && c->peer_closed;
		n_stream_bytes += c->n_received;
		tcp_drop(c);
		served_streams[i] = NULL;
	}
	return ((struct served *)arg)->stop;
}

// serve:SECONDS[:PORT]: answers echo, UDP to port 7, TCP to port 7777, until a datagram to PORT,
// or 9
static bool run_serve(const struct arguments *args)
{
	uint64_t until = time_ns() + argument_number(args, 1, 10) * SECOND_NS;
	struct net *net = net_current();
	uint64_t echoes = net->n_echoes;
	uint16_t stop_port = (uint16_t)argument_number(args, 2, STOP_PORT);
	struct served s = { 0 };
	bool button = cmdline_get("button");

	udp_listen(ECHO_PORT, echo_take, &s);
	udp_listen(stop_port, stop_take, &s);
	tcp_listen(TCP_PORT, stream_fresh);
	say("ok serve listens");
	// with `button` on the command line it powers off when that is pressed, at whatever moment
	while (!s.stop && time_ns() < until) {
		uint64_t next = button ? time_ns() + BUTTON_NS : until;

		if (button)
			power_off_if_pressed();
		net_wait(is_stopped, &s, next < until ? next : until);
	}
	tcp_listen(0, NULL);
	udp_listen(ECHO_PORT, NULL, NULL);
	udp_listen(stop_port, NULL, NULL);
	say("ok serve echoes %lu datagrams %lu streams %lu bytes %lu dropped %lu",
		net->n_echoes - echoes, s.n_datagrams, n_streams, n_stream_bytes, net->n_dropped);
	return true;
}

const struct command commands_net[] = {
	{ "nic", 1, 1, run_nic },
	{ "dhcp", 0, 1, run_dhcp },
	{ "ip", 2, 3, run_ip },
	{ "arp", 1, 1, run_arp },
	{ "ping", 2, 4, run_ping },
	{ "reach", 1, 2, run_reach },
	{ "no-ping", 2, 3, run_no_ping },
	{ "udp-echo", 3, 4, run_udp_echo },
	{ "udp-send", 3, 4, run_udp_send },
	{ "udp-count", 2, 3, run_udp_count },
	{ "tcp", 3, 4, run_tcp },
	{ "serve", 1, 2, run_serve },
	{ 0 },
};
