// SPDX-License-Identifier: BSD-3-Clause
// Header parsing, see parse.h. Runs on the worker that owns the packet, once per packet, before
// anything else looks at it. All headers of interest (two tags, IPv6, TCP with options: 122 bytes)
// fit in PACKET_HEADERS_MAX, which is contiguous after gather_headers(): so a check against the
// frame's size is a check against the first segment's.
#include "vswitch/gso.h"
#include "vswitch/nat_table.h"
#include "vswitch/nexthop.h"
#include "vswitch/parse.h"
#include "vswitch/policy.h"
#include "vswitch/session_table.h"

enum {
	IPPROTO_ICMP_ = 1,
	IPPROTO_TCP_ = 6,
	IPPROTO_UDP_ = 17,
	IPPROTO_ICMPV6_ = 58,
	IPV4_PLAIN = 0x45, // version 4, five words: no options
	ETHTYPE_MIN = 0x600, // below: a length, that is IEEE 802.3 LLC
	L4_CSUM_TCP = offsetof(struct tcp_hdr, csum),
	L4_CSUM_UDP = offsetof(struct udp_hdr, csum),
	ICMP_SOURCE_QUENCH = 4,
	ICMP_REDIRECT = 5,
	ICMPV6_FIRST_INFORMATIONAL = 128, // RFC 4443 §2.1: errors are 0..127
	ICMPV6_ECHO_REQUEST = 128,
	ICMPV6_ECHO_REPLY = 129,
};

#define HOT static __rte_always_inline // for nearly every packet; the rest stays out of its way

static bool is_reserved(const struct mac *dst);
HOT enum drop_reason parse_ipv4(
	struct packet *pkt, const uint8_t *data, uint32_t size, uint16_t l3_off);
static enum drop_reason parse_other(struct packet *pkt, const uint8_t *data, uint32_t size);
static enum drop_reason parse_ipv6(struct packet *pkt, const uint8_t *data, uint32_t size);
static enum drop_reason parse_arp(struct packet *pkt, const uint8_t *data, uint32_t size);
HOT enum drop_reason parse_l4(
	struct packet *pkt, const uint8_t *l4, uint32_t l4_size, bool is_v6, uint16_t *flags);
static enum drop_reason parse_offload(struct packet *pkt, const uint8_t *data);
static int gather_headers(struct rte_mbuf *m);
static void trim(struct rte_mbuf *m, uint32_t size);

HOT enum drop_reason parse(struct rte_mbuf *m)
{
	struct packet *pkt = packet_of(m);
	uint32_t size = m->pkt_len;
	const struct eth_hdr *eth;
	const uint8_t *data;
	enum drop_reason r;

	pkt->session = SESSION_NONE;
	pkt->nexthop = NEXTHOP_NONE;
	pkt->mapping = MAPPING_NONE;
	pkt->segment = POLICY_NO_SEGMENT;
	if (unlikely(size < ETH_HDR_SIZE))
		return DROP_PARSE_TOO_SHORT;
	if (unlikely(m->data_len < size) && gather_headers(m) < 0)
		return DROP_NO_MEMORY;
	data = rte_pktmbuf_mtod(m, const uint8_t *);
	eth = (const struct eth_hdr *)data;
	if (unlikely(mac_is_multicast(&eth->src) || mac_is_zero(&eth->src)))
		return DROP_PARSE_SRC_MULTICAST;
	if (unlikely(mac_is_multicast(&eth->dst))) {
		if (is_reserved(&eth->dst))
			return DROP_PARSE_RESERVED_DST;
		pkt->flags |= PACKET_MULTICAST;
	}
	if (likely(eth->type == htons(ETHTYPE_IPV4)))
		r = parse_ipv4(pkt, data, size, ETH_HDR_SIZE);
	else
		r = parse_other(pkt, data, size);
	if (unlikely(r != DROP_NONE))
		return r;
	if ((pkt->flags & (PACKET_IPV4 | PACKET_IPV6 | PACKET_ARP)) &&
		(uint32_t)pkt->l3_off + pkt->l3_len < size)
		trim(m, (uint32_t)pkt->l3_off + pkt->l3_len);
	if (unlikely((pkt->flags & PACKET_NEEDS_CSUM) || pkt->gso_type != PACKET_GSO_NONE))
		return parse_offload(pkt, data);
	return DROP_NONE;
}

