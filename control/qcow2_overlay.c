// SPDX-License-Identifier: BSD-3-Clause
// See qcow2_overlay.h: a header, a refcount table of one entry, the refcount block it names, and a
// first-level table that names nothing yet. Called by vm_disk.c.
#include "control/qcow2_overlay.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "control/qcow2.h"

enum {
	CLUSTER_BITS = 16,
	CLUSTER = 1 << CLUSTER_BITS,
	// clusters
	AT_REFCOUNT_TABLE = 1,
	AT_REFCOUNT_BLOCK,
	AT_L1,
	// bytes
	L2_ENTRIES = CLUSTER / 8,
	REFCOUNT_ORDER = 4, // 16 bits each
};

static int put(int fd, const void *data, size_t size, uint64_t at)
{
	ssize_t n = pwrite(fd, data, size, (off_t)at);

	return n == (ssize_t)size ? 0 : n < 0 ? -errno : -ENOSPC;
}

static int write_all(int fd, uint64_t disk_bytes, uint64_t l1_size, unsigned l1_clusters)
{
	const struct qcow2_header h = { .magic = htobe32(QCOW2_MAGIC),
		.version = htobe32(3),
		.cluster_bits = htobe32(CLUSTER_BITS),
		.size = htobe64(disk_bytes),
		.l1_size = htobe32((uint32_t)l1_size),
		.l1_table_offset = htobe64((uint64_t)AT_L1 * CLUSTER),
		.refcount_table_offset = htobe64((uint64_t)AT_REFCOUNT_TABLE * CLUSTER),
		.refcount_table_clusters = htobe32(1),
		.refcount_order = htobe32(REFCOUNT_ORDER),
		.header_length = htobe32(QCOW2_HEADER_SIZE) };
	const uint64_t block = htobe64((uint64_t)AT_REFCOUNT_BLOCK * CLUSTER);
	unsigned n = AT_L1 + l1_clusters;
	uint16_t *counts = malloc(n * sizeof(*counts));
	int r = counts ? 0 : -ENOMEM;

	for (unsigned i = 0; r == 0 && i < n; i++)
		counts[i] = htobe16(1);
	if (r == 0 && ftruncate(fd, (off_t)n * CLUSTER) < 0)
		r = -errno;
	if (r == 0)
		r = put(fd, counts, n * sizeof(*counts), (uint64_t)AT_REFCOUNT_BLOCK * CLUSTER);
	if (r == 0)
		r = put(fd, &block, sizeof(block), (uint64_t)AT_REFCOUNT_TABLE * CLUSTER);
	if (r == 0)
		r = put(fd, &h, sizeof(h), 0);
	free(counts);
	return r == 0 && fsync(fd) < 0 ? -errno : r;
}

int qcow2_overlay_make(const char *path, uint64_t disk_bytes)
{
	// An entry names a table of L2_ENTRIES clusters.
	uint64_t each = (uint64_t)L2_ENTRIES * CLUSTER, l1_size = (disk_bytes + each - 1) / each;
	unsigned l1_clusters = (unsigned)((l1_size * 8 + CLUSTER - 1) / CLUSTER);

	if (disk_bytes > QCOW2_OVERLAY_MAX)
		return -EFBIG;
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	int r = write_all(fd, disk_bytes, l1_size, l1_clusters);
	close(fd);
	if (r < 0)
		unlink(path);
	return r;
}
