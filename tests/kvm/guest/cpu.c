// SPDX-License-Identifier: BSD-3-Clause
// The processor: see cpu.h. start.S has the other side of sleep and exceptions.
#include "base.h"
#include "cpu.h"
#include "io.h"

enum {
	APIC = 0xfee00000,
	APIC_ID = 0x20,
	APIC_PRIORITY = 0x80,
	APIC_SPURIOUS = 0xf0,
	APIC_LVT_TIMER = 0x320,
	APIC_LVT_LINT0 = 0x350,
	APIC_TIMER_INITIAL = 0x380,
	APIC_TIMER_CURRENT = 0x390,
	APIC_TIMER_DIVIDE = 0x3e0,
	APIC_MASKED = 0x10000,
	APIC_ENABLED = 0x100,
	DIVIDE_BY_1 = 0xb,
	VECTOR_SPURIOUS = 0xff,
	VECTOR_SLEEP = 3, // int3
	N_VECTORS = 256,
	N_FAULTS = 32,
	FAULT_STUB_SIZE = 16,
	CODE0 = 0x08,
	GATE_RING0 = 0x8e00,
	GATE_RING3 = 0xee00,
	CALIBRATION_NS = 10000000,
	PIC1_MASK = 0x21,
	PIC2_MASK = 0xa1,
	RESET_PORT = 0xcf9,
	KEYBOARD_PORT = 0x64,
	EXIT_GOOD = 0x10,
	EXIT_BAD = 0x11,
	PRESENT_USER_UNCACHED_2M = 0xff,
	PRESENT_USER = 0x67,
};

#define GIB (1ull << 30)

struct gate {
	uint16_t low, selector, type, middle;
	uint32_t high, zero;
};

extern struct gate idt[N_VECTORS];
extern const uint64_t gate_sleep_address, gate_interrupt_address, gate_faults_address;
extern uint64_t pml4[512], pdpt[512];

static uint64_t tsc_start, ns_per_tsc_32; // nanoseconds per tick, times 2^32
static bool faulted;

static void gate_set(unsigned vector, uint64_t address, uint16_t type)
{
	idt[vector] = (struct gate){ .low = (uint16_t)address,
		.selector = CODE0,
		.type = type,
		.middle = (uint16_t)(address >> 16),
		.high = (uint32_t)(address >> 32) };
}

static uint32_t apic_read(unsigned at)
{
	return mmio_read32(APIC + at);
}

static void apic_write(unsigned at, uint32_t v)
{
	mmio_write32(APIC + at, v);
}

// KVM's and QEMU's APIC timers tick once a nanosecond: the one clock of known rate that every
// machine with an in-kernel irqchip has. If it stands still, a tick of the TSC counts as 0.5 ns.
static void time_calibrate(void)
{
	uint32_t all = 0xffffffff, left;
	uint64_t start, ticks, tsc_hz = cmdline_number("tsc_khz", 0) * 1000;

	apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
	apic_write(APIC_LVT_TIMER, APIC_MASKED | VECTOR_TIMER);
	apic_write(APIC_TIMER_INITIAL, all);
	left = apic_read(APIC_TIMER_CURRENT);
	tsc_start = start = tsc();
	ns_per_tsc_32 = 1ull << 31;
	if (tsc_hz > 0) {
		ns_per_tsc_32 = (1000000000ull << 32) / tsc_hz;
		return;
	}
	do {
		all = left - apic_read(APIC_TIMER_CURRENT);
		ticks = tsc() - start;
	} while (all < CALIBRATION_NS && ticks < 20ull * CALIBRATION_NS);
	if (all >= CALIBRATION_NS)
		ns_per_tsc_32 = ((uint64_t)all << 32) / ticks;
}

// Firmware leaves the old interrupt controllers on. QEMU's APIC keeps an interrupt of theirs that
// it was already told of until it looks again, as it does when its priority is written; without
// that, the first sleep is answered with a protection fault, as vector -1 is in no IDT.
static void old_interrupts_forbid(void)
{
	out8(PIC1_MASK, 0xff);
	out8(PIC2_MASK, 0xff);
	apic_write(APIC_LVT_LINT0, APIC_MASKED);
	apic_write(APIC_PRIORITY, 0);
}

void cpu_init(void)
{
	for (unsigned i = 0; i < N_VECTORS; i++)
		gate_set(i, gate_interrupt_address, GATE_RING0);
	for (unsigned i = 0; i < N_FAULTS; i++)
		gate_set(i, gate_faults_address + i * FAULT_STUB_SIZE, GATE_RING0);
	gate_set(VECTOR_SLEEP, gate_sleep_address, GATE_RING3);
	apic_write(APIC_SPURIOUS, APIC_ENABLED | VECTOR_SPURIOUS);
	old_interrupts_forbid();
	time_calibrate();
}

uint64_t time_ns(void)
{
	return (uint64_t)((unsigned __int128)(tsc() - tsc_start) * ns_per_tsc_32 >> 32);
}

void cpu_sleep(uint64_t until_ns)
{
	uint64_t now = time_ns(), left = until_ns > now ? until_ns - now : 0;

	if (left == 0)
		return;
	apic_write(APIC_LVT_TIMER, VECTOR_TIMER);
	apic_write(APIC_TIMER_INITIAL, left < 0xffffffff ? (uint32_t)left : 0xffffffff);
	__asm__ volatile("int3" : : : "memory");
	apic_write(APIC_TIMER_INITIAL, 0);
}

uint32_t cpu_msi_address(void)
{
	return APIC | apic_read(APIC_ID) >> 24 << 12;
}

void paging_map(uint64_t address, uint64_t size)
{
	for (uint64_t at = address & -GIB; at < address + size; at += GIB) {
		uint64_t *slot = &pdpt[at / GIB % 512], *pages;

		if (at >= 512 * GIB || (at < 4 * GIB && *slot == 0)) {
			say("fail paging: 0x%lx is out of reach", at);
			cpu_end(false);
		}
		if (*slot != 0)
			continue;
		pages = memory_take(4096, 4096);
		for (unsigned i = 0; i < 512; i++)
			pages[i] = (at + i * (GIB / 512)) | PRESENT_USER_UNCACHED_2M;
		store_barrier();
		*slot = (uint64_t)(uintptr_t)pages | PRESENT_USER;
	}
}

_Noreturn void cpu_triple_fault(void)
{
	memset(idt, 0, sizeof(idt));
	__asm__ volatile("ud2");
	for (;;)
		;
}

_Noreturn void cpu_end(bool good)
{
	uint64_t port = cmdline_number("exit", 0);

	if (port > 0)
		out8((uint16_t)port, good ? EXIT_GOOD : EXIT_BAD);
	out8(RESET_PORT, 2);
	out8(RESET_PORT, 6);
	out8(KEYBOARD_PORT, 0xfe);
	cpu_triple_fault();
}

// gate_fault comes here, in ring 3.
_Noreturn void fault_main(
	uint64_t vector, uint64_t error, uint64_t rip, uint64_t address, uint64_t selector);

_Noreturn void fault_main(
	uint64_t vector, uint64_t error, uint64_t rip, uint64_t address, uint64_t selector)
{
	if (!faulted) {
		faulted = true;
		say("fail exception vector %lu error 0x%lx rip 0x%lx address 0x%lx ring %lu",
			vector, error, rip, address, selector & 3);
	}
	cpu_end(false);
}
