// SPDX-License-Identifier: BSD-3-Clause
// Unpacks what Linux packs its kernels with, from memory to memory, in one call and without a
// window of its own where the library can do without. Called by boot_linux.c. Both sides are
// bounded: hostile input cannot make more of itself than there is room.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum compression {
	COMPRESSION_GZIP,
	COMPRESSION_XZ,
	COMPRESSION_ZSTD,
	COMPRESSION_LZ4, // the "legacy" format of lz4 -l, which the kernel's build uses
	COMPRESSION_COUNT, // unknown
};

// By its first bytes.
enum compression decompress_kind(const uint8_t *src, size_t src_size);

// Unpacks the first `size` bytes into dst; with `whole`, there may be no more than these. Bytes
// after the packed stream are ignored. Errors: -EBADMSG (damaged, cut short, or not of that size),
// -ENOMEM, -ENOTSUP (unknown kind).
int decompress(enum compression kind, const uint8_t *src, size_t src_size, bool whole, uint8_t *dst,
	size_t size);
