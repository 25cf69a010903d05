// SPDX-License-Identifier: BSD-3-Clause
// The virtio transport over PCI as a driver sees it, a hostile one too, without KVM. Sections are
// those of Virtual I/O Device 1.2.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <unistd.h>
#include "tests/unit/vmm_pci_fixture.h"

enum { QUEUES = 3, SLOT = 1, ENTRY = 16, NONE = 0xffff };
enum { ACK = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER };
enum { NEGOTIATED = ACK | VIRTIO_CONFIG_S_FEATURES_OK };
enum { ALIVE = NEGOTIATED | VIRTIO_CONFIG_S_DRIVER_OK };
static const uint64_t VERSION_1 = 1ull << VIRTIO_F_VERSION_1, OFFERED = 1 << 5 | 1ull << 33;

static struct fixture_bus bus;
static struct fixture_device nic;
static uint64_t base; // of the BAR
// what a driver finds, 4.1.4
static struct virtio_pci_cap common, notify, isr, device;
static uint32_t window, msix, table, pending;

// As much as a driver gets.
static uint64_t get(uint64_t at, unsigned int size)
{
	return bus_read(&bus.mmio, base + at, size) & UINT64_MAX >> (64 - 8 * size);
}

static void put(uint64_t at, unsigned int size, uint64_t value)
{
	bus_write(&bus.mmio, base + at, size, value);
}

static uint64_t common_get(unsigned int field, unsigned int size)
{
	return get(common.offset + field, size);
}

static void common_put(unsigned int field, unsigned int size, uint64_t value)
{
	put(common.offset + field, size, value);
}

static void status_put(unsigned int value)
{
	common_put(VIRTIO_PCI_COMMON_STATUS, 1, value);
}

static unsigned int status(void)
{
	return (unsigned int)common_get(VIRTIO_PCI_COMMON_STATUS, 1);
}

static void features_put(uint64_t features)
{
	for (unsigned int i = 0; i < 2; i++) {
		common_put(VIRTIO_PCI_COMMON_GFSELECT, 4, i);
		common_put(VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> 32 * i));
	}
}

static void negotiate(void)
{
	status_put(ACK);
	features_put(VERSION_1);
	status_put(NEGOTIATED);
	assert_int_equal(status(), NEGOTIATED);
}

