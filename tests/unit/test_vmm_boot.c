// SPDX-License-Identifier: BSD-3-Clause
// The loader: where images, initrd and command line come to lie, what a kernel is told, and what is
// said of files that cannot be booted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tests/unit/boot_images.h"
#include "vmm/boot.h"
#include "vmm/boot_layout.h"

static const uint64_t MIB = 1 << 20;
static const uint64_t RSDP = 0xe0010;

static struct {
	struct guest_memory mem;
	struct boot_entry entry;
	struct error e;
	struct image elf, image;
	char kernel[64], initrd[64];
} fx;

// A file without a name in any folder.
static void make_file(char path[64], const void *data, size_t size)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	snprintf(path, 64, "/proc/self/fd/%d", fd);
}

static void drop_file(char path[64])
{
	if (path[0])
		close(atoi(strrchr(path, '/') + 1));
	path[0] = 0;
}

// All of memory is dirty, so that what should be zero is seen to be made so.
static void give_memory(uint64_t mib)
{
	guest_memory_free(&fx.mem);
	assert_int_equal(guest_memory_init(&fx.mem, mib * MIB, false, NULL), 0);
	memset(fx.mem.regions[0].host, 0xa5, 8 * MIB);
}

static int setup(void **state)
{
	memset(&fx, 0, sizeof(fx));
	give_memory(32);
	return 0;
}

static int teardown(void **state)
{
	drop_file(fx.kernel);
	drop_file(fx.initrd);
	guest_memory_free(&fx.mem);
	return 0;
}

static int boot_with(const struct image *i, const char *cmdline)
{
	struct boot_source src = {
		.kernel = fx.kernel, .initrd = fx.initrd[0] ? fx.initrd : NULL, .cmdline = cmdline
	};
	int err;

	drop_file(fx.kernel);
	make_file(fx.kernel, i->data, i->size);
	memset(&fx.entry, 0x77, sizeof(fx.entry));
	fx.e.text[0] = 0;
	err = boot_load(&fx.mem, &src, RSDP, &fx.entry, &fx.e);
	assert_true((err == 0) == (fx.e.text[0] == 0));
	if (err < 0) { // untouched
		assert_int_equal(fx.entry.rip, 0x7777777777777777);
		assert_int_equal(fx.entry.gdt_limit, 0x7777);
	}
	return err;
}

static const void *at(uint64_t address, uint64_t size)
{
	const void *p = guest_memory_at(&fx.mem, address, size);

	assert_non_null(p);
	return p;
}

static void assert_zeroes(uint64_t address, uint64_t size)
{
	const uint8_t *p = at(address, size);

	for (uint64_t i = 0; i < size; i++)
		assert_int_equal(p[i], 0);
}

static void assert_elf_loaded(void)
{
	assert_memory_equal(at(IMAGE_TEXT, 0x1000), fx.elf.data + ELF_TEXT_AT, 0x1000);
	assert_memory_equal(at(IMAGE_DATA, 0x400), fx.elf.data + ELF_DATA_AT, 0x400);
	assert_zeroes(IMAGE_DATA + 0x400, 0x400);
}

static void assert_e820(const struct boot_e820_entry *e, uint64_t address, uint64_t size, int type)
{
	assert_int_equal(e->addr, address);
	assert_int_equal(e->size, size);
	assert_int_equal(e->type, type);
}

static void assert_map(const struct boot_e820_entry *e, unsigned int n)
{
	assert_int_equal(n, fx.mem.n_regions == 2 ? 5 : 4);
	assert_e820(&e[0], 0, 0x9fc00, 1);
	assert_e820(&e[1], 0xe0000, 0x20000, 2);
	assert_e820(&e[2], MIB, fx.mem.regions[0].size - MIB, 1);
	assert_e820(&e[3], 0xe0000000, 0x10000000, 2);
	if (n == 5)
		assert_e820(&e[4], GUEST_HOLE_END, fx.mem.regions[1].size, 1);
}

