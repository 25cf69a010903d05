// SPDX-License-Identifier: BSD-3-Clause
// HOSTILE.md C, H-31: every register in every size and place, at every time; and H-30's feature
// bit.
#include "base.h"
#include "cpu.h"
#include "hostile.h"
#include "io.h"
#include "pci.h"

enum {
	CONFIG_ADDRESS = 0xcf8,
	CONFIG_DATA = 0xcfc,
	CONFIG_ENABLE = 1u << 31,
	CONFIG_SIZE = 256,
	EDGE = 8, // swept behind each structure
	MAX_SWEPT = 256, // of one structure
	MSIX_ENTRY_SIZE = 16,
	STATUS_ROUNDS = 512,
	LOG_ALL = 26, // VHOST_F_LOG_ALL, which virtio 1.2 has reserved
};

#define COMMON(d, field) ((d)->common + offsetof(struct virtio_pci_common_cfg, field))

static uint64_t read_any(uint64_t at, unsigned size)
{
	uint64_t v;

	if (size == 1)
		return mmio_read8(at);
	if (size == 2)
		return mmio_read16(at);
	if (size == 4)
		return mmio_read32(at);
	__asm__ volatile("movq (%1), %0" : "=r"(v) : "r"(at) : "memory");
	return v;
}

static void write_any(uint64_t at, unsigned size, uint64_t v)
{
	if (size == 1)
		mmio_write8(at, (uint8_t)v);
	else if (size == 2)
		mmio_write16(at, (uint16_t)v);
	else if (size == 4)
		mmio_write32(at, (uint32_t)v);
	else
		__asm__ volatile("movq %0, (%1)" : : "r"(v), "r"(at) : "memory");
}

// Every place in every size, read; then, where `writes`, written with bits that mean something.
static void sweep(uint64_t start, uint64_t size, bool writes)
{
	static const uint64_t values[] = { 0, 1, 0x80, 0xffff, 0x123456789abcdef0, UINT64_MAX };
	uint64_t end = start + (size < MAX_SWEPT ? size : MAX_SWEPT) + EDGE;

	for (uint64_t at = start; at < end; at++) {
		for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
			(void)read_any(at, bytes);
			for (unsigned i = 0; writes && i < LENGTH_OF(values); i++)
				write_any(at, bytes, values[i]);
		}
	}
}

enum structure { COMMON_CFG, NOTIFY_CFG, ISR_CFG, DEVICE_CFG, MSIX_TABLE };

static void msix_restore(struct virtio *d)
{
	for (unsigned i = 0; d->msix_table && i < d->n_vectors; i++) {
		uint64_t entry = d->msix_table + i * MSIX_ENTRY_SIZE;

		mmio_write32(entry, cpu_msi_address());
		mmio_write32(entry + 4, 0);
		mmio_write32(entry + 8, VECTOR_DEVICE);
		mmio_write32(entry + 12, 0);
	}
}

// arg: the structure, plus 16 to write too
static void tell_sweep(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	struct virtio *d = &nic->device;
	bool writes = arg >= 16;

	switch ((enum structure)(arg % 16)) {
	case COMMON_CFG:
		sweep(d->common, sizeof(struct virtio_pci_common_cfg), writes);
		break;
	case NOTIFY_CFG:
		sweep(d->notify, d->notify_size, writes);
		break;
	case ISR_CFG:
		sweep(d->isr, 1, writes);
		break;
	case DEVICE_CFG:
		if (d->config)
			sweep(d->config, d->config_size, writes);
		break;
	case MSIX_TABLE:
		if (d->msix_table)
			sweep(d->msix_table, (uint64_t)d->n_vectors * MSIX_ENTRY_SIZE, writes);
		msix_restore(d);
		break;
	}
}

static void config_read(uint32_t address, uint16_t port)
{
	out32(CONFIG_ADDRESS, address);
	(void)in8(port);
	(void)in16(port);
	(void)in32(port);
}

