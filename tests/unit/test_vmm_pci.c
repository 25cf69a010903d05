// SPDX-License-Identifier: BSD-3-Clause
// PCI without KVM: configuration space by both ways, and where BARs answer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "tests/unit/vmm_pci_fixture.h"

enum { SIZE = 0x10000, STRIDE = 0x1000000 };
static const uint32_t BEGIN = PCI_WINDOW_BEGIN, END = PCI_WINDOW_END;

struct plain {
	struct pci_device pci;
	unsigned int n_moved, n_written;
	uint64_t value;
};

static struct fixture_bus bus;
static struct plain one, two;

static uint64_t bar_read(void *arg, uint64_t offset, unsigned int size)
{
	const struct plain *p = arg;

	return p->value + offset;
}

static void bar_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct plain *p = arg;

	p->value = value;
}

static void bar_moved(void *arg)
{
	struct plain *p = arg;

	p->n_moved++;
}

static void config_written(void *arg, uint8_t offset, unsigned int size)
{
	struct plain *p = arg;

	p->n_written++;
}

static void make(struct plain *p, uint64_t value)
{
	memset(p, 0, sizeof(*p));
	p->value = value;
	pci_device_init(&p->pci, 0x1234, 0x5678, 0x020000, 0x9abc);
	p->pci.bar_size = SIZE;
	p->pci.arg = p;
	p->pci.bar_read = bar_read;
	p->pci.bar_write = bar_write;
	p->pci.bar_moved = bar_moved;
	p->pci.config_written = config_written;
}

// `one` in slot 1, `two` in slot 2; values 0x100000 and 0x200000.
static int setup(void **state)
{
	assert_int_equal(fixture_bus_init(&bus), 0);
	make(&one, 0x100000);
	make(&two, 0x200000);
	assert_int_equal(pci_plug(&bus.pci, &one.pci), 1);
	assert_int_equal(pci_plug(&bus.pci, &two.pci), 2);
	return 0;
}

static void port_put(unsigned int port, unsigned int size, uint64_t value)
{
	bus_write(&bus.pio, port, size, value);
}

static uint64_t port_get(unsigned int port, unsigned int size)
{
	return bus_read(&bus.pio, port, size);
}

static void by_ports(void **state)
{
	port_put(0xcf8, 4, 0x80000000 | 1 << 11);
	assert_int_equal(port_get(0xcf8, 4), 0x80000000 | 1 << 11);
	assert_int_equal(port_get(0xcfc, 4), 0x56781234);
	assert_int_equal(port_get(0xcfe, 2), 0x5678);
	assert_int_equal(port_get(0xcfd, 1), 0x12);
	assert_int_equal(port_get(0xcfe, 4), UINT64_MAX); // crosses the end
	assert_int_equal(port_get(0xcfc, 8), UINT64_MAX);
	port_put(0xcf8, 4, 0x80000000 | 1 << 11 | PCI_INTERRUPT_LINE);
	port_put(0xcfc, 1, 0x0b);
	assert_int_equal(config_get(&bus, 1, PCI_INTERRUPT_LINE, 1), 0x0b);
	port_put(0xcf8, 2, 0xffff); // neither address nor reset
	assert_int_equal(port_get(0xcf8, 4), 0x80000000 | 1 << 11 | PCI_INTERRUPT_LINE);
	assert_int_equal(port_get(0xcf8, 2), UINT64_MAX);
}

static void nobody_by_ports(void **state)
{
	static const uint32_t addresses[] = { 1 << 11, // not enabled
		0x80000000 | 3 << 11, // no device
		0x80000000 | 1 << 11 | 1 << 8, // function 1
		0x80000000 | 1 << 11 | 1 << 16 }; // bus 1

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		port_put(0xcf8, 4, addresses[i]);
		assert_int_equal(port_get(0xcfc, 4), UINT64_MAX);
		port_put(0xcf8, 4, addresses[i] | PCI_INTERRUPT_LINE);
		port_put(0xcfc, 1, 0x0b);
	}
	assert_int_equal(config_get(&bus, 1, PCI_INTERRUPT_LINE, 1), 0);
}