// Walks the tables as a CPU would.
static void assert_identity(uint64_t address)
{
	const uint64_t frame = 0xffffffffff000, *table = at(fx.entry.cr3, 4096);

	for (int shift = 39; shift >= 21; shift -= 9) {
		uint64_t entry = table[address >> shift & 511];

		assert_int_equal(entry & 3, 3);
		if (shift == 21) {
			assert_true(entry & 0x80);
			assert_int_equal(entry & frame, address & ~0x1fffffull);
		} else {
			table = at(entry & frame, 4096);
		}
	}
}

static void assert_long_mode(const char *cmdline)
{
	const struct boot_params *p = at(fx.entry.rsi, sizeof(*p));
	const uint64_t *gdt = at(fx.entry.gdt, fx.entry.gdt_limit + 1ull);

	assert_true(fx.entry.long_mode);
	assert_int_equal(fx.entry.rbx, 0);
	assert_int_equal(p->hdr.boot_flag, 0xaa55);
	assert_int_equal(p->hdr.header, 0x53726448);
	assert_int_equal(p->hdr.type_of_loader, 0xff);
	assert_int_equal(p->acpi_rsdp_addr, RSDP);
	assert_int_equal(p->sentinel, 0);
	assert_string_equal(at(p->hdr.cmd_line_ptr, strlen(cmdline) + 1), cmdline);
	assert_map(p->e820_table, p->e820_entries);
	assert_identity(0);
	assert_identity(IMAGE_PREF);
	assert_identity(0xffe00000);
	assert_int_equal(gdt[BOOT_CS / 8], 0x00af9b000000ffff);
	assert_int_equal(gdt[BOOT_DS / 8], 0x00cf93000000ffff);
}

static void bzimage_unpacked(void **state)
{
	for (unsigned int kind = 0; kind < COMPRESSION_COUNT; kind++) {
		give_memory(32);
		image_elf(&fx.elf, true);
		image_bzimage(&fx.image, &fx.elf, kind);
		assert_int_equal(boot_with(&fx.image, "console=ttyS0"), 0);
		assert_int_equal(fx.entry.rip, IMAGE_TEXT);
		assert_elf_loaded();
		assert_long_mode("console=ttyS0");
	}
}

// Of an image that unpacks itself, its own code decides.
static void layout_randomised(void **state)
{
	static const struct {
		const char *cmdline;
		bool randomised;
	} cases[] = { { NULL, true }, { "nokaslr", false }, { "a nokaslr b", false },
		{ "nokaslrs xnokaslr", true }, { "xnokaslr nokaslr", false } };

	image_elf(&fx.elf, true);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct boot_params *p;

		image_bzimage(&fx.image, &fx.elf, COMPRESSION_LZ4);
		assert_int_equal(boot_with(&fx.image, cases[i].cmdline), 0);
		p = at(fx.entry.rsi, sizeof(*p));
		assert_int_equal(!!(p->hdr.loadflags & KASLR_FLAG), cases[i].randomised);
		image_bzimage(&fx.image, &fx.elf, COMPRESSION_COUNT);
		assert_int_equal(boot_with(&fx.image, cases[i].cmdline), 0);
		assert_false(p->hdr.loadflags & KASLR_FLAG);
	}
}

static void bzimage_packed(void **state)
{
	image_elf(&fx.elf, true);
	image_bzimage(&fx.image, &fx.elf, COMPRESSION_COUNT);
	assert_int_equal(boot_with(&fx.image, ""), 0);
	assert_int_equal(fx.entry.rip, IMAGE_PREF + 0x200);
	assert_memory_equal(
		at(IMAGE_PREF, fx.image.size - 1024), fx.image.data + 1024, fx.image.size - 1024);
	assert_long_mode("");
}

