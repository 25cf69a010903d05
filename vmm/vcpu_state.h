// SPDX-License-Identifier: BSD-3-Clause
// All registers of a virtual processor: as KVM made them, put back, and as a kernel begins. Called
// by vcpu.c.
#pragma once
#include "vmm/boot.h"
#include "vmm/error.h"

struct vcpu_reset;

// *ret_state: free() it.
int vcpu_state_read(int vcpu, struct vcpu_reset **ret_state, struct error *e);
int vcpu_state_write(int vcpu, const struct vcpu_reset *state, struct error *e);
int vcpu_state_enter(
	int vcpu, const struct vcpu_reset *state, const struct boot_entry *entry, struct error *e);
