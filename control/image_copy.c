// SPDX-License-Identifier: BSD-3-Clause
// See image_copy.h. The qcow2 header is docs/interop/qcow2.txt of QEMU; field names are its own.
#include "control/image_copy.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sha2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "control/log.h"
#include "control/qcow2.h"
#include "control/qcow2_check.h"
#include "control/qcow2_overlay.h"

enum { PIECE = 1 << 20, SECTOR = 512, ZEROES = 64 << 10 };

struct copy {
	int from, to;
	bool cloned; // nothing to write
	uint64_t size;
	SHA2_CTX hash;
	uint8_t *buffer; // PIECE
	image_progress_fn progress;
	void *arg;
};

static bool is_zero(const uint8_t *data, size_t size)
{
	return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

static int write_at(int fd, const uint8_t *data, size_t size, uint64_t at)
{
	while (size > 0) {
		ssize_t n = pwrite(fd, data, size, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		data += n;
		at += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

// What is zero stays a hole.
static int put(struct copy *c, size_t size, uint64_t at)
{
	int r = 0;

	for (size_t done = 0; r == 0 && done < size; done += ZEROES) {
		size_t n = size - done < ZEROES ? size - done : ZEROES;

		if (!is_zero(c->buffer + done, n))
			r = write_at(c->to, c->buffer + done, n, at + done);
	}
	return r;
}

static int copy_all(struct copy *c)
{
	for (uint64_t at = 0; at < c->size;) {
		size_t want = c->size - at < PIECE ? (size_t)(c->size - at) : PIECE;
		ssize_t n = pread(c->cloned ? c->to : c->from, c->buffer, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ESTALE; // it has become shorter
		SHA256Update(&c->hash, c->buffer, (size_t)n);
		int r = c->cloned ? 0 : put(c, (size_t)n, at);
		if (r < 0)
			return r;
		at += (uint64_t)n;
		if (c->progress)
			c->progress(c->arg, at, c->size);
	}
	return 0;
}

static int finish(struct copy *c)
{
	if (!c->cloned && ftruncate(c->to, (off_t)c->size) < 0)
		return -errno;
	return fchmod(c->to, 0444) < 0 || fsync(c->to) < 0 ? -errno : 0;
}

static int open_source(const char *path, uint64_t *ret_size, char *err, size_t err_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a FIFO would keep us
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		int r = log_reason(-errno, err, err_size, "%s: %m", path);
		if (fd >= 0)
			close(fd);
		return r;
	}
	bool good = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode);
	off_t size = good ? lseek(fd, 0, SEEK_END) : 0;
	if (size <= 0) {
		close(fd);
		return log_reason(-EINVAL, err, err_size, "%s: %s", path,
			good ? "is empty" : "is neither a file nor a block device");
	}
	*ret_size = (uint64_t)size;
	return fd;
}

int image_copy(const char *from, const char *to, image_progress_fn progress, void *arg,
	struct image_copied *ret, char *err, size_t err_size)
{
	struct copy c = { .progress = progress, .arg = arg, .to = -1 };
	int r;

	c.from = open_source(from, &c.size, err, err_size);
	if (c.from < 0)
		return c.from;
	c.buffer = malloc(PIECE);
	c.to = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	r = c.to < 0 ? -errno : c.buffer ? 0 : -ENOMEM;
	SHA256Init(&c.hash);
	if (r == 0) {
		c.cloned = ioctl(c.to, FICLONE, c.from) == 0;
		r = copy_all(&c);
	}
	if (r == 0)
		r = finish(&c);
	if (r == 0) {
		SHA256End(&c.hash, ret->sha256);
		ret->bytes = c.size;
	} else {
		log_reason(r, err, err_size, "%s: %s", r == -ENOSPC || c.to < 0 ? to : from,
			r == -ESTALE ? "has become shorter meanwhile" : strerror(-r));
		unlink(to);
	}
	if (c.to >= 0)
		close(c.to);
	close(c.from);
	free(c.buffer);
	return r;
}

int image_clone(const char *from, const char *to, unsigned mode)
{
	int source = open(from, O_RDONLY | O_CLOEXEC), r = 0;

	if (source < 0)
		return -errno;
	int fd = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || ioctl(fd, FICLONE, source) < 0)
		r = errno == EINVAL || errno == ENOTTY ? -EOPNOTSUPP : -errno;
	if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		r = -errno;
	close(source);
	if (fd >= 0)
		close(fd);
	if (r < 0 && fd >= 0)
		unlink(to);
	return r;
}

// --- what it is ---

enum {
	DATA_FILE = 1 << 2,
	KNOWN = 1 << 3 | 1 << 4, // compression type, extended L2 entries
};

static const char *qcow2_wrong(const struct qcow2_header *h, uint64_t *ret_size)
{
	uint64_t features = be32toh(h->version) >= 3 ? be64toh(h->incompatible_features) : 0;
	uint64_t size = be64toh(h->size);

	if (be32toh(h->magic) != QCOW2_MAGIC)
		return "is no qcow2 image; --format says what it is";
	if (be32toh(h->version) != 2 && be32toh(h->version) != 3)
		return "is a qcow2 image of a version other than 2 or 3";
	if (h->backing_file_offset)
		return "names a backing file; `qemu-img convert -O qcow2` makes one of both";
	if (features & DATA_FILE)
		return "keeps its data in another file; `qemu-img convert -O qcow2` makes one of "
		       "both";
	if (h->crypt_method)
		return "is encrypted";
	if (features & ~(uint64_t)KNOWN)
		return "was not closed, is damaged or needs what is not known; `qemu-img check -r "
		       "all` may "
		       "mend it";
	if (size == 0 || size % SECTOR || size > INT64_MAX)
		return "has a size that no disk has";
	*ret_size = size;
	return NULL;
}

int image_check(const char *path, enum image_format format, uint64_t *ret_disk_bytes, char *err,
	size_t err_size)
{
	struct qcow2_header h = { 0 };
	const char *wrong = NULL;
	struct stat st;
	uint64_t size = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0) {
		int r = log_reason(-errno, err, err_size, "%s: %m", path);
		if (fd >= 0)
			close(fd);
		return r;
	}
	if (format == IMAGE_RAW) {
		size = (uint64_t)st.st_size;
		wrong = size % SECTOR ? "is no raw disk: not a multiple of 512 bytes" : NULL;
	} else {
		wrong = pread(fd, &h, sizeof(h), 0) < (ssize_t)sizeof(h)
				? "is too short for a qcow2 image"
				: qcow2_wrong(&h, &size);
		if (!wrong)
			wrong = qcow2_check(fd, (uint64_t)st.st_size, &h);
	}
	close(fd);
	if (!wrong && size > QCOW2_OVERLAY_MAX)
		wrong = "is larger than 16 TiB";
	if (wrong)
		return log_reason(-EINVAL, err, err_size, "%s", wrong);
	*ret_disk_bytes = size;
	return 0;
}

int image_check_kernel(const char *path, char *err, size_t err_size)
{
	enum { MAGIC_AT = 0x202 }; // Documentation/arch/x86/boot.rst of Linux
	char head[MAGIC_AT + 4] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);
	int r = n < 0 ? log_reason(-errno, err, err_size, "%s: %m", path) : 0;

	if (fd >= 0)
		close(fd);
	if (r < 0 || memcmp(head, "\177ELF", 4) == 0 || memcmp(head + MAGIC_AT, "HdrS", 4) == 0)
		return r;
	return log_reason(-EINVAL, err, err_size,
		"is not a kernel image: neither a Linux bzImage nor an ELF file");
}
