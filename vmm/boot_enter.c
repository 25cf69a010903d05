// SPDX-License-Identifier: BSD-3-Clause
// What a kernel finds besides itself when it is entered, for boot.c: memory map, boot_params or
// hvm_start_info, descriptors and page tables, all in low memory (boot_layout.h).
#include "vmm/boot_internal.h"

#include <string.h>

// xen/include/public/arch-x86/hvm/start_info.h
enum { PVH_MAGIC = 0x336ec578, PVH_VERSION = 1 };

struct pvh_info {
	uint32_t magic, version, flags, n_modules;
	uint64_t modules, cmdline, rsdp, map;
	uint32_t n_map, reserved;
};

struct pvh_module {
	uint64_t address, size, cmdline, reserved;
};

struct pvh_map {
	uint64_t address, size;
	uint32_t type, reserved; // of e820
};

struct pvh_page {
	struct pvh_info info;
	struct pvh_module module;
	struct pvh_map map[BOOT_MAP];
};

static_assert(sizeof(struct pvh_info) == 56 && sizeof(struct pvh_page) < 4096, "start_info.h");

enum { E820_RAM = 1, E820_RESERVED = 2 }; // ACPI 6.5, 15.3

static const uint64_t PAGE = 4096;

unsigned int boot_memory_map(const struct guest_memory *m, struct boot_e820_entry map[BOOT_MAP])
{
	unsigned int n = 0;

	map[n++] = (struct boot_e820_entry){ 0, LAYOUT_LOW_RAM_END, E820_RAM };
	map[n++] = (struct boot_e820_entry){ LAYOUT_ACPI, LAYOUT_ACPI_SIZE, E820_RESERVED };
	map[n++] = (struct boot_e820_entry){ LAYOUT_HIGH_RAM, m->regions[0].size - LAYOUT_HIGH_RAM,
		E820_RAM };
	// Linux believes MCFG only what is reserved here
	map[n++] = (struct boot_e820_entry){ LAYOUT_ECAM, LAYOUT_ECAM_SIZE, E820_RESERVED };
	for (unsigned int i = 1; i < m->n_regions; i++)
		map[n++] = (struct boot_e820_entry){ m->regions[i].address, m->regions[i].size,
			E820_RAM };
	return n;
}

static void write_gdt(struct boot *b, struct boot_entry *entry)
{
	// Intel SDM 3A, 3.4.5 and 8.2.3
	const uint64_t gdt[] = {
		[BOOT_CS / 8] = entry->long_mode ? 0x00af9b000000ffff : 0x00cf9b000000ffff,
		[BOOT_DS / 8] = 0x00cf93000000ffff,
		[BOOT_TR / 8] = 0x00008b0000000067, // in long mode its upper half follows
		[BOOT_TR / 8 + 1] = 0,
	};

	memcpy(guest_memory_at(b->mem, LAYOUT_GDT, sizeof(gdt)), gdt, sizeof(gdt));
	entry->gdt = LAYOUT_GDT;
	entry->gdt_limit = sizeof(gdt) - 1;
}

// The first 4 GiB one to one, by pages of 2 MiB: not every CPU has those of 1 GiB.
static void write_page_tables(struct boot *b)
{
	enum { PRESENT = 1, WRITABLE = 2, LARGE = 0x80, ENTRIES = 512, DIRECTORIES = 4 };
	const uint64_t tables = LAYOUT_PAGE_TABLES, size = (2 + DIRECTORIES) * PAGE;
	uint64_t *pml4 = guest_memory_at(b->mem, tables, size), *pdpt = pml4 + ENTRIES;
	uint64_t *pd = pdpt + ENTRIES;

	memset(pml4, 0, 2 * PAGE);
	pml4[0] = (tables + PAGE) | PRESENT | WRITABLE;
	for (uint64_t i = 0; i < DIRECTORIES; i++)
		pdpt[i] = (tables + (2 + i) * PAGE) | PRESENT | WRITABLE;
	for (uint64_t i = 0; i < DIRECTORIES * ENTRIES; i++)
		pd[i] = i << 21 | PRESENT | WRITABLE | LARGE;
}

static_assert(LAYOUT_PAGE_TABLES + 6 * 4096 <= LAYOUT_CMDLINE, "they do not touch");

void boot_enter_linux(struct boot *b, struct boot_entry *ret_entry)
{
	struct boot_params p = { .hdr = b->header, .acpi_rsdp_addr = b->rsdp };
	struct boot_entry entry = { .long_mode = true,
		.rip = b->entry,
		.rsi = LAYOUT_BOOT_PARAMS,
		.cr3 = LAYOUT_PAGE_TABLES };

	p.hdr.boot_flag = 0xaa55; // an ELF image came without a header
	memcpy(&p.hdr.header, "HdrS", 4);
	p.hdr.vid_mode = 0xffff; // "normal"
	p.hdr.type_of_loader = 0xff; // none that has a number
	p.hdr.loadflags |= LOADED_HIGH;
	p.hdr.setup_data = 0;
	p.hdr.cmd_line_ptr = (uint32_t)LAYOUT_CMDLINE;
	p.hdr.ramdisk_image = (uint32_t)b->initrd; // below the hole, hence below 4 GiB
	p.hdr.ramdisk_size = (uint32_t)b->initrd_size;
	p.e820_entries = (uint8_t)boot_memory_map(b->mem, p.e820_table);
	memcpy(guest_memory_at(b->mem, LAYOUT_BOOT_PARAMS, sizeof(p)), &p, sizeof(p));
	write_page_tables(b);
	write_gdt(b, &entry);
	*ret_entry = entry;
}

void boot_enter_pvh(struct boot *b, struct boot_entry *ret_entry)
{
	const uint64_t at = LAYOUT_PVH_INFO;
	struct boot_e820_entry map[BOOT_MAP];
	struct pvh_page page = { .info = { .magic = PVH_MAGIC,
					 .version = PVH_VERSION,
					 .cmdline = LAYOUT_CMDLINE,
					 .rsdp = b->rsdp,
					 .map = at + offsetof(struct pvh_page, map) } };
	struct boot_entry entry = { .rip = b->entry, .rbx = at };

	if (b->initrd_size > 0) {
		page.info.n_modules = 1;
		page.info.modules = at + offsetof(struct pvh_page, module);
		page.module.address = b->initrd;
		page.module.size = b->initrd_size;
	}
	page.info.n_map = boot_memory_map(b->mem, map);
	for (unsigned int i = 0; i < page.info.n_map; i++)
		page.map[i] = (struct pvh_map){ map[i].addr, map[i].size, map[i].type, 0 };
	memcpy(guest_memory_at(b->mem, at, sizeof(page)), &page, sizeof(page));
	write_gdt(b, &entry);
	*ret_entry = entry;
}