static void select_queue(unsigned int i)
{
	common_put(VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
}

static void control_put(unsigned int control)
{
	config_put(&bus, SLOT, msix + PCI_MSIX_FLAGS, 2, control);
}

static void vector_put(unsigned int i, uint64_t address, uint32_t data, bool masked)
{
	put(table + i * ENTRY, 8, address);
	put(table + i * ENTRY + 8, 4, data);
	put(table + i * ENTRY + 12, 4, masked);
}

static void read_cap(unsigned int at, struct virtio_pci_cap *ret_cap)
{
	for (unsigned int i = 0; i < sizeof(*ret_cap); i += 4) {
		uint32_t word = (uint32_t)config_get(&bus, SLOT, at + i, 4);

		memcpy((uint8_t *)ret_cap + i, &word, 4);
	}
}

static void note_cap(unsigned int at)
{
	struct virtio_pci_cap cap, *known[] = { NULL, &common, &notify, &isr, &device };

	read_cap(at, &cap);
	if (cap.cfg_type >= VIRTIO_PCI_CAP_COMMON_CFG && cap.cfg_type <= VIRTIO_PCI_CAP_DEVICE_CFG)
		*known[cap.cfg_type] = cap;
	else if (cap.cfg_type == VIRTIO_PCI_CAP_PCI_CFG)
		window = at;
}

static void find_caps(void)
{
	unsigned int at = (unsigned int)config_get(&bus, SLOT, PCI_CAPABILITY_LIST, 1);

	window = msix = 0;
	for (; at; at = (unsigned int)config_get(&bus, SLOT, at + 1, 1)) {
		if (config_get(&bus, SLOT, at, 1) == PCI_CAP_ID_MSIX)
			msix = at;
		else if (config_get(&bus, SLOT, at, 1) == PCI_CAP_ID_VNDR)
			note_cap(at);
	}
	table = (uint32_t)config_get(&bus, SLOT, msix + PCI_MSIX_TABLE, 4);
	pending = (uint32_t)config_get(&bus, SLOT, msix + PCI_MSIX_PBA, 4);
}

static int setup(void **state)
{
	assert_int_equal(fixture_bus_init(&bus), 0);
	assert_int_equal(fixture_plug(&bus, &nic, QUEUES, OFFERED), 0);
	decode(&bus, SLOT, true);
	base = config_get(&bus, SLOT, PCI_BASE_ADDRESS_0, 4);
	find_caps();
	return 0;
}

static int teardown(void **state)
{
	virtio_pci_free(&nic.transport);
	assert_int_equal(nic.n_starts, nic.n_stops);
	assert_int_equal(fake.n_attached, 0);
	assert_int_equal(fake.n_ioeventfds, 0);
	assert_int_equal(fake.n_numbers, 0);
	assert_false(fake.wrong || nic.wrong);
	return 0;
}

static unsigned int n_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void tell(int fd)
{
	const uint64_t one = 1;

	assert_int_equal(write(fd, &one, 8), 8);
}

static void what_a_driver_finds(void **state)
{
	const struct virtio_pci_cap *caps[] = { &common, &notify, &isr, &device };

	assert_int_equal(config_get(&bus, SLOT, PCI_VENDOR_ID, 4), 0x10411af4);
	assert_true(config_get(&bus, SLOT, PCI_REVISION_ID, 1) >= 1);
	assert_true(config_get(&bus, SLOT, PCI_SUBSYSTEM_ID, 2) >= 0x40); // 4.1.2.1
	for (size_t i = 0; i < 4; i++) {
		assert_true(caps[i]->length && caps[i]->bar == 0 && caps[i]->offset % 4 == 0);
		assert_true(caps[i]->offset + caps[i]->length <= nic.transport.pci.bar_size);
		for (size_t k = 0; k < i; k++)
			assert_true(caps[k]->offset >= caps[i]->offset + caps[i]->length ||
				    caps[i]->offset >= caps[k]->offset + caps[k]->length);
	}
	assert_int_equal(device.length, FIXTURE_CONFIG_SIZE);
	assert_int_equal(notify.length, QUEUES * 4);
	assert_int_equal(notify.cap_len, sizeof(struct virtio_pci_notify_cap));
	assert_int_equal(config_get(&bus, SLOT, msix + PCI_MSIX_FLAGS, 2), QUEUES); // n - 1
	assert_true(window && msix);
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_NUMQ, 2), QUEUES);
}

static void features_offered(void **state)
{
	uint64_t offered = 0;

	for (uint64_t i = 0; i < 2; i++) {
		common_put(VIRTIO_PCI_COMMON_DFSELECT, 4, i);
		offered |= common_get(VIRTIO_PCI_COMMON_DF, 4) << 32 * i;
	}
	assert_int_equal(offered, OFFERED | VERSION_1);
	common_put(VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_DF, 4), 0);
	common_put(VIRTIO_PCI_COMMON_GFSELECT, 4, 2);
	common_put(VIRTIO_PCI_COMMON_GF, 4, UINT32_MAX);
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_GF, 4), 0);
	common_put(VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_GF, 4), 0);
}

// 3.1.1, steps 5 and 6
static void features_refused(void **state)
{
	static const uint64_t refused[] = { 0, 1 << 5, 1ull << 32 | 1, 1ull << 32 | 1ull << 63 };

	status_put(ACK);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		features_put(refused[i]);
		status_put(NEGOTIATED);
		assert_int_equal(status(), ACK);
		status_put(ALIVE);
		assert_int_equal(status(), ACK);
	}
	features_put(VERSION_1 | 1 << 5);
	status_put(NEGOTIATED);
	assert_int_equal(status(), NEGOTIATED);
	assert_int_equal(nic.device.features, VERSION_1 | 1 << 5);
	features_put(VERSION_1); // final
	common_put(VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_GF, 4), 1 << 5);
	assert_int_equal(nic.n_starts, 0);
}

