// SPDX-License-Identifier: BSD-3-Clause
// Tiny kernels for tests of the loader: ELF images with and without Xen's note, and bzImages around
// one, packed with each compressor. For test_vmm_boot.c; what the fuzzer keeps was made with it
// too.
#pragma once

#include <asm/bootparam.h>
#include <assert.h>
#include <elf.h>
#include <lz4.h>
#include <lzma.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include "vmm/decompress.h"

enum {
	IMAGE_MAX = 64 << 10,
	IMAGE_TEXT = 0x400000, // where the first segment goes
	IMAGE_DATA = 0x500000,
	IMAGE_PREF = 0x1000000,
	IMAGE_INIT_SIZE = 0x300000,
	IMAGE_SETUP_SECTS = 1,
	IMAGE_PAYLOAD = 0x400, // in the protected-mode part
	ELF_NOTE_AT = 0x200,
	ELF_TEXT_AT = 0x1000,
	ELF_DATA_AT = 0x2000,
	ELF_SIZE = 0x2400,
	ELF_PHDR = 64, // the first program header; each has 56 bytes: text, data, note
	PVH_ENTRY = IMAGE_TEXT + 0x40,
};

// Added to where a segment lies, it is where it is linked.
#define IMAGE_LINKED 0xffffffff80000000ull

struct image {
	size_t size;
	uint8_t data[IMAGE_MAX];
};

// Two segments: text (a page), data (0x400 bytes and as much again of zeroes).
static inline void image_elf(struct image *i, bool pvh)
{
	const uint32_t note[] = { 4, 8, 18, 0x006e6558, PVH_ENTRY, 0 };
	Elf64_Ehdr h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = IMAGE_TEXT,
		.e_phoff = ELF_PHDR,
		.e_ehsize = sizeof(h),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = pvh ? 3 : 2 };
	Elf64_Phdr p[3] = { { .p_type = PT_LOAD,
				    .p_offset = ELF_TEXT_AT,
				    .p_vaddr = IMAGE_LINKED + IMAGE_TEXT,
				    .p_paddr = IMAGE_TEXT,
				    .p_filesz = 0x1000,
				    .p_memsz = 0x1000 },
		{ .p_type = PT_LOAD,
			.p_offset = ELF_DATA_AT,
			.p_vaddr = IMAGE_LINKED + IMAGE_DATA,
			.p_paddr = IMAGE_DATA,
			.p_filesz = 0x400,
			.p_memsz = 0x800 },
		{ .p_type = PT_NOTE,
			.p_offset = ELF_NOTE_AT,
			.p_filesz = sizeof(note),
			.p_memsz = sizeof(note) } };

	memset(i->data, 0, sizeof(i->data));
	memcpy(i->data, &h, sizeof(h));
	memcpy(i->data + ELF_PHDR, p, sizeof(p));
	memcpy(i->data + ELF_NOTE_AT, note, sizeof(note));
	for (size_t at = ELF_TEXT_AT; at < ELF_SIZE; at++)
		i->data[at] = (uint8_t)(at * 7 + at / 256);
	i->size = ELF_SIZE;
}

static inline size_t pack_gzip(uint8_t *to, size_t room, const struct image *elf)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)elf->data,
		.avail_in = (uInt)elf->size,
		.next_out = to,
		.avail_out = (uInt)room };

	if (deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK ||
		deflate(&z, Z_FINISH) != Z_STREAM_END)
		return 0;
	deflateEnd(&z);
	return z.total_out;
}

// As the kernel's build does: BCJ, LZMA2, CRC32.
static inline size_t pack_xz(uint8_t *to, size_t room, const struct image *elf)
{
	lzma_options_lzma options;
	lzma_filter filters[] = { { .id = LZMA_FILTER_X86 },
		{ .id = LZMA_FILTER_LZMA2, .options = &options }, { .id = LZMA_VLI_UNKNOWN } };
	size_t at = 0;

	lzma_lzma_preset(&options, 6);
	return lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, elf->data, elf->size, to,
		       &at, room) == LZMA_OK
		       ? at
		       : 0;
}

static inline size_t pack_lz4(uint8_t *to, size_t room, const struct image *elf)
{
	const uint8_t magic[] = { 0x02, 0x21, 0x4c, 0x18 };
	int n = LZ4_compress_default(
		(const char *)elf->data, (char *)to + 8, (int)elf->size, (int)room - 8);

	memcpy(to, magic, 4);
	memcpy(to + 4, &n, 4);
	return n > 0 ? (size_t)n + 8 : 0;
}

// Packed, with the four bytes that mkpiggy reads. COMPRESSION_COUNT: something unknown.
static inline size_t image_pack(
	uint8_t *to, size_t room, const struct image *elf, enum compression kind)
{
	uint32_t size = (uint32_t)elf->size;
	size_t n = 0;

	switch (kind) {
	case COMPRESSION_GZIP:
		return pack_gzip(to, room, elf); // ends with the size of its own accord
	case COMPRESSION_XZ:
		n = pack_xz(to, room, elf);
		break;
	case COMPRESSION_ZSTD:
		n = ZSTD_compress(to, room, elf->data, elf->size, 3);
		break;
	case COMPRESSION_LZ4:
		n = pack_lz4(to, room, elf);
		break;
	case COMPRESSION_COUNT:
		memcpy(to, "BZh9BZh9", 8);
		n = 8;
		break;
	}
	memcpy(to + n, &size, 4);
	return n + 4;
}

static inline void image_bzimage(struct image *i, const struct image *elf, enum compression kind)
{
	const size_t code = (IMAGE_SETUP_SECTS + 1) * 512;
	size_t packed;
	struct setup_header h = { .setup_sects = IMAGE_SETUP_SECTS,
		.boot_flag = 0xaa55,
		.jump = 0x66eb, // to 0x202 + 0x66, behind the header
		.header = 0x53726448,
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,
		.payload_offset = IMAGE_PAYLOAD,
		.pref_address = IMAGE_PREF,
		.init_size = IMAGE_INIT_SIZE };

	memset(i->data, 0x90, sizeof(i->data));
	packed = image_pack(i->data + code + IMAGE_PAYLOAD, IMAGE_MAX / 2, elf, kind);
	h.payload_length = (uint32_t)packed;
	h.syssize = (uint32_t)(IMAGE_PAYLOAD + packed + 15) / 16;
	memcpy(i->data + 0x1f1, &h, sizeof(h));
	i->size = code + (size_t)h.syssize * 16;
}
