// SPDX-License-Identifier: BSD-3-Clause
// Linux bzImages, for boot.c, by the 64-bit boot protocol (Documentation/arch/x86/boot.rst): the
// kernel inside where we can unpack it, which takes a fraction of the time that the image's own
// code needs; else the image as it is, entered where it unpacks itself.
#include "vmm/boot_internal.h"

#include <errno.h>
#include <string.h>

enum {
	SECTOR = 512,
	SETUP_AT = offsetof(struct boot_params, hdr), // 0x1f1, in the image too
	MAGIC_AT = SETUP_AT + offsetof(struct setup_header, header),
	BOOT_FLAG = 0xaa55,
	VERSION_64BIT = 0x20c, // the first with xloadflags
	ENTRY_64 = 0x200, // into the protected-mode part
};

static_assert(SETUP_AT == 0x1f1 && MAGIC_AT == 0x202, "boot.rst, The Real-Mode Kernel Header");

bool boot_is_bzimage(const uint8_t *head, uint64_t head_size)
{
	return head_size >= MAGIC_AT + 4 && memcmp(head + MAGIC_AT, "HdrS", 4) == 0;
}

// Debian's kernel, with 256 MiB, has touched nearly all of the 30 MiB behind its image and of RAM's
// last 8 when it starts init. What describes the memory is there, of a large machine not all.
static const uint64_t EXPECTED_BEHIND = 32ull << 20, EXPECTED_TOP = 4ull << 20;
static const uint64_t PAGES_MOST = 64ull << 20;

void boot_linux_expect(struct boot *b, uint64_t begin)
{
	uint64_t end = b->kernel_end + EXPECTED_BEHIND;

	guest_memory_collapse(
		b->mem, begin, (end < boot_ram_end(b) ? end : boot_ram_end(b)) - begin);
}

void boot_linux_expect_top(struct boot *b)
{
	const struct guest_region *r = &b->mem->regions[b->mem->n_regions - 1];
	uint64_t pages = b->mem->size / 64; // a struct page is 64 bytes
	uint64_t size = EXPECTED_TOP + (pages < PAGES_MOST ? pages : PAGES_MOST);

	if (size < r->size / 2)
		guest_memory_collapse(b->mem, r->address + r->size - size, size);
}

// Copies it as far as the image says that it goes: what follows is code.
static int header_read(struct boot *b)
{
	// the jump's operand at 0x201 counts from 0x202
	uint64_t size = MAGIC_AT + b->head[MAGIC_AT - 1] - SETUP_AT;
	struct setup_header *h = &b->header;

	if (b->head_size < SETUP_AT + sizeof(*h))
		return error_set(b->e, EINVAL, "%s: truncated in its setup header", b->kernel.path);
	memcpy(h, b->head + SETUP_AT, size < sizeof(*h) ? size : sizeof(*h));
	if (h->boot_flag != BOOT_FLAG)
		return error_set(b->e, EINVAL, "%s: not a kernel image: no boot flag 0xaa55",
			b->kernel.path);
	if (h->version < VERSION_64BIT || !(h->xloadflags & XLF_KERNEL_64))
		return error_set(b->e, EINVAL,
			"%s: wrong architecture: a bzImage without a 64-bit entry (boot protocol "
			"%u.%02u)",
			b->kernel.path, h->version >> 8, h->version & 0xff);
	return 0;
}

// The whole image, to unpack itself.
static int load_packed(struct boot *b, uint64_t offset, uint64_t size)
{
	const struct setup_header *h = &b->header;
	uint64_t needs = h->init_size > size ? h->init_size : size;
	int err = boot_check_place(b, b->kernel.path, h->pref_address, needs);

	if (err < 0)
		return err;
	b->kernel_end = h->pref_address + needs;
	boot_linux_expect(b, h->pref_address);
	err = boot_file_read(
		&b->kernel, offset, guest_memory_at(b->mem, h->pref_address, size), size, b->e);
	if (err < 0)
		return err;
	b->entry = h->pref_address + ENTRY_64;
	return 0;
}

int boot_linux_load(struct boot *b)
{
	const struct setup_header *h = &b->header;
	uint64_t offset, size;
	int err = header_read(b);

	if (err < 0)
		return err;
	offset = (uint64_t)((h->setup_sects ? h->setup_sects : 4) + 1) * SECTOR;
	size = (uint64_t)h->syssize * 16;
	if (offset > b->kernel.size || size > b->kernel.size - offset)
		return error_set(b->e, EINVAL, "%s: truncated: %llu of %llu bytes", b->kernel.path,
			(unsigned long long)b->kernel.size, (unsigned long long)(offset + size));
	if (size <= ENTRY_64 || h->payload_offset > size ||
		h->payload_length > size - h->payload_offset)
		return error_set(b->e, EINVAL, "%s: damaged: its payload lies outside of it",
			b->kernel.path);
	b->initrd_limit = (uint64_t)h->initrd_addr_max + 1;
	if (b->initrd_limit > GUEST_HOLE_BEGIN)
		b->initrd_limit = GUEST_HOLE_BEGIN;
	b->cmdline_max =
		h->cmdline_size < LAYOUT_CMDLINE_SIZE ? h->cmdline_size : LAYOUT_CMDLINE_SIZE - 1;
	err = boot_payload_load(b, offset + h->payload_offset, h->payload_length);
	return err == -ENOTSUP ? load_packed(b, offset, size) : err;
}
