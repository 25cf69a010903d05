// SPDX-License-Identifier: BSD-3-Clause
// Requests of a guest to a disk, through vmm/virtq.c and blk_request.c; the kernel's part is played
// by the input. Input: features, direct and read-only (3 bytes), then bytes for descriptors and
// headers, then how much the "kernel" takes at a time. Whatever they are: what is done lies within
// the disk, what is left of the data is as long as what is to be done, and in the guest's memory.
#include <errno.h>
#include "tests/fuzz/fuzz.h"
#include "tests/unit/virtq_rings.h"
#include "vmm/blk_request.h"

enum { SIZE = 32, DISK = 1 << 20, HEADERS = RINGS_DATA, STEPS = 16 };

static void fill(const uint8_t **data, size_t *left, void *to, size_t size)
{
	size_t n = size < *left ? size : *left;

	memcpy(to, *data, n);
	*data += n;
	*left -= n;
}

// Lengths of descriptors and sectors are mostly such that a request can be good.
static void fill_guest(struct rings *r, const uint8_t **data, size_t *left)
{
	struct virtio_blk_outhdr *h =
		(struct virtio_blk_outhdr *)(r->memory.regions[0].host + HEADERS);

	fill(data, left, r->descriptors, SIZE * sizeof(*r->descriptors));
	fill(data, left, h, SIZE * sizeof(*h));
	for (uint16_t i = 0; i < SIZE; i++) {
		struct vring_desc *d = &r->descriptors[i];

		d->flags &= VRING_DESC_F_NEXT | VRING_DESC_F_WRITE;
		d->next &= SIZE - 1;
		d->addr &= RINGS_MEMORY / 2 - 1;
		d->len &= 0x1fff;
		if (i % 4 == 0)
			*d = (struct vring_desc){ HEADERS + i * 16u, 16 + (d->len & 0x201),
				VRING_DESC_F_NEXT, d->next };
		if (!(h[i].type >> 31))
			h[i].type &= 15;
		if (!(h[i].sector >> 63))
			h[i].sector &= 0xfff;
		r->available->ring[i] = (uint16_t)(i * 4 % SIZE);
	}
	r->available->idx = 8;
}

static void check_left(const struct rings *rings, const struct blk_request *r, uint64_t left)
{
	const uint8_t *ram = rings->memory.regions[0].host;
	uint64_t sum = 0;

	for (unsigned int i = 0; i < r->n_iov; i++) {
		const uint8_t *at = r->iov[i].iov_base;

		CHECK(r->iov[i].iov_len && at >= ram && at - ram <= RINGS_MEMORY);
		CHECK(r->iov[i].iov_len <= (size_t)(RINGS_MEMORY - (at - ram)));
		sum += r->iov[i].iov_len;
	}
	CHECK(sum == left);
}

static void transfer(struct rings *rings, struct blk_request *r, const uint8_t **data, size_t *left)
{
	uint8_t bytes[4096] = { 0 };
	uint64_t undone = r->size;

	for (unsigned int i = 0; undone > 0 && i < STEPS; i++) {
		uint16_t n = UINT16_MAX;

		fill(data, left, &n, sizeof(n));
		n = (uint16_t)(n % sizeof(bytes) < undone ? n % sizeof(bytes) : undone);
		check_left(rings, r, undone);
		if (i % 2)
			blk_request_advance(r, n);
		else if (r->action == BLK_READ)
			blk_request_copy_in(r, bytes, n);
		else
			blk_request_copy_out(r, bytes, n);
		undone -= n;
	}
	check_left(rings, r, undone);
}

static void request(struct rings *rings, const struct virtio_blk *b, struct blk_request *r,
	const uint8_t **data, size_t *left)
{
	const uint8_t *ram = rings->memory.regions[0].host;
	int err = blk_request_check(r, b);

	CHECK(err == 0 || err == -EPROTO);
	if (err)
		return;
	CHECK(r->ret_status >= ram && r->ret_status < ram + RINGS_MEMORY);
	CHECK(r->status <= VIRTIO_BLK_S_UNSUPP && r->written <= r->size_in);
	if (r->action == BLK_ANSWER || r->action == BLK_FLUSH)
		return;
	CHECK(r->size > 0 && r->at < b->size && r->size <= b->size - r->at);
	CHECK(r->at % 512 == 0 && r->size % 512 == 0);
	CHECK(!b->options.read_only || r->action == BLK_READ);
	CHECK(!b->alignment || (r->at % b->alignment == 0 && r->size % b->alignment == 0));
	if (r->action == BLK_READ || r->action == BLK_WRITE)
		transfer(rings, r, data, left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_blk b = { .size = DISK };
	struct blk_request r;
	struct rings rings;

	if (size < 3)
		return 0;
	r.chain = (struct virtq_chain){ .storage = r.storage, .max = VIRTIO_BLK_QUEUE_SIZE };
	b.options.serial = "12345678901234567890";
	b.options.read_only = data[0] & 1;
	b.alignment = data[0] & 2 ? 4096 : 0;
	b.space.wce = data[0] >> 2 & 1;
	b.space.max_discard_sectors = 1000;
	b.device.features = (uint64_t)(data[1] << 8 | data[2]);
	data += 3;
	size -= 3;
	CHECK(rings_begin(&rings, SIZE, 0));
	CHECK(virtq_start(&rings.q, &rings.device, 0) == 0);
	fill_guest(&rings, &data, &size);
	while (virtq_next(&rings.q, &r.chain) == 1) {
		request(&rings, &b, &r, &data, &size);
		virtq_push(&rings.q, r.chain.head, 0);
	}
	rings_end(&rings);
	return 0;
}
