// SPDX-License-Identifier: BSD-3-Clause
// Text for a replay's files and tables, appended fast (a verdict a microsecond): no printf, no
// locale. What does not fit into the buffer goes to its file first.
#pragma once

#include <arpa/inet.h>
#include <string.h>
#include "vswitch/replay.h"

enum { REPLAY_TEXT_SIZE = 1 << 16 };

struct replay_text {
	FILE *f; // NULL: what does not fit is lost
	size_t n;
	char buf[REPLAY_TEXT_SIZE];
};

static inline void text_flush(struct replay_text *t)
{
	if (t->f)
		fwrite_unlocked(t->buf, 1, t->n, t->f);
	t->n = 0;
}

// What follows, up to n bytes (<= REPLAY_TEXT_SIZE), will lie in the buffer in one piece.
static inline void text_reserve(struct replay_text *t, size_t n)
{
	if (t->n + n > sizeof(t->buf))
		text_flush(t);
}

static inline void text_bytes(struct replay_text *t, const char *s, size_t n)
{
	if (t->n + n > sizeof(t->buf))
		text_flush(t);
	if (n > sizeof(t->buf))
		return;
	memcpy(t->buf + t->n, s, n);
	t->n += n;
}

static inline void text_word(struct replay_text *t, const char *s)
{
	text_bytes(t, s, strlen(s));
}

static inline void text_number(struct replay_text *t, uint64_t v, unsigned width)
{
	char digits[24];
	unsigned n = 0;

	do {
		digits[sizeof(digits) - ++n] = (char)('0' + v % 10);
		v /= 10;
	} while (v || n < width);
	text_bytes(t, digits + sizeof(digits) - n, n);
}

static inline void text_address(struct replay_text *t, be32 address)
{
	uint32_t a = ntohl(address);

	for (int shift = 24; shift >= 0; shift -= 8) {
		text_number(t, (a >> shift) & 255, 1);
		if (shift)
			text_bytes(t, ".", 1);
	}
}

// "udp 10.0.0.11:4000 > 10.0.0.12:53"; without ports where there are none.
static inline void text_tuple(struct replay_text *t, const struct replay_tuple *u)
{
	bool ports = u->proto == IPPROTO_TCP || u->proto == IPPROTO_UDP;

	if (u->proto == IPPROTO_ICMP)
		text_word(t, "icmp ");
	else if (ports)
		text_word(t, u->proto == IPPROTO_TCP ? "tcp " : "udp ");
	else
		text_word(t, "ip ");
	if (!ports && u->proto != IPPROTO_ICMP) {
		text_number(t, u->proto, 1);
		text_word(t, " ");
	}
	text_address(t, u->src);
	if (ports) {
		text_word(t, ":");
		text_number(t, ntohs(u->src_port), 1);
	}
	text_word(t, " > ");
	text_address(t, u->dst);
	if (ports) {
		text_word(t, ":");
		text_number(t, ntohs(u->dst_port), 1);
	}
	if (u->proto == IPPROTO_ICMP && u->src_port) {
		text_word(t, " id ");
		text_number(t, ntohs(u->src_port), 1);
	}
}
