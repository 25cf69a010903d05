// SPDX-License-Identifier: BSD-3-Clause
// See boot.h: which kind of image it is, and what goes with each kind: initrd and command line.
#include "vmm/boot_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const uint64_t PAGE = 4096;
static const uint64_t MIB = 1 << 20;
static const uint64_t LINUX_CMDLINE = 2047; // COMMAND_LINE_SIZE of x86 less the NUL

uint64_t boot_ram_end(const struct boot *b)
{
	return b->mem->regions[0].size;
}

static uint64_t mib_up(uint64_t size)
{
	return size / MIB + (size % MIB != 0);
}

int boot_check_place(struct boot *b, const char *what, uint64_t address, uint64_t size)
{
	if (address > GUEST_HOLE_BEGIN || size > GUEST_HOLE_BEGIN - address)
		return error_set(b->e, EINVAL,
			"%s: wants memory at 0x%llx, %llu bytes, which is outside of RAM", what,
			(unsigned long long)address, (unsigned long long)size);
	if (address < LAYOUT_LOW_END ||
		(address < LAYOUT_HIGH_RAM && address + size > LAYOUT_LOW_RAM_END))
		return error_set(b->e, EINVAL,
			"%s: wants memory at 0x%llx, %llu bytes, which overlaps what the machine "
			"has there (below 0x%llx, 0x%llx to 0x%llx)",
			what, (unsigned long long)address, (unsigned long long)size, LAYOUT_LOW_END,
			LAYOUT_LOW_RAM_END, LAYOUT_HIGH_RAM);
	if (address + size > boot_ram_end(b))
		return error_set(b->e, ENOMEM,
			"%s: too little memory: it needs at least %llu MiB, the guest has %llu",
			what, (unsigned long long)mib_up(address + size),
			(unsigned long long)(b->mem->size / MIB));
	return 0;
}

static int image_load(struct boot *b)
{
	const char *path = b->kernel.path;
	int err;

	b->head_size = b->kernel.size < BOOT_HEAD ? b->kernel.size : BOOT_HEAD;
	err = boot_file_read(&b->kernel, 0, b->head, b->head_size, b->e);
	if (err < 0)
		return err;
	if (boot_is_elf(b->head, b->head_size))
		return boot_elf_load(b);
	b->linux_image = boot_is_bzimage(b->head, b->head_size);
	if (b->linux_image)
		return boot_linux_load(b);
	// Documentation/arch/arm64/booting.rst: the magic of its Image
	if (b->head_size >= 60 && memcmp(b->head + 56, "ARM\x64", 4) == 0)
		return error_set(b->e, EINVAL,
			"%s: wrong architecture: an arm64 kernel; it must be x86-64", path);
	return error_set(b->e, EINVAL,
		"%s: not a kernel image: neither a Linux bzImage nor an ELF file", path);
}

// As high as the kernel takes it.
static int initrd_place(struct boot *b, const struct boot_file *f, uint64_t *ret_address)
{
	uint64_t kernel_end = (b->kernel_end + PAGE - 1) & -PAGE, ram_end = boot_ram_end(b);
	uint64_t limit = (b->initrd_limit < ram_end ? b->initrd_limit : ram_end) & -PAGE;
	uint64_t most = b->initrd_limit > kernel_end ? b->initrd_limit - kernel_end : 0;

	if (f->size > most)
		return error_set(b->e, EINVAL,
			"%s: the initrd of %llu MiB is too large: %s takes %llu MiB", f->path,
			(unsigned long long)mib_up(f->size), b->kernel.path,
			(unsigned long long)(most / MIB));
	if (limit < kernel_end || f->size > limit - kernel_end)
		return error_set(b->e, ENOMEM,
			"%s: too little memory: kernel and initrd need at least %llu MiB, "
			"the guest has %llu",
			f->path, (unsigned long long)mib_up(kernel_end + f->size + PAGE - 1),
			(unsigned long long)(b->mem->size / MIB));
	*ret_address = (limit - f->size) & -PAGE;
	return 0;
}

static int initrd_load(struct boot *b)
{
	struct boot_file f;
	uint64_t address = 0;
	int err;

	if (!b->src->initrd)
		return 0;
	err = boot_file_open(&f, b->src->initrd, b->src->open ? b->src->initrd_fd : -1, b->e);
	if (err < 0)
		return err;
	err = initrd_place(b, &f, &address);
	if (err < 0)
		goto close;
	err = boot_copy_file(b, &f, 0, address, f.size);
	if (err < 0)
		goto close;
	b->initrd = address;
	b->initrd_size = f.size;
close:
	boot_file_close(&f);
	return err;
}

static int cmdline_load(struct boot *b)
{
	const char *text = b->src->cmdline ? b->src->cmdline : "";
	size_t size = strlen(text);

	if (size > b->cmdline_max)
		return error_set(b->e, E2BIG,
			"%s: the command line has %zu bytes; this kernel takes %llu",
			b->kernel.path, size, (unsigned long long)b->cmdline_max);
	memcpy(guest_memory_at(b->mem, LAYOUT_CMDLINE, size + 1), text, size + 1);
	return 0;
}

int boot_open(struct boot_source *src, struct error *e)
{
	struct boot_file kernel, initrd = { .fd = -1 };
	int err = boot_file_open(&kernel, src->kernel, -1, e);

	if (err < 0)
		return err;
	if (src->initrd)
		err = boot_file_open(&initrd, src->initrd, -1, e);
	if (err < 0) {
		boot_file_close(&kernel);
		return err;
	}
	src->kernel_fd = kernel.fd;
	src->initrd_fd = initrd.fd;
	src->open = true;
	return 0;
}

void boot_close(struct boot_source *src)
{
	if (!src->open)
		return;
	close(src->kernel_fd);
	if (src->initrd_fd >= 0)
		close(src->initrd_fd);
	src->open = false;
}

int boot_load(struct guest_memory *m, const struct boot_source *src, uint64_t rsdp,
	struct boot_entry *ret_entry, struct error *e)
{
	struct boot b = { .mem = m,
		.src = src,
		.rsdp = rsdp,
		.e = e,
		.initrd_limit = GUEST_HOLE_BEGIN,
		.cmdline_max = LINUX_CMDLINE };
	int err = boot_file_open(&b.kernel, src->kernel, src->open ? src->kernel_fd : -1, e);

	if (err < 0)
		return err;
	err = image_load(&b);
	boot_file_close(&b.kernel);
	if (err < 0)
		return err;
	err = initrd_load(&b);
	if (err < 0)
		return err;
	err = cmdline_load(&b);
	if (err < 0)
		return err;
	if (b.linux_image)
		boot_linux_expect_top(&b);
	if (b.pvh)
		boot_enter_pvh(&b, ret_entry);
	else
		boot_enter_linux(&b, ret_entry);
	return 0;
}
