// SPDX-License-Identifier: BSD-3-Clause
// As much TCP as a test needs: see tcp.h.
#include "base.h"
#include "cpu.h"
#include "io.h"
#include "ip.h"
#include "tcp.h"

enum {
	PROTOCOL_TCP = 6,
	OUR_MSS = 1460,
	DEFAULT_MSS = 536, // RFC 9293 §3.7.1
	OUR_WINDOW = 65535,
	TSO_SIZE = 16384,
	MAX_OPTIONS = 4,
	OPTION_END = 0,
	OPTION_PAD = 1,
	OPTION_MSS = 2,
	OPTION_MSS_SIZE = 4,
	DUPLICATES = 3,
	FIRST_PORT = 40000,
	FIRST_RETRY_NS = 200000000,
	LAST_RETRY_NS = 1600000000,
};

static struct tcp places[TCP_MAX];
static bool taken[TCP_MAX];
static uint16_t listen_port, n_connects;
static void (*listen_fresh)(struct tcp *tcp);

struct tcp *tcp_new(void)
{
	for (unsigned i = 0; i < TCP_MAX; i++) {
		if (taken[i])
			continue;
		taken[i] = true;
		places[i] = (struct tcp){ .mss = DEFAULT_MSS, .retry_ns = FIRST_RETRY_NS };
		return &places[i];
	}
	return NULL;
}

// A segment of `size` bytes of the stream; larger than the MSS only where the device cuts it.
static bool segment_send(struct tcp *c, uint8_t flags, uint32_t seq, uint64_t offset, size_t size)
{
	size_t options = flags & TCP_SYN ? OPTION_MSS_SIZE : 0,
	       header = sizeof(struct tcp_hdr) + options;
	uint8_t *payload;
	struct nic_tx *tx = ip_begin(c->net, c->peer, &payload);
	struct tcp_hdr *tcp = (struct tcp_hdr *)payload;

	if (!tx)
		return false;
	*tcp = (struct tcp_hdr){ htons(c->port), htons(c->peer_port), htonl(seq), 0,
		(uint8_t)(header / 4 << 4), flags, htons(OUR_WINDOW), 0, 0 };
	if (flags & TCP_ACK)
		tcp->ack = htonl(c->expected);
	if (options)
		memcpy(tcp + 1,
			(uint8_t[]){ OPTION_MSS, OPTION_MSS_SIZE, OUR_MSS >> 8, OUR_MSS & 255 },
			OPTION_MSS_SIZE);
	if (size > 0)
		c->make(c, payload + header, size, offset);
	ip_checksum(c->net, tx, PROTOCOL_TCP, header + size, offsetof(struct tcp_hdr, csum));
	if (size > c->mss) {
		tx->offload.hdr.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		tx->offload.hdr.gso_size = c->mss;
		tx->offload.hdr.hdr_len = (uint16_t)(NET_HEADERS + header);
	}
	ip_send(c->net, tx, PROTOCOL_TCP, header + size);
	return true;
}

static void ack_send(struct tcp *c)
{
	segment_send(c, TCP_ACK, c->next, 0, 0);
}

static void retry_arm(struct tcp *c)
{
	c->retry_at_ns = time_ns() + c->retry_ns;
}

void tcp_push(struct tcp *c)
{
	size_t most = c->net->nic.tso ? TSO_SIZE / c->mss * c->mss : c->mss;

	while (c->state == TCP_ESTABLISHED) {
		uint32_t flying = c->next - c->unacked;
		uint64_t offset = c->sent_from + flying, left = c->to_send - offset;
		uint32_t room = c->window > flying ? c->window - flying : 0;
		size_t size = left < most ? (size_t)left : most;

		if (offset > c->to_send || c->closed || (left == 0 && !c->closes))
			return; // all is sent, FIN included
		if (left > 0 && room == 0)
			break;
		size = size < room ? size : room;
		if (!segment_send(c, left == 0 ? TCP_FIN | TCP_ACK : TCP_PSH | TCP_ACK, c->next,
			    offset, size))
			break;
		if (flying == 0)
			retry_arm(c);
		c->next += left == 0 ? 1 : (uint32_t)size;
	}
	if (c->retry_at_ns == 0)
		retry_arm(c); // the window opens, or a buffer comes back, without notice
}

