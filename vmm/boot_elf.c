// SPDX-License-Identifier: BSD-3-Clause
// ELF images, for boot.c (files) and boot_payload.c (what is packed in a bzImage): ELF64 for
// x86-64, entered by PVH where a note of Xen's says so, else by Linux' 64-bit protocol.
#include "vmm/boot_internal.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

enum { XEN_ELFNOTE_PHYS32_ENTRY = 18 };

bool boot_is_elf(const uint8_t *head, uint64_t head_size)
{
	return head_size >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0;
}

static const char *machine_name(uint16_t machine)
{
	switch (machine) {
	case EM_386:
		return "i386";
	case EM_AARCH64:
		return "aarch64";
	case EM_ARM:
		return "arm";
	case EM_RISCV:
		return "riscv";
	case EM_PPC64:
		return "ppc64";
	case EM_S390:
		return "s390";
	}
	return "another architecture";
}

// The gABI's "ELF Header", as far as it matters here.
static int check_header(
	struct boot *b, const char *what, const uint8_t *head, uint64_t head_size, Elf64_Ehdr *h)
{
	if (head_size < sizeof(*h))
		return error_set(b->e, EINVAL, "%s: truncated in its ELF header", what);
	memcpy(h, head, sizeof(*h));
	if (h->e_ident[EI_DATA] != ELFDATA2LSB)
		return error_set(b->e, EINVAL, "%s: wrong architecture: a big-endian ELF", what);
	if (h->e_machine != EM_X86_64 || h->e_ident[EI_CLASS] != ELFCLASS64)
		return error_set(b->e, EINVAL,
			"%s: wrong architecture: an ELF for %s%s; it must be x86-64", what,
			h->e_machine == EM_X86_64 ? "x32" : machine_name(h->e_machine),
			h->e_ident[EI_CLASS] == ELFCLASS64 ? "" : " (32 bits)");
	if (h->e_type != ET_EXEC && h->e_type != ET_DYN)
		return error_set(b->e, EINVAL, "%s: an ELF file, but not an executable", what);
	if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum == 0)
		return error_set(b->e, EINVAL, "%s: an ELF without program headers", what);
	if (h->e_phoff > head_size || h->e_phnum > (head_size - h->e_phoff) / sizeof(Elf64_Phdr))
		return error_set(b->e, EINVAL,
			"%s: truncated: its program headers are not in the first %llu bytes", what,
			(unsigned long long)head_size);
	return 0;
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t c, uint64_t c_size)
{
	return a < c + c_size && c < a + a_size; // neither wraps: both are in RAM
}

static int add_segment(struct boot *b, const char *what, const Elf64_Phdr *p, uint64_t file_size,
	struct boot_segment list[BOOT_SEGMENTS], unsigned int *n)
{
	unsigned int i;

	if (p->p_offset > file_size || p->p_filesz > file_size - p->p_offset)
		return error_set(b->e, EINVAL, "%s: truncated: a segment ends at byte %llu of %llu",
			what, (unsigned long long)(p->p_offset + p->p_filesz),
			(unsigned long long)file_size);
	if (*n == BOOT_SEGMENTS)
		return error_set(b->e, EINVAL, "%s: more than %d segments", what, BOOT_SEGMENTS);
	for (i = (*n)++; i > 0 && list[i - 1].offset > p->p_offset; i--)
		list[i] = list[i - 1];
	list[i] = (struct boot_segment){ .offset = p->p_offset,
		.file_size = p->p_filesz,
		.address = p->p_paddr,
		.size = p->p_memsz };
	return 0;
}

static int add_load(struct boot *b, const char *what, const Elf64_Phdr *p, uint64_t file_size,
	struct boot_elf *elf)
{
	int err;

	if (p->p_memsz == 0)
		return 0;
	if (p->p_filesz > p->p_memsz)
		return error_set(b->e, EINVAL, "%s: a segment is larger than its memory", what);
	err = boot_check_place(b, what, p->p_paddr, p->p_memsz);
	if (err < 0)
		return err;
	for (unsigned int i = 0; i < elf->n_segments; i++)
		if (overlap(elf->segments[i].address, elf->segments[i].size, p->p_paddr,
			    p->p_memsz))
			return error_set(b->e, EINVAL, "%s: its segments overlap at 0x%llx", what,
				(unsigned long long)p->p_paddr);
	return add_segment(b, what, p, file_size, elf->segments, &elf->n_segments);
}

