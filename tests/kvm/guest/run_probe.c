// SPDX-License-Identifier: BSD-3-Clause
// Commands that come by the serial port, a line each, and what tests/lib/agent.py does in a network
// namespace: probes with a nonce, sent and recorded. Every line said begins with "seen" or "done".
#include "base.h"
#include "cpu.h"
#include "io.h"
#include "ip.h"
#include "run_lists.h"
#include "tcp.h"

enum {
	COM1 = 0x3f8,
	LINE_STATUS = 5,
	DATA_READY = 1,
	PROBE_PORT = 7007,
	STAMP = 16, // ping(8) begins its payload with a time; the pattern follows
	NONCE = 16,
	NONCE_TEXT = 2 * NONCE,
	PAYLOAD = 56,
	LINE_SIZE = 200,
	LOOK_NS = 10000000, // between looks at the port and the power button
	PATIENCE_NS = 2000000000,
};

static char line[LINE_SIZE];
static size_t line_length;
static struct tcp *served[TCP_MAX];
static char answer[80]; // to our own probe: one at a time
static size_t answer_length;

// True when there is a whole one.
static bool read_line(void)
{
	while (in8(COM1 + LINE_STATUS) & DATA_READY) {
		char c = (char)in8(COM1);

		if (c == '\n') {
			line[line_length] = 0;
			line_length = 0;
			return true;
		}
		if (line_length < LINE_SIZE - 1)
			line[line_length++] = c;
	}
	return false;
}

static void see_ping(const uint8_t *payload, size_t size)
{
	char text[NONCE_TEXT + 1];

	if (size < STAMP + NONCE)
		return;
	for (unsigned i = 0; i < NONCE; i++)
		text_format(text + 2 * i, 3, "%02x", payload[STAMP + i]);
	say("seen ping %s", text);
}

static void make_text(struct tcp *c, uint8_t *to, size_t size, uint64_t offset)
{
	memcpy(to, c->text + offset, size);
}

// The line's nonce is answered with our name and it.
static void take_probe(struct tcp *c, const uint8_t *data, size_t size)
{
	char nonce[NONCE_TEXT + 1];
	const char *name = cmdline_get("name");

	for (size_t i = 0; i < size && c->to_send == 0; i++) {
		if (data[i] != '\n' && c->n_text < NONCE_TEXT) {
			c->text[c->n_text++] = (char)data[i];
			continue;
		}
		memcpy(nonce, c->text, c->n_text);
		nonce[c->n_text] = 0;
		say("seen tcp %s %s", nonce, ipv4_text(c->peer).text);
		c->to_send = text_format(
			c->text, sizeof(c->text), "%s %s\n", name ? name : "guest", nonce);
		tcp_push(c);
	}
}

static void close_too(struct tcp *c)
{
	c->closes = true;
}

static void serve_probe(struct tcp *c)
{
	c->make = make_text;
	c->take = take_probe;
	c->ended = close_too;
	for (unsigned i = 0; i < TCP_MAX; i++) {
		if (!served[i]) {
			served[i] = c;
			return;
		}
	}
}

static bool is_over(const struct tcp *c)
{
	return c->state == TCP_CLOSED || (c->closed && c->peer_closed);
}

static void drop_served(void)
{
	for (unsigned i = 0; i < TCP_MAX; i++) {
		if (served[i] && is_over(served[i])) {
			tcp_drop(served[i]);
			served[i] = NULL;
		}
	}
}

static bool never(void *arg)
{
	return false;
}

// obey:SECONDS: the lines of the serial port are commands; answers echo, and probes on TCP port
// 7007
static bool run_obey(const struct arguments *args)
{
	uint64_t until = time_ns() + argument_number(args, 1, 60) * 1000000000;
	bool button = cmdline_get("button");

	net_current();
	echo_seen = see_ping;
	tcp_listen(PROBE_PORT, serve_probe);
	say("ok obey listens");
	while (time_ns() < until) {
		if (read_line())
			run_line(line);
		if (button)
			power_off_if_pressed();
		net_wait(never, NULL, time_ns() + LOOK_NS);
		drop_served();
	}
	tcp_listen(0, NULL);
	echo_seen = NULL;
	return true;
}

static bool is_echo_answered(void *arg)
{
	return ((const struct net *)arg)->echo_answered;
}

static unsigned nibble(char c)
{
	return c >= 'a' ? (unsigned)(c - 'a' + 10) : (unsigned)(c - '0');
}

// probe-ping:ID:ADDRESS:NONCE:COUNT
static bool run_probe_ping(const struct arguments *args)
{
	struct net *net = net_current();
	be32 ip = argument_ipv4(args, 2);
	uint64_t count = argument_number(args, 4, 1), n = 0;
	uint8_t payload[PAYLOAD] = { 0 };

	for (unsigned i = STAMP; i < PAYLOAD && strlen(args->text[3]) == NONCE_TEXT; i++) {
		const char *digits = args->text[3] + 2 * ((i - STAMP) % NONCE);

		payload[i] = (uint8_t)(nibble(digits[0]) << 4 | nibble(digits[1]));
	}
	for (uint16_t i = 0; i < count && net_resolve(net, ip, time_ns() + PATIENCE_NS); i++) {
		if (echo_send(net, ip, 7, i, payload, sizeof(payload)))
			n += net_wait(is_echo_answered, net, time_ns() + PATIENCE_NS / 2);
	}
	say("done %s %lu", args->text[1], n);
	return true;
}

static void take_answer(struct tcp *c, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size && answer_length < sizeof(answer) - 1; i++)
		answer[answer_length++] = (char)data[i];
}

static bool is_answered(void *arg)
{
	return is_over(arg) || (answer_length > 0 && answer[answer_length - 1] == '\n');
}

static bool has_ended(void *arg)
{
	return is_over(arg);
}

// probe-tcp:ID:ADDRESS:NONCE
static bool run_probe_tcp(const struct arguments *args)
{
	struct net *net = net_current();
	be32 ip = argument_ipv4(args, 2);
	struct tcp *c = tcp_new();

	answer_length = 0;
	if (c && net_resolve(net, ip, time_ns() + PATIENCE_NS)) {
		c->to_send = text_format(c->text, sizeof(c->text), "%s\n", args->text[3]);
		c->make = make_text;
		c->take = take_answer;
		c->ended = close_too;
		tcp_connect(c, net, ip, PROBE_PORT);
		net_wait(is_answered, c, time_ns() + PATIENCE_NS);
		c->closes = true;
		tcp_push(c);
		net_wait(has_ended, c, time_ns() + PATIENCE_NS / 10);
	}
	answer[answer_length > 0 ? answer_length - 1 : 0] = 0;
	say("done %s %s", args->text[1], answer);
	if (c)
		tcp_drop(c);
	return true;
}

const struct command commands_probe[] = {
	{ "obey", 1, 1, run_obey },
	{ "probe-ping", 4, 4, run_probe_ping },
	{ "probe-tcp", 3, 3, run_probe_tcp },
	{ 0 },
};