// arg 0: the device's registers read in every size, crossing too; 1: at all kinds of addresses, and
// the address register in pieces
static void tell_config(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	uint32_t function = (uint32_t)nic->device.function << 8;

	for (uint32_t at = 0; at < CONFIG_SIZE; at += 4) {
		for (uint16_t i = 0; i < 4; i++) {
			uint16_t port = (uint16_t)(CONFIG_DATA + i);

			if (arg == 0)
				config_read(CONFIG_ENABLE | function | at, port);
			else
				config_read(at * 0x01010101 ^ function, port);
		}
	}
	for (uint16_t i = 0; arg && i < 4; i++) {
		if (i != 1) // that is the reset register, 0xcf9
			out8(CONFIG_ADDRESS + i, 0xff);
		(void)in8(CONFIG_ADDRESS + i);
		(void)in16(CONFIG_ADDRESS + i);
		(void)in32(CONFIG_ADDRESS + i);
	}
}

// Of the device's own registers, all but the windows and the command that makes them answer.
static void tell_config_writes(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	uint8_t f = nic->device.function;

	for (unsigned at = 0; at < CONFIG_SIZE; at++) {
		for (unsigned size = 1; size <= 4; size *= 2) {
			uint32_t was = pci_read(f, at & -size, size);

			if (at % size != 0 || (at + size > PCI_COMMAND && at < PCI_STATUS) ||
				(at + size > PCI_BAR0 && at < PCI_SUBSYSTEM - 4u))
				continue;
			pci_write(f, at, size, 0xffffffff);
			pci_write(f, at, size, 0);
			pci_write(f, at, size, was);
		}
	}
}

// A queue that is not there, and sizes that none can have.
static void tell_queue(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	static const uint16_t sizes[] = { 0, 1, 3, 257, 32768, 32769, 0xffff };
	struct virtio *d = &nic->device;

	mmio_write16(COMMON(d, queue_select), (uint16_t)arg);
	for (unsigned i = 0; i < LENGTH_OF(sizes); i++) {
		mmio_write16(COMMON(d, queue_size), sizes[i]);
		mmio_write16(COMMON(d, queue_msix_vector), sizes[i]);
		mmio_write64(COMMON(d, queue_desc_lo), UINT64_MAX - sizes[i]);
		mmio_write64(COMMON(d, queue_avail_lo), UINT64_MAX - sizes[i]);
		mmio_write64(COMMON(d, queue_used_lo), UINT64_MAX - sizes[i]);
		mmio_write16(COMMON(d, queue_enable), sizes[i]);
		(void)mmio_read16(COMMON(d, queue_size));
		(void)mmio_read16(COMMON(d, queue_notify_off));
	}
	hostile_kick(&nic->tx);
	hostile_kick(&nic->rx);
}

// CVE-2026-5747: one register of a live queue; arg: which
static void tell_live(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	struct virtio *d = &nic->device;
	struct virtq *q = &nic->tx;

	hostile_desc(q, 0, (uintptr_t)hostile_frame(nic), HOSTILE_FRAME, 0, 0);
	mmio_write16(COMMON(d, queue_select), q->index);
	if (arg == 0)
		mmio_write16(COMMON(d, queue_size), (uint16_t)(q->size * 2));
	else if (arg == 1)
		mmio_write16(COMMON(d, queue_size), 0);
	else if (arg == 2)
		mmio_write64(COMMON(d, queue_desc_lo), 1ull << 40);
	else if (arg == 3)
		mmio_write64(COMMON(d, queue_used_lo), UINT64_MAX - 1);
	else if (arg == 4)
		mmio_write16(COMMON(d, queue_enable), 0);
	else
		mmio_write32(COMMON(d, guest_feature), 0xffffffff);
	hostile_offer(q, 0);
	hostile_kick(q);
}

// arg 0: all values up; 1: without order
static void tell_status(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	uint64_t at = COMMON(&nic->device, device_status);
	uint8_t noise[STATUS_ROUNDS];

	pattern_fill(noise, sizeof(noise), arg, 0);
	for (unsigned i = 0; i < STATUS_ROUNDS; i++) {
		mmio_write8(at, arg ? noise[i] : (uint8_t)i);
		hostile_kick(&nic->tx);
	}
}

