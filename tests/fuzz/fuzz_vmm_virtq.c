// SPDX-License-Identifier: BSD-3-Clause
// Rings of a guest as the input has them, through vmm/virtq.c, with the memory changed between
// bursts; in a heap block of its exact size. Input: features and size (2 bytes), then bytes for
// descriptors, available ring and table in turn. Whatever they are: each buffer lies in the guest's
// memory, a chain is no longer than the queue, and the device is broken at most once.
#include "tests/fuzz/fuzz.h"
#include "tests/unit/virtq_rings.h"

enum { N_BURSTS = 4, N_TABLE = 32 };

struct input {
	const uint8_t *data;
	size_t size;
};

static void fill(struct input *in, void *to, size_t size)
{
	size_t n = size < in->size ? size : in->size;

	memcpy(to, in->data, n);
	in->data += n;
	in->size -= n;
}

// Addresses and indices lie where they may unless a high bit says otherwise, else hardly one ever
// would.
static void tame(struct vring_desc *d, unsigned int n, uint16_t size)
{
	for (unsigned int i = 0; i < n; i++) {
		if (!(d[i].addr >> 63))
			d[i].addr &= RINGS_MEMORY - 1;
		if (!(d[i].len >> 31))
			d[i].len &= d[i].flags & VRING_DESC_F_INDIRECT ? 0x7f : 0xfff;
		if (!(d[i].next >> 15))
			d[i].next &= (uint16_t)(size - 1);
		if (d[i].flags & VRING_DESC_F_INDIRECT && !(d[i].len >> 30))
			d[i].addr = RINGS_TABLE + (d[i].addr & 0xf0);
	}
}

static void fill_rings(struct input *in, struct rings *r)
{
	const uint16_t size = r->device.queues[0].size;

	fill(in, r->descriptors, size * sizeof(*r->descriptors));
	fill(in, r->available, 4 + 2u * size + 2);
	fill(in, r->table, N_TABLE * sizeof(*r->table));
	tame(r->descriptors, size, size);
	tame(r->table, N_TABLE, size);
	for (uint16_t i = 0; i < size; i++)
		if (!(r->available->ring[i] >> 15))
			r->available->ring[i] &= (uint16_t)(size - 1);
	if (!(r->available->idx >> 15))
		r->available->idx = (uint16_t)(r->q.next + r->available->idx % (size + 1u));
}

static void check_chain(struct rings *r)
{
	const struct virtq_chain *c = &r->chain;
	const uint8_t *ram = r->memory.regions[0].host;
	uint64_t out = 0, in = 0;

	CHECK(c->n_out + c->n_in >= 1 && c->n_out + c->n_in <= r->q.size);
	CHECK(c->head < r->q.size);
	for (unsigned int i = 0; i < c->n_out + c->n_in; i++) {
		const uint8_t *at = c->iov[i].iov_base;

		CHECK(at >= ram && c->iov[i].iov_len && c->iov[i].iov_len <= RINGS_MEMORY);
		CHECK(at - ram <= (ptrdiff_t)(RINGS_MEMORY - c->iov[i].iov_len));
		*(i < c->n_out ? &out : &in) += c->iov[i].iov_len;
	}
	CHECK(out == c->size_out && in == c->size_in);
}

static void burst(struct rings *r)
{
	uint8_t bytes[24];
	int n;

	virtq_suppress(&r->q);
	for (unsigned int i = 0; (n = virtq_next(&r->q, &r->chain)) == 1; i++) {
		CHECK(i < r->q.size);
		check_chain(r);
		memset(bytes, 0, sizeof(bytes));
		virtq_chain_read(&r->chain, bytes, bytes[0] % sizeof(bytes) + 1);
		// may well change the rings themselves
		virtq_chain_write(&r->chain, bytes, sizeof(bytes));
		if (i % 3 == 2)
			continue; // kept
		virtq_push(&r->q, r->chain.head, (uint32_t)r->chain.size_in);
	}
	CHECK(r->q.broken == (n < 0) && r->n_broken == r->q.broken);
	virtq_call(&r->q);
	virtq_arm(&r->q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rings r;
	struct input in;

	if (size < 2)
		return 0;
	in = (struct input){ data + 2, size - 2 };
	CHECK(rings_begin(&r, (uint16_t)(1u << data[1] % 7),
		(uint64_t)(data[0] & 3) << VIRTIO_RING_F_INDIRECT_DESC));
	CHECK(virtq_start(&r.q, &r.device, 0) == 0);
	for (unsigned int i = 0; i < N_BURSTS; i++) {
		fill_rings(&in, &r);
		burst(&r);
	}
	rings_end(&r);
	return 0;
}
