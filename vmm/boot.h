// SPDX-License-Identifier: BSD-3-Clause
// Loads a kernel into a guest's memory: Linux bzImages by the 64-bit boot protocol
// (Documentation/arch/x86/boot.rst), ELF images by PVH
// (xen/include/public/arch-x86/hvm/start_info.h) or, without its note, by the same 64-bit protocol.
// Called by main before any vCPU runs. Files are hostile: they are read, not mapped, and every
// offset and length is checked.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "vmm/error.h"
#include "vmm/memory.h"

// Selectors in the GDT that boot_load writes, for both kinds of entry: code (64-bit for long mode,
// else 32-bit), data, and a busy TSS (at 0, limit 0x67). All flat, ring 0.
enum { BOOT_CS = 0x10, BOOT_DS = 0x18, BOOT_TR = 0x20 };

struct boot_source {
	const char *kernel; // path
	const char *initrd; // path; NULL: none
	const char *cmdline; // NULL: none
	bool open; // by boot_open: the paths are only names then
	int kernel_fd, initrd_fd;
};

// How vCPU 0 starts, interrupts off, paging as said here. All registers that are not named are 0.
struct boot_entry {
	bool long_mode; // CR0 = PE|PG, CR4 = PAE, EFER = LME|LMA; else CR0 = PE, no paging
	uint64_t rip;
	uint64_t rsi; // long mode: boot_params
	uint64_t rbx; // PVH: hvm_start_info
	uint64_t cr3; // long mode: tables that map the first 4 GiB one to one
	uint64_t gdt; // base
	uint16_t gdt_limit;
};

// Opens the files for all loads to come: who reboots later may no longer see any path, and boots
// the same kernel. -errno with the file's name.
int boot_open(struct boot_source *src, struct error *e);
void boot_close(struct boot_source *src);
// rsdp: where the ACPI tables begin, or 0: the guest looks for them itself. The memory is the
// guest's whole; what it held is lost where something is placed. Errors: -EINVAL (not an image that
// can be booted here), -ENOMEM (guest memory too small, or none here), -E2BIG (command line), what
// open and read answer; `e` names the file and the reason.
int boot_load(struct guest_memory *m, const struct boot_source *src, uint64_t rsdp,
	struct boot_entry *ret_entry, struct error *e);
