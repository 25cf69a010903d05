// SPDX-License-Identifier: BSD-3-Clause
// The processor: exceptions, time, sleep, more page tables, the end.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Interrupts are only ever taken in cpu_sleep, and all they do is end it.
enum { VECTOR_TIMER = 0x40, VECTOR_DEVICE = 0x41 };

void cpu_init(void);

// Since cpu_init.
uint64_t time_ns(void);

// Until an interrupt, at most until the given time. Whoever waits for something arms its
// interrupt, looks once more, then calls this: an interrupt that came in between ends it at once.
void cpu_sleep(uint64_t until_ns);

// What a device writes, and where, to interrupt this processor (MSI).
uint32_t cpu_msi_address(void);

// Makes device memory accessible, uncached; what lies below 4 GiB already is.
void paging_map(uint64_t address, uint64_t size);

// Resets the processor, by an exception that cannot be delivered.
_Noreturn void cpu_triple_fault(void);

// Ends the machine: by the debug-exit port of the command line (exit=PORT), where 0x10 is written
// for good and 0x11 for bad; else by reset.
_Noreturn void cpu_end(bool good);
