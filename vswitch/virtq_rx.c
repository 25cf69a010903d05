// SPDX-License-Identifier: BSD-3-Clause
// A split virtqueue, what the guest sends (virtio 1.2 §5.1.6.2), see virtq.h. Workers.

#include "vswitch/virtq_chain.h"
#include "vswitch/vnet_hdr.h"

// A frame on its way out of a chain: first the header, then as many mbufs as it takes.
struct arrival {
	struct rte_mempool *pool;
	struct rte_mbuf *head, *last;
	uint32_t hdr_got; // bytes of hdr
	struct virtio_net_hdr_mrg_rxbuf *hdr;
};

enum result { FAULT = -1, GOOD, TOO_SHORT, TOO_LONG, NO_MBUF };

static enum result append(struct arrival *a, const uint8_t *from, uint32_t size)
{
	if (unlikely(size > VIRTQ_FRAME_MAX - a->head->pkt_len))
		return TOO_LONG;
	a->head->pkt_len += size;
	for (;;) {
		uint16_t n = (uint16_t)RTE_MIN(size, (uint32_t)rte_pktmbuf_tailroom(a->last));

		memcpy(rte_pktmbuf_mtod_offset(a->last, void *, a->last->data_len), from, n);
		a->last->data_len = (uint16_t)(a->last->data_len + n);
		from += n;
		size -= n;
		if (likely(size == 0))
			return GOOD;
		a->last->next = rte_pktmbuf_alloc(a->pool);
		if (unlikely(a->last->next == NULL))
			return NO_MBUF;
		a->last = a->last->next;
		a->head->nb_segs++;
	}
}

static enum result take(
	struct arrival *a, const struct virtq *q, const uint8_t *from, uint32_t size)
{
	if (a->hdr_got < q->hdr_size) {
		uint32_t n = RTE_MIN(size, q->hdr_size - a->hdr_got);

		virtq_copy_once((uint8_t *)a->hdr + a->hdr_got, from, n);
		a->hdr_got += n;
		from += n;
		size -= n;
	}
	return size > 0 ? append(a, from, size) : GOOD;
}

// All of a chain, whose first descriptor *d is. A descriptor of no bytes is nothing, wherever it
// points (H-17).
static __rte_noinline enum result take_chain(
	struct arrival *a, struct virtq *q, uint32_t head, struct vring_desc *d, uint32_t *descs)
{
	struct virtq_chain c;
	int r = virtq_chain_begin(q, &c, head, d);

	for (; r > 0; r = virtq_chain_next(q, &c, d)) {
		++*descs;
		if (unlikely(d->flags & VRING_DESC_F_WRITE))
			return (enum result)virtq_chain_fault(q, VIRTQ_FAULT_DIRECTION);
		while (d->len > 0) {
			uint32_t size = d->len;
			const uint8_t *from = virtq_memory_at(&q->memory, d->addr, &size);
			enum result result;

			if (unlikely(from == NULL))
				return (enum result)virtq_chain_fault(q, VIRTQ_FAULT_ADDRESS);
			result = take(a, q, from, size);
			if (unlikely(result != GOOD))
				return result;
			d->addr += size;
			d->len -= size;
		}
	}
	if (unlikely(r < 0))
		return FAULT;
	return likely(a->head->pkt_len > 0) ? GOOD : TOO_SHORT;
}

// A buffer of one descriptor, in one piece, whose frame fits the fresh mbuf's `room`: nearly every
// one. False: it is another kind, and nothing is done.
static inline bool take_plain(struct virtq *q, const struct vring_desc *d, struct rte_mbuf *m,
	uint32_t room, struct virtio_net_hdr_mrg_rxbuf *ret_hdr)
{
	uint32_t hdr_size = q->hdr_size, n = d->len - hdr_size, size = d->len;
	const uint8_t *from;

	if (unlikely(!virtq_is_plain(d, 0) || d->len <= hdr_size || n > room))
		return false;
	from = virtq_memory_at(&q->memory, d->addr, &size);
	if (unlikely(from == NULL || size < d->len))
		return false;
	if (likely(hdr_size == sizeof(*ret_hdr)))
		virtq_copy_once(ret_hdr, from, sizeof(*ret_hdr));
	else
		virtq_copy_once(ret_hdr, from, sizeof(ret_hdr->hdr));
	memcpy(rte_pktmbuf_mtod(m, void *), from + hdr_size, n);
	m->data_len = (uint16_t)n;
	m->pkt_len = n;
	return true;
}