uint16_t parse_packets(struct rte_mbuf **pkts, uint16_t n, enum drop_reason *ret_reason)
{
	for (uint16_t i = 0; i < n; i++) {
		enum drop_reason r = parse(pkts[i]);

		if (unlikely(r != DROP_NONE)) {
			*ret_reason = r;
			return i;
		}
	}
	return n;
}

// Between bridges (IEEE 802.1Q-2018 §8.6.3): 01:80:c2:00:00:0X.
static bool is_reserved(const struct mac *dst)
{
	static const uint8_t reserved[5] = { 0x01, 0x80, 0xc2, 0x00, 0x00 };

	return memcmp(dst, reserved, sizeof(reserved)) == 0 && dst->b[5] < 0x10;
}

// The tags (§9).
static enum drop_reason parse_tags(
	struct packet *pkt, const uint8_t *data, uint32_t size, uint16_t *ret_type)
{
	uint16_t off = ETH_HDR_SIZE;
	uint16_t type = ntohs(((const struct eth_hdr *)data)->type);

	pkt->n_tags = 0; // parsed before, if it is a piece of a super-frame
	while (type == ETHTYPE_VLAN || type == ETHTYPE_QINQ) {
		if (pkt->n_tags == 2) {
			pkt->n_tags = 3;
			break;
		}
		if (size < (uint32_t)off + VLAN_TAG_SIZE)
			return DROP_PARSE_TOO_SHORT;
		pkt->tpid[pkt->n_tags] = type;
		pkt->tci[pkt->n_tags] = (uint16_t)(data[off] << 8 | data[off + 1]);
		pkt->n_tags++;
		type = (uint16_t)(data[off + 2] << 8 | data[off + 3]);
		off += VLAN_TAG_SIZE;
	}
	if (type < ETHTYPE_MIN)
		return DROP_PARSE_ETHERTYPE;
	pkt->l3_off = off;
	*ret_type = type;
	return DROP_NONE;
}

// All but untagged IPv4.
static __rte_noinline enum drop_reason parse_other(
	struct packet *pkt, const uint8_t *data, uint32_t size)
{
	uint16_t type;
	enum drop_reason r = parse_tags(pkt, data, size, &type);

	if (r != DROP_NONE)
		return r;
	if (type == ETHTYPE_IPV4)
		return parse_ipv4(pkt, data, size, pkt->l3_off);
	if (type == ETHTYPE_IPV6)
		return parse_ipv6(pkt, data, size);
	if (type == ETHTYPE_ARP)
		return parse_arp(pkt, data, size);
	size -= pkt->l3_off;
	pkt->l3_len = size < UINT16_MAX ? (uint16_t)size : UINT16_MAX;
	return DROP_NONE;
}

// Addresses no host may send from or to on a wire (RFC 1122 §3.2.1.3, RFC 6890). A source of
// 0.0.0.0 and the class E networks are guard's and routing's business.
static bool ipv4_martian(be32 src, be32 dst)
{
	uint32_t s = ntohl(src), d = ntohl(dst);

	return s >> 24 == 127 || s >> 28 == 0xe || s == UINT32_MAX || d >> 24 == 127 ||
	       d >> 24 == 0;
}

// A header that is not the 20 bytes that nearly all are.
static __rte_noinline enum drop_reason ipv4_options(const struct ipv4_hdr *ip, uint32_t total_len)
{
	uint32_t ihl = (uint32_t)(ip->version_ihl & 0xf) * 4;

	if (ip->version_ihl >> 4 != 4 || ihl < sizeof(*ip) || total_len < ihl)
		return DROP_PARSE_IPV4_HEADER;
	return DROP_PARSE_IPV4_OPTIONS;
}

// RFC 791 §3.1
HOT enum drop_reason parse_ipv4(
	struct packet *pkt, const uint8_t *data, uint32_t size, uint16_t l3_off)
{
	const struct ipv4_hdr *ip = (const struct ipv4_hdr *)(data + l3_off);
	uint32_t l3_size = size - l3_off, total_len;
	uint16_t flags = PACKET_IPV4;
	enum drop_reason r = DROP_NONE;