static void status_in_its_order(void **state)
{
	status_put(ACK | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(status(), ACK);
	status_put(0x40 | 0x30); // what is not the driver's, or nobody's
	assert_int_equal(status(), ACK);
	negotiate();
	status_put(ALIVE);
	assert_int_equal(status(), ALIVE);
	assert_int_equal(nic.n_starts, 1);
	status_put(ACK); // no bit goes
	status_put(ALIVE);
	assert_int_equal(status(), ALIVE);
	assert_int_equal(nic.n_starts, 1);
	status_put(ALIVE | VIRTIO_CONFIG_S_FAILED);
	assert_int_equal(status(), ALIVE | VIRTIO_CONFIG_S_FAILED);
	status_put(0);
	assert_int_equal(status(), 0);
	assert_int_equal(nic.n_stops, 1);
	assert_int_equal(nic.device.features, 0);
	status_put(0);
	assert_int_equal(nic.n_stops, 1);
	negotiate();
	status_put(ALIVE);
	assert_int_equal(nic.n_starts, 2);
}

// 2.1.2
static void a_start_that_fails(void **state)
{
	uint64_t generation;

	nic.start_error = -EINVAL;
	common_put(VIRTIO_PCI_COMMON_MSIX, 2, 0);
	negotiate();
	generation = common_get(VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	status_put(ALIVE);
	assert_int_equal(status(), ALIVE | VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_not_equal(common_get(VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	assert_true(readable(nic.transport.msix.sources[0].fd));
	assert_int_equal(get(isr.offset, 1), 2); // 4.1.4.5
	assert_int_equal(get(isr.offset, 1), 0);
	status_put(ALIVE);
	assert_int_equal(status(), ALIVE | VIRTIO_CONFIG_S_NEEDS_RESET);
	nic.start_error = 0;
	status_put(0);
	assert_int_equal(status(), 0);
	assert_int_equal(nic.n_stops, 0);
	negotiate();
	status_put(ALIVE);
	assert_int_equal(status(), ALIVE);
}

static void queue_write_all(uint64_t value)
{
	common_put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 16);
	for (unsigned int at = VIRTIO_PCI_COMMON_Q_DESCLO; at <= VIRTIO_PCI_COMMON_Q_USEDHI;
		at += 8)
		common_put(at, 8, value);
	common_put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, value & 1);
}

static void check_queue(uint64_t size, uint64_t value, uint64_t enabled)
{
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_Q_SIZE, 2), size);
	for (unsigned int at = VIRTIO_PCI_COMMON_Q_DESCLO; at <= VIRTIO_PCI_COMMON_Q_USEDHI;
		at += 8) {
		assert_int_equal(common_get(at, 8), value);
		assert_int_equal(common_get(at + 4, 4), value >> 32);
	}
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), enabled);
}

// 4.1.4.3
static void queues(void **state)
{
	static const uint16_t sizes[] = { 0, 3, 100, 255, 257, 512, 0x8000, 0xffff };

	select_queue(2);
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_Q_NOFF, 2), 2);
	check_queue(256, 0, 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		common_put(VIRTIO_PCI_COMMON_Q_SIZE, 2, sizes[i]);
		assert_int_equal(common_get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
	}
	queue_write_all(0x1234567812345679); // before FEATURES_OK: not enabled
	check_queue(16, 0x1234567812345679, 0);
	common_put(VIRTIO_PCI_COMMON_Q_DESCHI, 4, 7);
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0x712345679);
	select_queue(0);
	check_queue(256, 0, 0);
	status_put(0);
	select_queue(2);
	check_queue(256, 0, 0);
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_Q_MSIX, 2), NONE);
}

static void queues_that_there_are_not(void **state)
{
	static const uint16_t numbers[] = { QUEUES, 64, 65, 0x8000, 0xffff };

	negotiate();
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		select_queue(numbers[i]);
		assert_int_equal(common_get(VIRTIO_PCI_COMMON_Q_SELECT, 2), numbers[i]);
		queue_write_all(UINT64_MAX);
		common_put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 0);
		check_queue(0, 0, 0);
		assert_int_equal(common_get(VIRTIO_PCI_COMMON_Q_MSIX, 2), NONE);
	}
	for (unsigned int i = 0; i < QUEUES; i++) {
		select_queue(i);
		check_queue(256, 0, 0);
	}
}

// CVE-2026-5747's class
static void live_queues_are_final(void **state)
{
	negotiate();
	select_queue(1);
	queue_write_all(0x10001);
	check_queue(16, 0x10001, 1);
	common_put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 32);
	queue_write_all(0x20002);
	check_queue(16, 0x10001, 1);
	status_put(ALIVE);
	assert_true(nic.at_start[1].enabled && nic.at_start[1].size == 16);
	assert_false(nic.at_start[0].enabled);
	queue_write_all(0x20002);
	check_queue(16, 0x10001, 1);
	select_queue(0);
	queue_write_all(0x20003);
	check_queue(256, 0, 0);
	features_put(UINT64_MAX);
	assert_int_equal(nic.device.features, VERSION_1);
}