// Each segment's address: what can be unpacked where it belongs, what has to be moved up or down,
// and what cannot be unpacked in the guest at all.
static void segments_move(void **state)
{
	static const uint64_t places[][2] = { { 0x400000, 0x401000 }, { 0x400000, 0x401400 },
		{ 0x401400, 0x400000 }, { 0x30000, 0x401000 }, { 0x401000, 0x400000 },
		{ 0x100000, 0x101000 }, { 0x1fff000, 0x400000 } };

	for (unsigned int i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		Elf64_Phdr *p = (void *)(fx.elf.data + ELF_PHDR);

		give_memory(32);
		image_elf(&fx.elf, true);
		((Elf64_Ehdr *)(void *)fx.elf.data)->e_entry = places[i][0];
		p[0].p_paddr = places[i][0];
		p[1].p_paddr = places[i][1];
		image_bzimage(&fx.image, &fx.elf, COMPRESSION_LZ4);
		assert_int_equal(boot_with(&fx.image, NULL), 0);
		assert_memory_equal(at(places[i][0], 0x1000), fx.elf.data + ELF_TEXT_AT, 0x1000);
		assert_memory_equal(at(places[i][1], 0x400), fx.elf.data + ELF_DATA_AT, 0x400);
		assert_zeroes(places[i][1] + 0x400, 0x400);
	}
}

static void elf_pvh(void **state)
{
	const uint64_t *gdt, *module, *map;
	const uint32_t *info;
	uint64_t size;

	make_file(fx.initrd, "initrd", 6);
	image_elf(&fx.elf, true);
	assert_int_equal(boot_with(&fx.elf, "a b"), 0);
	assert_false(fx.entry.long_mode);
	assert_int_equal(fx.entry.rip, PVH_ENTRY);
	assert_elf_loaded();
	gdt = at(fx.entry.gdt, fx.entry.gdt_limit + 1ull);
	assert_int_equal(gdt[BOOT_CS / 8], 0x00cf9b000000ffff);
	assert_int_equal(gdt[BOOT_TR / 8], 0x00008b0000000067);
	info = at(fx.entry.rbx, 56);
	assert_int_equal(info[0], 0x336ec578);
	assert_int_equal(info[1], 1);
	assert_int_equal(info[3], 1);
	assert_string_equal(at(((const uint64_t *)info)[3], 4), "a b");
	assert_int_equal(((const uint64_t *)info)[4], RSDP);
	assert_int_equal(info[12], 4);
	module = at(((const uint64_t *)info)[2], 32);
	assert_memory_equal(at(module[0], 6), "initrd", 6);
	assert_int_equal(module[1], 6);
	map = at(((const uint64_t *)info)[5], 4 * 24);
	size = fx.mem.regions[0].size - MIB;
	assert_int_equal(map[6], MIB);
	assert_int_equal(map[7], size);
	assert_int_equal(map[8], 1);
}

static void elf_without_note(void **state)
{
	image_elf(&fx.elf, false);
	assert_int_equal(boot_with(&fx.elf, "x"), 0);
	assert_int_equal(fx.entry.rip, IMAGE_TEXT);
	assert_elf_loaded();
	assert_long_mode("x");
}

// More than the hole leaves below 4 GiB; nearly all of it is never touched.
static void memory_around_the_hole(void **state)
{
	give_memory(4096);
	image_elf(&fx.elf, false);
	make_file(fx.initrd, "initrd", 6);
	assert_int_equal(boot_with(&fx.elf, NULL), 0);
	assert_long_mode("");
	assert_memory_equal(at(GUEST_HOLE_BEGIN - 4096, 6), "initrd", 6);
}

static void initrd_high(void **state)
{
	const struct boot_params *p;
	const uint32_t max = 0x17ffffe; // 24 MiB less one byte

	for (int limited = 0; limited < 2; limited++) {
		uint64_t expected = (limited ? 0x17ff000 : 32 * MIB) - 0x2000;
		uint8_t data[5000];

		for (unsigned int i = 0; i < sizeof(data); i++)
			data[i] = (uint8_t)i;
		drop_file(fx.initrd);
		make_file(fx.initrd, data, sizeof(data));
		image_elf(&fx.elf, true);
		image_bzimage(&fx.image, &fx.elf, COMPRESSION_LZ4);
		if (limited)
			memcpy(fx.image.data + 0x22c, &max, 4);
		assert_int_equal(boot_with(&fx.image, NULL), 0);
		p = at(fx.entry.rsi, sizeof(*p));
		assert_int_equal(p->hdr.ramdisk_image, expected);
		assert_int_equal(p->hdr.ramdisk_size, sizeof(data));
		assert_memory_equal(at(expected, sizeof(data)), data, sizeof(data));
	}
}