static void reset_control(void **state)
{
	port_put(0xcf9, 2, 6);
	port_put(0xcfa, 1, 6);
	assert_int_equal(bus.n_resets, 0);
	port_put(0xcf9, 1, 6);
	assert_int_equal(bus.n_resets, 1);
}

static void by_memory(void **state)
{
	assert_int_equal(config_get(&bus, 1, PCI_VENDOR_ID, 4), 0x56781234);
	assert_int_equal(config_get(&bus, 1, PCI_CLASS_REVISION, 4), 0x02000001);
	assert_int_equal(config_get(&bus, 1, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x9abc1234);
	assert_int_equal(config_get(&bus, 3, PCI_VENDOR_ID, 4), UINT64_MAX);
	assert_int_equal(config_get(&bus, 1, 0x1000, 4), UINT64_MAX); // function 1
	assert_int_equal(config_get(&bus, 1, PCI_VENDOR_ID, 8), UINT64_MAX);
	assert_int_equal(config_get(&bus, 1, PCI_VENDOR_ID, 3), UINT64_MAX);
	assert_int_equal(config_get(&bus, 1, 0x100, 4), 0); // no extended capability
	assert_int_equal(config_get(&bus, 1, 0xfe, 4), 0);
	config_put(&bus, 1, 0xfe, 4, UINT32_MAX);
	config_put(&bus, 1, 0xffe, 4, UINT32_MAX);
	assert_int_equal(one.n_written, 0);
	// the last byte of the last function and what is behind
	assert_int_equal(bus_read(&bus.mmio, ecam(31, 0x7fff), 2), UINT64_MAX);
}

// All that a guest may change: decoding, mastering, INTx, the line's number, the BAR.
static void read_only(void **state)
{
	for (unsigned int at = 0; at < PCI_CONFIG_SIZE; at += 4)
		config_put(&bus, 1, at, 4, UINT32_MAX);
	assert_int_equal(config_get(&bus, 1, PCI_VENDOR_ID, 4), 0x56781234);
	assert_int_equal(config_get(&bus, 1, PCI_COMMAND, 2), 0x406);
	assert_int_equal(config_get(&bus, 1, PCI_STATUS, 2), 0);
	assert_int_equal(config_get(&bus, 1, PCI_HEADER_TYPE, 1), 0);
	assert_int_equal(config_get(&bus, 1, PCI_BASE_ADDRESS_1, 4), 0);
	assert_int_equal(config_get(&bus, 1, PCI_ROM_ADDRESS, 4), 0);
	assert_int_equal(config_get(&bus, 1, PCI_INTERRUPT_LINE, 2), 0xff); // and no pin
	assert_int_equal(config_get(&bus, 0, PCI_COMMAND, 2), 0);
}

static void sizing(void **state)
{
	assert_int_equal(config_get(&bus, 1, PCI_BASE_ADDRESS_0, 4), BEGIN + STRIDE);
	config_put(&bus, 1, PCI_BASE_ADDRESS_0, 4, UINT32_MAX);
	assert_int_equal(config_get(&bus, 1, PCI_BASE_ADDRESS_0, 4), (uint32_t) ~(SIZE - 1));
	assert_int_equal(one.pci.bar_base, 0);
	decode(&bus, 1, true); // while it is sized: nowhere
	assert_int_equal(one.pci.bar_base, 0);
	config_put(&bus, 1, PCI_BASE_ADDRESS_0, 4, BEGIN + 0x12345);
	assert_int_equal(one.pci.bar_base, BEGIN + 0x10000);
}

static void decoding(void **state)
{
	const uint64_t at = BEGIN + STRIDE;

	assert_int_equal(bus_read(&bus.mmio, at, 4), UINT64_MAX);
	decode(&bus, 1, true);
	assert_int_equal(bus_read(&bus.mmio, at + 8, 4), 0x100008);
	assert_int_equal(bus_read(&bus.mmio, at + SIZE - 2, 4), UINT64_MAX);
	bus_write(&bus.mmio, at, 4, 7);
	assert_int_equal(one.value, 7);
	decode(&bus, 1, false);
	assert_int_equal(bus_read(&bus.mmio, at, 4), UINT64_MAX);
	assert_int_equal(one.n_moved, 2);
}

static void outside_of_the_window(void **state)
{
	const uint32_t places[] = { 0, 0x10000, BEGIN - SIZE, END, PCI_ECAM_BEGIN, 0xfec00000,
		0xfee00000, 0xffff0000 };

	decode(&bus, 1, true);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		config_put(&bus, 1, PCI_BASE_ADDRESS_0, 4, places[i]);
		assert_int_equal(one.pci.bar_base, 0);
	}
	config_put(&bus, 1, PCI_BASE_ADDRESS_0, 4, END - SIZE);
	assert_int_equal(one.pci.bar_base, END - SIZE);
	assert_int_equal(bus_read(&bus.mmio, END - 1, 1), 0x100000 + SIZE - 1);
}

