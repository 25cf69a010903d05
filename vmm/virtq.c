// SPDX-License-Identifier: BSD-3-Clause
// See virtq.h.
#include "vmm/virtq.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { DESCRIPTOR = sizeof(struct vring_desc) };

// The guest may write there at any time: the copy is made once, and not made again.
static void copy_once(void *to, const void *from, size_t size)
{
	memcpy(to, from, size);
	__asm__ volatile("" : : : "memory");
}

// 2.7, where the parts must lie; 2.7.10, the last word of each ring belongs to the event index.
static void *map(const struct virtio_device *d, uint64_t address, uint64_t alignment, uint64_t size)
{
	return address % alignment ? NULL : guest_memory_at(d->memory, address, size);
}

int virtq_start(struct virtq *q, struct virtio_device *device, unsigned int queue)
{
	const struct virtio_queue *from = &device->queues[queue];
	struct virtq made = { .device = device,
		.size = from->size,
		.event_index = virtio_has(device, VIRTIO_RING_F_EVENT_IDX),
		.indirect = virtio_has(device, VIRTIO_RING_F_INDIRECT_DESC),
		.counted = &device->queues[queue],
		.kick = from->kick,
		.call = from->call };

	if (!from->size || from->size > VIRTIO_QUEUE_SIZE_MAX || from->size & (from->size - 1))
		return -EINVAL;
	made.descriptors = map(device, from->descriptors, 16, (uint64_t)DESCRIPTOR * from->size);
	made.available = map(device, from->available, 2, 6 + 2ull * from->size);
	made.used = map(device, from->used, 4, 6 + 8ull * from->size);
	if (!made.descriptors || !made.available || !made.used)
		return -EINVAL;
	*q = made;
	virtq_arm(q);
	return 0;
}

int virtq_break(struct virtq *q)
{
	if (!q->broken)
		q->device->broken(q->device);
	q->broken = true;
	return -EPROTO;
}

// A walk through one chain.
struct walk {
	const uint8_t *table; // of descriptors; a guest's table may lie unaligned
	unsigned int n_table, next;
	unsigned int left; // descriptors that a chain may still have
	bool indirect;
};

// 2.7.5.3: a table is not in another one, ends its chain, and is no longer than the queue.
static bool enter_table(struct virtq *q, struct walk *w, const struct vring_desc *d)
{
	const unsigned int n = d->len / DESCRIPTOR;

	if (!q->indirect || w->indirect || d->flags & VRING_DESC_F_NEXT || d->len % DESCRIPTOR ||
		!n || n > q->size)
		return false;
	w->table = guest_memory_at(q->device->memory, d->addr, d->len);
	w->n_table = n;
	w->next = 0;
	w->indirect = true;
	return w->table != NULL;
}

// 2.7.4.2: what is written comes after all that is read. Buffers of no size are nobody's.
static bool add_buffer(struct virtq *q, struct virtq_chain *c, const struct vring_desc *d)
{
	const bool written = d->flags & VRING_DESC_F_WRITE;
	void *host = guest_memory_at(q->device->memory, d->addr, d->len);

	if (!host || !d->len || (!written && c->n_in) || c->n_out + c->n_in >= c->max)
		return false;
	c->iov[c->n_out + c->n_in] = (struct iovec){ host, d->len };
	c->n_out += !written;
	c->n_in += written;
	*(written ? &c->size_in : &c->size_out) += d->len;
	return true;
}

// 2.7.5.2: at most as many buffers as the queue has entries, so a loop ends.
static bool walk_chain(struct virtq *q, struct virtq_chain *c)
{
	struct walk w = { (const uint8_t *)q->descriptors, q->size, c->head, q->size, false };
	struct vring_desc d;

	for (;;) {
		copy_once(&d, w.table + (size_t)DESCRIPTOR * w.next, sizeof(d));
		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (!enter_table(q, &w, &d))
				return false;
			continue;
		}
		if (!w.left-- || !add_buffer(q, c, &d))
			return false;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return true;
		if (d.next >= w.n_table)
			return false;
		w.next = d.next;
	}
}