static void assert_refused(int err, const char *text)
{
	int ret = boot_with(&fx.image, NULL);

	if (!strstr(fx.e.text, text) || !strstr(fx.e.text, fx.kernel))
		fail_msg("'%s' is not in '%s'", text, fx.e.text);
	assert_int_equal(ret, -err);
}

struct damage {
	uint32_t offset, size;
	uint64_t value;
	int err;
	const char *text;
};

enum { TEXT_PHDR = ELF_PHDR, DATA_PHDR = ELF_PHDR + 56, P_OFFSET = 8, P_PADDR = 24, P_FILESZ = 32 };
enum { P_MEMSZ = 40 };

static const struct damage elf_damage[] = {
	{ 18, 2, EM_386, EINVAL, "wrong architecture: an ELF for i386; it must be x86-64" },
	{ 18, 2, EM_AARCH64, EINVAL, "wrong architecture: an ELF for aarch64" },
	{ 4, 1, ELFCLASS32, EINVAL, "wrong architecture: an ELF for x32 (32 bits)" },
	{ 5, 1, ELFDATA2MSB, EINVAL, "wrong architecture: a big-endian ELF" },
	{ 16, 2, ET_REL, EINVAL, "not an executable" },
	{ 56, 2, 0, EINVAL, "without program headers" },
	{ 54, 2, 57, EINVAL, "without program headers" },
	{ 56, 2, 0xffff, EINVAL, "truncated: its program headers" },
	{ 32, 8, 0xffffffffffffffc0, EINVAL, "truncated: its program headers" },
	{ TEXT_PHDR + P_OFFSET, 8, 0xffffffffffffff00, EINVAL, "truncated: a segment" },
	{ TEXT_PHDR + P_OFFSET, 8, ELF_SIZE - 0xfff, EINVAL, "truncated: a segment" },
	{ DATA_PHDR + P_FILESZ, 8, 0x801, EINVAL, "a segment is larger than its memory" },
	{ DATA_PHDR + P_PADDR, 8, IMAGE_TEXT + 0xfff, EINVAL, "its segments overlap at 0x400fff" },
	{ DATA_PHDR + P_PADDR, 8, 0x1f800, EINVAL, "overlaps what the machine has there" },
	{ DATA_PHDR + P_PADDR, 8, 0x9f401, EINVAL, "overlaps what the machine has there" },
	{ DATA_PHDR + P_PADDR, 8, 0xff801, EINVAL, "overlaps what the machine has there" },
	{ DATA_PHDR + P_PADDR, 8, 0xfffffffffffff900, EINVAL, "which is outside of RAM" },
	{ DATA_PHDR + P_PADDR, 8, GUEST_HOLE_BEGIN - 0x7ff, EINVAL, "which is outside of RAM" },
	{ DATA_PHDR + P_MEMSZ, 8, UINT64_MAX, EINVAL, "which is outside of RAM" },
	{ DATA_PHDR + P_PADDR, 8, 0x2000000 - 0x7ff, ENOMEM,
		"too little memory: it needs at least 33 MiB, the guest has 32" },
	{ 24, 8, IMAGE_TEXT - 1, EINVAL, "its entry 0x3fffff is outside of its segments" },
};

static void damage(struct image *i, const struct damage *d)
{
	memcpy(i->data + d->offset, &d->value, d->size);
}