// 4.1.3.1
static void by_their_own_width(void **state)
{
	static const uint8_t widths[] = { 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 2, 0, 2,
		0, 1, 1, 2, 0, 2, 0, 2, 0, 2, 0, 2, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0,
		0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };

	negotiate();
	common_put(VIRTIO_PCI_COMMON_MSIX, 2, 1);
	for (unsigned int at = 0; at < sizeof(widths); at++)
		for (unsigned int size = 1; size <= 8; size *= 2) {
			if (size == widths[at] ||
				(size == 8 && widths[at] == 4 && widths[at + 4] == 4))
				continue;
			assert_int_equal(common_get(at, size), 0);
			common_put(at, size, UINT64_MAX);
		}
	assert_int_equal(status(), NEGOTIATED);
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_MSIX, 2), 1);
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_Q_SELECT, 2), 0);
	check_queue(256, 0, 0);
	assert_int_equal(get(common.offset + 0xffc, 8), 0); // across the structure's end
}

static void device_configuration(void **state)
{
	assert_int_equal(get(device.offset, 1), 1);
	assert_int_equal(get(device.offset + 1, 2), 0x0302);
	assert_int_equal(get(device.offset + 5, 8), 0x0d0c0b0a09080706);
	assert_int_equal(get(device.offset + 6, 8), 0); // past the end
	assert_int_equal(get(device.offset + FIXTURE_CONFIG_SIZE, 1), 0);
	put(device.offset + 12, 1, 0x77);
	put(device.offset + 12, 2, 0x6666);
	put(device.offset + 0xfff, 4, 0x66666666);
	assert_int_equal(nic.config[12], 0x77);
	nic.device.config_changed(&nic.device);
	assert_int_equal(get(isr.offset, 1), 2);
}

static void kicks(void **state)
{
	put(notify.offset + 4, 2, 1);
	assert_true(readable(nic.device.queues[1].kick));
	assert_false(readable(nic.device.queues[0].kick));
	nic.device.queues[QUEUES].kick = nic.device.queues[0].kick; // that there is not
	put(notify.offset + QUEUES * 4, 4, 0);
	put(notify.offset + 0xffc, 8, 0);
	assert_false(readable(nic.device.queues[0].kick) || readable(nic.device.queues[2].kick));
	status_put(0); // forgets them
	assert_false(readable(nic.device.queues[1].kick));
}

static void check_ioeventfds(uint64_t at)
{
	assert_int_equal(fake.n_ioeventfds, at ? QUEUES : 0);
	for (unsigned int i = 0; at && i < QUEUES; i++)
		assert_int_equal(
			fake_ioeventfd_at(at + notify.offset + i * 4), nic.device.queues[i].kick);
}

static void ioeventfds_go_with_the_window(void **state)
{
	struct fixture_device other;

	check_ioeventfds(base);
	config_put(&bus, SLOT, PCI_BASE_ADDRESS_0, 4, PCI_WINDOW_BEGIN);
	check_ioeventfds(PCI_WINDOW_BEGIN);
	config_put(&bus, SLOT, PCI_BASE_ADDRESS_0, 4, UINT32_MAX);
	check_ioeventfds(0);
	assert_int_equal(fixture_plug(&bus, &other, 0, 0), 0);
	config_put(&bus, SLOT + 1, PCI_BASE_ADDRESS_0, 4, PCI_WINDOW_BEGIN);
	decode(&bus, SLOT + 1, true);
	config_put(&bus, SLOT, PCI_BASE_ADDRESS_0, 4, PCI_WINDOW_BEGIN);
	check_ioeventfds(0); // somebody else is there
	virtio_pci_free(&other.transport);
	check_ioeventfds(PCI_WINDOW_BEGIN);
	decode(&bus, SLOT, false);
	check_ioeventfds(0);
	decode(&bus, SLOT, true);
	pci_reset(&bus.pci);
	check_ioeventfds(0);
}

