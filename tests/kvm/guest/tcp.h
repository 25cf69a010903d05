// SPDX-License-Identifier: BSD-3-Clause
// As much TCP (RFC 9293) as a test needs: streams that can be made again from their offset, so that
// nothing is kept for retransmission; segments in order only; no window scaling, no congestion
// control, go back to the first unacknowledged byte after a time-out or three duplicates.
#pragma once

#include "net.h"

enum { TCP_MAX = 8 };

enum tcp_state {
	TCP_CLOSED,
	TCP_SYN_SENT,
	TCP_SYN_RECEIVED,
	TCP_ESTABLISHED, // until both sides have closed
};

struct tcp {
	enum tcp_state state;
	struct net *net;
	be32 peer;
	uint16_t port, peer_port, mss;
	uint32_t first, unacked, next, window; // ours: sequence numbers, and what the peer takes
	uint32_t expected; // the peer's next
	uint64_t sent_from; // offset in the stream of `unacked`
	uint64_t to_send; // of the whole stream; FIN follows when `closes`
	bool closes, closed; // our side: FIN wanted; FIN acknowledged
	bool peer_closed, was_reset;
	uint64_t retry_at_ns, retry_ns;
	unsigned n_duplicates;
	uint64_t n_retries, n_received;
	// Bytes of our stream; what the peer sent; both not NULL. ended: the peer's FIN.
	void (*make)(struct tcp *tcp, uint8_t *to, size_t size, uint64_t offset);
	void (*take)(struct tcp *tcp, const uint8_t *data, size_t size);
	void (*ended)(struct tcp *tcp);
	uint64_t seed;
	uint32_t crc;
	char text[64];
	size_t n_text;
};

// Fills in and sends SYN. make, take and ended are set by the caller before; the rest is zero.
void tcp_connect(struct tcp *tcp, struct net *net, be32 peer, uint16_t port);
// More to send, or closes was set.
void tcp_push(struct tcp *tcp);
// Answers SYNs to a port: fresh sets make, take and ended.
void tcp_listen(uint16_t port, void (*fresh)(struct tcp *tcp));
// Frees the connection's place; the peer is told by RST if it does not know.
void tcp_drop(struct tcp *tcp);
// A free place, or NULL.
struct tcp *tcp_new(void);

void tcp_input(const struct packet *packet);
// Sends again what is due; returns when to call again.
uint64_t tcp_timers(uint64_t now_ns);