static void refused_elf(void **state)
{
	for (unsigned int i = 0; i < sizeof(elf_damage) / sizeof(elf_damage[0]); i++) {
		image_elf(&fx.elf, false);
		damage(&fx.elf, &elf_damage[i]);
		fx.image = fx.elf;
		assert_refused(elf_damage[i].err, elf_damage[i].text);
		if (elf_damage[i].offset == 32 || elf_damage[i].value == 0xffff)
			continue; // the head of a packed image is padded, not cut
		image_bzimage(&fx.image, &fx.elf, COMPRESSION_ZSTD);
		assert_refused(elf_damage[i].err, elf_damage[i].text);
	}
	image_elf(&fx.image, false);
	memset(fx.image.data + ELF_PHDR, 0, 112);
	assert_refused(EINVAL, "an ELF with nothing to load");
	image_elf(&fx.image, false);
	for (unsigned int i = 0; i < 2; i++) // linked low, as a program
		memset(fx.image.data + ELF_PHDR + 56 * i + 16, 0, 8);
	assert_refused(EINVAL, "no kernel: it has no PVH entry and is not linked as Linux is");
	for (size_t size = 4; size < ELF_SIZE; size += size < 256 ? 1 : 255) {
		image_elf(&fx.image, true);
		fx.image.size = size;
		assert_refused(EINVAL, "truncated");
	}
}

// A note that leads out of its segment is none: the 64-bit entry remains.
static void bad_notes(void **state)
{
	static const uint32_t bad[][3] = { { 4, 8, 17 }, { 5, 8, 18 }, { 4, 9, 18 },
		{ 4, 0x10000, 18 }, { 0xffffffff, 8, 18 }, { 4, 0xffffffff, 1 }, { 0, 0, 0 } };

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		image_elf(&fx.elf, true);
		memcpy(fx.elf.data + ELF_NOTE_AT, bad[i], sizeof(bad[i]));
		assert_int_equal(boot_with(&fx.elf, NULL), 0);
		assert_int_equal(fx.entry.rip, IMAGE_TEXT);
	}
}

static const struct damage bzimage_damage[] = {
	{ 0x1fe, 2, 0, EINVAL, "no boot flag" },
	{ 0x236, 2, XLF_CAN_BE_LOADED_ABOVE_4G, EINVAL,
		"without a 64-bit entry (boot protocol 2.15)" },
	{ 0x206, 2, 0x20b, EINVAL, "wrong architecture: a bzImage without a 64-bit entry" },
	{ 0x1f1, 1, 255, EINVAL, "truncated: " },
	{ 0x1f4, 4, 0xffffffff, EINVAL, "truncated: " },
	{ 0x1f4, 4, 32, EINVAL, "its payload lies outside" },
	{ 0x248, 4, 0xffffffff, EINVAL, "its payload lies outside" },
	{ 0x24c, 4, 0xffffffff, EINVAL, "its payload lies outside" },
	{ 0x202, 4, 0, EINVAL, "not a kernel image: neither a Linux bzImage nor an ELF file" },
	{ 1024 + IMAGE_PAYLOAD + 20, 4, 0xffffffff, EINVAL, "the kernel packed in it: damaged" },
};

static void refused_bzimage(void **state)
{
	static const struct damage long_block = { 1024 + IMAGE_PAYLOAD + 4, 4, 0x100000, EINVAL,
		"the kernel packed in it: damaged" };

	image_elf(&fx.elf, false);
	for (unsigned int i = 0; i < sizeof(bzimage_damage) / sizeof(bzimage_damage[0]); i++) {
		image_bzimage(&fx.image, &fx.elf, COMPRESSION_XZ);
		damage(&fx.image, &bzimage_damage[i]);
		assert_refused(bzimage_damage[i].err, bzimage_damage[i].text);
	}
	image_bzimage(&fx.image, &fx.elf, COMPRESSION_LZ4);
	damage(&fx.image, &long_block);
	assert_refused(long_block.err, long_block.text);
	image_bzimage(&fx.image, &fx.elf, COMPRESSION_LZ4);
	fx.image.size--;
	assert_refused(EINVAL, "truncated: ");
	fx.image.size = 0x240;
	assert_refused(EINVAL, "truncated in its setup header");
	memset(fx.elf.data, 0, 4);
	image_bzimage(&fx.image, &fx.elf, COMPRESSION_GZIP);
	assert_refused(EINVAL, "the kernel packed in it: not an ELF file");
}

