// SPDX-License-Identifier: BSD-3-Clause
// ACPI: what the tables say and where they lie, and the registers they name. Offsets: ACPI 6.5,
// 5.2.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "tests/unit/vmm_fake_irq.h"
#include "vmm/acpi.h"
#include "vmm/pci.h"

enum { RAM = 2 << 20, HEADER = 36 };

static struct bus pio;
static struct irqs irqs;
static struct acpi acpi;
static unsigned int n_off, n_panics;
static struct guest_memory memory;

static void power_off(void *arg)
{
	n_off++;
}

static void panicked(void *arg)
{
	n_panics++;
}

static int setup(void **state)
{
	memset(&fake, 0, sizeof(fake));
	pio.n = n_off = n_panics = 0;
	assert_int_equal(acpi_init(&acpi, &pio, &irqs, power_off, NULL), 0);
	return guest_memory_init(&memory, RAM, false, NULL);
}

static int teardown(void **state)
{
	guest_memory_free(&memory);
	return 0;
}

static void only_soft_off(void **state)
{
	for (unsigned int value = 0; value < 256; value++) {
		if ((value & 0x3c) == 0x34) // SLP_EN and type 5
			continue;
		bus_write(&pio, ACPI_SLEEP_PORT, 1, value);
	}
	bus_write(&pio, ACPI_SLEEP_PORT + 1, 1, 0x34);
	assert_int_equal(n_off, 0);
	bus_write(&pio, ACPI_SLEEP_PORT, 1, 0x34);
	assert_int_equal(n_off, 1);
	assert_int_equal(bus_read(&pio, ACPI_SLEEP_PORT + 1, 1), 0);
}

static void events(void **state)
{
	acpi_tell(&acpi, ACPI_EVENT_POWER_BUTTON);
	assert_int_equal(fake.n_rises[ACPI_EVENT_IRQ], 1);
	assert_false(fake.line[ACPI_EVENT_IRQ]);
	assert_int_equal(bus_read(&pio, ACPI_EVENT_PORT, 1), 0); // not whole: stays
	assert_int_equal(bus_read(&pio, ACPI_EVENT_PORT + 2, 2), 0);
	acpi_tell(&acpi, 1 << 5);
	assert_int_equal(fake.n_rises[ACPI_EVENT_IRQ], 2);
	assert_int_equal(bus_read(&pio, ACPI_EVENT_PORT, 4), ACPI_EVENT_POWER_BUTTON | 1 << 5);
	assert_int_equal(bus_read(&pio, ACPI_EVENT_PORT, 4), 0);
}

// Of pvpanic's bits, the one that is offered.
static void panic(void **state)
{
	assert_int_equal(bus_read(&pio, ACPI_PANIC_PORT, 1), ACPI_PANICKED);
	bus_write(&pio, ACPI_PANIC_PORT, 1, ACPI_PANICKED); // nobody listens
	acpi.panicked = panicked;
	bus_write(&pio, ACPI_PANIC_PORT, 1, 0xff & ~ACPI_PANICKED);
	assert_int_equal(n_panics, 0);
	bus_write(&pio, ACPI_PANIC_PORT, 1, ACPI_PANICKED);
	assert_int_equal(n_panics, 1);
}

static const uint8_t *at(uint64_t address, uint32_t size)
{
	const uint8_t *p = guest_memory_at(&memory, address, size);

	assert_non_null(p);
	assert_true(address >= ACPI_TABLES_BEGIN && address + size <= ACPI_TABLES_END);
	return p;
}

static uint64_t number(const uint8_t *p, unsigned int size)
{
	uint64_t n = 0;

	memcpy(&n, p, size);
	return n;
}

static void check_sum(const uint8_t *p, uint32_t size)
{
	uint8_t sum = 0;

	for (uint32_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + p[i]);
	assert_int_equal(sum, 0);
}

static const uint8_t *table(uint64_t address, const char *signature, uint32_t *ret_size)
{
	const uint8_t *t;

	assert_int_equal(address % 16, 0);
	*ret_size = (uint32_t)number(at(address, HEADER) + 4, 4);
	t = at(address, *ret_size);
	assert_memory_equal(t, signature, 4);
	check_sum(t, *ret_size);
	return t;
}

