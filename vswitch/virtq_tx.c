// SPDX-License-Identifier: BSD-3-Clause
// A split virtqueue, what the guest receives (virtio 1.2 §5.1.6.3, §5.1.6.4), see virtq.h. Workers.
// First buffers are gathered for as many frames as there are, then all is copied: the header says
// how many buffers a frame took, and the buffers come into the cache meanwhile.

#include "vswitch/gso.h"
#include "vswitch/virtq_chain.h"
#include "vswitch/vnet_hdr.h"

enum { PIECES_MAX = VIRTQ_CHAIN_MAX }; // of one gathering; a frame takes as many at most

// Guest memory that a frame is written to.
struct piece {
	uint8_t *to;
	uint32_t size;
};

struct departure {
	struct rte_mbuf *m;
	uint16_t first_piece, n_heads;
};

struct gathering {
	struct virtq *q;
	uint16_t n_waiting; // buffers there when it began
	uint16_t n_taken; // of them, by frames that fit
	uint32_t descs_left; // of the burst
	uint32_t n_pieces, n_frames;
	struct departure frames[BURST_MAX];
	struct piece pieces[PIECES_MAX];
};

// NO_ROOM: not for this frame; FULL: nor, likely, for another; NO_PIECE: after copying there is.
enum result { FAULT = -1, GOOD, NO_ROOM, FULL, NO_PIECE };

// The pieces of one buffer, until `need` bytes have a place; *ret_size: how many have.
static enum result gather_buffer(
	struct gathering *g, uint32_t head, uint32_t need, uint32_t *ret_size)
{
	struct virtq *q = g->q;
	struct virtq_chain c;
	struct vring_desc d;
	int r = 0;

	*ret_size = 0;
	virtq_chain_begin(q, &c, head);
	while (*ret_size < need && (r = virtq_chain_next(q, &c, &d)) > 0) {
		if (unlikely(!(d.flags & VRING_DESC_F_WRITE)))
			return (enum result)virtq_chain_fault(q, VIRTQ_FAULT_DIRECTION);
		if (unlikely(g->descs_left == 0))
			return FULL;
		g->descs_left--;
		while (d.len > 0 && *ret_size < need) {
			uint32_t size = RTE_MIN(d.len, need - *ret_size);
			uint8_t *to = virtq_memory_at(&q->memory, d.addr, &size);

			if (unlikely(to == NULL))
				return (enum result)virtq_chain_fault(q, VIRTQ_FAULT_ADDRESS);
			if (unlikely(g->n_pieces == PIECES_MAX))
				return NO_PIECE;
			__builtin_prefetch(to, 1);
			g->pieces[g->n_pieces++] = (struct piece){ to, size };
			*ret_size += size;
			d.addr += size;
			d.len -= size;
		}
	}
	return r < 0 ? FAULT : GOOD;
}

// As many buffers as the frame needs: one, or several where the guest allows it.
static enum result gather(struct gathering *g, struct rte_mbuf *m)
{
	struct virtq *q = g->q;
	uint32_t need = q->hdr_size + m->pkt_len, first_piece = g->n_pieces;
	uint16_t n_heads = 0;
	enum result result;

	for (;;) {
		uint16_t at = (uint16_t)(g->n_taken + n_heads);
		uint32_t size;
		int head;

		result = FULL;
		if (at == g->n_waiting)
			break;
		head = virtq_head(q, at);
		if (unlikely(head < 0))
			return FAULT;
		result = gather_buffer(g, (uint32_t)head, need, &size);
		if (unlikely(result != GOOD))
			break;
		virtq_set_used(q, at, (uint32_t)head, size);
		n_heads++;
		need -= size;
		if (likely(need == 0)) {
			g->frames[g->n_frames++] =
				(struct departure){ m, (uint16_t)first_piece, n_heads };
			g->n_taken = (uint16_t)(g->n_taken + n_heads);
			return GOOD;
		}
		if (!q->mergeable) {
			result = NO_ROOM;
			break;
		}
	}
	g->n_pieces = first_piece; // the buffers stay where they are
	return result;
}

// ---- copy