// An unknown compressor's image is bounded by what it says itself.
static void refused_packed(void **state)
{
	static const struct damage d[] = {
		{ 0x258, 8, 0xffffffffffe00000, EINVAL, "which is outside of RAM" },
		{ 0x258, 8, 0, EINVAL, "overlaps what the machine has there" },
		{ 0x260, 4, 0x1000001, ENOMEM, "needs at least 33 MiB, the guest has 32" },
	};

	for (unsigned int i = 0; i < sizeof(d) / sizeof(d[0]); i++) {
		image_elf(&fx.elf, true);
		image_bzimage(&fx.image, &fx.elf, COMPRESSION_COUNT);
		damage(&fx.image, &d[i]);
		assert_refused(d[i].err, d[i].text);
	}
}

// What it says of its size last is not believed, neither more nor less.
static void refused_sizes(void **state)
{
	for (unsigned int kind = 0; kind < COMPRESSION_COUNT; kind++) {
		for (int more = -1; more <= 1; more += 2) {
			uint32_t length, size = (uint32_t)(ELF_SIZE + more);

			image_elf(&fx.elf, false);
			image_bzimage(&fx.image, &fx.elf, kind);
			memcpy(&length, fx.image.data + 0x24c, 4);
			memcpy(fx.image.data + 1024 + IMAGE_PAYLOAD + length - 4, &size, 4);
			assert_refused(EINVAL, "damaged");
		}
	}
}

static void refused_bombs(void **state)
{
	for (unsigned int kind = 0; kind < COMPRESSION_COUNT; kind++) {
		uint32_t length, size = 0xfffffff0;

		image_elf(&fx.elf, false);
		image_bzimage(&fx.image, &fx.elf, kind);
		memcpy(&length, fx.image.data + 0x24c, 4);
		memcpy(fx.image.data + 1024 + IMAGE_PAYLOAD + length - 4, &size, 4);
		assert_refused(ENOMEM, "too little memory: it has 4096 MiB, the guest 32");
	}
}

static void refused_others(void **state)
{
	memset(&fx.image, 'x', sizeof(fx.image));
	fx.image.size = 0;
	assert_refused(EINVAL, "the file is empty");
	fx.image.size = 1;
	assert_refused(EINVAL, "not a kernel image");
	fx.image.size = 8192;
	assert_refused(EINVAL, "not a kernel image");
	memcpy(fx.image.data + 56, "ARM\x64", 4);
	assert_refused(EINVAL, "wrong architecture: an arm64 kernel; it must be x86-64");
}

static void refused_paths(void **state)
{
	static const struct {
		const char *path, *text;
		int err;
	} paths[] = {
		{ "/nonexistent/vmlinuz", "/nonexistent/vmlinuz: No such file", -ENOENT },
		{ "/", "/: not a regular file", -EINVAL },
		{ "/dev/zero", "/dev/zero: not a regular file", -EINVAL },
	};

	image_elf(&fx.elf, true);
	make_file(fx.kernel, fx.elf.data, fx.elf.size);
	for (unsigned int i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct boot_source kernel = { .kernel = paths[i].path };
		struct boot_source initrd = { .kernel = fx.kernel, .initrd = paths[i].path };

		assert_int_equal(boot_load(&fx.mem, &kernel, 0, &fx.entry, &fx.e), paths[i].err);
		assert_non_null(strstr(fx.e.text, paths[i].text));
		assert_int_equal(boot_load(&fx.mem, &initrd, 0, &fx.entry, &fx.e), paths[i].err);
		assert_non_null(strstr(fx.e.text, paths[i].text));
	}
}

