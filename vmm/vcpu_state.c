// SPDX-License-Identifier: BSD-3-Clause
// See vcpu_state.h.
#include "vmm/vcpu_state.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum { CR0_PE = 1 << 0, CR0_ET = 1 << 4, CR0_PG = 1u << 31, CR4_PAE = 1 << 5 };
enum { EFER_LME = 1 << 8, EFER_LMA = 1 << 10 };
// SDM volume 4, 2.1; the paravirtual clock's and its kin: Documentation/virt/kvm/x86/msr.rst
enum {
	MSR_SYSENTER_CS = 0x174,
	MSR_MISC_ENABLE = 0x1a0,
	MSR_PAT = 0x277,
	MSR_MTRR_DEFAULT = 0x2ff,
	MTRR_ENABLED_WRITE_BACK = 1 << 11 | 6,
	FAST_STRINGS = 1,
};
static const uint64_t PAT_AT_RESET = 0x0007040600070406;
// What the guest writes there names its memory: KVM must not write to it for the next kernel.
static const uint32_t ZEROED[] = { 0x11, 0x12, 0x4b564d00, 0x4b564d01, 0x4b564d02, 0x4b564d03,
	0x4b564d04, 0x4b564d06, 0x6e0, MSR_SYSENTER_CS, 0x175, 0x176, 0xc0000081, 0xc0000082,
	0xc0000083, 0xc0000084, 0xc0000102, 0xc0000103 };

struct vcpu_reset {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debug;
};

static int failed(struct error *e, const char *what)
{
	return error_set(e, errno, "%s: %s", what, strerror(errno));
}

int vcpu_state_read(int vcpu, struct vcpu_reset **ret_state, struct error *e)
{
	struct vcpu_reset *s = calloc(1, sizeof(*s));

	if (!s)
		return error_set(e, ENOMEM, "no memory for a processor's registers");
	if (ioctl(vcpu, KVM_GET_REGS, &s->regs) < 0 || ioctl(vcpu, KVM_GET_SREGS, &s->sregs) < 0 ||
		ioctl(vcpu, KVM_GET_FPU, &s->fpu) < 0 ||
		ioctl(vcpu, KVM_GET_LAPIC, &s->lapic) < 0 ||
		ioctl(vcpu, KVM_GET_MP_STATE, &s->mp) < 0 ||
		ioctl(vcpu, KVM_GET_VCPU_EVENTS, &s->events) < 0 ||
		ioctl(vcpu, KVM_GET_DEBUGREGS, &s->debug) < 0) {
		int err = failed(e, "a processor's registers cannot be read");

		free(s);
		return err;
	}
	*ret_state = s;
	return 0;
}

// One by one: a host that lacks one takes the others.
static void set_msr(int vcpu, uint32_t index, uint64_t value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} one = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };

	ioctl(vcpu, KVM_SET_MSRS, &one);
}

static void set_msrs(int vcpu)
{
	for (size_t i = 0; i < sizeof(ZEROED) / sizeof(ZEROED[0]); i++)
		set_msr(vcpu, ZEROED[i], 0);
	set_msr(vcpu, MSR_PAT, PAT_AT_RESET);
	set_msr(vcpu, MSR_MISC_ENABLE, FAST_STRINGS);
	set_msr(vcpu, MSR_MTRR_DEFAULT, MTRR_ENABLED_WRITE_BACK);
}

int vcpu_state_write(int vcpu, const struct vcpu_reset *s, struct error *e)
{
	set_msrs(vcpu);
	// the local APIC after the special registers, which hold its base address
	if (ioctl(vcpu, KVM_SET_SREGS, &s->sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &s->regs) < 0 ||
		ioctl(vcpu, KVM_SET_FPU, &s->fpu) < 0 ||
		ioctl(vcpu, KVM_SET_LAPIC, &s->lapic) < 0 ||
		ioctl(vcpu, KVM_SET_VCPU_EVENTS, &s->events) < 0 ||
		ioctl(vcpu, KVM_SET_DEBUGREGS, &s->debug) < 0 ||
		ioctl(vcpu, KVM_SET_MP_STATE, &s->mp) < 0)
		return failed(e, "a processor's registers cannot be set");
	return 0;
}

static struct kvm_segment flat(uint16_t selector, uint8_t type, bool long_mode)
{
	bool code = type & 8;

	return (struct kvm_segment){ .limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
		.l = code && long_mode,
		.db = !(code && long_mode) };
}

int vcpu_state_enter(
	int vcpu, const struct vcpu_reset *s, const struct boot_entry *entry, struct error *e)
{
	const struct kvm_regs regs = {
		.rip = entry->rip, .rsi = entry->rsi, .rbx = entry->rbx, .rflags = 2
	};
	struct kvm_sregs sregs = s->sregs;

	sregs.cs = flat(BOOT_CS, 11, entry->long_mode);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat(BOOT_DS, 3, entry->long_mode);
	sregs.tr = (struct kvm_segment){
		.limit = 0x67, .selector = BOOT_TR, .type = 11, .present = 1
	};
	sregs.gdt = (struct kvm_dtable){ .base = entry->gdt, .limit = entry->gdt_limit };
	sregs.idt = (struct kvm_dtable){ 0 };
	sregs.cr0 = CR0_PE | CR0_ET;
	if (entry->long_mode) {
		sregs.cr0 |= CR0_PG;
		sregs.cr3 = entry->cr3;
		sregs.cr4 = CR4_PAE;
		sregs.efer = EFER_LME | EFER_LMA;
	}
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
		return failed(e, "the first processor's registers cannot be set");
	return 0;
}
