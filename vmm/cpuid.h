// SPDX-License-Identifier: BSD-3-Clause
// What the guest's processors say of themselves: what KVM supports, with a topology of one socket
// of `cpus` cores, one thread each.
#pragma once
#include <linux/kvm.h>
#include "vmm/error.h"

enum { CPUID_ENTRIES = 256 };

// The table for all of them; free() it.
int cpuid_read(int kvm, struct kvm_cpuid2 **ret_table, struct error *e);
// Makes the table that of processor `id`.
void cpuid_for(struct kvm_cpuid2 *table, unsigned int id, unsigned int cpus);