void tcp_connect(struct tcp *c, struct net *net, be32 peer, uint16_t port)
{
	c->net = net;
	c->peer = peer;
	c->peer_port = port;
	c->port = (uint16_t)(FIRST_PORT + (tsc() + n_connects++) % 20000);
	c->first = c->unacked = (uint32_t)tsc();
	c->next = c->first + 1;
	c->state = TCP_SYN_SENT;
	segment_send(c, TCP_SYN, c->first, 0, 0);
	retry_arm(c);
}

void tcp_listen(uint16_t port, void (*fresh)(struct tcp *tcp))
{
	listen_port = port;
	listen_fresh = fresh;
}

void tcp_drop(struct tcp *c)
{
	bool known = c->state != TCP_CLOSED && !c->was_reset && !(c->closed && c->peer_closed);

	if (known)
		segment_send(c, TCP_RST | TCP_ACK, c->next, 0, 0);
	c->state = TCP_CLOSED;
	taken[c - places] = false;
}

// The options end with the header; a length of less than 2 or past the end ends them too.
static uint16_t mss_of(const struct tcp_hdr *tcp, size_t header)
{
	const uint8_t *at = (const uint8_t *)(tcp + 1), *end = (const uint8_t *)tcp + header;
	uint16_t mss = DEFAULT_MSS;

	while (at < end && *at != OPTION_END) {
		if (*at == OPTION_PAD) {
			at++;
			continue;
		}
		if (end - at < 2 || at[1] < 2 || at[1] > end - at)
			break;
		if (*at == OPTION_MSS && at[1] == OPTION_MSS_SIZE)
			mss = (uint16_t)(at[2] << 8 | at[3]);
		at += at[1];
	}
	return mss < 64 ? 64 : mss > OUR_MSS ? OUR_MSS : mss;
}

static struct tcp *find(const struct packet *p, const struct tcp_hdr *tcp)
{
	for (unsigned i = 0; i < TCP_MAX; i++) {
		struct tcp *c = &places[i];

		if (taken[i] && c->state != TCP_CLOSED && c->net == p->net && c->peer == p->src &&
			c->port == ntohs(tcp->dst_port) && c->peer_port == ntohs(tcp->src_port))
			return c;
	}
	return NULL;
}

static void connection_accept(const struct packet *p, const struct tcp_hdr *tcp, size_t header)
{
	struct tcp *c;

	if (!listen_fresh || ntohs(tcp->dst_port) != listen_port || !(c = tcp_new()))
		return;
	neighbour_learn(p->net, p->src, &p->eth->src);
	c->net = p->net;
	c->peer = p->src;
	c->port = listen_port;
	c->peer_port = ntohs(tcp->src_port);
	c->mss = mss_of(tcp, header);
	c->expected = ntohl(tcp->seq) + 1;
	c->first = c->unacked = (uint32_t)tsc();
	c->next = c->first + 1;
	c->window = ntohs(tcp->window);
	c->state = TCP_SYN_RECEIVED;
	listen_fresh(c);
	segment_send(c, TCP_SYN | TCP_ACK, c->first, 0, 0);
	retry_arm(c);
}

// The peer's answer to our SYN, or to our SYN and ACK.
static bool handshake(struct tcp *c, const struct tcp_hdr *tcp, size_t header)
{
	bool syn = tcp->flags & TCP_SYN, right = ntohl(tcp->ack) == c->first + 1;

	if (!(tcp->flags & TCP_ACK) || !right || syn != (c->state == TCP_SYN_SENT))
		return false;
	if (syn) {
		c->expected = ntohl(tcp->seq) + 1;
		c->mss = mss_of(tcp, header);
	}
	c->state = TCP_ESTABLISHED;
	c->unacked = c->next = c->first + 1;
	c->window = ntohs(tcp->window);
	c->retry_at_ns = 0;
	if (syn)
		ack_send(c);
	return true;
}

