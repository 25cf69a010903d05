// SPDX-License-Identifier: BSD-3-Clause
// See virtio_blk.h. Opening the file, the configuration space, start and stop.
#include "vmm/virtio_blk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "vmm/blk_error.h"
#include "vmm/blk_queue.h"
#include "vmm/vhost_blk.h"

#define BIT(n) (1ull << (n))

enum {
	SEGMENTS = VIRTIO_BLK_QUEUE_SIZE - 2, // header and status are in the chain too
	DISCARD_SECTORS = 1 << 21, // 1 GiB
	PAGE = 4096,
	NAP_NS = 5000000,
	NAPS = 400, // two seconds
};

static struct virtio_blk *blk_of(struct virtio_device *d)
{
	return (struct virtio_blk *)d; // its first member
}

static void config_read(struct virtio_device *d, uint32_t offset, void *data, uint32_t size)
{
	memcpy(data, (const uint8_t *)&blk_of(d)->space + offset, size);
}

// 5.2.5.2: the cache's mode is all that a driver may change.
static void config_write(struct virtio_device *d, uint32_t offset, const void *data, uint32_t size)
{
	if (offset == offsetof(struct virtio_blk_config, wce) && size == 1 &&
		virtio_has(d, VIRTIO_BLK_F_CONFIG_WCE))
		__atomic_store_n(
			&blk_of(d)->space.wce, *(const uint8_t *)data & 1, __ATOMIC_RELAXED);
}

static int begin(struct virtio_device *d, const struct confine *confine)
{
	struct virtio_blk *b = blk_of(d);
	int err = 0;

	for (unsigned int i = 0; err == 0 && i < d->n_queues; i++)
		err = blk_queue_begin(&b->queues[i], confine);
	return err;
}

static int start(struct virtio_device *d)
{
	struct virtio_blk *b = blk_of(d);
	int err = b->queues ? 0 : -EAGAIN;

	for (unsigned int i = 0; err == 0 && i < d->n_queues; i++)
		if (d->queues[i].enabled)
			err = blk_queue_prepare(&b->queues[i]);
	for (unsigned int i = 0; err == 0 && i < d->n_queues; i++)
		if (d->queues[i].enabled)
			blk_queue_serve(&b->queues[i]);
	return err;
}

static void stop(struct virtio_device *d)
{
	struct virtio_blk *b = blk_of(d);

	for (unsigned int i = 0; i < d->n_queues; i++)
		blk_queue_rest(&b->queues[i]);
	b->space.wce = 1;
}

static void hold(struct virtio_device *d, bool held)
{
	for (unsigned int i = 0; i < d->n_queues; i++)
		if (d->queues[i].enabled)
			blk_queue_hold(&blk_of(d)->queues[i], held);
}

static const struct virtio_ops OPS = {
	.name = "disk",
	.type = VIRTIO_ID_BLOCK,
	.config_size = sizeof(struct virtio_blk_config),
	.config_read = config_read,
	.config_write = config_write,
	.begin = begin,
	.start = start,
	.hold = hold,
	.stop = stop,
};

// What direct I/O wants of a file is only known by trying.
static int find_alignment(struct virtio_blk *b)
{
	void *page = aligned_alloc(PAGE, PAGE);
	ssize_t n = -1;

	if (!page)
		return -ENOMEM;
	for (b->alignment = VIRTIO_BLK_SECTOR; b->alignment <= PAGE; b->alignment *= 2) {
		n = pread(b->fd, page, b->alignment, 0);
		if (n >= 0 || errno != EINVAL)
			break;
	}
	free(page);
	return n < 0 ? -errno : 0;
}

