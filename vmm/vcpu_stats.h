// SPDX-License-Identifier: BSD-3-Clause
// What KVM itself counts of a processor (Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD): how
// often its guest had nothing to do, which is no exit to this process.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct vcpu_stats {
	int fd; // -1: the host's KVM does not tell
	off_t halts_at;
};

// Opens them; nothing is an error.
void vcpu_stats_open(struct vcpu_stats *s, int vcpu);
void vcpu_stats_close(struct vcpu_stats *s);
// False if it is not known.
bool vcpu_stats_halts(const struct vcpu_stats *s, uint64_t *ret_halts);
