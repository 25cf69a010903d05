// SPDX-License-Identifier: BSD-3-Clause
// A split virtqueue, driver's side: see virtq.h.
#include <errno.h>
#include "base.h"
#include "cpu.h"
#include "io.h"
#include "virtq.h"

enum { RING_ALIGN = 4096, FAR = 0x8000 };

#define COMMON(d, field) ((d)->common + offsetof(struct virtio_pci_common_cfg, field))

// Event fields lie behind the rings (virtio 1.2, 2.7.6 and 2.7.8).
static uint16_t *used_event(struct virtq *q)
{
	return &q->avail->ring[q->size];
}

static uint16_t avail_event(struct virtq *q)
{
	return *(volatile uint16_t *)&q->used->ring[q->size];
}

static void rings_take(struct virtq *q)
{
	unsigned n = q->size;

	if (q->size_taken >= n)
		return;
	q->size_taken = q->size;
	q->desc = memory_take(n * sizeof(*q->desc), RING_ALIGN);
	q->avail = memory_take(sizeof(*q->avail) + (n + 1) * sizeof(uint16_t), RING_ALIGN);
	q->used =
		memory_take(sizeof(*q->used) + n * sizeof(struct vring_used_elem) + 2, RING_ALIGN);
	q->owners = memory_take(n * sizeof(*q->owners), 8);
	q->tables = memory_take(n * VIRTQ_MAX_PIECES * sizeof(*q->tables), 16);
}

static void rings_clear(struct virtq *q)
{
	unsigned n = q->size;

	memset(q->desc, 0, n * sizeof(*q->desc));
	memset(q->avail, 0, sizeof(*q->avail) + (n + 1) * sizeof(uint16_t));
	memset(q->used, 0, sizeof(*q->used) + n * sizeof(struct vring_used_elem) + 2);
	memset(q->owners, 0, n * sizeof(*q->owners));
	for (unsigned i = 0; i < n; i++)
		q->desc[i].next = (uint16_t)(i + 1);
	q->n_free = q->size;
	q->free_head = q->avail_next = q->avail_told = q->used_next = 0;
	virtq_disarm(q);
}

static void rings_tell(struct virtio *d, struct virtq *q)
{
	mmio_write64(COMMON(d, queue_desc_lo), (uintptr_t)q->desc);
	mmio_write64(COMMON(d, queue_avail_lo), (uintptr_t)q->avail);
	mmio_write64(COMMON(d, queue_used_lo), (uintptr_t)q->used);
	q->has_vector = false;
	if (d->msix_table) {
		uint16_t vector = q->index < d->n_vectors ? q->index : d->n_vectors - 1;

		mmio_write16(COMMON(d, queue_msix_vector), vector);
		q->has_vector = mmio_read16(COMMON(d, queue_msix_vector)) == vector;
	}
	mmio_write16(COMMON(d, queue_enable), 1);
}

int virtq_init(struct virtio *d, uint16_t index, uint16_t max_size, struct virtq *q)
{
	uint64_t notify;
	uint16_t size;

	mmio_write16(COMMON(d, queue_select), index);
	size = mmio_read16(COMMON(d, queue_size));
	notify = (uint64_t)mmio_read16(COMMON(d, queue_notify_off)) * d->notify_multiplier;
	if (size == 0 || index >= mmio_read16(COMMON(d, num_queues)))
		return -ENOENT;
	if (size > max_size)
		size = max_size;
	if (notify + 2 > d->notify_size || (q->size_taken && size > q->size_taken))
		return -EINVAL;
	mmio_write16(COMMON(d, queue_size), size);
	q->index = index;
	q->size = size;
	q->event_index = virtio_has(d, VIRTIO_RING_F_EVENT_IDX);
	q->notify_at = d->notify + notify;
	rings_take(q);
	q->indirect = virtio_has(d, VIRTIO_RING_F_INDIRECT_DESC) ? q->tables : NULL;
	rings_clear(q);
	rings_tell(d, q);
	return 0;
}

static void desc_set(struct vring_desc *desc, const struct piece *piece, bool in, bool last)
{
	desc->addr = (uintptr_t)piece->data;
	desc->len = piece->size;
	desc->flags = (in ? VRING_DESC_F_WRITE : 0) | (last ? 0 : VRING_DESC_F_NEXT);
}

