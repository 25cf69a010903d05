// SPDX-License-Identifier: BSD-3-Clause
// Who may write where in the guest's physical memory before it runs. The first MiB is shared: the
// loader (boot*.c) has LOW_BEGIN to LOW_END, the ACPI tables have theirs; kernels and initrds lie
// in what is RAM elsewhere. memory.h has the hole for devices.
#pragma once

#define LAYOUT_LOW_BEGIN 0x6000ull // all of the loader's own
#define LAYOUT_PVH_INFO 0x6000ull // hvm_start_info, its memory map and module list: a page
#define LAYOUT_BOOT_PARAMS 0x7000ull // Linux's "zero page"
#define LAYOUT_GDT 0x8000ull
#define LAYOUT_PAGE_TABLES 0x9000ull // PML4, PDPT and four page directories: the first 4 GiB
#define LAYOUT_CMDLINE 0x10000ull // a command line of up to LAYOUT_CMDLINE_SIZE, its NUL included
#define LAYOUT_CMDLINE_SIZE 0x10000ull
#define LAYOUT_LOW_END 0x20000ull

#define LAYOUT_LOW_RAM_END 0x9fc00ull // the end of conventional memory, where a PC has its EBDA
#define LAYOUT_ACPI 0xe0000ull // RSDP and all other tables
#define LAYOUT_ACPI_SIZE 0x20000ull
#define LAYOUT_HIGH_RAM 0x100000ull

#define LAYOUT_ECAM 0xe0000000ull // PCI configuration space: 256 buses
#define LAYOUT_ECAM_SIZE 0x10000000ull