static void moving(void **state)
{
	decode(&bus, 1, true);
	// byte by byte, as a guest may
	config_put(&bus, 1, PCI_BASE_ADDRESS_0 + 2, 1, 0x42);
	assert_int_equal(bus_read(&bus.mmio, BEGIN + STRIDE, 4), UINT64_MAX);
	assert_int_equal(bus_read(&bus.mmio, 0xc1420000, 4), 0x100000);
	config_put(&bus, 1, PCI_BASE_ADDRESS_0 + 3, 1, 0xc2);
	assert_int_equal(bus_read(&bus.mmio, 0xc1420000, 4), UINT64_MAX);
	assert_int_equal(bus_read(&bus.mmio, 0xc2420000, 4), 0x100000);
}

static void two_at_one_place(void **state)
{
	const uint64_t first = one.pci.bar_size + BEGIN;

	decode(&bus, 1, true);
	decode(&bus, 2, true);
	config_put(&bus, 1, PCI_BASE_ADDRESS_0, 4, first);
	config_put(&bus, 2, PCI_BASE_ADDRESS_0, 4, first);
	assert_int_equal(bus_read(&bus.mmio, first, 4), 0x100000);
	assert_int_equal(two.pci.bar_base, 0);
	decode(&bus, 1, false);
	assert_int_equal(bus_read(&bus.mmio, first, 4), 0x200000);
	decode(&bus, 1, true);
	assert_int_equal(bus_read(&bus.mmio, first, 4), 0x200000);
	pci_unplug(&bus.pci, &two.pci);
	assert_int_equal(bus_read(&bus.mmio, first, 4), 0x100000);
}

static void swapped(void **state)
{
	const uint32_t a = BEGIN + STRIDE, b = BEGIN + 2 * STRIDE;

	decode(&bus, 1, true);
	decode(&bus, 2, true);
	config_put(&bus, 1, PCI_BASE_ADDRESS_0, 4, b);
	config_put(&bus, 2, PCI_BASE_ADDRESS_0, 4, a);
	assert_int_equal(bus_read(&bus.mmio, a, 4), 0x200000);
	assert_int_equal(bus_read(&bus.mmio, b, 4), 0x100000);
}

static void unplugged(void **state)
{
	decode(&bus, 1, true);
	pci_unplug(&bus.pci, &one.pci);
	assert_int_equal(bus_read(&bus.mmio, BEGIN + STRIDE, 4), UINT64_MAX);
	assert_int_equal(config_get(&bus, 1, PCI_VENDOR_ID, 4), UINT64_MAX);
	make(&one, 0x300000);
	assert_int_equal(pci_plug(&bus.pci, &one.pci), 1);
	decode(&bus, 1, true);
	assert_int_equal(bus_read(&bus.mmio, BEGIN + STRIDE, 4), 0x300000);
}

