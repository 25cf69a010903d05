// SPDX-License-Identifier: BSD-3-Clause
// Software checksums and segmentation, see gso.h. Runs on any worker, in the tx stage. Of the
// metadata only gso_*, csum_* and the IP version are used: csum_start is where L4 begins (parse saw
// to it, and whoever pushes tags moves it), and parse lets no IP options or extension headers
// through, so L3 begins a fixed size before it.
#include <errno.h>
#include "vswitch/gso.h"

enum {
	TCP_CWR = 0x80,
	CSUM_OFFSET_UDP = offsetof(struct udp_hdr, csum),
};

// The super-frame as it is being cut.
struct cut {
	struct worker *w;
	const struct rte_mbuf *seg; // where the next payload byte is
	uint32_t seg_off;
	const uint8_t *hdr; // headers of the super-frame
	uint32_t l3_off, l4_off, hdr_size; // of every frame
	uint32_t payload; // bytes of it not cut yet
	uint32_t n, n_done; // frames
	bool is_v6, is_tcp;
};

static int cut_begin(struct cut *c, struct worker *w, struct rte_mbuf *m);
static struct rte_mbuf *cut_one(struct cut *c, const struct packet *pkt, uint32_t size);
static void write_headers(const struct cut *c, const struct packet *pkt, struct rte_mbuf *m);
static uint32_t csum_chain(uint32_t sum, const struct rte_mbuf *m, uint32_t off);

int gso_complete_csum(struct rte_mbuf *m)
{
	struct packet *pkt = packet_of(m);
	uint32_t at = (uint32_t)pkt->csum_start + pkt->csum_offset;
	uint8_t *field;
	be16 csum;

	if (!(pkt->flags & PACKET_NEEDS_CSUM))
		return 0;
	if (at + sizeof(csum) > m->data_len)
		return -EINVAL;
	field = rte_pktmbuf_mtod_offset(m, uint8_t *, at);
	// The field holds the pseudo header's sum already (virtio 1.2 §5.1.6.2).
	csum = csum_finish(csum_chain(0, m, pkt->csum_start));
	if (csum == 0 && pkt->csum_offset == CSUM_OFFSET_UDP)
		csum = 0xffff; // RFC 768: 0 would mean "none"
	memcpy(field, &csum, sizeof(csum));
	pkt->flags &= (uint16_t)~PACKET_NEEDS_CSUM;
	return 0;
}

int gso_segment(struct worker *w, struct rte_mbuf *m, struct rte_mbuf **ret_pkts, unsigned n_max)
{
	const struct packet *pkt = packet_of(m);
	struct cut c;
	int r = cut_begin(&c, w, m);

	if (r < 0)
		return r;
	if (c.n > n_max)
		return -E2BIG;
	while (c.n_done < c.n) {
		uint32_t size = RTE_MIN(c.payload, (uint32_t)pkt->gso_size);
		struct rte_mbuf *out = cut_one(&c, pkt, size);

		if (out == NULL) {
			rte_pktmbuf_free_bulk(ret_pkts, c.n_done);
			return -ENOMEM;
		}
		write_headers(&c, pkt, out);
		ret_pkts[c.n_done++] = out;
		c.payload -= size;
	}
	rte_pktmbuf_free(m);
	return (int)c.n;
}

static int cut_begin(struct cut *c, struct worker *w, struct rte_mbuf *m)
{
	const struct packet *pkt = packet_of(m);
	uint8_t type = pkt->gso_type & (uint8_t)~PACKET_GSO_ECN;
	uint32_t l3_hdr;

	*c = (struct cut){ .w = w, .seg = m, .hdr = rte_pktmbuf_mtod(m, const uint8_t *) };
	c->is_tcp = type == PACKET_GSO_TCP4 || type == PACKET_GSO_TCP6;
	if ((!c->is_tcp && type != PACKET_GSO_UDP_L4) || pkt->gso_size == 0)
		return -EINVAL;
	c->is_v6 = (pkt->flags & PACKET_IPV6) != 0;
	l3_hdr = c->is_v6 ? sizeof(struct ipv6_hdr) : sizeof(struct ipv4_hdr);
	c->l4_off = pkt->csum_start;
	if (c->l4_off < ETH_HDR_SIZE + l3_hdr)
		return -EINVAL;
	c->l3_off = c->l4_off - l3_hdr;
	c->hdr_size = c->l4_off + (uint32_t)sizeof(struct udp_hdr);
	if (c->is_tcp) {
		if (c->l4_off + sizeof(struct tcp_hdr) > m->data_len)
			return -EINVAL;
		c->hdr_size = c->l4_off + (uint32_t)(c->hdr[c->l4_off + 12] >> 4) * 4;
	}
	if (c->hdr_size > m->data_len || c->hdr_size >= m->pkt_len ||
		c->hdr_size > PACKET_HEADERS_MAX)
		return -EINVAL;
	c->seg_off = c->hdr_size;
	c->payload = m->pkt_len - c->hdr_size;
	c->n = (c->payload + pkt->gso_size - 1) / pkt->gso_size;
	return 0;
}

// Copies the next `size` bytes of payload to dst; moves on.
static void cut_copy(struct cut *c, uint8_t *dst, uint32_t size)
{
	while (size > 0) {
		uint32_t n;

		while (c->seg_off == c->seg->data_len) {
			c->seg = c->seg->next;
			c->seg_off = 0;
		}
		n = RTE_MIN(size, c->seg->data_len - c->seg_off);
		memcpy(dst, rte_pktmbuf_mtod_offset(c->seg, const uint8_t *, c->seg_off), n);
		c->seg_off += n;
		dst += n;
		size -= n;
	}
}

