// SPDX-License-Identifier: BSD-3-Clause
// Wire formats that every folder shares: Ethernet, 802.1Q, ARP, IPv4, IPv6, UDP, TCP, ICMP, and
// the Internet checksum (RFC 1071). Header-only, libc only. Multi-byte fields are big-endian and
// say so by type; all structures are byte-aligned so that they may lie anywhere in a frame.
#pragma once

#include <assert.h>
#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t be16;
typedef uint32_t be32;
typedef uint64_t be64;
// The same, wherever they lie in a frame: for pointers to header fields.
typedef be16 be16_field __attribute__((aligned(1)));
typedef be32 be32_field __attribute__((aligned(1)));

#define WIRE_PACKED __attribute__((packed, aligned(1)))

enum {
	ETH_ALEN_ = 6,
	ETH_HDR_SIZE = 14,
	VLAN_TAG_SIZE = 4,
	VLAN_VID_MASK = 0x0fff,
	ETHTYPE_IPV4 = 0x0800,
	ETHTYPE_ARP = 0x0806,
	ETHTYPE_VLAN = 0x8100, // 802.1Q C-tag
	ETHTYPE_QINQ = 0x88a8, // 802.1ad S-tag
	ETHTYPE_IPV6 = 0x86dd,
	IPV4_MIN_HDR_SIZE = 20,
	IPV4_FLAG_DF = 0x4000,
	IPV4_FLAG_MF = 0x2000,
	IPV4_FRAG_OFFSET_MASK = 0x1fff,
	ICMP_ECHO_REPLY = 0,
	ICMP_UNREACHABLE = 3,
	ICMP_ECHO_REQUEST = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETER_PROBLEM = 12,
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_PSH = 0x08,
	TCP_ACK = 0x10,
	ARP_OP_REQUEST = 1,
	ARP_OP_REPLY = 2,
};

struct mac {
	uint8_t b[6];
} WIRE_PACKED;

struct eth_hdr {
	struct mac dst;
	struct mac src;
	be16 type;
} WIRE_PACKED;

struct vlan_tag {
	be16 tpid;
	be16 tci;
} WIRE_PACKED;

// RFC 826, for Ethernet and IPv4.
struct arp_ipv4 {
	be16 htype;
	be16 ptype;
	uint8_t hlen;
	uint8_t plen;
	be16 op;
	struct mac sha;
	be32 spa;
	struct mac tha;
	be32 tpa;
} WIRE_PACKED;

// RFC 791 §3.1
struct ipv4_hdr {
	uint8_t version_ihl;
	uint8_t tos;
	be16 total_len;
	be16 id;
	be16 frag_off;
	uint8_t ttl;
	uint8_t proto;
	be16 csum;
	be32 src;
	be32 dst;
} WIRE_PACKED;

// RFC 8200 §3
struct ipv6_hdr {
	be32 version_class_flow;
	be16 payload_len;
	uint8_t next_header;
	uint8_t hop_limit;
	uint8_t src[16];
	uint8_t dst[16];
} WIRE_PACKED;

// RFC 768
struct udp_hdr {
	be16 src_port;
	be16 dst_port;
	be16 len;
	be16 csum;
} WIRE_PACKED;

// RFC 9293 §3.1
struct tcp_hdr {
	be16 src_port;
	be16 dst_port;
	be32 seq;
	be32 ack;
	uint8_t data_off; // upper four bits, in 32-bit words
	uint8_t flags;
	be16 window;
	be16 csum;
	be16 urgent;
} WIRE_PACKED;

// RFC 792; for echo, rest is id and sequence.
struct icmp_hdr {
	uint8_t type;
	uint8_t code;
	be16 csum;
	be16 id;
	be16 seq;
} WIRE_PACKED;

// All of it in one word: the low 48 bits, as it lies in memory on a little-endian machine.
static inline uint64_t mac_bits(const struct mac *m)
{
	uint32_t head;
	uint16_t tail;

	memcpy(&head, m->b, sizeof(head));
	memcpy(&tail, m->b + sizeof(head), sizeof(tail));
	return head | (uint64_t)tail << 32;
}

static inline bool mac_equal(const struct mac *a, const struct mac *b)
{
	uint32_t head_a, head_b;
	uint16_t tail_a, tail_b;

	memcpy(&head_a, a->b, sizeof(head_a));
	memcpy(&head_b, b->b, sizeof(head_b));
	memcpy(&tail_a, a->b + sizeof(head_a), sizeof(tail_a));
	memcpy(&tail_b, b->b + sizeof(head_b), sizeof(tail_b));
	return ((head_a ^ head_b) | (uint32_t)(tail_a ^ tail_b)) == 0;
}

