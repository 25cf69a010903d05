// SPDX-License-Identifier: BSD-3-Clause
// The threads of a machine's processors. Called by machine.c.
#pragma once
#include "vmm/machine.h"

int machine_start_threads(struct machine *m, struct error *e);
void machine_end_threads(struct machine *m);
// On a vCPU's thread, the lock held: all processors halt, and the device thread is told.
void machine_end_by_guest(struct machine *m, enum machine_end end);
// acpi.h's: the guest lets go of a slot.
void machine_eject(void *arg, unsigned int slot);
// The loop's: what machine_end_by_guest told.
void machine_event(void *arg, uint32_t events);