// Into the free list's descriptors, whose `next` fields already lead on.
static uint16_t chain_direct(
	struct virtq *q, const struct piece *pieces, unsigned n_out, unsigned n)
{
	uint16_t head = q->free_head;

	for (unsigned i = 0; i < n; i++) {
		struct vring_desc *desc = &q->desc[q->free_head];

		desc_set(desc, &pieces[i], i >= n_out, i + 1 == n);
		q->free_head = desc->next;
	}
	q->n_free -= (uint16_t)n;
	return head;
}

static uint16_t chain_indirect(
	struct virtq *q, const struct piece *pieces, unsigned n_out, unsigned n)
{
	uint16_t head = q->free_head;
	struct vring_desc *table = &q->indirect[head * VIRTQ_MAX_PIECES], *desc = &q->desc[head];

	for (unsigned i = 0; i < n; i++) {
		desc_set(&table[i], &pieces[i], i >= n_out, i + 1 == n);
		table[i].next = (uint16_t)(i + 1);
	}
	desc->addr = (uintptr_t)table;
	desc->len = n * (uint32_t)sizeof(*table);
	desc->flags = VRING_DESC_F_INDIRECT;
	q->free_head = desc->next;
	q->n_free--;
	return head;
}

int virtq_add(
	struct virtq *q, const struct piece *pieces, unsigned n_out, unsigned n_in, void *owner)
{
	unsigned n = n_out + n_in;
	bool indirect = q->indirect && n > 1;
	uint16_t head;

	if (n == 0 || n > VIRTQ_MAX_PIECES)
		return -EINVAL;
	if (q->n_free < (indirect ? 1 : n))
		return -EAGAIN;
	head = indirect ? chain_indirect(q, pieces, n_out, n) : chain_direct(q, pieces, n_out, n);
	q->owners[head] = owner;
	q->avail->ring[q->avail_next % q->size] = head;
	store_barrier(); // the entry before the index that offers it
	*(volatile uint16_t *)&q->avail->idx = ++q->avail_next;
	return 0;
}

void virtq_kick(struct virtq *q)
{
	uint16_t told = q->avail_told;

	if (q->avail_next == told)
		return;
	q->avail_told = q->avail_next;
	full_barrier(); // our index before the device's wish
	if (q->event_index ? vring_need_event(avail_event(q), q->avail_next, told)
			   : !(*(volatile uint16_t *)&q->used->flags & VRING_USED_F_NO_NOTIFY))
		mmio_write16(q->notify_at, q->index);
}

static void chain_free(struct virtq *q, uint16_t head)
{
	uint16_t last = head, n = 1;

	for (; q->desc[last].flags & VRING_DESC_F_NEXT; n++)
		last = q->desc[last].next;
	q->desc[last].next = q->free_head;
	q->free_head = head;
	q->n_free += n;
}

void *virtq_take(struct virtq *q, uint32_t *ret_size)
{
	struct vring_used_elem *done = &q->used->ring[q->used_next % q->size];
	void *owner;

	if (*(volatile uint16_t *)&q->used->idx == q->used_next)
		return NULL;
	load_barrier(); // the entry after the index that tells of it
	if (done->id >= q->size || !q->owners[done->id]) {
		say("fail queue %u: the device is done with %u, which it was not given", q->index,
			done->id);
		cpu_end(false);
	}
	owner = q->owners[done->id];
	q->owners[done->id] = NULL;
	*ret_size = done->len;
	chain_free(q, (uint16_t)done->id);
	q->used_next++;
	return owner;
}

bool virtq_arm(struct virtq *q)
{
	*(volatile uint16_t *)&q->avail->flags = 0;
	*(volatile uint16_t *)used_event(q) = q->used_next;
	full_barrier(); // our wish before the device's index
	return *(volatile uint16_t *)&q->used->idx != q->used_next;
}

void virtq_disarm(struct virtq *q)
{
	*(volatile uint16_t *)&q->avail->flags = q->event_index ? 0 : VRING_AVAIL_F_NO_INTERRUPT;
	*(volatile uint16_t *)used_event(q) = (uint16_t)(q->used_next - FAR);
}
