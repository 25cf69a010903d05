// SPDX-License-Identifier: BSD-3-Clause
// See qcow2_check.h. The format is docs/interop/qcow2.txt of QEMU; names are its own.
#include "control/qcow2_check.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	MIN_CLUSTER_BITS = 9,
	MAX_CLUSTER_BITS = 21, // of QEMU
	MAX_L1_BYTES = 32 << 20, // likewise
	MAX_REFCOUNT_TABLE_BYTES = 8 << 20,
	MAX_REFCOUNT_ORDER = 6,
	MAX_SNAPSHOTS = 65536,
	MAX_SNAPSHOT_EXTRA = 1024,
	SNAPSHOT_SIZE = 40, // at least
	EXTENSION_SIZE = 8, // likewise
	COMPRESSION_TYPE = 1 << 3,
	ZSTD = 1,
	EXTENDED_L2 = 1 << 4, // of incompatible_features: an entry is followed by a bitmap
};

#define OFFSET_MASK 0x00fffffffffffe00ull // "Bit 9-55"
#define COMPRESSED (1ull << 62)

struct walk {
	int fd;
	uint64_t size; // of the file
	unsigned cluster_bits;
	unsigned n_words; // of an L2 entry
	uint64_t *l2; // a cluster
};

static const char too_short[] = "is cut short: it lacks clusters that it names";
static const char damaged[] = "is damaged; `qemu-img check` says how";

static bool read_all(int fd, void *to, size_t size, uint64_t at)
{
	for (ssize_t n; size > 0; size -= (size_t)n, at += (uint64_t)n) {
		n = pread(fd, to, size, (off_t)at);
		if (n <= 0)
			return false;
		to = (char *)to + n;
	}
	return true;
}

static bool is_within(const struct walk *w, uint64_t at, uint64_t size)
{
	return at <= w->size && size <= w->size - at;
}

// As in QEMU, the last cluster may be there in part.
static const char *check_l2(const struct walk *w)
{
	const unsigned n = (1u << w->cluster_bits) / (unsigned)sizeof(uint64_t);
	// "Compressed Clusters Descriptor": the offset ends at bit 62 - (cluster_bits - 8)
	const uint64_t compressed_mask = (1ull << (62 - (w->cluster_bits - 8))) - 1;

	for (unsigned i = 0; i < n; i += w->n_words) {
		uint64_t entry = be64toh(w->l2[i]);
		uint64_t at = entry & (entry & COMPRESSED ? compressed_mask : OFFSET_MASK);

		if (at >= w->size)
			return too_short;
	}
	return NULL;
}

static const char *check_l1(const struct walk *w, const uint64_t *l1, uint32_t n)
{
	const uint64_t cluster = 1ull << w->cluster_bits;
	uint64_t read = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t at = be64toh(l1[i]) & OFFSET_MASK;
		const char *wrong;

		if (at == 0)
			continue;
		if (!is_within(w, at, cluster))
			return too_short;
		read += cluster;
		if (read > w->size) // each would be several entries'
			return damaged;
		if (!read_all(w->fd, w->l2, cluster, at))
			return "cannot be read";
		wrong = check_l2(w);
		if (wrong)
			return wrong;
	}
	return NULL;
}

static bool is_begin_of_cluster(const struct walk *w, uint64_t at)
{
	return at <= INT64_MAX && (at & ((1ull << w->cluster_bits) - 1)) == 0;
}

// What QEMU does not open.
static const char *check_header(const struct walk *w, const struct qcow2_header *h)
{
	const uint64_t cluster = 1ull << w->cluster_bits, size = be64toh(h->size);
	const uint64_t of_l1 =
		cluster * (cluster / sizeof(uint64_t) / w->n_words); // an entry of it
	const uint64_t refcount_clusters = be32toh(h->refcount_table_clusters);
	const uint32_t n_snapshots = be32toh(h->nb_snapshots);
	const bool is_3 = be32toh(h->version) >= 3;

	if (is_3 && (be32toh(h->header_length) < QCOW2_HEADER_SIZE ||
			    be32toh(h->header_length) > cluster))
		return "is damaged: header_length";
	if (is_3 && be32toh(h->refcount_order) > MAX_REFCOUNT_ORDER)
		return "is damaged: refcount_order";
	if (be32toh(h->l1_size) > MAX_L1_BYTES / sizeof(uint64_t) ||
		be32toh(h->l1_size) < size / of_l1 + (size % of_l1 != 0))
		return "is damaged: l1_size";
	if (!is_begin_of_cluster(w, be64toh(h->l1_table_offset)))
		return "is damaged: l1_table_offset";
	if (refcount_clusters == 0 || refcount_clusters * cluster > MAX_REFCOUNT_TABLE_BYTES)
		return "is damaged: refcount_table_clusters";
	if (!is_begin_of_cluster(w, be64toh(h->refcount_table_offset)))
		return "is damaged: refcount_table_offset";
	if (n_snapshots > MAX_SNAPSHOTS)
		return "is damaged: nb_snapshots";
	if (!is_begin_of_cluster(w, be64toh(h->snapshots_offset)))
		return "is damaged: snapshots_offset";
	return NULL;
}

