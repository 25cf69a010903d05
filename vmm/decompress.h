// SPDX-License-Identifier: BSD-3-Clause
// Unpacks what Linux packs its kernels with, from one callback to another, through buffers that
// stay in the cache as far as the library allows. Called by boot_payload.c. Hostile input can do no
// more than what `write` bears.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum compression {
	COMPRESSION_GZIP,
	COMPRESSION_XZ,
	COMPRESSION_ZSTD,
	COMPRESSION_LZ4, // the "legacy" format of lz4 -l, which the kernel's build uses
	COMPRESSION_COUNT, // unknown
};

enum { DECOMPRESS_PIECE = 256 << 10 };

struct decompress_io {
	// The next `size` packed bytes.
	int (*read)(void *arg, void *dst, size_t size);
	// The next unpacked bytes: DECOMPRESS_PIECE or more, but for the last.
	int (*write)(void *arg, const uint8_t *data, size_t size);
	void *arg;
};

// By its first bytes.
enum compression decompress_kind(const uint8_t *src, size_t src_size);

// Unpacks src_size bytes into no more than `size`. Bytes after the packed stream are ignored.
// Errors: -EBADMSG (damaged, cut short, or more than that), -ENOMEM, -ENOTSUP (unknown kind), what
// the callbacks return: they end it.
int decompress(enum compression kind, size_t src_size, size_t size, const struct decompress_io *io);
