// SPDX-License-Identifier: BSD-3-Clause
// The kernel inside of a bzImage, an ELF file, packed: unpacked by us and loaded, for boot_linux.c.
// It is unpacked to where most of it already lies where it belongs; the rest is moved.
#include "vmm/boot_internal.h"
#include "vmm/decompress.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

struct payload {
	char what[256]; // begins each error
	enum compression kind;
	uint8_t *packed;
	uint64_t packed_size, size;
	struct boot_elf elf;
};

static uint8_t *buffer(uint64_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, size, MADV_HUGEPAGE); // fewer faults, where the host has them
	return p;
}

static int unpack(struct boot *b, const struct payload *p, bool whole, uint8_t *to, uint64_t size)
{
	int err = decompress(p->kind, p->packed, p->packed_size, whole, to, size);

	if (err == -ENOMEM)
		return error_set(b->e, ENOMEM, "%s: no memory to unpack it", p->what);
	return err < 0 ? error_set(b->e, EINVAL, "%s: damaged", p->what) : 0;
}

static int too_little_memory(struct boot *b, const struct payload *p, uint64_t size)
{
	return error_set(b->e, ENOMEM, "%s: too little memory: it has %llu MiB, the guest %llu",
		p->what, (unsigned long long)(size >> 20) + 1,
		(unsigned long long)(b->mem->size >> 20));
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t c, uint64_t c_size)
{
	return a < c + c_size && c < a + a_size;
}

// Whether unpacking all of it at `base` and then moving segments in their order moves each before
// something else has its place.
static bool fits_at(const struct boot *b, const struct payload *p, uint64_t base)
{
	const struct boot_segment *s = p->elf.segments;

	if (base < LAYOUT_HIGH_RAM || base > boot_ram_end(b) || p->size > boot_ram_end(b) - base)
		return false;
	for (unsigned int i = 0; i < p->elf.n_segments; i++)
		for (unsigned int j = i + 1; j < p->elf.n_segments; j++)
			if (overlap(s[i].address, s[i].file_size, base + s[j].offset,
				    s[j].file_size))
				return false;
	return true;
}

// Where the largest segment needs no move; 0 if that cannot be.
static uint64_t best_base(const struct boot *b, const struct payload *p)
{
	const struct boot_segment *most = &p->elf.segments[0];

	for (unsigned int i = 1; i < p->elf.n_segments; i++)
		if (p->elf.segments[i].file_size > most->file_size)
			most = &p->elf.segments[i];
	return most->address > most->offset && fits_at(b, p, most->address - most->offset)
		       ? most->address - most->offset
		       : 0;
}

static void place_segments(struct boot *b, const struct payload *p, const uint8_t *unpacked)
{
	const struct boot_segment *s = p->elf.segments;

	for (unsigned int i = 0; i < p->elf.n_segments; i++) {
		uint8_t *to = guest_memory_at(b->mem, s[i].address, s[i].size);

		if (to != unpacked + s[i].offset)
			memmove(to, unpacked + s[i].offset, s[i].file_size);
	}
	for (unsigned int i = 0; i < p->elf.n_segments; i++) {
		uint8_t *to = guest_memory_at(b->mem, s[i].address, s[i].size);

		memset(to + s[i].file_size, 0, s[i].size - s[i].file_size);
	}
}

static int unpack_and_place(struct boot *b, const struct payload *p)
{
	uint64_t base = best_base(b, p);
	uint8_t *to;
	int err;

	// What does not fit in the guest is not unpacked beside it either.
	if (p->size > boot_ram_end(b))
		return too_little_memory(b, p, p->size);
	to = base ? guest_memory_at(b->mem, base, p->size) : buffer(p->size);
	if (!to)
		return error_set(b->e, ENOMEM, "%s: no memory to unpack it", p->what);
	err = unpack(b, p, true, to, p->size);
	if (!err)
		place_segments(b, p, to);
	if (!base)
		munmap(to, p->size);
	return err;
}

static int load(struct boot *b, struct payload *p)
{
	uint8_t head[BOOT_HEAD];
	uint64_t head_size = p->size < BOOT_HEAD ? p->size : BOOT_HEAD;
	int err = unpack(b, p, false, head, head_size);

	if (err < 0)
		return err;
	if (!boot_is_elf(head, head_size))
		return error_set(b->e, EINVAL, "%s: not an ELF file", p->what);
	err = boot_elf_parse(b, p->what, head, head_size, p->size, &p->elf);
	if (err < 0)
		return err;
	err = boot_elf_enter(b, p->what, &p->elf);
	return err < 0 ? err : unpack_and_place(b, p);
}

int boot_payload_load(struct boot *b, uint64_t offset, uint64_t size)
{
	struct payload p = { .packed_size = size };
	uint32_t unpacked_size;
	uint8_t head[8];
	int err;

	if (size < sizeof(head))
		return -ENOTSUP;
	snprintf(p.what, sizeof(p.what), "%s: the kernel packed in it", b->kernel.path);
	err = boot_file_read(&b->kernel, offset, head, sizeof(head), b->e);
	if (err < 0)
		return err;
	p.kind = decompress_kind(head, sizeof(head));
	if (p.kind == COMPRESSION_COUNT)
		return -ENOTSUP;
	// Whatever packs it, the last four bytes tell (arch/x86/boot/compressed/mkpiggy.c).
	err = boot_file_read(&b->kernel, offset + size - 4, &unpacked_size, 4, b->e);
	if (err < 0)
		return err;
	p.size = unpacked_size;
	if (size > boot_ram_end(b))
		return too_little_memory(b, &p, size);
	p.packed = buffer(size);
	if (!p.packed)
		return error_set(b->e, ENOMEM, "%s: no memory to read it", p.what);
	err = boot_file_read(&b->kernel, offset, p.packed, size, b->e);
	if (!err)
		err = load(b, &p);
	munmap(p.packed, size);
	return err;
}