// Sizes of blocks, in bytes.
static int measure(struct virtio_blk *b, uint32_t *ret_logical, uint32_t *ret_physical)
{
	struct stat st;
	int logical = VIRTIO_BLK_SECTOR;
	unsigned int physical = PAGE;
	int err = 0;

	if (fstat(b->fd, &st) < 0)
		return -errno;
	b->size = (uint64_t)st.st_size;
	if (b->is_device && (ioctl(b->fd, BLKGETSIZE64, &b->size) < 0 ||
				    ioctl(b->fd, BLKSSZGET, &logical) < 0 ||
				    ioctl(b->fd, BLKPBSZGET, &physical) < 0))
		return -errno;
	b->size &= ~(uint64_t)(VIRTIO_BLK_SECTOR - 1);
	if (b->options.direct) {
		err = find_alignment(b);
		if (b->is_device && b->alignment < (uint32_t)logical)
			b->alignment = (uint32_t)logical;
		if (b->alignment > (uint32_t)logical)
			logical = (int)b->alignment;
	}
	*ret_logical = (uint32_t)logical;
	*ret_physical = physical < (uint32_t)logical ? (uint32_t)logical : physical;
	return err;
}

static int set_space(struct virtio_blk *b)
{
	uint32_t logical = 0, physical = 0;
	int err = measure(b, &logical, &physical);

	if (err < 0)
		return err;
	b->space = (struct virtio_blk_config){ .capacity = b->size / VIRTIO_BLK_SECTOR,
		.seg_max = SEGMENTS,
		.blk_size = logical,
		.physical_block_exp = (uint8_t)__builtin_ctz(physical / logical),
		.min_io_size = (uint16_t)(physical / logical),
		.wce = 1,
		.num_queues = b->options.queues,
		.max_discard_sectors = DISCARD_SECTORS,
		.max_discard_seg = 1,
		.discard_sector_alignment = physical / VIRTIO_BLK_SECTOR,
		.max_write_zeroes_sectors = DISCARD_SECTORS,
		.max_write_zeroes_seg = 1,
		.write_zeroes_may_unmap = 1 };
	return 0;
}

// The one that was named, if one was.
static bool is_wanted(const struct virtio_blk *b)
{
	const struct virtio_blk_options *o = &b->options;
	struct stat st;

	return !o->has_inode ||
	       (fstat(b->fd, &st) == 0 && st.st_dev == o->dev && st.st_ino == o->ino);
}

// 0, -ESTALE if it is another one than was named, or -EBUSY while somebody else uses it: a device
// that is mounted, a file with our lock.
static int try_open(struct virtio_blk *b, int flags)
{
	const struct flock lock = { .l_type = b->options.read_only ? F_RDLCK : F_WRLCK };

	b->fd = open(b->options.path, flags);
	if (b->fd < 0)
		return -errno;
	if (!is_wanted(b)) {
		close(b->fd);
		return -ESTALE;
	}
	if (fcntl(b->fd, F_OFD_SETLK, &lock) == 0 || (errno != EAGAIN && errno != EACCES))
		return 0; // or its file system has no locks
	close(b->fd);
	return -EBUSY;
}

// What a killed process has under way goes on, and its ring holds the file until that has ended:
// it must not fall upon what a new machine has written.
static int open_when_free(struct virtio_blk *b, int flags)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };
	int err = try_open(b, flags);

	for (unsigned int i = 0; err == -EBUSY && i < NAPS; i++) {
		nanosleep(&nap, NULL);
		err = try_open(b, flags);
	}
	return err;
}