// Zero is deflate, and has no bit.
static const char *check_compression(const struct qcow2_header *h)
{
	const bool has_type =
		be32toh(h->version) >= 3 && be32toh(h->header_length) > QCOW2_HEADER_SIZE;
	const unsigned type = has_type ? h->compression_type : 0;
	const bool has_bit =
		be32toh(h->version) >= 3 && (be64toh(h->incompatible_features) & COMPRESSION_TYPE);

	return type > ZSTD || (type == ZSTD) != has_bit ? "is damaged: compression_type" : NULL;
}

// They end with one of type 0, or with the first cluster.
static const char *check_extensions(const struct walk *w, const struct qcow2_header *h)
{
	const uint64_t end = 1ull << w->cluster_bits;
	uint64_t at = be32toh(h->version) >= 3 ? be32toh(h->header_length) : QCOW2_V2_HEADER_SIZE;
	uint32_t extension[2]; // its type and size

	for (; at < end; at += EXTENSION_SIZE + ((uint64_t)be32toh(extension[1]) + 7) / 8 * 8) {
		if (end - at < EXTENSION_SIZE || !read_all(w->fd, extension, sizeof(extension), at))
			return "is damaged: header extensions";
		if (be32toh(extension[1]) > end - at - EXTENSION_SIZE)
			return "is damaged: header extensions";
		if (extension[0] == 0)
			return NULL;
	}
	return NULL;
}

static const char *check_snapshots(const struct walk *w, const struct qcow2_header *h)
{
	uint64_t at = be64toh(h->snapshots_offset);
	struct {
		uint64_t l1_table_offset;
		uint32_t l1_size;
		uint16_t id_size, name_size;
		uint32_t other[5];
		uint32_t extra_size;
	} __attribute__((packed)) s;

	_Static_assert(sizeof(s) == SNAPSHOT_SIZE, "as the specification has it");
	for (uint32_t i = be32toh(h->nb_snapshots); i > 0; i--) {
		if (!is_within(w, at, sizeof(s)) || !read_all(w->fd, &s, sizeof(s), at))
			return too_short;
		if (be32toh(s.extra_size) > MAX_SNAPSHOT_EXTRA)
			return "is damaged: snapshot table";
		at += sizeof(s) + be32toh(s.extra_size) + be16toh(s.id_size) + be16toh(s.name_size);
		if (!is_within(w, at, 0)) // what fills it up to a multiple of 8 may be missing
			return too_short;
		at = (at + 7) / 8 * 8;
	}
	return NULL;
}

const char *qcow2_check(int fd, uint64_t file_size, const struct qcow2_header *h)
{
	const bool extended =
		be32toh(h->version) >= 3 && (be64toh(h->incompatible_features) & EXTENDED_L2) != 0;
	struct walk w = { .fd = fd,
		.size = file_size,
		.cluster_bits = be32toh(h->cluster_bits),
		.n_words = extended ? 2 : 1 };
	const uint64_t l1_bytes = (uint64_t)be32toh(h->l1_size) * sizeof(uint64_t);
	const uint64_t l1_at = be64toh(h->l1_table_offset);
	const char *wrong = NULL;

	if (w.cluster_bits < MIN_CLUSTER_BITS || w.cluster_bits > MAX_CLUSTER_BITS)
		return "has clusters of a size that no qcow2 image has";
	wrong = check_header(&w, h);
	wrong = wrong ? wrong : check_compression(h);
	wrong = wrong ? wrong : check_extensions(&w, h);
	wrong = wrong ? wrong : check_snapshots(&w, h);
	if (wrong)
		return wrong;
	if (!is_within(&w, l1_at, l1_bytes) ||
		!is_within(&w, be64toh(h->refcount_table_offset),
			(uint64_t)be32toh(h->refcount_table_clusters) << w.cluster_bits))
		return too_short;
	uint64_t *l1 = malloc(l1_bytes ? l1_bytes : 1);
	w.l2 = malloc(1ull << w.cluster_bits);
	if (!l1 || !w.l2)
		wrong = "cannot be checked: out of memory";
	else if (!read_all(fd, l1, l1_bytes, l1_at))
		wrong = "cannot be read";
	else
		wrong = check_l1(&w, l1, be32toh(h->l1_size));
	free(l1);
	free(w.l2);
	return wrong;
}
