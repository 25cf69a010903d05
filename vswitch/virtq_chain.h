// SPDX-License-Identifier: BSD-3-Clause
// Inner side of virtq.h, shared by virtq_rx.c and virtq_tx.c: guest addresses and descriptor
// chains. A descriptor is copied once and only the copy is looked at.
#pragma once

#include <rte_branch_prediction.h>
#include <rte_prefetch.h>
#include "vswitch/virtq.h"

#define VIRTQ_CHAIN_END UINT32_MAX

struct virtq_chain {
	const uint8_t *table; // descriptors, or NULL: they straddle regions, see table_guest
	uint64_t table_guest;
	uint32_t table_n; // descriptors in it
	uint32_t left; // descriptors this chain may still have
	uint32_t next; // in the table, or VIRTQ_CHAIN_END
	bool indirect;
};

// virtq.c
uint8_t *virtq_memory_search(struct virtq_memory *m, uint64_t guest, uint32_t *size);
bool virtq_memory_read(struct virtq_memory *m, uint64_t guest, void *dst, uint32_t size);
void virtq_return(struct virtq *q, uint16_t n);

// Where `guest` is mapped, NULL if it is not; *size (> 0) shrinks to what lies there in one piece.
static inline uint8_t *virtq_memory_at(struct virtq_memory *m, uint64_t guest, uint32_t *size)
{
	const struct virtq_region *r = &m->regions[m->hot];
	uint64_t offset = guest - r->guest;

	if (likely(offset < r->size && *size <= r->size - offset))
		return r->host + offset;
	return virtq_memory_search(m, guest, size);
}

// The guest may write here at any time: the copy is made once, and not made again.
static inline void virtq_copy_once(void *dst, const void *src, size_t size)
{
	memcpy(dst, src, size);
	__asm__ volatile("" : : : "memory");
}

// How many buffers wait; what the guest wrote before it made them available can be read after this.
static inline uint16_t virtq_n_waiting(struct virtq *q)
{
	uint16_t n = (uint16_t)(__atomic_load_n(&q->avail->idx, __ATOMIC_ACQUIRE) - q->next);

	if (unlikely(n > q->size)) {
		q->fault = VIRTQ_FAULT_AVAIL;
		return 0;
	}
	return n;
}

// The head of the buffer `i` from the next, or -1 with the queue stopped.
static inline int virtq_head(struct virtq *q, uint16_t i)
{
	uint32_t slot = (uint32_t)(q->next + i) & (q->size - 1);
	uint16_t head = __atomic_load_n(&q->avail->ring[slot], __ATOMIC_RELAXED);

	if (unlikely(head >= q->size)) {
		q->fault = VIRTQ_FAULT_HEAD;
		return -1;
	}
	return head;
}

// Says of the buffer `i` from the next how much was written; virtq_return makes it the guest's.
static inline void virtq_set_used(struct virtq *q, uint16_t i, uint32_t head, uint32_t size)
{
	struct vring_used_elem *e = &q->used->ring[(uint32_t)(q->next + i) & (q->size - 1)];

	e->id = head;
	e->len = size;
}

static inline int virtq_chain_fault(struct virtq *q, enum virtq_fault fault)
{
	q->fault = fault;
	return -1;
}

static inline bool virtq_chain_read(
	struct virtq *q, const struct virtq_chain *c, struct vring_desc *ret)
{
	if (likely(c->table != NULL)) {
		virtq_copy_once(ret, c->table + sizeof(*ret) * c->next, sizeof(*ret));
		return true;
	}
	return virtq_memory_read(
		&q->memory, c->table_guest + sizeof(*ret) * c->next, ret, sizeof(*ret));
}

// A table of descriptors (virtio 1.2 §2.7.5.3): not in another, and last in its chain.
static inline int virtq_chain_enter(
	struct virtq *q, struct virtq_chain *c, const struct vring_desc *d)
{
	uint32_t n = d->len / (uint32_t)sizeof(*d), size = d->len;

	if (!q->indirect || c->indirect || d->flags & VRING_DESC_F_NEXT ||
		d->len % sizeof(*d) != 0 || n == 0 || n > q->size)
		return virtq_chain_fault(q, VIRTQ_FAULT_INDIRECT);
	c->table = virtq_memory_at(&q->memory, d->addr, &size);
	if (c->table == NULL)
		return virtq_chain_fault(q, VIRTQ_FAULT_ADDRESS);
	if (size < d->len)
		c->table = NULL;
	c->table_guest = d->addr;
	c->table_n = n;
	c->next = 0;
	c->indirect = true;
	return 0;
}

// Goes on from the descriptor at c->next, which *d is, to one that is a buffer: 1, or -1 with the
// queue stopped.
static inline int virtq_chain_step(struct virtq *q, struct virtq_chain *c, struct vring_desc *d)
{
	while (unlikely(d->flags & VRING_DESC_F_INDIRECT)) {
		if (virtq_chain_enter(q, c, d) < 0)
			return -1;
		if (unlikely(!virtq_chain_read(q, c, d)))
			return virtq_chain_fault(q, VIRTQ_FAULT_ADDRESS);
	}
	if (unlikely(c->left-- == 0))
		return virtq_chain_fault(q, VIRTQ_FAULT_CHAIN);
	c->next = VIRTQ_CHAIN_END;
	if (d->flags & VRING_DESC_F_NEXT) {
		c->next = d->next;
		if (unlikely(c->next >= c->table_n))
			return virtq_chain_fault(q, VIRTQ_FAULT_CHAIN);
	}
	return 1;
}

// The next descriptor that is a buffer: 1; 0 at the end of the chain, -1 with the queue stopped.
static inline int virtq_chain_next(struct virtq *q, struct virtq_chain *c, struct vring_desc *ret)
{
	if (c->next == VIRTQ_CHAIN_END)
		return 0;
	if (unlikely(!virtq_chain_read(q, c, ret)))
		return virtq_chain_fault(q, VIRTQ_FAULT_ADDRESS);
	return virtq_chain_step(q, c, ret);
}

// The first descriptor of a buffer, as it is now. What it begins is for virtq_is_plain or
// virtq_chain_begin to see.
static inline void virtq_read_head(const struct virtq *q, uint32_t head, struct vring_desc *ret)
{
	virtq_copy_once(ret, &q->desc[head], sizeof(*ret));
}

// A buffer of this one descriptor, to read from (`direction` 0) or VRING_DESC_F_WRITE: nearly every
// one.
static inline bool virtq_is_plain(const struct vring_desc *d, uint16_t direction)
{
	return (d->flags & (VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT | VRING_DESC_F_WRITE)) ==
	       direction;
}

// As virtq_chain_next, of the first descriptor, which has been read.
static inline int virtq_chain_begin(
	struct virtq *q, struct virtq_chain *c, uint32_t head, struct vring_desc *d)
{
	c->table = (const uint8_t *)q->desc;
	c->table_guest = 0;
	c->table_n = q->size;
	c->left = RTE_MIN(q->size, (uint32_t)VIRTQ_CHAIN_MAX);
	c->next = head;
	c->indirect = false;
	return virtq_chain_step(q, c, d);
}
