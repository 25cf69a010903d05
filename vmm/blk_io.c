// SPDX-License-Identifier: BSD-3-Clause
// See blk_io.h. Nothing is answered as flushed, nor as written where the guest has no cache to
// flush, before fdatasync or RWF_DSYNC has said so. What the host cannot (a full disk, a file cut
// short, an I/O error) is VIRTIO_BLK_S_IOERR, and r->error says why.
#include "vmm/blk_io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum { BOUNCE_SIZE = 64 << 10, ZEROES = 4096 };

// Written where the file cannot make a hole.
static const uint8_t zeroes[ZEROES] __attribute__((aligned(ZEROES)));

static void submit(struct io_uring_sqe *sqe, struct blk_request *r)
{
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data64(sqe, (uintptr_t)r);
}

static bool done(struct blk_request *r, uint8_t status)
{
	free(r->bounce);
	r->bounce = NULL;
	r->status = status;
	r->written = r->action == BLK_READ && status == VIRTIO_BLK_S_OK ? r->size : r->written;
	return false;
}

static bool failed(struct blk_request *r, int error)
{
	r->error = error;
	return done(r, VIRTIO_BLK_S_IOERR);
}

static bool sync_file(struct io_uring *ring, struct blk_request *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	r->action = BLK_FLUSH;
	io_uring_prep_fsync(sqe, BLK_IO_FILE, IORING_FSYNC_DATASYNC);
	submit(sqe, r);
	return true;
}

static bool allocate(struct io_uring *ring, struct blk_request *r)
{
	const int how = r->action == BLK_ZERO_KEEP ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE;
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_fallocate(
		sqe, BLK_IO_FILE, how | FALLOC_FL_KEEP_SIZE, (off_t)r->at, (off_t)r->size);
	submit(sqe, r);
	return true;
}

// Takes what is next of the data into the bounce buffer, or room for it.
static void bounce(struct blk_request *r)
{
	const uint64_t left = r->size - r->done;

	if (r->bounced.iov_len)
		return; // the rest of a step that the kernel took less of
	r->bounced = (struct iovec){ r->bounce, left < BOUNCE_SIZE ? left : BOUNCE_SIZE };
	if (r->action == BLK_WRITE)
		blk_request_copy_out(r, r->bounce, r->bounced.iov_len);
}

static bool transfer(struct io_uring *ring, struct blk_request *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	const uint64_t at = r->at + r->done;
	const struct iovec *iov = r->iov;
	unsigned int n = r->n_iov;

	if (r->bounce) {
		bounce(r);
		iov = &r->bounced;
		n = 1;
	}
	if (r->action == BLK_READ)
		io_uring_prep_readv(sqe, BLK_IO_FILE, iov, n, at);
	else
		io_uring_prep_writev2(sqe, BLK_IO_FILE, iov, n, at, r->durable ? RWF_DSYNC : 0);
	submit(sqe, r);
	return true;
}

// The data, from now on, is zeroes of ours: as many as the request has iovecs for.
static bool write_zeroes(struct io_uring *ring, struct blk_request *r)
{
	uint64_t left = r->size - r->done;

	r->action = BLK_WRITE;
	r->iov = r->storage;
	for (r->n_iov = 0; r->n_iov < VIRTIO_BLK_QUEUE_SIZE && left > 0; r->n_iov++) {
		const uint64_t n = left < ZEROES ? left : ZEROES;

		r->storage[r->n_iov] = (struct iovec){ (uint8_t *)(uintptr_t)zeroes, n };
		left -= n;
	}
	return transfer(ring, r);
}

static bool is_aligned(const struct blk_request *r, uint32_t alignment)
{
	for (unsigned int i = 0; i < r->n_iov; i++)
		if ((uintptr_t)r->iov[i].iov_base % alignment || r->iov[i].iov_len % alignment)
			return false;
	return true;
}

// Of a block device; there is no operation of io_uring's for it in Linux 6.1. A hint: who cannot
// need not.
static bool discard_blocks(const struct virtio_blk *b, struct blk_request *r)
{
	uint64_t range[2] = { r->at, r->size };
	const bool good = ioctl(b->fd, BLKDISCARD, range) == 0 || errno == EOPNOTSUPP;

	return good ? done(r, VIRTIO_BLK_S_OK) : failed(r, errno);
}

static bool step(struct io_uring *ring, struct blk_request *r)
{
	switch (r->action) {
	case BLK_ANSWER:
		break;
	case BLK_READ:
	case BLK_WRITE:
		return transfer(ring, r);
	case BLK_FLUSH:
		return sync_file(ring, r);
	case BLK_DISCARD:
	case BLK_ZERO:
	case BLK_ZERO_KEEP:
		return allocate(ring, r);
	}
	return false;
}

bool blk_io_begin(const struct virtio_blk *b, struct io_uring *ring, struct blk_request *r)
{
	r->bounce = NULL;
	r->bounced.iov_len = 0;
	if (r->action == BLK_DISCARD && b->is_device)
		return discard_blocks(b, r);
	if ((r->action == BLK_READ || r->action == BLK_WRITE) && b->alignment &&
		!is_aligned(r, b->alignment)) {
		r->bounce = aligned_alloc(b->alignment, BOUNCE_SIZE);
		if (!r->bounce)
			return failed(r, ENOMEM);
	}
	return step(ring, r);
}

static bool transferred(struct io_uring *ring, struct blk_request *r, uint64_t size)
{
	if (!r->bounce) {
		blk_request_advance(r, size);
	} else if (r->action == BLK_READ) {
		blk_request_copy_in(r, r->bounced.iov_base, size);
		r->bounced.iov_len = 0;
	} else {
		r->done += size;
		r->bounced.iov_base = (uint8_t *)r->bounced.iov_base + size;
		r->bounced.iov_len -= size;
	}
	if (r->done == r->size)
		return done(r, VIRTIO_BLK_S_OK);
	if (r->n_iov == 0 && !r->bounce)
		return write_zeroes(ring, r); // more of them
	return transfer(ring, r);
}

static bool allocated(struct io_uring *ring, struct blk_request *r, int result)
{
	if (result == 0)
		return r->durable ? sync_file(ring, r) : done(r, VIRTIO_BLK_S_OK);
	if (result != -EOPNOTSUPP)
		return failed(r, -result);
	if (r->action == BLK_DISCARD)
		return done(r, VIRTIO_BLK_S_OK);
	if (r->action == BLK_ZERO_KEEP)
		return write_zeroes(ring, r);
	r->action = BLK_ZERO_KEEP;
	return allocate(ring, r);
}

bool blk_io_continue(
	const struct virtio_blk *b, struct io_uring *ring, struct blk_request *r, int result)
{
	if (result == -EINTR || result == -EAGAIN)
		return step(ring, r);
	switch (r->action) {
	case BLK_READ:
	case BLK_WRITE: // 0: the file ends before the disk does
		return result <= 0 ? failed(r, result ? -result : BLK_FILE_ENDS)
				   : transferred(ring, r, (uint64_t)result);
	case BLK_DISCARD:
	case BLK_ZERO:
	case BLK_ZERO_KEEP:
		return allocated(ring, r, result);
	case BLK_FLUSH:
	case BLK_ANSWER:
		break;
	}
	return result < 0 ? failed(r, -result) : done(r, VIRTIO_BLK_S_OK);
}
