// SPDX-License-Identifier: BSD-3-Clause
// The kernel inside of a bzImage, an ELF file, packed: unpacked by us and loaded, for boot_linux.c.
// Piece by piece: the first has the headers, and of each what lies in a segment goes to its place.
#include "vmm/boot_internal.h"
#include "vmm/decompress.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct payload {
	struct boot *b;
	char what[256]; // begins each error
	bool told; // the error is one of a callback, who has filled it in
	uint64_t offset; // of what is read next
	uint64_t size, done; // unpacked
	struct boot_elf elf;
};

static int payload_read(void *arg, void *dst, size_t size)
{
	struct payload *p = arg;
	int err = boot_file_read(&p->b->kernel, p->offset, dst, size, p->b->e);

	p->told = err < 0;
	p->offset += size;
	return err;
}

static int headers(struct payload *p, const uint8_t *data, uint64_t size)
{
	int err;

	if (!boot_is_elf(data, size))
		return error_set(p->b->e, EINVAL, "%s: not an ELF file", p->what);
	err = boot_elf_parse(
		p->b, p->what, data, size < BOOT_HEAD ? size : BOOT_HEAD, p->size, &p->elf);
	if (!err)
		err = boot_elf_enter(p->b, p->what, &p->elf);
	if (err < 0)
		return err;
	boot_elf_clear(p->b, &p->elf);
	boot_linux_expect(p->b, boot_elf_begin(&p->elf));
	return 0;
}

static int place(struct payload *p, const uint8_t *data, uint64_t size)
{
	uint64_t end = p->done + size;
	int err = 0;

	for (unsigned int i = 0; i < p->elf.n_segments && !err; i++) {
		const struct boot_segment *s = &p->elf.segments[i];
		uint64_t from = s->offset > p->done ? s->offset : p->done;
		uint64_t to = s->offset + s->file_size;

		to = to < end ? to : end;
		if (from < to)
			err = boot_copy(p->b, s->address + (from - s->offset),
				data + (from - p->done), to - from);
	}
	return err;
}

static int payload_write(void *arg, const uint8_t *data, size_t size)
{
	struct payload *p = arg;
	int err = 0;

	if (size > p->size - p->done)
		return -EBADMSG;
	if (p->done == 0)
		err = headers(p, data, size);
	if (!err)
		err = place(p, data, size);
	p->told = err < 0;
	p->done += size;
	return err;
}

static int unpack(struct payload *p, enum compression kind, uint64_t packed_size)
{
	const struct decompress_io io = { payload_read, payload_write, p };
	int err;

	err = decompress(kind, packed_size, p->size, &io);
	if (err < 0 && p->told)
		return err;
	if (err == -ENOMEM)
		return error_set(p->b->e, ENOMEM, "%s: no memory to unpack it", p->what);
	// with nothing unpacked there were no headers either
	if (err < 0 || p->done != p->size || p->size == 0)
		return error_set(p->b->e, EINVAL, "%s: damaged", p->what);
	return 0;
}

// A word of its own, as the kernel's cmdline_find_option_bool finds it.
static bool nokaslr(const char *cmdline)
{
	static const char word[] = "nokaslr";
	const size_t size = sizeof(word) - 1;

	for (const char *at = cmdline; at && (at = strstr(at, word)); at += size)
		if ((at == cmdline || (unsigned char)at[-1] <= ' ') &&
			(unsigned char)at[size] <= ' ')
			return true;
	return false;
}

int boot_payload_load(struct boot *b, uint64_t offset, uint64_t size)
{
	struct payload p = { .b = b, .offset = offset };
	uint64_t most = boot_ram_end(b);
	enum compression kind;
	uint32_t unpacked;
	uint8_t head[8];
	int err;

	if (size < sizeof(head))
		return -ENOTSUP;
	snprintf(p.what, sizeof(p.what), "%s: the kernel packed in it", b->kernel.path);
	err = boot_file_read(&b->kernel, offset, head, sizeof(head), b->e);
	if (err < 0)
		return err;
	kind = decompress_kind(head, sizeof(head));
	if (kind == COMPRESSION_COUNT)
		return -ENOTSUP;
	// Whatever packs it, the last four bytes tell (arch/x86/boot/compressed/mkpiggy.c).
	err = boot_file_read(&b->kernel, offset + size - 4, &unpacked, 4, b->e);
	if (err < 0)
		return err;
	p.size = unpacked;
	if (p.size > most || size > most)
		return error_set(b->e, ENOMEM,
			"%s: too little memory: it has %llu MiB, the guest %llu", p.what,
			(unsigned long long)((p.size > size ? p.size : size) >> 20) + 1,
			(unsigned long long)(b->mem->size >> 20));
	err = unpack(&p, kind, size);
	// What the image's own code would say: the kernel then moves its direct map, vmalloc and
	// modules about. Its text stays where it is linked.
	if (!err && !nokaslr(b->src->cmdline))
		b->header.loadflags |= KASLR_FLAG;
	return err;
}