// A frame of the old headers and `size` bytes of payload, in as many small mbufs as it takes (more
// than one with a jumbo MTU). Each but the last holds an even number of bytes, as csum_chain()
// likes best.
static struct rte_mbuf *cut_one(struct cut *c, const struct packet *pkt, uint32_t size)
{
	struct rte_mempool *pool = worker_small_pool(c->w);
	struct rte_mbuf *head = rte_pktmbuf_alloc(pool), *last = head;
	uint32_t n;

	if (head == NULL)
		return NULL;
	*packet_of(head) = *pkt;
	memcpy(rte_pktmbuf_mtod(head, uint8_t *), c->hdr, c->hdr_size);
	n = RTE_MIN(size, PACKET_SMALL_ROOM - c->hdr_size);
	cut_copy(c, rte_pktmbuf_mtod_offset(head, uint8_t *, c->hdr_size), n);
	head->data_len = (uint16_t)(c->hdr_size + n);
	head->pkt_len = c->hdr_size + size;
	for (size -= n; size > 0; size -= n) {
		last->next = rte_pktmbuf_alloc(pool);
		last = last->next;
		if (last == NULL) {
			rte_pktmbuf_free(head);
			return NULL;
		}
		head->nb_segs++;
		n = RTE_MIN(size, (uint32_t)PACKET_SMALL_ROOM);
		cut_copy(c, rte_pktmbuf_mtod(last, uint8_t *), n);
		last->data_len = (uint16_t)n;
	}
	return head;
}

static uint32_t pseudo_sum(const struct cut *c, const uint8_t *l3, uint32_t l4_size)
{
	const struct ipv6_hdr *ip6 = (const struct ipv6_hdr *)l3;
	const struct ipv4_hdr *ip4 = (const struct ipv4_hdr *)l3;
	struct {
		be32 size, proto;
	} tail = { htonl(l4_size), htonl(c->is_tcp ? IPPROTO_TCP : IPPROTO_UDP) };

	if (!c->is_v6)
		return csum_pseudo_ipv4(
			ip4->src, ip4->dst, (uint8_t)ntohl(tail.proto), (uint16_t)l4_size);
	// RFC 8200 §8.1
	return csum_add(csum_add(0, ip6->src, 32), &tail, sizeof(tail));
}

// The IP header of frame n_done of n.
static void write_ip(const struct cut *c, uint8_t *l3, uint32_t l3_size)
{
	if (c->is_v6) {
		struct ipv6_hdr *ip = (struct ipv6_hdr *)l3;

		ip->payload_len = htons((uint16_t)(l3_size - sizeof(*ip)));
	} else {
		struct ipv4_hdr *ip = (struct ipv4_hdr *)l3;

		ip->total_len = htons((uint16_t)l3_size);
		ip->id = htons((uint16_t)(ntohs(ip->id) + c->n_done));
		ip->csum = 0;
		ip->csum = csum_finish(csum_add(0, ip, sizeof(*ip)));
	}
}

// All of frame n_done of n that differs from the super-frame; the payload is in place.
static void write_headers(const struct cut *c, const struct packet *pkt, struct rte_mbuf *m)
{
	uint8_t *l3 = rte_pktmbuf_mtod_offset(m, uint8_t *, c->l3_off);
	uint8_t *l4 = rte_pktmbuf_mtod_offset(m, uint8_t *, c->l4_off);
	uint32_t l4_size = m->pkt_len - c->l4_off, sum;
	struct packet *out = packet_of(m);

	out->l3_len = (uint16_t)(m->pkt_len - c->l3_off);
	write_ip(c, l3, out->l3_len);
	sum = pseudo_sum(c, l3, l4_size);
	if (c->is_tcp) {
		struct tcp_hdr *tcp = (struct tcp_hdr *)l4;

		tcp->seq = htonl(ntohl(tcp->seq) + c->n_done * pkt->gso_size);
		if (c->n_done > 0)
			tcp->flags &= (uint8_t)~TCP_CWR; // RFC 3168 §6.1.2: once is enough
		if (c->n_done + 1 < c->n)
			tcp->flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
		out->tcp_flags = tcp->flags;
		tcp->csum = 0;
		tcp->csum = csum_finish(csum_chain(sum, m, c->l4_off));
	} else {
		struct udp_hdr *udp = (struct udp_hdr *)l4;

		udp->len = htons((uint16_t)l4_size);
		udp->csum = 0;
		udp->csum = csum_finish(csum_chain(sum, m, c->l4_off));
		if (udp->csum == 0)
			udp->csum = 0xffff;
	}
	out->flags &= (uint16_t)~PACKET_NEEDS_CSUM;
	out->gso_type = PACKET_GSO_NONE;
	out->gso_size = 0;
}

// Adds the bytes from `off` to the end. What begins at an odd distance counts with its bytes
// swapped (RFC 1071 §2(B)).
static uint32_t csum_chain(uint32_t sum, const struct rte_mbuf *m, uint32_t off)
{
	bool odd = false;

	for (; m != NULL; m = m->next) {
		uint32_t size = m->data_len - RTE_MIN(off, (uint32_t)m->data_len);
		const uint8_t *data = rte_pktmbuf_mtod_offset(m, const uint8_t *, off);

		if (odd) {
			uint16_t part = __builtin_bswap16(csum_fold(csum_add(0, data, size)));

			sum = csum_add(sum, &part, sizeof(part));
		} else {
			sum = csum_add(sum, data, size);
		}
		odd ^= size & 1;
		off -= RTE_MIN(off, (uint32_t)m->data_len);
	}
	return sum;
}