static void plugged(void **state)
{
	static struct plain many[PCI_SLOTS];
	static const uint32_t wrong[] = { 1, 0x800, 0x3000, 2 * STRIDE };

	for (int i = 3; i < PCI_SLOTS; i++) {
		make(&many[i], 0);
		many[i].pci.bar_size = i == 3 ? STRIDE : i == 4 ? 0 : SIZE;
		assert_int_equal(pci_plug(&bus.pci, &many[i].pci), i);
		decode(&bus, (unsigned int)i, true);
		assert_int_equal(many[i].pci.bar_base, i == 4 ? 0 : BEGIN + (uint64_t)i * STRIDE);
	}
	make(&many[0], 0);
	assert_int_equal(pci_plug(&bus.pci, &many[0].pci), -ENOSPC);
	pci_unplug(&bus.pci, &two.pci);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		many[0].pci.bar_size = wrong[i];
		assert_int_equal(pci_plug(&bus.pci, &many[0].pci), -EINVAL);
	}
}

static void capabilities(void **state)
{
	uint8_t body[40] = { 1, 2, 3 };
	unsigned int n = 0, at;
	int begin, last = 0;

	assert_int_equal(config_get(&bus, 1, PCI_CAPABILITY_LIST, 1), 0);
	while ((begin = pci_add_capability(&one.pci, 9, body, sizeof(body))) >= 0) {
		assert_int_equal(begin % 4, 0);
		assert_true(begin >= (last ? last + 42 : PCI_STD_HEADER_SIZEOF));
		last = begin;
		n++;
	}
	assert_int_equal(begin, -ENOSPC);
	assert_int_equal(n, 4); // of 44 bytes in 192
	assert_int_equal(config_get(&bus, 1, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	at = (unsigned int)config_get(&bus, 1, PCI_CAPABILITY_LIST, 1);
	for (; at; at = (unsigned int)config_get(&bus, 1, at + 1, 1), n--) {
		assert_int_equal(config_get(&bus, 1, at, 1), 9);
		assert_int_equal(config_get(&bus, 1, at + 2, 2), 0x0201);
	}
	assert_int_equal(n, 0);
	make(&one, 0);
	while ((begin = pci_add_capability(&one.pci, 9, body, 10)) >= 0)
		n++;
	assert_int_equal(n, 15); // of 12 bytes: where the 16th ends is no number of 8 bits
}

static void machine_reset(void **state)
{
	decode(&bus, 1, true);
	config_put(&bus, 1, PCI_BASE_ADDRESS_0, 4, BEGIN);
	config_put(&bus, 1, PCI_INTERRUPT_LINE, 1, 9);
	port_put(0xcf8, 4, 0x80000000);
	pci_reset(&bus.pci);
	assert_int_equal(one.pci.bar_base, 0);
	assert_int_equal(bus_read(&bus.mmio, BEGIN, 4), UINT64_MAX);
	assert_int_equal(config_get(&bus, 1, PCI_COMMAND, 2), 0);
	assert_int_equal(config_get(&bus, 1, PCI_INTERRUPT_LINE, 1), 0);
	assert_int_equal(config_get(&bus, 1, PCI_BASE_ADDRESS_0, 4), BEGIN + STRIDE);
	assert_int_equal(port_get(0xcf8, 4), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup(by_ports, setup),
		cmocka_unit_test_setup(nobody_by_ports, setup),
		cmocka_unit_test_setup(reset_control, setup),
		cmocka_unit_test_setup(by_memory, setup), cmocka_unit_test_setup(read_only, setup),
		cmocka_unit_test_setup(sizing, setup), cmocka_unit_test_setup(decoding, setup),
		cmocka_unit_test_setup(outside_of_the_window, setup),
		cmocka_unit_test_setup(moving, setup),
		cmocka_unit_test_setup(two_at_one_place, setup),
		cmocka_unit_test_setup(swapped, setup), cmocka_unit_test_setup(unplugged, setup),
		cmocka_unit_test_setup(plugged, setup), cmocka_unit_test_setup(capabilities, setup),
		cmocka_unit_test_setup(machine_reset, setup) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
