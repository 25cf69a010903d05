// SPDX-License-Identifier: BSD-3-Clause
// One virtual processor: its registers at reset and at boot, and its exits. Run by a thread of its
// own (machine.c); what is not vcpu_run is called while it does not run.
#pragma once
#include <linux/kvm.h>
#include "vmm/boot.h"
#include "vmm/bus.h"
#include "vmm/error.h"

struct vcpu_reset; // registers as KVM made them

struct vcpu {
	int fd;
	struct kvm_run *run;
	size_t run_size;
	struct vcpu_reset *reset;
};

// Why a processor is back from the guest.
enum vcpu_exit {
	VCPU_AGAIN, // interrupted, nothing to do
	VCPU_PORT,
	VCPU_MEMORY,
	VCPU_RESET, // triple fault or asked for
	VCPU_SHUTDOWN,
	VCPU_BROKEN, // what KVM cannot go on with: ret_error says what
};

enum { VCPU_EXITS = VCPU_BROKEN + 1 };

int vcpu_init(struct vcpu *v, int kvm, int vm, unsigned int id, const struct kvm_cpuid2 *cpuid,
	struct error *e);
void vcpu_free(struct vcpu *v);
// All registers as after vcpu_init.
int vcpu_reset(struct vcpu *v, struct error *e);
// Registers of the first processor at boot.
int vcpu_set_entry(struct vcpu *v, const struct boot_entry *entry, struct error *e);
enum vcpu_exit vcpu_run(struct vcpu *v, struct error *ret_error);
// After VCPU_PORT and VCPU_MEMORY: does what the guest asked for on the bus.
void vcpu_access_port(struct vcpu *v, struct bus *pio);
void vcpu_access_memory(struct vcpu *v, struct bus *mmio);