static const struct piece *put(
	const struct piece *p, uint32_t *offset, const uint8_t *from, uint32_t size)
{
	while (size > 0) {
		uint32_t n = RTE_MIN(size, p->size - *offset);

		memcpy(p->to + *offset, from, n);
		from += n;
		size -= n;
		*offset += n;
		if (*offset == p->size) {
			p++;
			*offset = 0;
		}
	}
	return p;
}

static void copy(const struct virtq *q, const struct piece *p, const struct departure *f)
{
	struct virtio_net_hdr_mrg_rxbuf hdr;
	const struct packet *pk = packet_of(f->m);
	uint32_t offset = 0;

	vnet_hdr_write(pk, &hdr.hdr);
	if (!(q->features & 1ULL << VIRTIO_NET_F_GUEST_ECN))
		hdr.hdr.gso_type &= (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	if (!(q->features & 1ULL << VIRTIO_NET_F_GUEST_CSUM))
		hdr.hdr.flags = 0;
	hdr.num_buffers = f->n_heads; // 1 without mergeable buffers, as §5.1.6.4.1 has it
	p = put(p, &offset, (const uint8_t *)&hdr, q->hdr_size);
	for (const struct rte_mbuf *m = f->m; m != NULL; m = m->next)
		p = put(p, &offset, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
}

// ---- burst

static bool takes_gso(const struct virtq *q, uint8_t gso_type)
{
	switch (gso_type & (uint8_t)~PACKET_GSO_ECN) {
	case PACKET_GSO_TCP4:
		return q->features & 1ULL << VIRTIO_NET_F_GUEST_TSO4;
	case PACKET_GSO_TCP6:
		return q->features & 1ULL << VIRTIO_NET_F_GUEST_TSO6;
	}
	return false;
}

// The tx stage has segmented and checksummed by the port's offloads, but another guest may have
// come since. False: this one cannot take the frame.
static bool fit_offloads(const struct virtq *q, struct rte_mbuf *m)
{
	const struct packet *pk = packet_of(m);
	bool takes_csum = q->features & 1ULL << VIRTIO_NET_F_GUEST_CSUM;

	if (pk->gso_type != PACKET_GSO_NONE)
		return takes_csum && takes_gso(q, pk->gso_type);
	return !(pk->flags & PACKET_NEEDS_CSUM) || takes_csum || gso_complete_csum(m) == 0;
}

static void copy_all(struct gathering *g)
{
	for (uint32_t i = 0; i < g->n_frames; i++)
		copy(g->q, &g->pieces[g->frames[i].first_piece], &g->frames[i]);
	g->n_frames = 0;
	g->n_pieces = 0;
}

static void prefetch(struct virtq *q, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		uint32_t slot = (uint32_t)(q->next + i) & (q->size - 1);
		uint16_t head = __atomic_load_n(&q->avail->ring[slot], __ATOMIC_RELAXED);

		rte_prefetch0(&q->desc[head & (q->size - 1)]);
	}
}

uint16_t virtq_tx(struct virtq *q, struct rte_mbuf **pkts, uint16_t n, uint64_t *bytes)
{
	struct gathering g;
	uint16_t n_sent = 0;

	if (unlikely(q->fault != VIRTQ_FAULT_NONE))
		return 0;
	g.q = q;
	g.n_waiting = virtq_n_waiting(q);
	g.n_taken = 0;
	g.descs_left = VIRTQ_BURST_DESCS;
	g.n_pieces = 0;
	g.n_frames = 0;
	prefetch(q, n < g.n_waiting ? n : g.n_waiting);
	for (uint16_t i = 0; i < n; i++) {
		enum result result;

		if (unlikely(!fit_offloads(q, pkts[i])))
			continue;
		result = gather(&g, pkts[i]);
		if (unlikely(result == NO_PIECE && g.n_frames > 0)) {
			copy_all(&g);
			result = gather(&g, pkts[i]);
		}
		if (likely(result == GOOD)) {
			n_sent++;
			*bytes += pkts[i]->pkt_len;
		} else if (result != NO_ROOM) {
			break;
		}
	}
	copy_all(&g);
	virtq_return(q, g.n_taken);
	return n_sent;
}
