// SPDX-License-Identifier: BSD-3-Clause
// A split virtqueue, what both directions share, see virtq.h: beginning, guest addresses off the
// fast path, notifications. Workers, but for virtq_start (the control side).

#include <errno.h>
#include <linux/virtio_net.h>
#include "vswitch/call_fd.h"
#include "vswitch/virtq_chain.h"

const char *virtq_fault_text(enum virtq_fault fault)
{
	static const char *const texts[] = {
#define X(symbol, text) text,
		VIRTQ_FAULTS(X)
#undef X
	};

	return texts[fault];
}

static bool feature(uint64_t features, unsigned bit)
{
	return features & 1ULL << bit;
}

// A part of a ring lies in one region, on its boundary (§2.7: 16, 2 and 4 bytes).
static bool part_ok(const struct virtq_memory *m, const void *part, size_t size, size_t align)
{
	uintptr_t at = (uintptr_t)part;

	if (part == NULL || at % align != 0)
		return false;
	for (unsigned i = 0; i < m->n; i++) {
		const struct virtq_region *r = &m->regions[i];
		uintptr_t offset = at - (uintptr_t)r->host;

		if (offset < r->size && size <= r->size - offset)
			return true;
	}
	return false;
}

int virtq_start(struct virtq *q, const struct virtq_setup *s)
{
	bool event_idx = feature(s->features, VIRTIO_RING_F_EVENT_IDX);
	bool mergeable = feature(s->features, VIRTIO_NET_F_MRG_RXBUF);
	size_t event = event_idx ? sizeof(uint16_t) : 0;

	if (s->size == 0 || s->size > VIRTQ_SIZE_MAX || (s->size & (s->size - 1)) != 0 ||
		s->memory->n > VIRTQ_REGIONS_MAX ||
		!part_ok(s->memory, s->desc, s->size * sizeof(struct vring_desc), 16) ||
		!part_ok(s->memory, s->avail,
			sizeof(struct vring_avail) + s->size * sizeof(uint16_t) + event, 2) ||
		!part_ok(s->memory, s->used,
			sizeof(struct vring_used) + s->size * sizeof(struct vring_used_elem) +
				event,
			4))
		return -EINVAL;
	*q = (struct virtq){ .desc = s->desc,
		.avail = s->avail,
		.used = s->used,
		.size = s->size,
		.next = s->next,
		.in_port = s->in_port,
		.in_queue = s->in_queue,
		.hdr_size = sizeof(struct virtio_net_hdr),
		.event_idx = event_idx,
		.indirect = feature(s->features, VIRTIO_RING_F_INDIRECT_DESC),
		.mergeable = mergeable,
		.offers = feature(s->features, VIRTIO_NET_F_CSUM),
		.signal_all = true,
		.call_fd = s->call_fd,
		.features = s->features,
		.memory = *s->memory };
	if (mergeable || feature(s->features, VIRTIO_F_VERSION_1))
		q->hdr_size = sizeof(struct virtio_net_hdr_mrg_rxbuf);
	virtq_notify_off(q);
	return 0;
}

uint8_t *virtq_memory_search(struct virtq_memory *m, uint64_t guest, uint32_t *size)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct virtq_region *r = &m->regions[i];
		uint64_t offset = guest - r->guest;

		if (offset >= r->size)
			continue;
		if (*size > r->size - offset)
			*size = (uint32_t)(r->size - offset);
		m->hot = i;
		return r->host + offset;
	}
	return NULL;
}

bool virtq_memory_read(struct virtq_memory *m, uint64_t guest, void *dst, uint32_t size)
{
	for (uint8_t *to = dst; size > 0;) {
		uint32_t n = size;
		const uint8_t *from = virtq_memory_at(m, guest, &n);

		if (from == NULL)
			return false;
		virtq_copy_once(to, from, n);
		to += n;
		guest += n;
		size -= n;
	}
	return true;
}

// §2.7.10: does the guest want to hear of it?
static bool wants_call(struct virtq *q, uint16_t before)
{
	uint16_t event;

	if (!q->event_idx)
		return !(__atomic_load_n(&q->avail->flags, __ATOMIC_RELAXED) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	if (q->signal_all) {
		q->signal_all = false;
		return true;
	}
	event = __atomic_load_n(&q->avail->ring[q->size], __ATOMIC_RELAXED);
	return (uint16_t)(q->next - event - 1) < (uint16_t)(q->next - before);
}

// Makes the next n buffers, whose used elements are written, the guest's.
void virtq_return(struct virtq *q, uint16_t n)
{
	uint16_t before = q->next;

	if (n == 0)
		return;
	q->next = (uint16_t)(before + n);
	__atomic_store_n(&q->used->idx, q->next, __ATOMIC_RELEASE);
	if (q->call_fd < 0)
		return;
	// The guest writes what it wants and then looks for used buffers; we the other way round:
	// forbids the store of used->idx to pass the loads.
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (wants_call(q, before) && unlikely(!call_fd_signal(q->call_fd)))
		q->fault = VIRTQ_FAULT_CALL; // once is enough
}

void virtq_notify_on(struct virtq *q)
{
	if (q->event_idx) {
		uint16_t *event = (uint16_t *)&q->used->ring[q->size];

		__atomic_store_n(event, q->next, __ATOMIC_RELAXED);
	} else {
		__atomic_store_n(&q->used->flags, 0, __ATOMIC_RELAXED);
	}
	// The guest must see the request before we look whether it came too late: forbids the store
	// to pass the load of avail->idx.
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

// With event index, the last event asked for is behind us for the next 65,535 buffers.
void virtq_notify_off(struct virtq *q)
{
	if (!q->event_idx)
		__atomic_store_n(&q->used->flags, VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

bool virtq_waiting(const struct virtq *q)
{
	return q->fault == VIRTQ_FAULT_NONE &&
	       __atomic_load_n(&q->avail->idx, __ATOMIC_RELAXED) != q->next;
}
