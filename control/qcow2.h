// SPDX-License-Identifier: BSD-3-Clause
// The header of a qcow2 image, big endian: docs/interop/qcow2.txt of QEMU, whose names these are.
#pragma once

#include <stdint.h>

enum {
	QCOW2_MAGIC = 0x514649fb, // "QFI\xfb"
	QCOW2_V2_HEADER_SIZE = 72,
	QCOW2_HEADER_SIZE = 104, // version 3, up to header_length
};

struct qcow2_header {
	uint32_t magic, version;
	uint64_t backing_file_offset;
	uint32_t backing_file_size, cluster_bits;
	uint64_t size;
	uint32_t crypt_method, l1_size;
	uint64_t l1_table_offset, refcount_table_offset;
	uint32_t refcount_table_clusters, nb_snapshots;
	uint64_t snapshots_offset;
	// version 3 on
	uint64_t incompatible_features, compatible_features, autoclear_features;
	uint32_t refcount_order, header_length;
	// what a longer header has, else the first extension's
	uint8_t compression_type, padding[7];
} __attribute__((packed));

_Static_assert(sizeof(struct qcow2_header) == QCOW2_HEADER_SIZE + 8, "as the specification has it");
