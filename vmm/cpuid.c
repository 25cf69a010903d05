// SPDX-License-Identifier: BSD-3-Clause
// See cpuid.h. Leaves: Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E.
#include "vmm/cpuid.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static void set_deadline_timer(struct kvm_cpuid2 *table)
{
	for (uint32_t i = 0; i < table->nent; i++)
		if (table->entries[i].function == 1)
			table->entries[i].ecx |= 1u << 24;
}

int cpuid_read(int kvm, struct kvm_cpuid2 **ret_table, struct error *e)
{
	struct kvm_cpuid2 *table =
		calloc(1, sizeof(*table) + CPUID_ENTRIES * sizeof(table->entries[0]));

	if (!table)
		return error_set(e, ENOMEM, "no memory for CPUID");
	table->nent = CPUID_ENTRIES;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, table) < 0) {
		int err = errno;

		free(table);
		return error_set(e, err, "KVM_GET_SUPPORTED_CPUID: %s", strerror(err));
	}
	// KVM leaves it to us to say so: without it Linux times the APIC's timer for 100 ms
	if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		set_deadline_timer(table);
	*ret_table = table;
	return 0;
}

static unsigned int bits_for(unsigned int cpus)
{
	unsigned int bits = 0;

	while (1u << bits < cpus)
		bits++;
	return bits;
}

// Leaf 1: local APIC, logical processors, and that a hypervisor is there.
static void leaf_1(struct kvm_cpuid_entry2 *e, unsigned int id, unsigned int cpus)
{
	e->ebx = (e->ebx & 0xff00u) | id << 24 | cpus << 16;
	e->ecx |= 1u << 31;
	e->ecx &= ~(1u << 3); // MONITOR: a guest that waits shall let go of the processor
	e->edx = cpus > 1 ? e->edx | 1u << 28 : e->edx & ~(1u << 28);
}

// Leaves 4 and 0x8000001d: caches up to level 2 are a core's own, others everybody's.
static void cache_leaf(struct kvm_cpuid_entry2 *e, unsigned int cpus)
{
	unsigned int level = e->eax >> 5 & 7, sharing = level > 2 ? cpus - 1 : 0;

	if (!(e->eax & 0x1f))
		return;
	e->eax = (e->eax & 0x3fff) | sharing << 14;
	if (e->function == 4)
		e->eax |= ((1u << bits_for(cpus)) - 1) << 26;
}

// Leaves 0xb and 0x1f: level 0 threads (one), level 1 cores.
static void topology_leaf(struct kvm_cpuid_entry2 *e, unsigned int id, unsigned int cpus)
{
	e->eax = e->index == 1 ? bits_for(cpus) : 0;
	e->ebx = e->index == 0 ? 1 : e->index == 1 ? cpus : 0;
	e->ecx = e->index | (e->index == 0 ? 1u << 8 : e->index == 1 ? 2u << 8 : 0);
	e->edx = id;
}

void cpuid_for(struct kvm_cpuid2 *table, unsigned int id, unsigned int cpus)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		switch (e->function) {
		case 1:
			leaf_1(e, id, cpus);
			break;
		case 4:
		case 0x8000001d:
			cache_leaf(e, cpus);
			break;
		case 0xb:
		case 0x1f:
			topology_leaf(e, id, cpus);
			break;
		case 0x80000008:
			e->ecx = (e->ecx & ~0xf0ffu) | bits_for(cpus) << 12 | (cpus - 1);
			break;
		case 0x8000001e:
			e->eax = id;
			e->ebx = id & 0xff; // one thread a core
			e->ecx = 0;
			break;
		default:
			break;
		}
	}
}