static void vectors(void **state)
{
	const int source = nic.transport.msix.sources[2].fd; // of queue 1
	int gsi;

	assert_int_equal(nic.device.queues[1].call, source);
	select_queue(1);
	common_put(VIRTIO_PCI_COMMON_Q_MSIX, 2, QUEUES + 1);
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_Q_MSIX, 2), NONE);
	common_put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 3);
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_Q_MSIX, 2), 3);
	vector_put(3, 0xfee01000, 0x41, false);
	assert_int_equal(fake_attached_to(source), -1); // not enabled
	control_put(PCI_MSIX_FLAGS_ENABLE);
	gsi = fake_attached_to(source);
	assert_true(gsi >= 0);
	assert_int_equal(fake.routes[gsi].u.msi.address_lo, 0xfee01000);
	assert_int_equal(fake.routes[gsi].u.msi.data, 0x41);
	vector_put(3, 0xfee02000 | 1ull << 32, 0x42, false); // while it may send
	assert_int_equal(fake_attached_to(source), gsi);
	assert_int_equal(fake.routes[gsi].u.msi.address_lo, 0xfee02000);
	assert_int_equal(fake.routes[gsi].u.msi.address_hi, 1);
	assert_int_equal(fake.routes[gsi].u.msi.data, 0x42);
	common_put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 2); // masked since power-on
	assert_int_equal(fake_attached_to(source), -1);
	common_put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 3);
	negotiate();
	select_queue(1);
	queue_write_all(0x10001);
	status_put(ALIVE);
	common_put(VIRTIO_PCI_COMMON_Q_MSIX, 2, NONE); // 4.1.5.1.2: at any time
	assert_int_equal(fake_attached_to(source), -1);
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_Q_MSIX, 2), NONE);
}

// PCI 3.0, 6.8.3.5
static void masked_is_pending(void **state)
{
	const int source = nic.transport.msix.sources[0].fd;

	common_put(VIRTIO_PCI_COMMON_MSIX, 2, 1);
	control_put(PCI_MSIX_FLAGS_ENABLE);
	vector_put(1, 0xfee00000, 0x40, true);
	assert_int_equal(get(pending, 8), 0);
	tell(source);
	assert_int_equal(get(pending, 8), 2);
	assert_int_equal(get(pending, 4), 2);
	assert_int_equal(get(pending + 4, 4), 0);
	assert_int_equal(get(pending, 2), 0);
	put(table + ENTRY + 12, 4, 0);
	assert_true(fake_attached_to(source) >= 0); // KVM takes what waits
	assert_int_equal(get(pending, 8), 0);
	control_put(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	assert_int_equal(fake_attached_to(source), -1);
	assert_int_equal(get(pending, 8), 2);
	control_put(PCI_MSIX_FLAGS_ENABLE);
	assert_true(fake_attached_to(source) >= 0);
	control_put(0);
	assert_int_equal(fake_attached_to(source), -1);
	assert_int_equal(config_get(&bus, SLOT, msix + PCI_MSIX_FLAGS, 2), QUEUES);
}

static void without_a_vector_nothing_is_told(void **state)
{
	const int source = nic.transport.msix.sources[0].fd;

	control_put(PCI_MSIX_FLAGS_ENABLE);
	vector_put(1, 0xfee00000, 0x40, false);
	tell(source);
	assert_int_equal(get(pending, 8), 0);
	common_put(VIRTIO_PCI_COMMON_MSIX, 2, 1);
	assert_false(readable(source));
	tell(source);
	status_put(0); // a new driver does not get the last one's
	common_put(VIRTIO_PCI_COMMON_MSIX, 2, 1);
	assert_false(readable(source));
}

static void table_by_words(void **state)
{
	static const unsigned int odd[] = { 1, 2 };

	vector_put(0, 0x123456789abcdef3, 0x55, true);
	assert_int_equal(get(table, 8), 0x123456789abcdef0);
	assert_int_equal(get(table + 8, 8), 0x100000055);
	for (size_t i = 0; i < 2; i++) {
		put(table, odd[i], 0);
		assert_int_equal(get(table, odd[i]), 0);
	}
	put(table + 4, 8, 0); // crosses
	put(table + 2, 4, 0);
	assert_int_equal(get(table, 8), 0x123456789abcdef0);
	put(table + 12, 4, UINT32_MAX); // the rest of the control word is reserved
	assert_int_equal(get(table + 12, 4), 1);
	for (unsigned int at = (QUEUES + 1) * ENTRY; at < 0x1000; at += 8) {
		put(table + at, 8, UINT64_MAX);
		assert_int_equal(get(table + at, 8), 0);
	}
	put(pending, 8, UINT64_MAX);
	assert_int_equal(get(pending, 8), 0);
}

static void window_set(uint8_t bar, uint32_t offset, uint32_t length)
{
	config_put(&bus, SLOT, window + VIRTIO_PCI_CAP_BAR, 1, bar);
	config_put(&bus, SLOT, window + VIRTIO_PCI_CAP_OFFSET, 4, offset);
	config_put(&bus, SLOT, window + VIRTIO_PCI_CAP_LENGTH, 4, length);
}

// 4.1.4.9
static void through_the_configuration(void **state)
{
	static const uint32_t wrong[][3] = { { 0, 0, 0 }, { 0, 0, 3 }, { 0, 0, 8 }, { 0, 2, 4 },
		{ 1, VIRTIO_PCI_COMMON_STATUS, 1 }, { 0, 0x8000, 4 }, { 0, UINT32_MAX, 1 },
		{ 0, 0, UINT32_MAX } };
	const unsigned int data = window + (unsigned int)sizeof(struct virtio_pci_cap);

	decode(&bus, SLOT, false); // that is what it is for
	window_set(0, common.offset + VIRTIO_PCI_COMMON_STATUS, 1);
	config_put(&bus, SLOT, data, 1, ACK);
	assert_int_equal(nic.transport.status, ACK);
	assert_int_equal(config_get(&bus, SLOT, data, 1), ACK);
	window_set(0, notify.offset + 8, 2);
	config_put(&bus, SLOT, data, 2, 2);
	assert_true(readable(nic.device.queues[2].kick));
	window_set(0, device.offset + 4, 4);
	assert_int_equal(config_get(&bus, SLOT, data, 4), 0x08070605);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		window_set((uint8_t)wrong[i][0], wrong[i][1], wrong[i][2]);
		config_put(&bus, SLOT, data, 4, 0x5a5a5a5a);
		assert_int_equal(config_get(&bus, SLOT, data, 4), 0x5a5a5a5a);
	}
	assert_int_equal(nic.transport.status, ACK);
	pci_reset(&bus.pci);
	for (unsigned int at = VIRTIO_PCI_CAP_OFFSET; at < sizeof(struct virtio_pci_notify_cap);
		at += 4)
		assert_int_equal(config_get(&bus, SLOT, window + at, 4), 0);
}

