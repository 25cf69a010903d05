// SPDX-License-Identifier: BSD-3-Clause
// RSDP, XSDT, FADT, MADT, MCFG, and the DSDT that iasl made of dsdt.asl, written one behind the
// other. Field offsets: ACPI 6.5, 5.2; PCI Firmware 3.2, 4.1.2.
#include <errno.h>
#include <string.h>
#include "vmm/acpi.h"
#include "vmm/dsdt.hex"
#include "vmm/pci.h"

enum {
	HEADER = 36,
	RSDP_SIZE = 36,
	FADT_SIZE = 276,
	ADDRESS_SIZE = 12, // generic address structure, 5.2.3.2
	LOCAL_APIC_BASE = 0xfee00000,
	IO_APIC_BASE = 0xfec00000,
	FADT_BOOT_NO_VGA = 1 << 2,
	FADT_BOOT_NO_CMOS = 1 << 5,
	FADT_RESET_SUPPORTED = 1 << 10,
	FADT_HARDWARE_REDUCED = 1 << 20,
	SPACE_IO = 1,
	MADT_LOCAL_APIC = 0,
	MADT_IO_APIC = 1,
};

// Where the tables go. at: the next free address.
struct area {
	uint8_t *host;
	uint64_t at;
	bool full;
};

static void put(uint8_t *at, uint64_t value, unsigned int size)
{
	memcpy(at, &value, size); // the guest's order is ours
}

static uint8_t sum(const uint8_t *at, size_t size)
{
	uint8_t s = 0;

	while (size--)
		s = (uint8_t)(s + *at++);
	return s;
}

// Room for a table, zeroed, at 16 bytes' alignment; NULL if there is none.
static uint8_t *take(struct area *a, size_t size, uint64_t *ret_address)
{
	uint8_t *at = a->host + (a->at - ACPI_TABLES_BEGIN);

	if (size > ACPI_TABLES_END - a->at) {
		a->full = true;
		return NULL;
	}
	memset(at, 0, size);
	*ret_address = a->at;
	a->at = (a->at + size + 15) & ~15ull;
	return at;
}

static void finish(uint8_t *table, const char *signature, uint8_t revision, uint32_t size)
{
	memcpy(table, signature, 4);
	put(table + 4, size, 4);
	table[8] = revision;
	memcpy(table + 10, "INSULA", 6);
	memcpy(table + 16, "INSULAVM", 8);
	put(table + 24, 1, 4);
	memcpy(table + 28, "INSU", 4);
	put(table + 32, 1, 4);
	table[9] = 0;
	table[9] = (uint8_t)-sum(table, size);
}

static void put_io(uint8_t *at, uint16_t port)
{
	at[0] = SPACE_IO;
	at[1] = 8; // bits
	at[3] = 1; // byte access
	put(at + 4, port, 8);
}

static uint64_t write_dsdt(struct area *a)
{
	uint64_t address = 0;
	uint8_t *t = take(a, sizeof(dsdt_aml_code), &address);

	if (t)
		memcpy(t, dsdt_aml_code, sizeof(dsdt_aml_code));
	return address;
}

static uint64_t write_fadt(struct area *a, uint64_t dsdt)
{
	uint64_t address = 0;
	uint8_t *t = take(a, FADT_SIZE, &address);

	if (!t)
		return 0;
	put(t + 40, dsdt, 4);
	put(t + 109, FADT_BOOT_NO_VGA | FADT_BOOT_NO_CMOS, 2);
	put(t + 112, FADT_RESET_SUPPORTED | FADT_HARDWARE_REDUCED, 4);
	put_io(t + 116, ACPI_RESET_PORT);
	t[128] = ACPI_RESET_VALUE;
	t[131] = 5; // minor version
	put(t + 140, dsdt, 8);
	put_io(t + 244, ACPI_SLEEP_PORT);
	put_io(t + 244 + ADDRESS_SIZE, ACPI_SLEEP_PORT + 1);
	memcpy(t + 268, "INSULA  ", 8);
	finish(t, "FACP", 6, FADT_SIZE);
	return address;
}

static uint64_t write_madt(struct area *a, unsigned int cpus)
{
	const uint32_t size = HEADER + 8 + cpus * 8 + 12;
	uint64_t address = 0;
	uint8_t *t = take(a, size, &address), *at;

	if (!t)
		return 0;
	put(t + HEADER, LOCAL_APIC_BASE, 4);
	at = t + HEADER + 8; // no flag: there are no 8259s to be switched off
	for (unsigned int i = 0; i < cpus; i++, at += 8) {
		at[0] = MADT_LOCAL_APIC;
		at[1] = 8;
		at[2] = at[3] = (uint8_t)i;
		at[4] = 1; // enabled
	}
	at[0] = MADT_IO_APIC;
	at[1] = 12;
	put(at + 4, IO_APIC_BASE, 4);
	finish(t, "APIC", 5, size);
	return address;
}

static uint64_t write_mcfg(struct area *a)
{
	const uint32_t size = HEADER + 8 + 16;
	uint64_t address = 0;
	uint8_t *t = take(a, size, &address);

	if (!t)
		return 0;
	put(t + HEADER + 8, PCI_ECAM_BEGIN, 8);
	finish(t, "MCFG", 1, size);
	return address;
}

static uint64_t write_xsdt(struct area *a, const uint64_t *tables, unsigned int n)
{
	const uint32_t size = HEADER + n * 8;
	uint64_t address = 0;
	uint8_t *t = take(a, size, &address);

	if (!t)
		return 0;
	for (unsigned int i = 0; i < n; i++)
		put(t + HEADER + i * 8, tables[i], 8);
	finish(t, "XSDT", 1, size);
	return address;
}

static uint64_t write_rsdp(struct area *a, uint64_t xsdt)
{
	uint64_t address = 0;
	uint8_t *t = take(a, RSDP_SIZE, &address);

	if (!t)
		return 0;
	memcpy(t, "RSD PTR ", 8);
	memcpy(t + 9, "INSULA", 6);
	t[15] = 2;
	put(t + 20, RSDP_SIZE, 4);
	put(t + 24, xsdt, 8);
	t[8] = (uint8_t)-sum(t, 20);
	t[32] = (uint8_t)-sum(t, RSDP_SIZE);
	return address;
}

int acpi_write_tables(
	struct guest_memory *m, unsigned int cpus, uint64_t *ret_rsdp, struct error *e)
{
	struct area a = { .at = ACPI_TABLES_BEGIN };
	uint64_t tables[3], dsdt, rsdp;

	a.host = guest_memory_at(m, ACPI_TABLES_BEGIN, ACPI_TABLES_END - ACPI_TABLES_BEGIN);
	if (!a.host)
		return error_set(e, ENOMEM, "guest memory of %llu KiB: too small for ACPI's tables",
			(unsigned long long)(m->size >> 10));
	dsdt = write_dsdt(&a);
	tables[0] = write_fadt(&a, dsdt);
	tables[1] = write_madt(&a, cpus);
	tables[2] = write_mcfg(&a);
	rsdp = write_rsdp(&a, write_xsdt(&a, tables, 3));
	if (a.full)
		return error_set(e, ENOMEM, "ACPI's tables for %u processors need more than %u KiB",
			cpus, (ACPI_TABLES_END - ACPI_TABLES_BEGIN) >> 10);
	*ret_rsdp = rsdp;
	return 0;
}