static int open_file(struct virtio_blk *b, struct error *e)
{
	const struct virtio_blk_options *o = &b->options;
	int flags = (o->read_only ? O_RDONLY : O_RDWR) | (o->direct ? O_DIRECT : 0) | O_CLOEXEC |
		    O_NONBLOCK;
	struct stat st;
	int err;

	if (stat(o->path, &st) < 0)
		return error_set(e, errno, "disk %s: %s", o->path, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return error_set(
			e, EINVAL, "disk %s: neither a regular file nor a block device", o->path);
	b->is_device = S_ISBLK(st.st_mode);
	err = open_when_free(b, flags | (b->is_device && !o->read_only ? O_EXCL : 0));
	if (err == -EBUSY)
		return error_set(e, EBUSY, "disk %s: somebody else uses it", o->path);
	if (err == -ESTALE)
		return error_set(e, ESTALE, "disk %s: another file than its inode= names", o->path);
	if (err < 0)
		return error_set(e, -err, "disk %s: %s%s", o->path, strerror(-err),
			err == -EINVAL && o->direct ? "; its file system has no direct I/O" : "");
	return 0;
}

static int open_disk(struct virtio_blk *b, struct error *e)
{
	int err = open_file(b, e);

	if (err < 0)
		return err;
	err = set_space(b);
	if (err == 0 && b->size > 0)
		return 0;
	close(b->fd);
	return error_set(e, err < 0 ? -err : EINVAL, "disk %s: %s", b->options.path,
		err < 0 ? strerror(-err) : "smaller than a sector of 512 bytes");
}

static void free_queues(struct virtio_blk *b, unsigned int n)
{
	while (n > 0)
		blk_queue_free(&b->queues[--n]);
	free(b->queues);
	b->queues = NULL;
}

static int make_queues(struct virtio_blk *b, struct error *e)
{
	int err;

	b->queues = calloc(b->options.queues, sizeof(*b->queues));
	if (!b->queues)
		return error_set(e, ENOMEM, "disk %s: %s", b->options.path, strerror(ENOMEM));
	for (unsigned int i = 0; i < b->options.queues; i++) {
		err = blk_queue_init(&b->queues[i], b, i);
		if (err < 0) {
			free_queues(b, i);
			return error_set(e, -err, "disk %s: io_uring: %s%s", b->options.path,
				strerror(-err),
				err == -EPERM ? "; see sysctl kernel.io_uring_disabled" : "");
		}
	}
	return 0;
}

static void init_device(struct virtio_blk *b)
{
	struct virtio_device *d = &b->device;

	d->ops = &OPS;
	d->n_queues = b->options.queues;
	for (uint16_t i = 0; i < d->n_queues; i++)
		d->queues[i].size_max = VIRTIO_BLK_QUEUE_SIZE;
	d->offered = VIRTQ_FEATURES | BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
		     BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_FLUSH) |
		     BIT(VIRTIO_BLK_F_CONFIG_WCE);
	if (b->options.queues > 1)
		d->offered |= BIT(VIRTIO_BLK_F_MQ);
	if (b->options.read_only)
		d->offered |= BIT(VIRTIO_BLK_F_RO);
	else
		d->offered |= BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES);
}

int virtio_blk_init(struct virtio_blk *b, struct machine *m,
	const struct virtio_blk_options *options, struct error *e)
{
	int err;

	*b = (struct virtio_blk){
		.options = *options, .device = { .memory = &m->memory }, .machine = m, .fd = -1
	};
	if (options->vhost_user)
		return vhost_blk_init(b, m, e);
	err = open_disk(b, e);
	if (err < 0)
		return err;
	init_device(b);
	rate_init(&b->rate, &options->limits, rate_now_ns());
	blk_errors_init(&b->errors);
	err = machine_add_device(m, &b->device);
	if (err < 0) {
		close(b->fd);
		return error_set(e, -err, "disk %s: %s", options->path, strerror(-err));
	}
	err = make_queues(b, e);
	if (err < 0) {
		machine_remove_device(m, &b->device);
		close(b->fd);
	}
	return err;
}

int virtio_blk_init_spare(struct virtio_blk *b, struct machine *m, struct error *e)
{
	const struct virtio_blk_options options = { .path = "to be plugged", .queues = 1 };
	int err;

	*b = (struct virtio_blk){
		.options = options, .device = { .memory = &m->memory }, .machine = m, .fd = -1
	};
	init_device(b);
	rate_init(&b->rate, &options.limits, rate_now_ns());
	blk_errors_init(&b->errors);
	err = machine_add_spare(m, &b->device);
	if (err < 0)
		return error_set(e, -err, "disk %s: %s", options.path, strerror(-err));
	err = make_queues(b, e);
	if (err < 0)
		machine_remove_device(m, &b->device);
	return err;
}