static void machine_reset(void **state)
{
	negotiate();
	common_put(VIRTIO_PCI_COMMON_MSIX, 2, 1);
	control_put(PCI_MSIX_FLAGS_ENABLE);
	vector_put(1, 0xfee00000, 0x40, false);
	status_put(ALIVE);
	assert_int_equal(fake.n_attached, 1);
	pci_reset(&bus.pci);
	assert_int_equal(nic.n_stops, 1);
	assert_int_equal(fake.n_attached, 0);
	decode(&bus, SLOT, true);
	assert_int_equal(status(), 0);
	assert_int_equal(get(table + ENTRY, 8), 0);
	assert_int_equal(get(table + ENTRY + 12, 4), 1);
	assert_int_equal(common_get(VIRTIO_PCI_COMMON_MSIX, 2), NONE);
	assert_int_equal(config_get(&bus, SLOT, msix + PCI_MSIX_FLAGS, 2), QUEUES);
}

static void nothing_is_left(void **state)
{
	struct fixture_device other;
	unsigned int before = n_fds();

	assert_int_equal(fixture_plug(&bus, &other, VIRTIO_QUEUES, 0), 0);
	assert_int_equal(n_fds(), before + 2 * VIRTIO_QUEUES + 1);
	virtio_pci_free(&other.transport);
	assert_int_equal(n_fds(), before);
	for (int i = 2; i < PCI_SLOTS; i++)
		bus.pci.slots[i] = &bus.pci.bridge;
	assert_int_equal(fixture_plug(&bus, &other, VIRTIO_QUEUES, 0), -ENOSPC);
	assert_int_equal(n_fds(), before);
	assert_int_equal(fake.n_numbers, QUEUES + 1);
	memset(bus.irqs.used, true, sizeof(bus.irqs.used));
	bus.irqs.used[IRQ_MESSAGES - 1] = false;
	assert_int_equal(fixture_plug(&bus, &other, VIRTIO_QUEUES, 0), -ENOSPC);
	assert_int_equal(n_fds(), before);
	assert_int_equal(fake.n_numbers, QUEUES + 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(what_a_driver_finds), TEST(features_offered),
		TEST(features_refused), TEST(status_in_its_order), TEST(a_start_that_fails),
		TEST(queues), TEST(queues_that_there_are_not), TEST(live_queues_are_final),
		TEST(by_their_own_width), TEST(device_configuration), TEST(kicks),
		TEST(ioeventfds_go_with_the_window), TEST(vectors), TEST(masked_is_pending),
		TEST(without_a_vector_nothing_is_told), TEST(table_by_words),
		TEST(through_the_configuration), TEST(machine_reset), TEST(nothing_is_left) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
