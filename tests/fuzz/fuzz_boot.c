// SPDX-License-Identifier: BSD-3-Clause
// Kernel files as a hostile user would give them, through the whole loader into a guest whose
// memory is a heap block of its exact size. Input: a byte for the guest's size, one for the
// initrd's in units of 32 KiB (0: none), then the file. Whatever the file: nothing is written where
// ACPI tables lie or below the loader's own pages, and what is accepted can be entered.
#include <asm/bootparam.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tests/fuzz/fuzz.h"
#include "vmm/boot.h"
#include "vmm/boot_layout.h"

enum { MIB = 1 << 20, RAM_MAX = 16, UNTOUCHED = 0x5a, INITRD = 'i' };

static void file_fill(int fd, const uint8_t *data, size_t size)
{
	CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
}

static int file_make(char path[64])
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	CHECK(fd >= 0);
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

static void check_filled(const uint8_t *p, uint64_t size, uint8_t value)
{
	CHECK(size == 0 || (p[0] == value && memcmp(p, p + 1, size - 1) == 0));
}

static void check_loaded(const struct guest_memory *m, const struct boot_entry *e, uint64_t initrd)
{
	CHECK(guest_memory_at(m, e->rip, 1));
	CHECK(guest_memory_at(m, e->gdt, e->gdt_limit + 1ull));
	if (e->long_mode) {
		const struct boot_params *p = guest_memory_at(m, e->rsi, sizeof(*p));
		const uint8_t *at = guest_memory_at(m, p->hdr.ramdisk_image, initrd);

		CHECK(at && p->hdr.ramdisk_size == initrd && p->e820_entries == 4);
		CHECK(*(uint64_t *)guest_memory_at(m, e->cr3, 8) == (e->cr3 + 4096) + 3);
		check_filled(at, initrd, INITRD);
		// the kernel does not lie there
		CHECK(e->rip < p->hdr.ramdisk_image || initrd == 0);
	} else {
		CHECK(e->rbx == LAYOUT_PVH_INFO);
	}
}

static void load(struct guest_memory *m, const char *kernel, const char *initrd, uint64_t size)
{
	const struct boot_source src = {
		.kernel = kernel, .initrd = size ? initrd : NULL, .cmdline = "console=ttyS0"
	};
	struct boot_entry entry;
	struct error e = { "" };
	uint8_t *ram = m->regions[0].host;
	int err = boot_load(m, &src, LAYOUT_ACPI, &entry, &e);

	CHECK((err == 0) == (e.text[0] == 0));
	check_filled(ram, LAYOUT_LOW_BEGIN, UNTOUCHED);
	check_filled(ram + LAYOUT_LOW_RAM_END, LAYOUT_HIGH_RAM - LAYOUT_LOW_RAM_END, UNTOUCHED);
	if (!err)
		check_loaded(m, &entry, size);
}

// One for each size, made once: what must stay untouched is still so when an input has passed.
static uint8_t *ram_of(uint64_t size)
{
	static uint8_t *blocks[RAM_MAX / 2 + 1];
	uint8_t **ram = &blocks[size / MIB / 2];

	if (!*ram) {
		*ram = malloc(size);
		CHECK(*ram);
		memset(*ram, UNTOUCHED, LAYOUT_HIGH_RAM);
	}
	return *ram;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guest_memory m = { .n_regions = 1 };
	char kernel_path[64], initrd_path[64];
	int kernel = file_make(kernel_path), initrd = file_make(initrd_path);
	uint64_t initrd_size;
	uint8_t *bytes;

	if (size < 2)
		goto close;
	m.size = m.regions[0].size = (1 + data[0] % (RAM_MAX / 2)) * 2ull * MIB;
	m.regions[0].host = ram_of(m.size);
	initrd_size = data[1] * 32768ull;
	bytes = malloc(initrd_size + 1);
	CHECK(bytes);
	memset(bytes, INITRD, initrd_size);
	file_fill(initrd, bytes, initrd_size);
	file_fill(kernel, data + 2, size - 2);
	load(&m, kernel_path, initrd_path, initrd_size);
	free(bytes);
close:
	close(kernel);
	close(initrd);
	return 0;
}
