// SPDX-License-Identifier: BSD-3-Clause
// Frames for tests, built byte by byte. The checksum here is written the slow way (RFC 1071 over
// 16-bit words) and shares nothing with the code under test.
#pragma once

#include <string.h>
#include "vlan/wire.h"

enum { FRAME_TCP = 6, FRAME_UDP = 17, FRAME_ICMP = 1, FRAME_ICMPV6 = 58 };

struct frame {
	uint8_t data[70000];
	uint32_t size;
	uint32_t l3_off, l4_off, payload_off;
};

static inline void frame_put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint32_t frame_get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t frame_get32(const uint8_t *p)
{
	return frame_get16(p) << 16 | frame_get16(p + 2);
}

// Plain one's-complement sum of big-endian words, folded.
static inline uint32_t frame_sum(uint32_t sum, const uint8_t *p, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++) {
		sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

// Sum of the pseudo header of the IP header at l3.
static inline uint32_t frame_pseudo(const uint8_t *l3, uint32_t proto, uint32_t l4_size)
{
	uint32_t sum = l3[0] >> 4 == 4 ? frame_sum(0, l3 + 12, 8) : frame_sum(0, l3 + 8, 32);

	sum += proto;
	sum += l4_size;
	return (sum & 0xffff) + (sum >> 16);
}

static inline void frame_ipv4_csum(uint8_t *l3)
{
	uint32_t ihl = (uint32_t)(l3[0] & 0xf) * 4;

	frame_put16(l3 + 10, 0);
	frame_put16(l3 + 10, ~frame_sum(0, l3, ihl) & 0xffff);
}

static inline uint32_t frame_csum_offset(uint32_t proto)
{
	return proto == FRAME_TCP ? 16 : proto == FRAME_UDP ? 6 : 2;
}

// Ethernet + n tags (802.1Q, VIDs 101, 102, ...; an 802.1ad outer one if there are two) + IP + L4
// with n_payload bytes of pattern. TCP gets 12 bytes of options. With `partial` the L4 checksum is
// left as a sender with checksum offload leaves it: the pseudo header's sum, not inverted.
static inline void frame_build(struct frame *f, unsigned n_tags, unsigned ip, uint32_t proto,
	uint32_t n_payload, bool partial)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1 };
	uint32_t l4_hdr = proto == FRAME_TCP ? 32 : 8, l4_size = l4_hdr + n_payload, sum;
	uint8_t *p = f->data, *l4;

	memset(p, 0, 256);
	memcpy(p, macs, 12);
	p += 12;
	for (unsigned i = 0; i < n_tags; i++, p += 4) {
		frame_put16(p, n_tags > 1 && i == 0 ? 0x88a8 : 0x8100);
		frame_put16(p + 2, 101 + i);
	}
	frame_put16(p, ip == 4 ? 0x0800 : 0x86dd);
	p += 2;
	f->l3_off = (uint32_t)(p - f->data);
	if (ip == 4) {
		p[0] = 0x45;
		frame_put16(p + 2, 20 + l4_size);
		frame_put16(p + 4, 0xfffe); // wraps while segments are counted
		frame_put16(p + 6, 0x4000);
		p[8] = 64;
		p[9] = (uint8_t)proto;
		memcpy(p + 12, (uint8_t[]){ 10, 0, 0, 1, 10, 0, 0, 2 }, 8);
		frame_ipv4_csum(p);
		l4 = p + 20;
	} else {
		p[0] = 0x60;
		frame_put16(p + 4, l4_size);
		p[6] = (uint8_t)proto;
		p[7] = 64;
		p[8] = p[24] = 0xfd;
		p[23] = 1;
		p[39] = 2;
		l4 = p + 40;
	}
	f->l4_off = (uint32_t)(l4 - f->data);
	f->payload_off = f->l4_off + l4_hdr;
	f->size = f->payload_off + n_payload;
	for (uint32_t i = 0; i < n_payload; i++)
		f->data[f->payload_off + i] = (uint8_t)(i * 7 + i / 251);
	frame_put16(l4, 40000);
	frame_put16(l4 + 2, 443);
	if (proto == FRAME_TCP) {
		frame_put16(l4 + 4, 0xffff);
		frame_put16(l4 + 6, 0xff00); // the sequence number wraps, too
		l4[12] = 8 << 4;
		l4[13] = 0x18; // PSH, ACK
		memset(l4 + 20, 1, 12); // options: no-operation
	} else if (proto == FRAME_UDP) {
		frame_put16(l4 + 4, l4_size);
	} else {
		l4[0] = proto == FRAME_ICMP ? 8 : 128;
		l4[1] = 0;
		frame_put16(l4 + 4, 0x1234);
	}
	frame_put16(l4 + frame_csum_offset(proto), 0);
	sum = proto == FRAME_ICMP ? 0 : frame_pseudo(f->data + f->l3_off, proto, l4_size);
	if (!partial)
		sum = ~frame_sum(sum, l4, l4_size) & 0xffff;
	frame_put16(l4 + frame_csum_offset(proto), sum);
}