// As a reboot does when the paths lead nowhere any more. What is wrong is still told by name.
static void loaded_again(void **state)
{
	struct boot_source src = { .initrd = fx.initrd };
	char path[] = "/tmp/vmm-boot-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	image_elf(&fx.elf, false);
	assert_int_equal(write(fd, fx.elf.data, fx.elf.size), fx.elf.size);
	make_file(fx.initrd, "initrd", 6);
	src.kernel = path;
	assert_int_equal(boot_open(&src, &fx.e), 0);
	unlink(path);
	drop_file(fx.initrd);
	for (int i = 0; i < 3; i++) {
		give_memory(32);
		assert_int_equal(boot_load(&fx.mem, &src, RSDP, &fx.entry, &fx.e), 0);
		assert_elf_loaded();
		assert_memory_equal(at(32 * MIB - 4096, 6), "initrd", 6);
	}
	assert_int_equal(ftruncate(fd, 100), 0);
	assert_int_equal(boot_load(&fx.mem, &src, RSDP, &fx.entry, &fx.e), -EINVAL);
	assert_non_null(strstr(fx.e.text, path));
	boot_close(&src);
	close(fd);
	src.initrd = "/nonexistent/initrd";
	assert_int_equal(boot_open(&src, &fx.e), -ENOENT);
	assert_false(src.open);
}

static void refused_initrd(void **state)
{
	const uint32_t max = IMAGE_DATA + 0x2000 - 1;
	int fd;

	image_elf(&fx.elf, false);
	make_file(fx.initrd, "x", 1);
	fd = atoi(strrchr(fx.initrd, '/') + 1);
	// from the page after the data to the end
	assert_int_equal(ftruncate(fd, (off_t)(32 * MIB - IMAGE_DATA - 0x1000)), 0);
	assert_int_equal(boot_with(&fx.elf, NULL), 0);
	assert_int_equal(ftruncate(fd, (off_t)(32 * MIB - IMAGE_DATA - 0xfff)), 0);
	assert_int_equal(boot_with(&fx.elf, NULL), -ENOMEM);
	assert_non_null(strstr(fx.e.text, "too little memory: kernel and initrd need at least 33"));
	assert_non_null(strstr(fx.e.text, fx.initrd));
	assert_int_equal(ftruncate(fd, INT64_MAX), 0);
	assert_int_equal(boot_with(&fx.elf, NULL), -EINVAL);
	assert_non_null(strstr(fx.e.text, "MiB is too large"));
	assert_int_equal(ftruncate(fd, 0x1001), 0);
	image_bzimage(&fx.image, &fx.elf, COMPRESSION_LZ4);
	memcpy(fx.image.data + 0x22c, &max, 4);
	assert_int_equal(boot_with(&fx.image, NULL), -EINVAL);
	assert_non_null(strstr(fx.e.text, "the initrd of 1 MiB is too large"));
}

static void refused_cmdline(void **state)
{
	static char text[70000];
	uint32_t size = 100;

	image_elf(&fx.elf, true);
	memset(text, 'x', 65535);
	assert_int_equal(boot_with(&fx.elf, text), 0);
	text[65535] = 'x';
	assert_int_equal(boot_with(&fx.elf, text), -E2BIG);
	assert_non_null(
		strstr(fx.e.text, "the command line has 65536 bytes; this kernel takes 65535"));
	image_bzimage(&fx.image, &fx.elf, COMPRESSION_LZ4);
	memcpy(fx.image.data + 0x238, &size, 4);
	text[100] = 0;
	assert_int_equal(boot_with(&fx.image, text), 0);
	assert_long_mode(text);
	text[100] = 'x';
	text[101] = 0;
	assert_int_equal(boot_with(&fx.image, text), -E2BIG);
	assert_non_null(strstr(fx.e.text, "the command line has 101 bytes; this kernel takes 100"));
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { CASE(bzimage_unpacked), CASE(layout_randomised),
		CASE(bzimage_packed), CASE(segments_move), CASE(elf_pvh), CASE(elf_without_note),
		CASE(memory_around_the_hole), CASE(initrd_high), CASE(refused_elf), CASE(bad_notes),
		CASE(refused_bzimage), CASE(refused_packed), CASE(refused_sizes),
		CASE(refused_bombs), CASE(refused_others), CASE(refused_paths), CASE(loaded_again),
		CASE(refused_initrd), CASE(refused_cmdline) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