static inline bool mac_is_multicast(const struct mac *m)
{
	return (m->b[0] & 1) != 0;
}

static inline bool mac_is_broadcast(const struct mac *m)
{
	return (m->b[0] & m->b[1] & m->b[2] & m->b[3] & m->b[4] & m->b[5]) == 0xff;
}

static inline bool mac_is_zero(const struct mac *m)
{
	uint32_t head;
	uint16_t tail;

	memcpy(&head, m->b, sizeof(head));
	memcpy(&tail, m->b + sizeof(head), sizeof(tail));
	return (head | tail) == 0;
}

static inline uint32_t ipv4_mask(unsigned prefix_len)
{
	return prefix_len == 0 ? 0 : (uint32_t)(0xffffffffu << (32 - prefix_len));
}

static inline bool ipv4_in_prefix(be32 addr, be32 subnet, unsigned prefix_len)
{
	return ((ntohl(addr) ^ ntohl(subnet)) & ipv4_mask(prefix_len)) == 0;
}

// Neither the subnet's own address nor its broadcast (RFC 1812 §5.3.5).
static inline bool ipv4_is_host(be32 address, uint8_t prefix_len)
{
	uint32_t bits = ~ipv4_mask(prefix_len), host = ntohl(address) & bits;

	return host != 0 && host != bits;
}

// Adds `size` bytes to a running one's-complement sum (not folded). Start with 0; an odd-sized
// piece may only be the last.
static inline uint32_t csum_add(uint32_t sum, const void *data, size_t size)
{
	const uint8_t *p = data;
	uint64_t acc = sum;

	while (size >= 4) {
		uint32_t w;
		memcpy(&w, p, 4);
		acc += w;
		p += 4;
		size -= 4;
	}
	if (size >= 2) {
		uint16_t w;
		memcpy(&w, p, 2);
		acc += w;
		p += 2;
		size -= 2;
	}
	if (size == 1) {
		uint16_t w = 0;
		memcpy(&w, p, 1);
		acc += w;
	}
	while (acc >> 32)
		acc = (acc & 0xffffffffu) + (acc >> 32);
	return (uint32_t)acc;
}

// Folds a running sum to the 16-bit one's-complement sum (not inverted).
static inline uint16_t csum_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

// The Internet checksum of a buffer, ready to store (RFC 1071).
static inline be16 csum_finish(uint32_t sum)
{
	return (be16)~csum_fold(sum);
}

// Whether the checksum of a header without options is right.
static inline bool ipv4_csum_is_right(const struct ipv4_hdr *ip)
{
	uint64_t sum = (uint64_t)ip->src + ip->dst;
	uint32_t w;

	static_assert(offsetof(struct ipv4_hdr, src) == 3 * sizeof(w), "all of it is summed");
	for (size_t at = 0; at < 3 * sizeof(w); at += sizeof(w)) {
		memcpy(&w, (const uint8_t *)ip + at, sizeof(w));
		sum += w;
	}
	// At any width the carry comes round (RFC 1071 §2). Each half is added to the other: the
	// upper one gets the carry of the lower, and its own is the lower's.
	sum += sum >> 32 | sum << 32;
	w = (uint32_t)(sum >> 32);
	w += w >> 16 | w << 16;
	return w >> 16 == 0xffff; // no header sums up to nothing but zeros
}

// RFC 1624, equation 3: the checksum after 16 bits changed from `from` to `to`.
static inline be16 csum_update16(be16 csum, be16 from, be16 to)
{
	uint32_t sum = (uint16_t)~csum;

	sum += (uint16_t)~from;
	sum += to;
	return (be16)~csum_fold(sum);
}

// Of an update that may leave nothing but zeros, as in an echo reply: there the sum is -0, which
// RFC 1624's equation gives as 0. Everywhere else both say the same.
static inline be16 csum_not_zero(be16 csum)
{
	return csum != 0 ? csum : 0xffff;
}

static inline be16 csum_update32(be16 csum, be32 from, be32 to)
{
	csum = csum_update16(csum, (be16)(from & 0xffff), (be16)(to & 0xffff));
	return csum_update16(csum, (be16)(from >> 16), (be16)(to >> 16));
}

// Running sum of the IPv4 pseudo header (RFC 9293 §3.1); l4_size in bytes.
static inline uint32_t csum_pseudo_ipv4(be32 src, be32 dst, uint8_t proto, uint16_t l4_size)
{
	struct {
		be32 src, dst;
		uint8_t zero, proto;
		be16 size;
	} WIRE_PACKED ph = { src, dst, 0, proto, htons(l4_size) };

	return csum_add(0, &ph, sizeof(ph));
}
