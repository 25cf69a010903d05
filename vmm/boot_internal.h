// SPDX-License-Identifier: BSD-3-Clause
// What boot.c and the loaders of each kind of image share. One load is one struct boot, on the
// stack of boot_load; no other thread sees it.
#pragma once
#include <asm/bootparam.h>
#include <assert.h>
#include <stddef.h>
#include "vmm/boot.h"
#include "vmm/boot_layout.h"

// An open file that is read only; `size` is what it had when it was opened.
struct boot_file {
	const char *path;
	int fd;
	bool held; // it stays open behind this load
	uint64_t size;
};

enum { BOOT_HEAD = 4096, BOOT_SEGMENTS = 16, BOOT_MAP = 8 };

struct boot {
	struct guest_memory *mem;
	const struct boot_source *src;
	struct error *e;
	uint64_t rsdp;
	struct boot_file kernel;
	uint8_t head[BOOT_HEAD]; // the kernel file's first bytes
	uint64_t head_size;

	// what the loaders find
	uint64_t kernel_end; // nothing else below this in high memory
	uint64_t entry;
	bool linux_image; // a bzImage
	bool pvh; // 32-bit entry with hvm_start_info; else 64-bit with boot_params
	struct setup_header header; // of a bzImage; zeroes otherwise
	uint64_t initrd_limit; // where an initrd must end, were there RAM enough
	uint64_t cmdline_max; // bytes without the NUL

	uint64_t initrd, initrd_size; // where it is; size 0: none
};

// boot_file.c. All fill in the error. What is no regular file is refused; nothing blocks. held: the
// file, already open, or -1.
int boot_file_open(struct boot_file *f, const char *path, int held, struct error *e);
void boot_file_close(struct boot_file *f);
// Exactly `size` bytes at `offset`; -EINVAL when the file ends before.
int boot_file_read(
	const struct boot_file *f, uint64_t offset, void *dst, uint64_t size, struct error *e);

// boot_place.c: [address, address + size) is RAM of one region, which the caller has checked. What
// was never touched stays so under boot_clear; boot_copy wants cleared memory and leaves out
// zeroes.
void boot_clear(struct boot *b, uint64_t address, uint64_t size);
int boot_copy(struct boot *b, uint64_t address, const uint8_t *data, uint64_t size);
// Clears, too.
int boot_copy_file(struct boot *b, const struct boot_file *f, uint64_t offset, uint64_t address,
	uint64_t size);

// boot_elf.c
struct boot_segment {
	uint64_t offset, file_size; // in the file
	uint64_t address, size; // in the guest; what is beyond file_size is zeroes
};

struct boot_elf {
	uint64_t entry;
	bool high; // linked to run in the upper half of addresses, as Linux is
	unsigned int n_segments;
	struct boot_segment segments[BOOT_SEGMENTS]; // by offset
	unsigned int n_notes;
	struct boot_segment notes[BOOT_SEGMENTS];
};

bool boot_is_elf(const uint8_t *head, uint64_t head_size);
// Header and program headers, all of which must lie in the head; segments are checked against
// file_size and the guest's memory. `what` begins each error. Sets b->kernel_end.
int boot_elf_parse(struct boot *b, const char *what, const uint8_t *head, uint64_t head_size,
	uint64_t file_size, struct boot_elf *ret_elf);
// Sets b->entry, which must lie in a segment.
int boot_elf_enter(struct boot *b, const char *what, const struct boot_elf *elf);
// Makes the memory of its segments zeroes.
void boot_elf_clear(struct boot *b, const struct boot_elf *elf);
// The lowest address of a segment.
uint64_t boot_elf_begin(const struct boot_elf *elf);
// A file that is an ELF image.
int boot_elf_load(struct boot *b);

// boot_linux.c
bool boot_is_bzimage(const uint8_t *head, uint64_t head_size);
int boot_linux_load(struct boot *b);
// Large pages for the kernel from `begin` to b->kernel_end and for what it takes behind that.
void boot_linux_expect(struct boot *b, uint64_t begin);
// And for what it takes from the end of RAM, where its initrd may be already.
void boot_linux_expect_top(struct boot *b);

// boot_payload.c: the ELF image in a bzImage, packed. -ENOTSUP without an error: packed with
// something unknown.
int boot_payload_load(struct boot *b, uint64_t offset, uint64_t size);

// boot_enter.c: what the kernel finds besides itself.
void boot_enter_linux(struct boot *b, struct boot_entry *ret_entry);
void boot_enter_pvh(struct boot *b, struct boot_entry *ret_entry);
// The guest's memory map. Returns its length.
unsigned int boot_memory_map(const struct guest_memory *m, struct boot_e820_entry map[BOOT_MAP]);

// boot.c: RAM below the hole ends here.
uint64_t boot_ram_end(const struct boot *b);
// That an image may lie at [address, address + size): RAM, and nothing of ours.
int boot_check_place(struct boot *b, const char *what, uint64_t address, uint64_t size);
