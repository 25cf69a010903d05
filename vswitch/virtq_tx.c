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
	uint8_t *to; // the one piece of one buffer that all of it goes to, or NULL:
	uint16_t first_piece, n_heads;
};

struct gathering {
	struct virtq *q;
	uint16_t n_waiting; // buffers there when it began
	uint16_t n_taken; // of them, by frames that fit
	uint16_t n_heads; // read already, and not looked at
	uint32_t descs_left; // of the burst
	uint32_t n_pieces, n_frames;
	uint16_t heads[BURST_MAX];
	struct departure frames[BURST_MAX];
	struct piece pieces[PIECES_MAX];
};

// NO_ROOM: not for this frame; FULL: nor, likely, for another; NO_PIECE: after copying there is.
enum result { FAULT = -1, GOOD, NO_ROOM, FULL, NO_PIECE };

// The pieces of one buffer, whose first descriptor *d is, until `need` bytes have a place;
// *ret_size: how many have.
static enum result gather_buffer(
	struct gathering *g, uint32_t head, struct vring_desc *d, uint32_t need, uint32_t *ret_size)
{
	struct virtq *q = g->q;
	struct virtq_chain c;
	int r = virtq_chain_begin(q, &c, head, d);

	*ret_size = 0;
	for (; r > 0; r = *ret_size < need ? virtq_chain_next(q, &c, d) : 0) {
		if (unlikely(!(d->flags & VRING_DESC_F_WRITE)))
			return (enum result)virtq_chain_fault(q, VIRTQ_FAULT_DIRECTION);
		if (unlikely(g->descs_left == 0))
			return FULL;
		g->descs_left--;
		while (d->len > 0 && *ret_size < need) {
			uint32_t size = RTE_MIN(d->len, need - *ret_size);
			uint8_t *to = virtq_memory_at(&q->memory, d->addr, &size);

			if (unlikely(to == NULL))
				return (enum result)virtq_chain_fault(q, VIRTQ_FAULT_ADDRESS);
			if (unlikely(g->n_pieces == PIECES_MAX))
				return NO_PIECE;
			__builtin_prefetch(to, 1);
			g->pieces[g->n_pieces++] = (struct piece){ to, size };
			*ret_size += size;
			d->addr += size;
			d->len -= size;
		}
	}
	return r < 0 ? FAULT : GOOD;
}

// The head of the buffer `at` from the next, or -1 with the queue stopped.
static inline int head_at(const struct gathering *g, uint16_t at)
{
	if (unlikely(at >= g->n_heads))
		return virtq_head(g->q, at);
	if (unlikely(g->heads[at] >= g->q->size))
		return virtq_chain_fault(g->q, VIRTQ_FAULT_HEAD);
	return g->heads[at];
}

// As many buffers as the frame needs: one, or several where the guest allows it. `head` and *d are
// of the first.
static enum result gather_buffers(
	struct gathering *g, struct rte_mbuf *m, int head, struct vring_desc *d)
{
	struct virtq *q = g->q;
	uint32_t need = q->hdr_size + m->pkt_len, first_piece = g->n_pieces;
	uint16_t n_heads = 0;
	enum result result;

	for (;;) {
		uint16_t at = (uint16_t)(g->n_taken + n_heads);
		uint32_t size;

		result = gather_buffer(g, (uint32_t)head, d, need, &size);
		if (unlikely(result != GOOD))
			break;
		virtq_set_used(q, at, (uint32_t)head, size);
		n_heads++;
		need -= size;
		if (likely(need == 0)) {
			g->frames[g->n_frames++] = (struct departure){
				.m = m, .first_piece = (uint16_t)first_piece, .n_heads = n_heads
			};
			g->n_taken = (uint16_t)(g->n_taken + n_heads);
			return GOOD;
		}
		if (!q->mergeable) {
			result = NO_ROOM;
			break;
		}
		result = FULL;
		if (++at == g->n_waiting)
			break;
		head = head_at(g, at);
		if (unlikely(head < 0))
			return FAULT;
		virtq_read_head(q, (uint32_t)head, d);
	}
	g->n_pieces = first_piece; // the buffers stay where they are
	return result;
}

// A buffer of one descriptor with all the room in one piece: nearly every one. False: it is another
// kind, and nothing is done.
static inline bool gather_plain(
	struct gathering *g, struct rte_mbuf *m, uint32_t head, const struct vring_desc *d)
{
	struct virtq *q = g->q;
	uint32_t need = q->hdr_size + m->pkt_len, size = need;
	uint8_t *to;