// Metadata as the guest claims; parse checks. What was not negotiated is not read; that a checksum
// has been validated (DATA_VALID) is not the sender's to say.
static inline void describe(
	const struct virtq *q, struct rte_mbuf *m, const struct virtio_net_hdr *hdr)
{
	struct packet *pk = packet_of(m);

	memset(pk, 0, sizeof(*pk));
	pk->in_port = q->in_port;
	pk->in_queue = q->in_queue;
	if (q->offers && unlikely((hdr->flags | hdr->gso_type) != 0)) {
		vnet_hdr_read(hdr, pk);
		pk->flags &= (uint16_t)~PACKET_DATA_VALID;
	}
}

static void forget(struct rte_mbuf *m)
{
	rte_pktmbuf_free(m->next);
	m->next = NULL;
	m->nb_segs = 1;
	m->data_len = 0;
	m->pkt_len = 0;
}

static void count(enum result result, uint64_t drops[DROP_COUNT])
{
	switch (result) {
	case FAULT: // the queue's, not the frame's
	case GOOD:
		break;
	case TOO_SHORT:
		drops[DROP_PARSE_TOO_SHORT]++;
		break;
	case TOO_LONG:
		drops[DROP_PARSE_OFFLOAD]++;
		break;
	case NO_MBUF:
		drops[DROP_NO_MEMORY]++;
		break;
	}
}

// Heads of the next n buffers, their descriptors on the way into the cache. Fewer than n when one
// does not exist: then the queue has stopped.
static uint16_t read_heads(struct virtq *q, uint16_t n, uint16_t heads[BURST_MAX])
{
	for (uint16_t i = 0; i < n; i++) {
		int head = virtq_head(q, i);

		if (unlikely(head < 0))
			return i;
		heads[i] = (uint16_t)head;
		rte_prefetch0(&q->desc[head]);
	}
	return n;
}

uint16_t virtq_rx(struct virtq *q, struct rte_mempool *pool, struct rte_mbuf **ret_pkts, uint16_t n,
	uint64_t drops[DROP_COUNT])
{
	uint16_t heads[BURST_MAX], n_waiting, n_got = 0, n_taken = 0;
	uint32_t bytes = 0, descs = 0;
	uint32_t room = rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM;

	if (unlikely(q->fault != VIRTQ_FAULT_NONE))
		return 0;
	n_waiting = virtq_n_waiting(q);
	n = read_heads(q, n < n_waiting ? n : n_waiting, heads);
	if (n > 0 && rte_pktmbuf_alloc_bulk(pool, ret_pkts, n) != 0)
		return 0;
	while (n_taken < n && bytes < VIRTQ_BURST_BYTES && descs < VIRTQ_BURST_DESCS) {
		struct rte_mbuf *m = ret_pkts[n_got];
		struct virtio_net_hdr_mrg_rxbuf hdr;
		uint16_t head = heads[n_taken];
		enum result result = GOOD;
		struct vring_desc d;

		virtq_read_head(q, head, &d);
		if (likely(take_plain(q, &d, m, room, &hdr)))
			descs++;
		else
			result = take_chain(
				&(struct arrival){
					.pool = pool, .head = m, .last = m, .hdr = &hdr },
				q, head, &d, &descs);
		bytes += m->pkt_len; // a frame that is no good has cost as much
		if (likely(result == GOOD)) {
			describe(q, m, &hdr.hdr);
			n_got++;
		} else {
			forget(m);
			count(result, drops);
			if (result == FAULT)
				break;
		}
		virtq_set_used(q, n_taken++, head, 0);
	}
	if (unlikely(n_got < n))
		rte_pktmbuf_free_bulk(ret_pkts + n_got, (unsigned)(n - n_got));
	virtq_return(q, n_taken);
	return n_got;
}
