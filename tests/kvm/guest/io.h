// SPDX-License-Identifier: BSD-3-Clause
// Ports, device registers, the order of memory accesses and of bytes. Everything runs in ring 3
// with IOPL 3; x86 is the only machine.
#pragma once

#include <stdint.h>

static inline void out8(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void out16(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void out32(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint16_t in16(uint16_t port)
{
	uint16_t v;

	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

// Device registers: one plain mov of the register's size each, which is what an emulator decodes.
static inline uint8_t mmio_read8(uint64_t at)
{
	uint8_t v;

	__asm__ volatile("movb (%1), %0" : "=q"(v) : "r"(at) : "memory");
	return v;
}

static inline uint16_t mmio_read16(uint64_t at)
{
	uint16_t v;

	__asm__ volatile("movw (%1), %0" : "=r"(v) : "r"(at) : "memory");
	return v;
}

static inline uint32_t mmio_read32(uint64_t at)
{
	uint32_t v;

	__asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(at) : "memory");
	return v;
}

static inline void mmio_write8(uint64_t at, uint8_t v)
{
	__asm__ volatile("movb %0, (%1)" : : "q"(v), "r"(at) : "memory");
}

static inline void mmio_write16(uint64_t at, uint16_t v)
{
	__asm__ volatile("movw %0, (%1)" : : "r"(v), "r"(at) : "memory");
}

static inline void mmio_write32(uint64_t at, uint32_t v)
{
	__asm__ volatile("movl %0, (%1)" : : "r"(v), "r"(at) : "memory");
}

// virtio 4.1.3.1: a 64-bit field may be accessed as two 32-bit ones.
static inline void mmio_write64(uint64_t at, uint64_t v)
{
	mmio_write32(at, (uint32_t)v);
	mmio_write32(at + 4, (uint32_t)(v >> 32));
}

static inline uint64_t mmio_read64(uint64_t at)
{
	return mmio_read32(at) | (uint64_t)mmio_read32(at + 4) << 32;
}

// Stores stay in order on x86: only the compiler is told.
static inline void store_barrier(void)
{
	__asm__ volatile("" : : : "memory");
}

static inline void load_barrier(void)
{
	__asm__ volatile("" : : : "memory");
}

// A store before a load of something else: x86 may exchange these.
static inline void full_barrier(void)
{
	__asm__ volatile("lock; addl $0, (%%rsp)" : : : "memory", "cc");
}

static inline uint64_t tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return low | (uint64_t)high << 32;
}