	if (unlikely(l3_size < sizeof(*ip)))
		return DROP_PARSE_IPV4_HEADER;
	total_len = ntohs(ip->total_len);
	if (unlikely(total_len < sizeof(*ip) || total_len > l3_size))
		return DROP_PARSE_IPV4_HEADER;
	if (unlikely(ip->version_ihl != IPV4_PLAIN))
		return ipv4_options(ip, total_len);
	if (unlikely(!ipv4_csum_is_right(ip)))
		return DROP_PARSE_IPV4_CSUM;
	if (unlikely(ipv4_martian(ip->src, ip->dst)))
		return DROP_PARSE_MARTIAN;

	pkt->l3_off = l3_off;
	pkt->l3_len = (uint16_t)total_len;
	pkt->proto = ip->proto;
	pkt->l4_off = (uint16_t)(l3_off + sizeof(*ip));
	if (unlikely(ip->frag_off & htons(IPV4_FLAG_MF | IPV4_FRAG_OFFSET_MASK)))
		flags |= PACKET_FRAGMENT;
	else
		r = parse_l4(pkt, (const uint8_t *)(ip + 1), total_len - (uint32_t)sizeof(*ip),
			false, &flags);
	pkt->flags |= flags;
	return r;
}

static bool ipv6_martian(const uint8_t src[16], const uint8_t dst[16])
{
	static const uint8_t loopback[16] = { [15] = 1 }, any[16];

	return src[0] == 0xff || memcmp(src, loopback, 16) == 0 || memcmp(dst, loopback, 16) == 0 ||
	       memcmp(dst, any, 16) == 0;
}

// RFC 8200 §3. Extension headers are not walked: their packets have no HAS_L4.
static enum drop_reason parse_ipv6(struct packet *pkt, const uint8_t *data, uint32_t size)
{
	const struct ipv6_hdr *ip = (const struct ipv6_hdr *)(data + pkt->l3_off);
	uint32_t l3_size = size - pkt->l3_off, total_len;
	uint16_t flags = PACKET_IPV6;
	enum drop_reason r;

	if (l3_size < sizeof(*ip) || ntohl(ip->version_class_flow) >> 28 != 6)
		return DROP_PARSE_IPV6_HEADER;
	total_len = (uint32_t)sizeof(*ip) + ntohs(ip->payload_len);
	if (total_len > l3_size || total_len > UINT16_MAX)
		return DROP_PARSE_IPV6_HEADER;
	if (ipv6_martian(ip->src, ip->dst))
		return DROP_PARSE_MARTIAN;

	pkt->l3_len = (uint16_t)total_len;
	pkt->proto = ip->next_header;
	pkt->l4_off = (uint16_t)(pkt->l3_off + sizeof(*ip));
	r = parse_l4(
		pkt, (const uint8_t *)(ip + 1), total_len - (uint32_t)sizeof(*ip), true, &flags);
	pkt->flags |= flags;
	return r;
}

// RFC 826, for Ethernet and IPv4 only. What it says is guard's and the service stage's business.
static enum drop_reason parse_arp(struct packet *pkt, const uint8_t *data, uint32_t size)
{
	const struct arp_ipv4 *arp = (const struct arp_ipv4 *)(data + pkt->l3_off);

	if (size - pkt->l3_off < sizeof(*arp))
		return DROP_PARSE_ARP;
	if (arp->htype != htons(1) || arp->ptype != htons(ETHTYPE_IPV4) || arp->hlen != 6 ||
		arp->plen != 4 ||
		(arp->op != htons(ARP_OP_REQUEST) && arp->op != htons(ARP_OP_REPLY)))
		return DROP_PARSE_ARP;
	pkt->flags |= PACKET_ARP;
	pkt->l3_len = sizeof(*arp);
	return DROP_NONE;
}

static enum drop_reason parse_tcp(struct packet *pkt, const uint8_t *l4, uint32_t l4_size)
{
	const struct tcp_hdr *tcp = (const struct tcp_hdr *)l4;
	uint32_t doff;

