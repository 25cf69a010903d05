// SPDX-License-Identifier: BSD-3-Clause
// See decompress.h. One reader per format, each on its library: gzip and xz in pieces, lz4 by
// blocks, zstd in one call, which spares a window of its own as large as the kernel.
#include "vmm/decompress.h"

#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

enum { LZ4_MAGIC_SIZE = 4, LZ4_BLOCK = 8 << 20 }; // what a legacy block unpacks to at most
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
		[COMPRESSION_LZ4] = { LZ4_MAGIC_SIZE, { 0x02, 0x21, 0x4c, 0x18 } },
	};

	for (unsigned int i = 0; i < COMPRESSION_COUNT; i++)
		if (src_size >= magic[i].size && memcmp(src, magic[i].bytes, magic[i].size) == 0)
			return (enum compression)i;
	return COMPRESSION_COUNT;
}

static uint8_t *buffer(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, size, MADV_HUGEPAGE); // fewer faults, where the host has them
	return p;
}

struct pieces {
	const uint8_t *in;
	uint8_t *out;
	size_t in_size, out_room;
};

// One call of a library, which moves on in both. Returns 1 at the stream's end, 0, or -errno.
typedef int (*step_fn)(void *state, struct pieces *p);

static int pump(size_t src_size, const struct decompress_io *io, step_fn step, void *state)
{
	uint8_t *in = malloc(2 * DECOMPRESS_PIECE), *out = in + DECOMPRESS_PIECE;
	struct pieces p = { in, out, 0, DECOMPRESS_PIECE };
	int err = in ? 0 : -ENOMEM;

	while (err == 0) {
		size_t before, n = src_size < DECOMPRESS_PIECE ? src_size : DECOMPRESS_PIECE;

		if (p.in_size == 0 && n > 0) {
			err = io->read(io->arg, in, n);
			if (err < 0)
				break;
			p.in = in;
			p.in_size = n;
			src_size -= n;
		}
		before = p.in_size + p.out_room;
		err = step(state, &p);
		if (err == 0 && p.in_size + p.out_room == before)
			err = -EBADMSG; // it wants more than there is
		n = DECOMPRESS_PIECE - p.out_room;
		if (n > 0 && (err == 1 || (err == 0 && p.out_room == 0))) {
			int written = io->write(io->arg, out, n);

			err = written < 0 ? written : err;
			p.out = out;
			p.out_room = DECOMPRESS_PIECE;
		}
	}
	free(in);
	return err < 0 ? err : 0;
}

static int gzip_step(void *state, struct pieces *p)
{
	z_stream *z = state;
	int err;

	z->next_in = (Bytef *)(uintptr_t)p->in; // which zlib only reads
	z->avail_in = (uInt)p->in_size;
	z->next_out = p->out;
	z->avail_out = (uInt)p->out_room;
	err = inflate(z, Z_NO_FLUSH);
	*p = (struct pieces){ z->next_in, z->next_out, z->avail_in, z->avail_out };
	if (err == Z_STREAM_END)
		return 1;
	return err == Z_OK || err == Z_BUF_ERROR ? 0 : err == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
}

static int gzip(size_t src_size, const struct decompress_io *io)
{
	z_stream z = { 0 };
	int err;

	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) // 16: gzip's header and sum
		return -ENOMEM;
	err = pump(src_size, io, gzip_step, &z);
	inflateEnd(&z);
	return err;
}

static int xz_step(void *state, struct pieces *p)
{
	lzma_stream *s = state;
	lzma_ret err;

	s->next_in = p->in;
	s->avail_in = p->in_size;
	s->next_out = p->out;
	s->avail_out = p->out_room;
	err = lzma_code(s, LZMA_RUN);
	*p = (struct pieces){ s->next_in, s->next_out, s->avail_in, s->avail_out };
	if (err == LZMA_STREAM_END)
		return 1;
	return err == LZMA_OK ? 0 : err == LZMA_MEM_ERROR ? -ENOMEM : -EBADMSG;
}

static int xz(size_t src_size, const struct decompress_io *io)
{
	lzma_stream s = LZMA_STREAM_INIT;
	int err;

	if (lzma_stream_decoder(&s, XZ_MEMORY, 0) != LZMA_OK)
		return -ENOMEM;
	err = pump(src_size, io, xz_step, &s);
	lzma_end(&s);
	return err;
}

static int zstd_frame(
	uint8_t *src, size_t src_size, uint8_t *dst, size_t size, const struct decompress_io *io)
{
	int err = io->read(io->arg, src, src_size);
	size_t n;

	if (err < 0)
		return err;
	n = ZSTD_findFrameCompressedSize(src, src_size);
	if (!ZSTD_isError(n))
		n = ZSTD_decompress(dst, size, src, n);
	if (ZSTD_isError(n))
		return -EBADMSG;
	return io->write(io->arg, dst, n);
}

static int zstd(size_t src_size, size_t size, const struct decompress_io *io)
{
	uint8_t *both = buffer(src_size + size);
	int err;

	if (!both)
		return -ENOMEM;
	err = zstd_frame(both, src_size, both + src_size, size, io);
	munmap(both, src_size + size);
	return err;
}

// Blocks that know nothing of each other, each after its packed size; no end but that of the input,
// where the kernel's build leaves four bytes of its own (scripts/Makefile.lib, size_append).
static int lz4_blocks(uint8_t *in, uint8_t *out, size_t src_size, const struct decompress_io *io)
{
	size_t left = src_size - LZ4_MAGIC_SIZE;
	int err = io->read(io->arg, in, LZ4_MAGIC_SIZE);

	while (left > 4 && !err) {
		uint32_t packed;
		int n;

		err = io->read(io->arg, &packed, 4);
		if (err < 0)
			return err;
		left -= 4;
		if (packed > left || packed > (uint32_t)LZ4_COMPRESSBOUND(LZ4_BLOCK))
			return -EBADMSG;
		err = io->read(io->arg, in, packed);
		if (err < 0)
			return err;
		left -= packed;
		n = LZ4_decompress_safe((char *)in, (char *)out, (int)packed, LZ4_BLOCK);
		if (n < 0 || (n < DECOMPRESS_PIECE && left > 4))
			return -EBADMSG;
		err = io->write(io->arg, out, (size_t)n);
	}
	return err;
}

static int lz4(size_t src_size, const struct decompress_io *io)
{
	const size_t size = LZ4_BLOCK + LZ4_COMPRESSBOUND(LZ4_BLOCK);
	uint8_t *both = src_size >= LZ4_MAGIC_SIZE ? buffer(size) : NULL;
	int err;

	if (!both)
		return -ENOMEM;
	err = lz4_blocks(both + LZ4_BLOCK, both, src_size, io);
	munmap(both, size);
	return err;
}

int decompress(enum compression kind, size_t src_size, size_t size, const struct decompress_io *io)
{
	switch (kind) {
	case COMPRESSION_GZIP:
		return gzip(src_size, io);
	case COMPRESSION_XZ:
		return xz(src_size, io);
	case COMPRESSION_ZSTD:
		return zstd(src_size, size, io);
	case COMPRESSION_LZ4:
		return lz4(src_size, io);
	case COMPRESSION_COUNT:
		break;
	}
	return -ENOTSUP;
}