int boot_elf_parse(struct boot *b, const char *what, const uint8_t *head, uint64_t head_size,
	uint64_t file_size, struct boot_elf *ret_elf)
{
	struct boot_elf elf = { 0 };
	uint64_t end = 0;
	Elf64_Ehdr h;
	int err = check_header(b, what, head, head_size, &h);

	if (err < 0)
		return err;
	for (unsigned int i = 0; i < h.e_phnum && !err; i++) {
		Elf64_Phdr p;

		memcpy(&p, head + h.e_phoff + i * sizeof(p), sizeof(p));
		elf.high = elf.high || (p.p_type == PT_LOAD && p.p_vaddr >> 63);
		if (p.p_type == PT_LOAD)
			err = add_load(b, what, &p, file_size, &elf);
		else if (p.p_type == PT_NOTE)
			err = add_segment(b, what, &p, file_size, elf.notes, &elf.n_notes);
	}
	if (err < 0)
		return err;
	for (unsigned int i = 0; i < elf.n_segments; i++) {
		uint64_t to = elf.segments[i].address + elf.segments[i].size;

		end = to > end ? to : end;
	}
	if (end == 0)
		return error_set(b->e, EINVAL, "%s: an ELF with nothing to load", what);
	elf.entry = h.e_entry;
	b->kernel_end = end;
	*ret_elf = elf;
	return 0;
}

// Looks for Xen's note in one segment's copy. gABI, "Note Section": name and description are padded
// to 4 bytes there.
static bool find_note(const uint8_t *notes, uint64_t size, uint64_t *ret_entry)
{
	while (size >= sizeof(Elf64_Nhdr)) {
		uint64_t name, desc;
		Elf64_Nhdr n;

		memcpy(&n, notes, sizeof(n));
		name = ((uint64_t)n.n_namesz + 3) & ~3ull;
		desc = ((uint64_t)n.n_descsz + 3) & ~3ull;
		notes += sizeof(n);
		size -= sizeof(n);
		if (name > size || n.n_descsz > size - name)
			return false;
		if (n.n_type == XEN_ELFNOTE_PHYS32_ENTRY && n.n_namesz == 4 &&
			memcmp(notes, "Xen", 4) == 0 && (n.n_descsz == 4 || n.n_descsz == 8)) {
			*ret_entry = 0;
			memcpy(ret_entry, notes + name, n.n_descsz);
			return true;
		}
		if (desc > size - name)
			return false;
		notes += name + desc;
		size -= name + desc;
	}
	return false;
}

static int find_pvh(struct boot *b, struct boot_elf *elf)
{
	uint8_t notes[4096];

	for (unsigned int i = 0; i < elf->n_notes && !b->pvh; i++) {
		uint64_t size = elf->notes[i].file_size;
		int err;

		size = size < sizeof(notes) ? size : sizeof(notes);
		err = boot_file_read(&b->kernel, elf->notes[i].offset, notes, size, b->e);
		if (err < 0)
			return err;
		b->pvh = find_note(notes, size, &elf->entry);
	}
	return 0;
}

int boot_elf_enter(struct boot *b, const char *what, const struct boot_elf *elf)
{
	for (unsigned int i = 0; i < elf->n_segments; i++)
		if (elf->entry >= elf->segments[i].address &&
			elf->entry - elf->segments[i].address < elf->segments[i].size) {
			b->entry = elf->entry;
			return 0;
		}
	return error_set(b->e, EINVAL, "%s: its entry 0x%llx is outside of its segments", what,
		(unsigned long long)elf->entry);
}

void boot_elf_clear(struct boot *b, const struct boot_elf *elf)
{
	for (unsigned int i = 0; i < elf->n_segments; i++)
		boot_clear(b, elf->segments[i].address, elf->segments[i].size);
}

uint64_t boot_elf_begin(const struct boot_elf *elf)
{
	uint64_t begin = UINT64_MAX;

	for (unsigned int i = 0; i < elf->n_segments; i++)
		if (elf->segments[i].address < begin)
			begin = elf->segments[i].address;
	return begin;
}

int boot_elf_load(struct boot *b)
{
	struct boot_elf elf;
	int err = boot_elf_parse(b, b->kernel.path, b->head, b->head_size, b->kernel.size, &elf);

	if (err < 0)
		return err;
	err = find_pvh(b, &elf);
	if (err < 0)
		return err;
	if (!b->pvh && !elf.high)
		return error_set(b->e, EINVAL,
			"%s: an ELF file, but no kernel: it has no PVH entry and is not linked as "
			"Linux is",
			b->kernel.path);
	if (b->pvh) // which may be another kernel than Linux
		b->cmdline_max = LAYOUT_CMDLINE_SIZE - 1;
	err = boot_elf_enter(b, b->kernel.path, &elf);
	if (err < 0)
		return err;
	boot_elf_clear(b, &elf);
	for (unsigned int i = 0; i < elf.n_segments && !err; i++)
		err = boot_copy_file(b, &b->kernel, elf.segments[i].offset, elf.segments[i].address,
			elf.segments[i].file_size);
	return err;
}