	if (l4_size < sizeof(*tcp))
		return DROP_PARSE_L4_HEADER;
	doff = (uint32_t)(tcp->data_off >> 4) * 4; // RFC 9293 §3.1
	if (doff < sizeof(*tcp) || doff > l4_size)
		return DROP_PARSE_L4_HEADER;
	pkt->src_port = tcp->src_port;
	pkt->dst_port = tcp->dst_port;
	pkt->tcp_flags = tcp->flags;
	pkt->l4_hdr_size = (uint16_t)doff;
	return DROP_NONE;
}

static enum drop_reason parse_udp(struct packet *pkt, const uint8_t *l4, uint32_t l4_size)
{
	const struct udp_hdr *udp = (const struct udp_hdr *)l4;

	// Shorter than the IP payload is legal: RFC 9868 puts options there.
	if (l4_size < sizeof(*udp) || ntohs(udp->len) < sizeof(*udp) || ntohs(udp->len) > l4_size)
		return DROP_PARSE_L4_HEADER;
	pkt->src_port = udp->src_port;
	pkt->dst_port = udp->dst_port;
	pkt->l4_hdr_size = sizeof(*udp);
	return DROP_NONE;
}

// RFC 792, RFC 4443: both begin alike, and so do their echo messages.
static enum drop_reason parse_icmp(
	struct packet *pkt, const uint8_t *l4, uint32_t l4_size, bool is_v6, uint16_t *flags)
{
	const struct icmp_hdr *icmp = (const struct icmp_hdr *)l4;
	bool echo;

	if (l4_size < sizeof(*icmp))
		return DROP_PARSE_L4_HEADER;
	if (is_v6) {
		echo = icmp->type == ICMPV6_ECHO_REQUEST || icmp->type == ICMPV6_ECHO_REPLY;
		if (icmp->type < ICMPV6_FIRST_INFORMATIONAL)
			*flags |= PACKET_ICMP_ERROR;
	} else {
		echo = icmp->type == ICMP_ECHO_REQUEST || icmp->type == ICMP_ECHO_REPLY;
		if (icmp->type == ICMP_UNREACHABLE || icmp->type == ICMP_SOURCE_QUENCH ||
			icmp->type == ICMP_REDIRECT || icmp->type == ICMP_TIME_EXCEEDED ||
			icmp->type == ICMP_PARAMETER_PROBLEM)
			*flags |= PACKET_ICMP_ERROR;
	}
	pkt->src_port = echo ? icmp->id : 0;
	pkt->dst_port = pkt->src_port;
	pkt->l4_hdr_size = sizeof(*icmp);
	return DROP_NONE;
}

HOT enum drop_reason parse_l4(
	struct packet *pkt, const uint8_t *l4, uint32_t l4_size, bool is_v6, uint16_t *flags)
{
	enum drop_reason r;

	if (pkt->proto == IPPROTO_TCP_)
		r = parse_tcp(pkt, l4, l4_size);
	else if (pkt->proto == IPPROTO_UDP_)
		r = parse_udp(pkt, l4, l4_size);
	else if (pkt->proto == (is_v6 ? IPPROTO_ICMPV6_ : IPPROTO_ICMP_))
		r = parse_icmp(pkt, l4, l4_size, is_v6, flags);
	else
		return DROP_NONE;
	if (likely(r == DROP_NONE))
		*flags |= PACKET_HAS_L4;
	return r;
}

// Does the gso_type fit the headers? Segmenting a SYN would open several connections at once.
static bool gso_type_fits(const struct packet *pkt)
{
	switch (pkt->gso_type) {
	case PACKET_GSO_TCP4:
	case PACKET_GSO_TCP4 | PACKET_GSO_ECN:
		return (pkt->flags & PACKET_IPV4) && pkt->proto == IPPROTO_TCP_ &&
		       !(pkt->tcp_flags & TCP_SYN);
	case PACKET_GSO_TCP6:
	case PACKET_GSO_TCP6 | PACKET_GSO_ECN:
		return (pkt->flags & PACKET_IPV6) && pkt->proto == IPPROTO_TCP_ &&
		       !(pkt->tcp_flags & TCP_SYN);
	case PACKET_GSO_UDP_L4:
		return pkt->proto == IPPROTO_UDP_;
	default: // UFO, and what is not defined
		return false;
	}
}