// One thread writes at a time.
static void count(uint64_t *counter, uint64_t more)
{
	__atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

static void count_bytes(const struct virtq *q, uint64_t *counter, uint64_t more)
{
	if (!q->counts_none)
		count(counter, more);
}

int virtq_next(struct virtq *q, struct virtq_chain *chain)
{
	uint16_t n;

	if (q->broken)
		return -EPROTO;
	// acquire: what the guest wrote before it made a chain available is read after this
	n = (uint16_t)(__atomic_load_n(&q->available->idx, __ATOMIC_ACQUIRE) - q->next);
	if (n == 0)
		return 0;
	chain->head =
		__atomic_load_n(&q->available->ring[q->next & (q->size - 1)], __ATOMIC_RELAXED);
	chain->iov = chain->storage;
	chain->n_out = chain->n_in = 0;
	chain->size_out = chain->size_in = 0;
	if (n > q->size || chain->head >= q->size ||
		q->taken[chain->head / 64] & 1ull << chain->head % 64 || !walk_chain(q, chain))
		return virtq_break(q);
	q->taken[chain->head / 64] |= 1ull << chain->head % 64;
	q->next++;
	q->last_out = chain->size_out;
	count_bytes(q, &q->counted->n_written, q->last_out);
	return 1;
}

void virtq_put_back(struct virtq *q, uint16_t head)
{
	q->taken[head / 64] &= ~(1ull << head % 64);
	q->next--;
	count_bytes(q, &q->counted->n_written, -q->last_out);
	q->last_out = 0;
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t written)
{
	struct vring_used_elem *e = &q->used->ring[q->used_next & (q->size - 1)];

	count(&q->counted->n_requests, 1);
	count_bytes(q, &q->counted->n_read, written);
	q->taken[head / 64] &= ~(1ull << head % 64);
	e->id = head;
	e->len = written;
	// release: the guest that sees the index sees the element and what was written
	__atomic_store_n(&q->used->idx, ++q->used_next, __ATOMIC_RELEASE);
}

bool virtq_should_call(struct virtq *q)
{
	const uint16_t before = q->called_at;
	uint16_t event;

	if (q->used_next == before)
		return false;
	q->called_at = q->used_next;
	// The used index is written before the guest's wish is read; it does it the other way
	// round, so one of both sees the other's (2.7.7.2, 2.7.10).
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!q->event_index)
		return !(__atomic_load_n(&q->available->flags, __ATOMIC_RELAXED) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	event = __atomic_load_n(&q->available->ring[q->size], __ATOMIC_RELAXED);
	return vring_need_event(event, q->used_next, before);
}

void virtq_call(struct virtq *q)
{
	const uint64_t one = 1;

	if (virtq_should_call(q) && write(q->call, &one, sizeof(one)) < 0)
		return; // full: it is signalled already
}

// 2.7.10: with event indices the flags are 0, and an index that is passed asks for nothing.
void virtq_suppress(struct virtq *q)
{
	if (!q->event_index)
		__atomic_store_n(&q->used->flags, VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

bool virtq_arm(struct virtq *q)
{
	if (q->event_index)
		__atomic_store_n((uint16_t *)&q->used->ring[q->size], q->next, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&q->used->flags, 0, __ATOMIC_RELAXED);
	// our wish is written before the index is read; see virtq_should_call
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !q->broken && __atomic_load_n(&q->available->idx, __ATOMIC_RELAXED) != q->next;
}

static void drop_front(struct iovec **iov, unsigned int *n, size_t size)
{
	(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + size;
	(*iov)->iov_len -= size;
	if ((*iov)->iov_len == 0) {
		++*iov;
		--*n;
	}
}

bool virtq_chain_read(struct virtq_chain *chain, void *to, size_t size)
{
	if (size > chain->size_out)
		return false;
	chain->size_out -= size;
	for (size_t done = 0, n; done < size; done += n) {
		n = size - done < chain->iov->iov_len ? size - done : chain->iov->iov_len;
		copy_once((uint8_t *)to + done, chain->iov->iov_base, n);
		drop_front(&chain->iov, &chain->n_out, n);
	}
	return true;
}

// What is to be read keeps its place: the iovecs to write close up to it from behind.
bool virtq_chain_write(struct virtq_chain *chain, const void *from, size_t size)
{
	struct iovec *in = chain->iov + chain->n_out;
	const unsigned int n_before = chain->n_in;

	if (size > chain->size_in)
		return false;
	chain->size_in -= size;
	for (size_t done = 0, n; done < size; done += n) {
		n = size - done < in->iov_len ? size - done : in->iov_len;
		memcpy(in->iov_base, (const uint8_t *)from + done, n);
		drop_front(&in, &chain->n_in, n);
	}
	if (chain->n_in < n_before && chain->n_in)
		memmove(chain->iov + chain->n_out, in, chain->n_in * sizeof(*in));
	return true;
}