static void check_fadt(const uint8_t *t)
{
	uint32_t size;

	table(number(t + 140, 8), "DSDT", &size);
	assert_int_equal(number(t + 40, 4), number(t + 140, 8));
	assert_int_equal(number(t + 112, 4), 1 << 20 | 1 << 10); // hardware-reduced, reset
	assert_int_equal(t[116], 1); // I/O space
	assert_int_equal(number(t + 120, 8), ACPI_RESET_PORT);
	assert_int_equal(t[128], ACPI_RESET_VALUE);
	assert_int_equal(number(t + 248, 8), ACPI_SLEEP_PORT);
	assert_int_equal(number(t + 260, 8), ACPI_SLEEP_PORT + 1);
}

static void check_madt(const uint8_t *t, uint32_t size, unsigned int cpus)
{
	unsigned int n_cpus = 0, n_io = 0;

	assert_int_equal(number(t + 36, 4), 0xfee00000);
	assert_int_equal(number(t + 40, 4), 0);
	for (uint32_t i = 44; i < size; i += t[i + 1]) {
		assert_true(t[i + 1] >= 8 && i + t[i + 1] <= size);
		if (t[i] == 0) {
			assert_int_equal(t[i + 3], n_cpus++);
			assert_int_equal(number(t + i + 4, 4), 1);
		} else {
			assert_int_equal(t[i], 1);
			assert_int_equal(number(t + i + 4, 4), 0xfec00000);
			assert_int_equal(number(t + i + 8, 4), 0);
			n_io++;
		}
	}
	assert_int_equal(n_cpus, cpus);
	assert_int_equal(n_io, 1);
}

static void tables_of(unsigned int cpus)
{
	const uint8_t *rsdp, *xsdt, *madt, *mcfg;
	uint64_t address;
	uint32_t size;

	memset(guest_memory_at(&memory, 0, RAM), 0xa5, RAM);
	assert_int_equal(acpi_write_tables(&memory, cpus, &address, NULL), 0);
	rsdp = at(address, 36);
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	check_sum(rsdp, 20);
	check_sum(rsdp, 36);
	assert_int_equal(rsdp[15], 2);
	xsdt = table(number(rsdp + 24, 8), "XSDT", &size);
	assert_int_equal(size, HEADER + 3 * 8);
	check_fadt(table(number(xsdt + HEADER, 8), "FACP", &size));
	assert_int_equal(size, 276);
	madt = table(number(xsdt + HEADER + 8, 8), "APIC", &size);
	check_madt(madt, size, cpus);
	mcfg = table(number(xsdt + HEADER + 16, 8), "MCFG", &size);
	assert_int_equal(size, 60);
	assert_int_equal(number(mcfg + 44, 8), PCI_ECAM_BEGIN);
	assert_int_equal(number(mcfg + 52, 4), 0); // segment 0, bus 0 to 0
	assert_int_equal(*at(ACPI_TABLES_END - 1, 1), 0xa5);
	assert_int_equal(number(guest_memory_at(&memory, ACPI_TABLES_BEGIN - 1, 1), 1), 0xa5);
}

static void tables(void **state)
{
	tables_of(1);
	tables_of(32);
}

static void tables_that_do_not_fit(void **state)
{
	struct guest_memory small = { .size = ACPI_TABLES_BEGIN, .n_regions = 1 };
	struct error e = { "" };
	uint64_t rsdp = 7;

	small.regions[0] = (struct guest_region){ .size = ACPI_TABLES_BEGIN };
	assert_int_equal(acpi_write_tables(&small, 1, &rsdp, &e), -ENOMEM);
	assert_non_null(strstr(e.text, "too small for ACPI"));
	memset(guest_memory_at(&memory, 0, RAM), 0xa5, RAM);
	assert_int_equal(acpi_write_tables(&memory, 20000, &rsdp, &e), -ENOMEM);
	assert_non_null(strstr(e.text, "20000 processors"));
	assert_int_equal(*at(ACPI_TABLES_END - 1, 1), 0xa5);
	assert_int_equal(rsdp, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(
						    only_soft_off, setup, teardown),
		cmocka_unit_test_setup_teardown(events, setup, teardown),
		cmocka_unit_test_setup_teardown(panic, setup, teardown),
		cmocka_unit_test_setup_teardown(tables, setup, teardown),
		cmocka_unit_test_setup_teardown(tables_that_do_not_fit, setup, teardown) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