// virtio 1.2 §5.1.6.2: the sender must name this very packet's checksum, a type that fits and a
// size. hdr_len is never used, so it may lie. The frame has been trimmed: its L4 ends where l3_len
// says.
static __rte_noinline enum drop_reason parse_offload(struct packet *pkt, const uint8_t *data)
{
	uint32_t l4_size, payload;
	bool is_tcp;

	if (!(pkt->flags & PACKET_NEEDS_CSUM) || !(pkt->flags & PACKET_HAS_L4))
		return DROP_PARSE_OFFLOAD;
	is_tcp = pkt->proto == IPPROTO_TCP_;
	if (!is_tcp && pkt->proto != IPPROTO_UDP_)
		return DROP_PARSE_OFFLOAD;
	if (pkt->csum_start != pkt->l4_off ||
		pkt->csum_offset != (is_tcp ? L4_CSUM_TCP : L4_CSUM_UDP))
		return DROP_PARSE_OFFLOAD;
	l4_size = pkt->l3_len - (uint32_t)(pkt->l4_off - pkt->l3_off);
	if (!is_tcp) {
		const struct udp_hdr *udp = (const struct udp_hdr *)(data + pkt->l4_off);

		// The checksum runs to the end of the frame, so the datagram must, too.
		if (ntohs(udp->len) != l4_size)
			return DROP_PARSE_OFFLOAD;
	}
	if (pkt->gso_type == PACKET_GSO_NONE)
		return DROP_NONE;

	if (!gso_type_fits(pkt) || pkt->gso_size < GSO_MIN_SIZE)
		return DROP_PARSE_OFFLOAD;
	payload = l4_size - pkt->l4_hdr_size;
	if (payload > (uint32_t)pkt->gso_size * GSO_MAX_SEGMENTS)
		return DROP_PARSE_OFFLOAD;
	if (payload <= pkt->gso_size) { // one segment: an ordinary frame
		pkt->gso_type = PACKET_GSO_NONE;
		pkt->gso_size = 0;
	}
	return DROP_NONE;
}

// Moves bytes of later segments into the first until it holds min(frame, PACKET_HEADERS_MAX).
// The port kinds deliver so already; this makes it certain. 0 or -ENOMEM if the first has no room.
static __rte_noinline int gather_headers(struct rte_mbuf *m)
{
	uint32_t want = RTE_MIN(m->pkt_len, (uint32_t)PACKET_HEADERS_MAX);

	while (unlikely(m->data_len < want)) {
		struct rte_mbuf *next = m->next;
		uint16_t n;

		if (next == NULL || !RTE_MBUF_DIRECT(m))
			return -ENOMEM;
		n = (uint16_t)RTE_MIN(want - m->data_len, (uint32_t)next->data_len);
		if (rte_pktmbuf_tailroom(m) < n)
			return -ENOMEM;
		memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len),
			rte_pktmbuf_mtod(next, const uint8_t *), n);
		m->data_len = (uint16_t)(m->data_len + n);
		next->data_off = (uint16_t)(next->data_off + n);
		next->data_len = (uint16_t)(next->data_len - n);
		if (next->data_len == 0) {
			m->next = next->next;
			m->nb_segs--;
			rte_pktmbuf_free_seg(next);
		}
	}
	return 0;
}

// Cuts the frame to `size` bytes, fewer than it has; rte_pktmbuf_trim cannot cross a segment.
static __rte_noinline void trim(struct rte_mbuf *m, uint32_t size)
{
	struct rte_mbuf *seg = m;
	uint32_t left = size;
	uint16_t n_segs = 1;

	while (left > seg->data_len) {
		left -= seg->data_len;
		seg = seg->next;
		n_segs++;
	}
	seg->data_len = (uint16_t)left;
	rte_pktmbuf_free(seg->next);
	seg->next = NULL;
	m->nb_segs = n_segs;
	m->pkt_len = size;
}