// Windows over RAM, the APIC, the end of everything; where it was at last. RAM keeps its content.
static void tell_window(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	uint8_t f = nic->device.function, *memory = hostile_memory();
	uint32_t was[PCI_N_BARS];
	uint32_t wrong = 0;

	pattern_fill(memory, 4096, 31, 0);
	for (unsigned i = 0; i < PCI_N_BARS; i++)
		was[i] = pci_read(f, PCI_BAR0 + i * 4, 4);
	for (unsigned i = 0; i < PCI_N_BARS; i++)
		pci_write(f, PCI_BAR0 + i * 4, 4,
			arg == 0 ? (uint32_t)(uintptr_t)memory : (uint32_t)arg);
	for (unsigned at = 0; at < 4096; at += 8)
		wrong += read_any((uintptr_t)memory + at, 4) == 0xffffffff;
	for (unsigned i = 0; i < PCI_N_BARS; i++)
		pci_write(f, PCI_BAR0 + i * 4, 4, was[i]);
	say("ok hostile H-31 window at 0x%lx hid %u of 512", arg, wrong);
}

// H-30: VHOST_F_LOG_ALL is a bit of the guest's too; who took it would write where the guest did
// not say.
static void tell_log(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	struct virtio *d = &nic->device;
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	bool offered, taken;

	virtio_reset(d);
	mmio_write8(COMMON(d, device_status), status);
	mmio_write32(COMMON(d, device_feature_select), 0);
	offered = mmio_read32(COMMON(d, device_feature)) >> LOG_ALL & 1;
	mmio_write32(COMMON(d, guest_feature_select), 1);
	mmio_write32(COMMON(d, guest_feature), 1u << (VIRTIO_F_VERSION_1 - 32));
	mmio_write32(COMMON(d, guest_feature_select), 0);
	mmio_write32(COMMON(d, guest_feature), 1u << LOG_ALL);
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	mmio_write8(COMMON(d, device_status), status);
	taken = mmio_read8(COMMON(d, device_status)) & VIRTIO_CONFIG_S_FEATURES_OK;
	say("ok hostile H-30 log %s, %s", offered ? "offered" : "not offered",
		taken ? "taken" : "refused");
}

const struct lie lies_registers[] = {
	{ "H-30", "dirty log", tell_log, 0 },
	{ "H-31", "common, read", tell_sweep, COMMON_CFG },
	{ "H-31", "notify, read", tell_sweep, NOTIFY_CFG },
	{ "H-31", "isr, read", tell_sweep, ISR_CFG },
	{ "H-31", "device, read", tell_sweep, DEVICE_CFG },
	{ "H-31", "MSI-X, read", tell_sweep, MSIX_TABLE },
	{ "H-31", "common, written", tell_sweep, COMMON_CFG + 16 },
	{ "H-31", "notify, written", tell_sweep, NOTIFY_CFG + 16 },
	{ "H-31", "isr, written", tell_sweep, ISR_CFG + 16 },
	{ "H-31", "device, written", tell_sweep, DEVICE_CFG + 16 },
	{ "H-31", "MSI-X, written", tell_sweep, MSIX_TABLE + 16 },
	{ "H-31", "configuration, read", tell_config, 0 },
	{ "H-31", "configuration, addresses", tell_config, 1 },
	{ "H-31", "configuration, written", tell_config_writes, 0 },
	{ "H-31", "queue 65535", tell_queue, 0xffff },
	{ "H-31", "queue 1", tell_queue, 1 },
	{ "H-31", "live queue: size", tell_live, 0 },
	{ "H-31", "live queue: size 0", tell_live, 1 },
	{ "H-31", "live queue: descriptors", tell_live, 2 },
	{ "H-31", "live queue: used ring", tell_live, 3 },
	{ "H-31", "live queue: disabled", tell_live, 4 },
	{ "H-31", "live device: features", tell_live, 5 },
	{ "H-31", "status, all values", tell_status, 0 },
	{ "H-31", "status, any order", tell_status, 1 },
	{ "H-31", "window over RAM", tell_window, 0 },
	{ "H-31", "window over the APIC", tell_window, 0xfee00000 },
	{ "H-31", "window at the end", tell_window, 0xfffff000 },
	{ 0 },
};
