// SPDX-License-Identifier: BSD-3-Clause
// Reads a DHCPv4 reply frame as a suspicious client would, with byte offsets from RFC 791, 768,
// 951 and 2131 and none of the server's code. Shared by the unit tests and the fuzzer.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct dhcp4_reply {
	const uint8_t *frame;
	size_t size;
	const uint8_t *bootp;
	const uint8_t *option[256]; // points at the length byte; NULL = absent
	uint8_t order[256]; // codes as they came
	unsigned n_options;
};

// One's-complement sum of big-endian words, folded.
static inline uint32_t reply_sum(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++)
		sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static inline unsigned reply_u16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

// NULL if the frame is a well-formed BOOTREPLY with well-formed options; else what is wrong.
static inline const char *dhcp4_reply_read(const uint8_t *p, size_t size, struct dhcp4_reply *r)
{
	memset(r, 0, sizeof(*r));
	r->frame = p;
	r->size = size;
	r->bootp = p + 42;
	if (size < 42 + 300)
		return "shorter than a BOOTP message";
	if (size > 14 + 576)
		return "larger than the datagram every client takes";
	if (reply_u16(p + 12) != 0x0800 || (p[6] & 1) != 0)
		return "Ethernet header";
	if (p[14] != 0x45 || reply_u16(p + 16) != size - 14 || p[22] != 64 || p[23] != 17)
		return "IP header";
	if (reply_u16(p + 20) != 0x4000)
		return "fragment field";
	if (reply_sum(p + 14, 20, 0) != 0xffff)
		return "IP checksum";
	if (reply_u16(p + 34) != 67 || reply_u16(p + 36) != 68 || reply_u16(p + 38) != size - 34)
		return "UDP header";
	if (reply_u16(p + 40) == 0)
		return "no UDP checksum";
	if (reply_sum(p + 34, size - 34, reply_sum(p + 26, 8, 17 + (uint32_t)(size - 34))) !=
		0xffff)
		return "UDP checksum";

	const uint8_t *b = r->bootp;
	if (b[0] != 2 || b[1] != 1 || b[2] != 6 || b[3] != 0 || reply_u16(b + 8) != 0)
		return "BOOTP header";
	for (unsigned i = 34; i < 236; i++) {
		if (b[i] != 0)
			return "chaddr padding, sname or file is not zero";
	}
	if (memcmp(b + 236, "\x63\x82\x53\x63", 4) != 0)
		return "cookie";

	size_t at = 42 + 240;
	while (at < size && p[at] != 255) {
		if (size - at < 2 || size - at - 2 < p[at + 1] || p[at] == 0)
			return "option past the end, or a pad";
		if (r->option[p[at]] != NULL)
			return "option twice";
		r->option[p[at]] = p + at + 1;
		r->order[r->n_options++] = p[at];
		at += 2u + p[at + 1];
	}
	if (at >= size)
		return "no End";
	for (at++; at < size; at++) {
		if (p[at] != 0)
			return "not zero after End";
	}
	if (r->option[53] == NULL || r->option[53][0] != 1 || r->order[0] != 53)
		return "message type missing or not first";
	if (r->option[54] == NULL || r->option[54][0] != 4)
		return "server identifier";
	return NULL;
}
