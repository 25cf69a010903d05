// SPDX-License-Identifier: BSD-3-Clause
// Bus 0 of the PCI machine: see pci.h.
#include "base.h"
#include "cpu.h"
#include "io.h"
#include "pci.h"

enum {
	CONFIG_ADDRESS = 0xcf8,
	CONFIG_DATA = 0xcfc,
	CONFIG_ENABLE = 1u << 31,
	BUS_SIZE = 1 << 20,
	COMMAND_MEMORY = 2,
	COMMAND_MASTER = 4,
	STATUS_HAS_CAPABILITIES = 0x10,
	BAR_IS_IO = 1,
	BAR_TYPE = 6,
	BAR_IS_64 = 4,
	BAR_FLAGS = 0xf,
	MAX_CAPABILITIES = 48, // as many as fit: a longer list is a loop
};

static uint64_t ecam, window;

void pci_init(void)
{
	ecam = cmdline_number("ecam", 0);
	window = cmdline_number("window", 0);
	if (ecam)
		paging_map(ecam, BUS_SIZE);
}

uint32_t pci_read(uint8_t function, unsigned at, unsigned size)
{
	uint64_t place = ecam + ((uint64_t)function << 12) + at;
	uint16_t port = (uint16_t)(CONFIG_DATA + at % 4);

	if (ecam)
		return size == 4   ? mmio_read32(place)
		       : size == 2 ? mmio_read16(place)
				   : mmio_read8(place);
	out32(CONFIG_ADDRESS, CONFIG_ENABLE | (uint32_t)function << 8 | (at & 0xfc));
	return size == 4 ? in32(port) : size == 2 ? in16(port) : in8(port);
}

void pci_write(uint8_t function, unsigned at, unsigned size, uint32_t v)
{
	uint64_t place = ecam + ((uint64_t)function << 12) + at;
	uint16_t port = (uint16_t)(CONFIG_DATA + at % 4);

	if (!ecam)
		out32(CONFIG_ADDRESS, CONFIG_ENABLE | (uint32_t)function << 8 | (at & 0xfc));
	if (size == 4 && ecam)
		mmio_write32(place, v);
	else if (size == 4)
		out32(port, v);
	else if (size == 2 && ecam)
		mmio_write16(place, (uint16_t)v);
	else if (size == 2)
		out16(port, (uint16_t)v);
	else if (ecam)
		mmio_write8(place, (uint8_t)v);
	else
		out8(port, (uint8_t)v);
}

bool pci_present(uint8_t function)
{
	// Functions 1 to 7 are there only if function 0 says so.
	if (function % 8 != 0 && (!pci_present(function & 0xf8) ||
					 !(pci_read(function & 0xf8, PCI_HEADER_TYPE, 1) & 0x80)))
		return false;
	return pci_read(function, PCI_ID, 2) != 0xffff;
}

uint8_t pci_capability(uint8_t function, uint8_t id, uint8_t after)
{
	uint8_t at;

	if (!(pci_read(function, PCI_STATUS, 2) & STATUS_HAS_CAPABILITIES))
		return 0;
	at = (uint8_t)pci_read(function, after ? after + 1u : PCI_CAPABILITIES, 1) & 0xfc;
	for (int i = 0; i < MAX_CAPABILITIES && at >= 0x40; i++) {
		if (pci_read(function, at, 1) == id)
			return at;
		at = (uint8_t)pci_read(function, at + 1u, 1) & 0xfc;
	}
	return 0;
}

// One window, whose size is told by the bits that cannot be set (PCI 3.0, 6.2.5.1).
static struct pci_bar pci_bar_enable(uint8_t function, unsigned at, bool is_64)
{
	uint32_t low = pci_read(function, at, 4), high = is_64 ? pci_read(function, at + 4, 4) : 0;
	struct pci_bar bar = { .address = (uint64_t)high << 32 | (low & ~BAR_FLAGS) };
	uint64_t mask;

	pci_write(function, at, 4, 0xffffffff);
	mask = pci_read(function, at, 4) & ~BAR_FLAGS;
	if (is_64) {
		pci_write(function, at + 4, 4, 0xffffffff);
		mask |= (uint64_t)pci_read(function, at + 4, 4) << 32;
	} else if (mask) {
		mask |= 0xffffffffull << 32;
	}
	if (mask == 0)
		return (struct pci_bar){ 0 };
	bar.size = -mask;
	if (bar.address == 0 && window) {
		bar.address = window = (window + bar.size - 1) & mask;
		window += bar.size;
	}
	pci_write(function, at, 4, (uint32_t)bar.address);
	if (is_64)
		pci_write(function, at + 4, 4, (uint32_t)(bar.address >> 32));
	return bar;
}

void pci_enable(uint8_t function, struct pci_bar ret_bars[PCI_N_BARS])
{
	uint32_t command = pci_read(function, PCI_COMMAND, 2);

	memset(ret_bars, 0, PCI_N_BARS * sizeof(*ret_bars));
	pci_write(function, PCI_COMMAND, 2, command & ~(uint32_t)COMMAND_MEMORY);
	for (unsigned i = 0; i < PCI_N_BARS; i++) {
		unsigned at = PCI_BAR0 + i * 4;
		uint32_t low = pci_read(function, at, 4);
		bool is_64 = (low & BAR_TYPE) == BAR_IS_64 && i + 1 < PCI_N_BARS;

		if (low & BAR_IS_IO)
			continue;
		ret_bars[i] = pci_bar_enable(function, at, is_64);
		if (ret_bars[i].address)
			paging_map(ret_bars[i].address, ret_bars[i].size);
		i += is_64;
	}
	pci_write(function, PCI_COMMAND, 2, command | COMMAND_MEMORY | COMMAND_MASTER);
}