// What somebody else has opened is as the options want it.
static int check_file(struct virtio_blk *b, int fd, struct error *e)
{
	const char *path = b->options.path;
	const struct flock lock = { .l_type = b->options.read_only ? F_RDLCK : F_WRLCK };
	const int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0)
		return error_set(e, errno, "disk %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return error_set(
			e, EINVAL, "disk %s: neither a regular file nor a block device", path);
	if ((flags & O_ACCMODE) != O_RDWR &&
		!(b->options.read_only && (flags & O_ACCMODE) == O_RDONLY))
		return error_set(e, EINVAL, "disk %s: not open for %s", path,
			b->options.read_only ? "reading" : "reading and writing");
	if (!(flags & O_DIRECT) != !b->options.direct)
		return error_set(e, EINVAL, "disk %s: %s with O_DIRECT", path,
			b->options.direct ? "not open" : "open");
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0 && (errno == EAGAIN || errno == EACCES))
		return error_set(e, EBUSY, "disk %s: somebody else uses it", path);
	b->is_device = S_ISBLK(st.st_mode);
	return 0;
}

// The kernel keeps a file open as long as a ring has it, and for up to a second after it was told
// to let go (Linux 6.1). Nothing is under way any more, so the lock need not wait for that.
static void forget_file(struct virtio_blk *b)
{
	const struct flock unlock = { .l_type = F_UNLCK };

	if (b->fd >= 0)
		fcntl(b->fd, F_OFD_SETLK, &unlock);
	for (unsigned int i = 0; i < b->options.queues; i++)
		blk_queue_set_file(&b->queues[i], -1);
	b->fd = -1;
}

int virtio_blk_take(
	struct virtio_blk *b, const struct virtio_blk_options *options, int fd, struct error *e)
{
	int err;

	b->options = *options;
	err = check_file(b, fd, e);
	if (err < 0)
		return err;
	b->fd = fd;
	b->alignment = 0;
	err = set_space(b);
	if (err == 0 && b->size == 0)
		err = -EINVAL;
	for (unsigned int i = 0; err == 0 && i < b->options.queues; i++)
		err = blk_queue_set_file(&b->queues[i], fd);
	if (err < 0) {
		forget_file(b);
		return error_set(e, -err, "disk %s: %s", options->path,
			b->size ? strerror(-err) : "smaller than a sector of 512 bytes");
	}
	init_device(b);
	rate_set(&b->rate, &options->limits, rate_now_ns());
	b->errors.told = (struct seldom){ 0 }; // nothing is under way
	return 0;
}

void virtio_blk_release(struct virtio_blk *b)
{
	const int fd = b->fd;

	if (b->options.vhost_user) {
		vhost_blk_free(b); // what it was made of is no other disk's
		return;
	}
	forget_file(b);
	close(fd);
	b->options.path = NULL;
}

int virtio_blk_limit(struct virtio_blk *b, const struct rate_limits *limits)
{
	if (b->options.vhost_user)
		return -EOPNOTSUPP;
	rate_set(&b->rate, limits, rate_now_ns());
	for (unsigned int i = 0; i < b->options.queues; i++)
		blk_queue_look(&b->queues[i]);
	return 0;
}

void virtio_blk_free(struct virtio_blk *b)
{
	if (b->options.vhost_user) {
		vhost_blk_free(b);
		return;
	}
	if (b->queues)
		free_queues(b, b->options.queues);
	rate_free(&b->rate);
	blk_errors_free(&b->errors);
	if (b->fd >= 0)
		close(b->fd);
}