	if (unlikely(!virtq_is_plain(d, VRING_DESC_F_WRITE) || d->len < need || g->descs_left == 0))
		return false;
	to = virtq_memory_at(&q->memory, d->addr, &size);
	if (unlikely(to == NULL || size < need))
		return false;
	__builtin_prefetch(to, 1);
	g->descs_left--;
	virtq_set_used(q, g->n_taken++, head, need);
	g->frames[g->n_frames++] = (struct departure){ .m = m, .to = to };
	return true;
}

static void copy_all(struct gathering *g);

static __rte_noinline enum result gather_other(
	struct gathering *g, struct rte_mbuf *m, int head, struct vring_desc *d)
{
	enum result result = gather_buffers(g, m, head, d);

	if (result != NO_PIECE || g->n_frames == 0)
		return result;
	copy_all(g);
	virtq_read_head(g->q, (uint32_t)head, d);
	return gather_buffers(g, m, head, d);
}

static inline enum result gather(struct gathering *g, struct rte_mbuf *m)
{
	struct vring_desc d;
	int head;

	if (unlikely(g->n_taken == g->n_waiting))
		return FULL;
	head = head_at(g, g->n_taken);
	if (unlikely(head < 0))
		return FAULT;
	virtq_read_head(g->q, (uint32_t)head, &d);
	return likely(gather_plain(g, m, (uint32_t)head, &d)) ? GOOD : gather_other(g, m, head, &d);
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

// Whether there is anything to say of it in the header.
static inline bool has_offload(const struct packet *pk)
{
	return (pk->flags & (PACKET_NEEDS_CSUM | PACKET_DATA_VALID)) != 0 ||
	       pk->gso_type != PACKET_GSO_NONE;
}

static void describe(
	const struct virtq *q, const struct packet *pk, struct virtio_net_hdr_mrg_rxbuf *hdr)
{
	vnet_hdr_write(pk, &hdr->hdr);
	if (!(q->features & 1ULL << VIRTIO_NET_F_GUEST_ECN))
		hdr->hdr.gso_type &= (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	if (!(q->features & 1ULL << VIRTIO_NET_F_GUEST_CSUM))
		hdr->hdr.flags = 0;
}

static __rte_noinline void copy_pieces(struct gathering *g, const struct departure *f)
{
	// num_buffers is 1 without mergeable buffers, as §5.1.6.4.1 has it
	struct virtio_net_hdr_mrg_rxbuf hdr = { .num_buffers = f->n_heads };
	const struct piece *p = &g->pieces[f->first_piece];
	uint32_t offset = 0;

	if (has_offload(packet_of(f->m)))
		describe(g->q, packet_of(f->m), &hdr);
	p = put(p, &offset, (const uint8_t *)&hdr, g->q->hdr_size);
	for (const struct rte_mbuf *m = f->m; m != NULL; m = m->next)
		p = put(p, &offset, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
}

static __rte_noinline void copy_header(const struct virtq *q, const struct packet *pk, uint8_t *to)
{
	struct virtio_net_hdr_mrg_rxbuf hdr = { .num_buffers = 1 };

	if (has_offload(pk))
		describe(q, pk, &hdr);
	memcpy(to, &hdr, q->hdr_size);
}

static inline void copy_plain(const struct virtq *q, const struct departure *f)
{
	static const struct virtio_net_hdr_mrg_rxbuf nothing = { .num_buffers = 1 };
	uint8_t *to = f->to;

	if (likely(q->hdr_size == sizeof(nothing) && !has_offload(packet_of(f->m))))
		memcpy(to, &nothing, sizeof(nothing));
	else
		copy_header(q, packet_of(f->m), to);
	to += q->hdr_size;
	for (const struct rte_mbuf *m = f->m; m != NULL; m = m->next) {
		memcpy(to, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
		to += m->data_len;
	}
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
	for (uint32_t i = 0; i < g->n_frames; i++) {
		if (likely(g->frames[i].to != NULL))
			copy_plain(g->q, &g->frames[i]);
		else
			copy_pieces(g, &g->frames[i]);
	}
	g->n_frames = 0;
	g->n_pieces = 0;
}

// The heads of the next n buffers, their descriptors on the way into the cache.
static void read_heads(const struct virtq *q, uint16_t n, uint16_t heads[BURST_MAX])
{
	for (uint16_t i = 0; i < n; i++) {
		uint32_t slot = (uint32_t)(q->next + i) & (q->size - 1);

		heads[i] = __atomic_load_n(&q->avail->ring[slot], __ATOMIC_RELAXED);
		rte_prefetch0(&q->desc[heads[i] & (q->size - 1)]);
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
	g.n_heads = n < g.n_waiting ? n : g.n_waiting;
	read_heads(q, g.n_heads, g.heads);
	for (uint16_t i = 0; i < n; i++) {
		enum result result;

		if (unlikely(has_offload(packet_of(pkts[i])) && !fit_offloads(q, pkts[i])))
			continue;
		result = gather(&g, pkts[i]);
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