static void acknowledged(struct tcp *c, const struct tcp_hdr *tcp, size_t size)
{
	uint32_t ack = ntohl(tcp->ack), more = ack - c->unacked;
	uint64_t all = c->to_send - c->sent_from + c->closes; // what may be acknowledged yet

	if (more > 0 && more <= all && (int32_t)more > 0) {
		c->closed = more == all && c->closes;
		c->sent_from += more - c->closed;
		c->unacked = ack;
		if ((int32_t)(c->next - ack) < 0)
			c->next = ack; // it had what we were about to send again
		c->retry_ns = FIRST_RETRY_NS;
		c->retry_at_ns = 0;
		c->n_duplicates = 0;
		if (c->next != c->unacked)
			retry_arm(c);
	} else if (more == 0 && size == 0 && c->next != c->unacked &&
		   c->window == ntohs(tcp->window) && ++c->n_duplicates == DUPLICATES) {
		c->next = c->unacked;
		c->n_retries++;
	}
	c->window = ntohs(tcp->window);
}

static void data_take(struct tcp *c, const struct tcp_hdr *tcp, const uint8_t *data, size_t size)
{
	uint32_t old = c->expected - ntohl(tcp->seq); // bytes of it that we have
	bool fin = tcp->flags & TCP_FIN;

	if (size == 0 && !fin)
		return;
	if ((int32_t)old >= 0 && old <= size && !c->peer_closed) {
		c->take(c, data + old, size - old);
		c->n_received += size - old;
		c->expected += (uint32_t)(size - old);
		if (fin) {
			c->expected++;
			c->peer_closed = true;
			c->ended(c);
		}
	}
	ack_send(c);
}

void tcp_input(const struct packet *p)
{
	const struct tcp_hdr *tcp = (const struct tcp_hdr *)p->data;
	size_t header = p->size < sizeof(*tcp) ? 0 : (tcp->data_off >> 4) * 4u;
	struct tcp *c;

	if (header < sizeof(*tcp) || header > p->size || !ip_checksum_is_right(p, PROTOCOL_TCP)) {
		p->net->n_dropped++;
		return;
	}
	c = find(p, tcp);
	if (!c && (tcp->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN)
		connection_accept(p, tcp, header);
	if (!c)
		return;
	if (tcp->flags & TCP_RST) {
		c->was_reset = true;
		c->state = TCP_CLOSED;
		return;
	}
	if (c->state != TCP_ESTABLISHED && !handshake(c, tcp, header))
		return;
	if (tcp->flags & TCP_ACK)
		acknowledged(c, tcp, p->size - header);
	data_take(c, tcp, p->data + header, p->size - header);
	tcp_push(c);
}

static void retry(struct tcp *c)
{
	c->n_retries++;
	if (c->retry_ns < LAST_RETRY_NS)
		c->retry_ns *= 2;
	c->retry_at_ns = 0;
	if (c->state == TCP_ESTABLISHED) {
		c->next = c->unacked;
		c->window = c->window ? c->window : 1; // a probe
		tcp_push(c);
	} else {
		segment_send(
			c, c->state == TCP_SYN_SENT ? TCP_SYN : TCP_SYN | TCP_ACK, c->first, 0, 0);
	}
	retry_arm(c);
}

uint64_t tcp_timers(uint64_t now_ns)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < TCP_MAX; i++) {
		struct tcp *c = &places[i];
		bool waits = c->state == TCP_ESTABLISHED
				     ? c->sent_from < c->to_send || (c->closes && !c->closed)
				     : c->state != TCP_CLOSED;

		if (!taken[i] || !waits || c->retry_at_ns == 0)
			continue;
		if (c->retry_at_ns <= now_ns)
			retry(c);
		if (c->retry_at_ns < next)
			next = c->retry_at_ns;
	}
	return next;
}
