// SPDX-License-Identifier: BSD-3-Clause
// See decompress.h. One function per format, each on its library.
#include "vmm/decompress.h"

#include <errno.h>
#include <limits.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

static const uint8_t LZ4_LEGACY_MAGIC[4] = { 0x02, 0x21, 0x4c, 0x18 };
static const size_t LZ4_LEGACY_BLOCK = 8 << 20; // what a block unpacks to at most
// The kernel's build packs with a dictionary of 32 MiB, later 128 MiB; touched only as far as used.
static const uint64_t XZ_MEMORY = 256ull << 20;

enum compression decompress_kind(const uint8_t *src, size_t src_size)
{
	static const struct {
		uint8_t size, bytes[6];
	} magic[COMPRESSION_COUNT] = {
		[COMPRESSION_GZIP] = { 3, { 0x1f, 0x8b, 0x08 } },
		[COMPRESSION_XZ] = { 6, { 0xfd, '7', 'z', 'X', 'Z', 0 } },
		[COMPRESSION_ZSTD] = { 4, { 0x28, 0xb5, 0x2f, 0xfd } },
		[COMPRESSION_LZ4] = { 4, { 0x02, 0x21, 0x4c, 0x18 } },
	};

	for (unsigned int i = 0; i < COMPRESSION_COUNT; i++)
		if (src_size >= magic[i].size && memcmp(src, magic[i].bytes, magic[i].size) == 0)
			return (enum compression)i;
	return COMPRESSION_COUNT;
}

static int gzip(const uint8_t *src, size_t src_size, bool whole, uint8_t *dst, size_t size)
{
	// zlib's next_in is not const unless ZLIB_CONST, which its header wants before the others
	z_stream z = { .next_in = (Bytef *)(uintptr_t)src,
		.avail_in = (uInt)src_size,
		.next_out = dst,
		.avail_out = (uInt)size };
	bool good;
	int err;

	if (src_size > UINT_MAX || size > UINT_MAX)
		return -EBADMSG;
	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) // 16: gzip's header and sum
		return -ENOMEM;
	err = inflate(&z, Z_FINISH);
	good = z.avail_out == 0 && (!whole || err == Z_STREAM_END);
	inflateEnd(&z);
	return good ? 0 : err == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
}

static int xz(const uint8_t *src, size_t src_size, bool whole, uint8_t *dst, size_t size)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_ret err = lzma_stream_decoder(&s, XZ_MEMORY, 0);
	bool good;

	if (err != LZMA_OK)
		return -ENOMEM;
	s.next_in = src;
	s.avail_in = src_size;
	s.next_out = dst;
	s.avail_out = size;
	// Ends: without input or room, the second call that gets nowhere is LZMA_BUF_ERROR.
	while (err == LZMA_OK && (whole || s.avail_out))
		err = lzma_code(&s, LZMA_RUN);
	good = s.avail_out == 0 && (!whole || err == LZMA_STREAM_END);
	lzma_end(&s);
	return good ? 0 : err == LZMA_MEM_ERROR ? -ENOMEM : -EBADMSG;
}

static int zstd_head(const uint8_t *src, size_t src_size, uint8_t *dst, size_t size)
{
	ZSTD_DStream *s = ZSTD_createDStream();
	ZSTD_inBuffer in = { src, src_size, 0 };
	ZSTD_outBuffer out = { dst, size, 0 };
	size_t before, left = 1;

	if (!s)
		return -ENOMEM;
	do {
		before = in.pos + out.pos;
		left = ZSTD_decompressStream(s, &out, &in);
	} while (!ZSTD_isError(left) && left && out.pos < size && in.pos + out.pos > before);
	ZSTD_freeDStream(s);
	return out.pos == size ? 0 : -EBADMSG;
}

// In one call the output is the window; a stream would unpack into its own and copy.
static int zstd(const uint8_t *src, size_t src_size, bool whole, uint8_t *dst, size_t size)
{
	size_t frame;

	if (!whole)
		return zstd_head(src, src_size, dst, size);
	frame = ZSTD_findFrameCompressedSize(src, src_size);
	if (ZSTD_isError(frame))
		return -EBADMSG;
	return ZSTD_decompress(dst, size, src, frame) == size ? 0 : -EBADMSG;
}

// Blocks that know nothing of each other, each after its packed size; no end but that of the input,
// where the kernel's build leaves four bytes of its own (scripts/Makefile.lib, size_append).
static int lz4(const uint8_t *src, size_t src_size, bool whole, uint8_t *dst, size_t size)
{
	size_t at = sizeof(LZ4_LEGACY_MAGIC), done = 0;

	while (src_size - at > 4 && (whole || done < size)) {
		size_t room = size - done < LZ4_LEGACY_BLOCK ? size - done : LZ4_LEGACY_BLOCK;
		uint32_t packed;
		int n;

		memcpy(&packed, src + at, 4);
		at += 4;
		if (packed > src_size - at || packed > (uint32_t)LZ4_compressBound(8 << 20))
			return -EBADMSG;
		n = whole ? LZ4_decompress_safe((const char *)src + at, (char *)dst + done,
				    (int)packed, (int)room)
			  : LZ4_decompress_safe_partial((const char *)src + at, (char *)dst + done,
				    (int)packed, (int)room, (int)room);
		if (n < 0)
			return -EBADMSG;
		done += (size_t)n;
		at += packed;
	}
	return done == size ? 0 : -EBADMSG;
}

int decompress(enum compression kind, const uint8_t *src, size_t src_size, bool whole, uint8_t *dst,
	size_t size)
{
	if (kind != decompress_kind(src, src_size))
		return kind == COMPRESSION_COUNT ? -ENOTSUP : -EBADMSG;
	switch (kind) {
	case COMPRESSION_GZIP:
		return gzip(src, src_size, whole, dst, size);
	case COMPRESSION_XZ:
		return xz(src, src_size, whole, dst, size);
	case COMPRESSION_ZSTD:
		return zstd(src, src_size, whole, dst, size);
	case COMPRESSION_LZ4:
		return lz4(src, src_size, whole, dst, size);
	case COMPRESSION_COUNT:
		break;
	}
	return -ENOTSUP;
}
