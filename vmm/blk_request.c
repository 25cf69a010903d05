// SPDX-License-Identifier: BSD-3-Clause
// See blk_request.h.
#include "vmm/blk_request.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>

static int answer(struct blk_request *r, uint8_t status)
{
	r->action = BLK_ANSWER;
	r->status = status;
	return 0;
}

// [at, at + size) is to be within the disk, in whole blocks.
static bool place(struct blk_request *r, const struct virtio_blk *b, uint64_t sector, uint64_t size)
{
	const uint64_t block = b->alignment ? b->alignment : VIRTIO_BLK_SECTOR;

	if (sector > b->size / VIRTIO_BLK_SECTOR || size > b->size - sector * VIRTIO_BLK_SECTOR)
		return false;
	r->at = sector * VIRTIO_BLK_SECTOR;
	r->size = size;
	return r->at % block == 0 && size % block == 0;
}

static int check_data(
	struct blk_request *r, const struct virtio_blk *b, uint64_t sector, bool write)
{
	if (!place(r, b, sector, write ? r->chain.size_out : r->chain.size_in) ||
		(write && b->options.read_only)) // 5.2.6.2
		return answer(r, VIRTIO_BLK_S_IOERR);
	if (r->size == 0)
		return answer(r, VIRTIO_BLK_S_OK);
	r->action = write ? BLK_WRITE : BLK_READ;
	r->iov = r->chain.iov + (write ? 0 : r->chain.n_out);
	r->n_iov = write ? r->chain.n_out : r->chain.n_in;
	return 0;
}

// 5.2.6.2: flags that are unknown, and unmap of a discard, are not supported; one segment, as the
// configuration says, of at most so many sectors.
static int check_segment(struct blk_request *r, const struct virtio_blk *b, uint32_t type)
{
	const bool discard = type == VIRTIO_BLK_T_DISCARD;
	const uint32_t allowed = discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	struct virtio_blk_discard_write_zeroes s;

	if (!virtio_has(&b->device, discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES))
		return answer(r, VIRTIO_BLK_S_UNSUPP);
	if (r->chain.size_out != sizeof(s) || !virtq_chain_read(&r->chain, &s, sizeof(s)))
		return answer(r, VIRTIO_BLK_S_IOERR);
	if (s.flags & ~allowed)
		return answer(r, VIRTIO_BLK_S_UNSUPP);
	if (s.num_sectors > b->space.max_discard_sectors ||
		!place(r, b, s.sector, (uint64_t)s.num_sectors * VIRTIO_BLK_SECTOR) ||
		b->options.read_only)
		return answer(r, VIRTIO_BLK_S_IOERR);
	if (r->size == 0)
		return answer(r, VIRTIO_BLK_S_OK);
	r->action = discard ? BLK_DISCARD : s.flags ? BLK_ZERO : BLK_ZERO_KEEP;
	return 0;
}

static int check_id(struct blk_request *r, const struct virtio_blk *b)
{
	char id[VIRTIO_BLK_ID_BYTES] = { 0 };
	uint32_t size = r->chain.size_in < sizeof(id) ? (uint32_t)r->chain.size_in : sizeof(id);

	memcpy(id, b->options.serial, strnlen(b->options.serial, sizeof(id)));
	virtq_chain_write(&r->chain, id, size);
	r->written = size;
	return answer(r, VIRTIO_BLK_S_OK);
}

// The last byte that we may write (5.2.6); NULL if there is none.
static uint8_t *cut_status(struct virtq_chain *c)
{
	struct iovec *last = c->iov + c->n_out + c->n_in - 1;

	if (c->n_in == 0)
		return NULL;
	c->size_in--;
	last->iov_len--;
	c->n_in -= last->iov_len == 0;
	return (uint8_t *)last->iov_base + last->iov_len;
}

int blk_request_check(struct blk_request *r, const struct virtio_blk *b)
{
	struct virtio_blk_outhdr header;

	r->ret_status = cut_status(&r->chain);
	if (!r->ret_status || !virtq_chain_read(&r->chain, &header, sizeof(header)))
		return -EPROTO;
	r->status = VIRTIO_BLK_S_OK;
	r->error = 0;
	r->at = r->size = r->done = 0;
	r->written = 0;
	r->size_in = r->chain.size_in;
	// 5.2.6.2: who has not negotiated a flush gets what is written onto the disk at once
	r->durable = !virtio_has(&b->device, VIRTIO_BLK_F_FLUSH) ||
		     !__atomic_load_n(&b->space.wce, __ATOMIC_RELAXED);
	switch (header.type) {
	case VIRTIO_BLK_T_IN:
		return check_data(r, b, header.sector, false);
	case VIRTIO_BLK_T_OUT:
		return check_data(r, b, header.sector, true);
	case VIRTIO_BLK_T_FLUSH:
		r->action = BLK_FLUSH;
		return 0;
	case VIRTIO_BLK_T_GET_ID:
		return check_id(r, b);
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return check_segment(r, b, header.type);
	default:
		return answer(r, VIRTIO_BLK_S_UNSUPP);
	}
}

static uint64_t front(const struct blk_request *r, uint64_t size)
{
	return size < r->iov->iov_len ? size : r->iov->iov_len;
}

void blk_request_advance(struct blk_request *r, uint64_t size)
{
	r->done += size;
	for (uint64_t n; size > 0; size -= n) {
		n = front(r, size);
		r->iov->iov_base = (uint8_t *)r->iov->iov_base + n;
		r->iov->iov_len -= n;
		if (r->iov->iov_len == 0) {
			r->iov++;
			r->n_iov--;
		}
	}
}

// What was copied is off the front, but not done before it is on the disk.
void blk_request_copy_out(struct blk_request *r, void *to, uint64_t size)
{
	for (uint64_t n; size > 0; size -= n, to = (uint8_t *)to + n) {
		n = front(r, size);
		memcpy(to, r->iov->iov_base, n);
		blk_request_advance(r, n);
		r->done -= n;
	}
}

void blk_request_copy_in(struct blk_request *r, const void *from, uint64_t size)
{
	for (uint64_t n; size > 0; size -= n, from = (const uint8_t *)from + n) {
		n = front(r, size);
		memcpy(r->iov->iov_base, from, n);
		blk_request_advance(r, n);
	}
}
