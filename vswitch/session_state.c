// SPDX-License-Identifier: BSD-3-Clause
// A session's life: what each packet does to its state, how long it may be silent, and the scans
// that end it. session_advance runs on any worker; the scans have one owner, the
// control thread.
#include "vswitch/session_private.h"

#include <netinet/in.h>

// The state word: enum session_state in the low byte, above it a byte for each direction.
enum {
	SHOWN_PACKET = 1, // any packet
	SHOWN_ACK = 2, // TCP: ACK
	SHOWN_FIN = 4, // TCP: FIN
};

#define SHOWN_SHIFT(dir) (8 + 8 * (unsigned)(dir))
#define SHOWN_BOTH(bits) ((uint32_t)(bits) << 8 | (uint32_t)(bits) << 16)

// RFC 5382 REQ-5: established 2 h 4 min, transitory 4 min. RFC 4787 REQ-5: 2 min at least, 5 min
// recommended. RFC 5508 REQ-2: 60 s.
const struct session_timeouts session_timeouts_default = {
	.tcp_new = 240,
	.tcp_established = 7440,
	.tcp_closing = 240,
	.tcp_closed = 240,
	.udp_new = 120,
	.udp_established = 300,
	.icmp = 60,
	.other = 600,
};

// The state after a packet. TCP is established once both directions have sent an ACK: that is
// SYN, SYN|ACK, ACK; simultaneous open (RFC 9293 §3.5); and a connection picked up in its middle.
static uint32_t tcp_next(uint32_t state, enum session_dir dir, uint8_t flags)
{
	uint8_t what = flags & (TCP_SYN | TCP_ACK | TCP_FIN | TCP_RST);
	uint32_t shown = SHOWN_PACKET;

	// The initiator opens a new connection on the tuple of a dead one (RFC 9293 §3.6.1).
	if ((state & 0xff) == SESSION_CLOSED) {
		if (what == TCP_SYN && dir == SESSION_FORWARD)
			return SESSION_NEW | SHOWN_PACKET << SHOWN_SHIFT(dir);
		return state;
	}
	if ((what & TCP_RST) != 0)
		return (state & ~0xffu) | SESSION_CLOSED;
	if ((what & TCP_ACK) != 0)
		shown |= SHOWN_ACK;
	if ((what & TCP_FIN) != 0)
		shown |= SHOWN_FIN;
	state |= shown << SHOWN_SHIFT(dir);

	if ((state & SHOWN_BOTH(SHOWN_FIN)) == SHOWN_BOTH(SHOWN_FIN))
		return (state & ~0xffu) | SESSION_CLOSED;
	if ((state & SHOWN_BOTH(SHOWN_FIN)) != 0)
		return (state & ~0xffu) | SESSION_CLOSING;
	if ((state & SHOWN_BOTH(SHOWN_ACK)) == SHOWN_BOTH(SHOWN_ACK))
		return (state & ~0xffu) | SESSION_ESTABLISHED;
	return state;
}

static uint32_t other_next(uint32_t state, enum session_dir dir)
{
	state |= SHOWN_PACKET << SHOWN_SHIFT(dir);
	if ((state & SHOWN_BOTH(SHOWN_PACKET)) == SHOWN_BOTH(SHOWN_PACKET))
		return (state & ~0xffu) | SESSION_ESTABLISHED;
	return state;
}

void session_advance(struct session_record *r, enum session_dir dir, uint8_t tcp_flags)
{
	uint32_t old = __atomic_load_n(&r->state, __ATOMIC_RELAXED), next;
	bool tcp = r->d.key[0].proto == IPPROTO_TCP;

	do {
		next = tcp ? tcp_next(old, dir, tcp_flags) : other_next(old, dir);
		if (next == old)
			return;
		// Relaxed: the word stands for itself. A lost race starts from what the winner
		// made.
	} while (!__atomic_compare_exchange_n(
		&r->state, &old, next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

uint32_t session_timeout_s(const struct session_record *r, const struct session_timeouts *to)
{
	enum session_state state = session_state_of(r);

	switch (r->d.key[0].proto) {
	case IPPROTO_TCP:
		switch (state) {
		case SESSION_NEW:
			return to->tcp_new;
		case SESSION_ESTABLISHED:
			return to->tcp_established;
		case SESSION_CLOSING:
			return to->tcp_closing;
		case SESSION_CLOSED:
		case SESSION_STATE_COUNT:
			return to->tcp_closed;
		}
		return to->tcp_closed;
	case IPPROTO_UDP:
		return state == SESSION_NEW ? to->udp_new : to->udp_established;
	case IPPROTO_ICMP:
		return to->icmp;
	default:
		return to->other;
	}
}

static void end(struct session_table *t, uint32_t id,
	void (*removed)(void *arg, const struct session_record *r), void *arg)
{
	if (removed != NULL)
		removed(arg, &t->records[id]);
	session_forget(t, id);
}

static bool expired(
	const struct session_record *r, const struct session_timeouts *to, uint32_t now_s)
{
	// Signed: a worker's clock may be ahead of the caller's by a burst.
	int32_t silent_s = (int32_t)(now_s - __atomic_load_n(&r->last_s, __ATOMIC_RELAXED));

	return silent_s >= 0 && (uint32_t)silent_s >= session_timeout_s(r, to);
}

uint32_t session_expire(struct session_table *t, const struct session_timeouts *to, uint64_t now_ns,
	uint32_t budget, void (*removed)(void *arg, const struct session_record *r), void *arg)
{
	uint32_t now_s = (uint32_t)(now_ns / 1000000000), end_id = session_high_water(t), n = 0;

	if (budget > end_id)
		budget = end_id;
	for (uint32_t i = 0; i < budget; i++) {
		uint32_t id = t->expire_cursor < end_id ? t->expire_cursor : 0;
		const struct session_record *r = &t->records[id];

		t->expire_cursor = id + 1;
		if (__atomic_load_n(&r->commit, __ATOMIC_ACQUIRE) == 0 || !expired(r, to, now_s) ||
			!session_claim(t, id))
			continue;
		end(t, id, removed, arg);
		n++;
	}
	return n;
}

uint32_t session_remove_if(struct session_table *t,
	bool (*match)(void *arg, const struct session_record *r),
	void (*removed)(void *arg, const struct session_record *r), void *arg)
{
	uint32_t end_id = session_high_water(t), n = 0;

	// What is committed here cannot be reused meanwhile: this thread is the one that reclaims.
	for (uint32_t id = 0; id < end_id; id++) {
		const struct session_record *r = &t->records[id];

		if (__atomic_load_n(&r->commit, __ATOMIC_ACQUIRE) == 0 || !match(arg, r) ||
			!session_claim(t, id))
			continue;
		end(t, id, removed, arg);
		n++;
	}
	return n;
}
