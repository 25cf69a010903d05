// SPDX-License-Identifier: BSD-3-Clause
// The process insula-vmm of one machine: started, or found again when it outlived an insulad.
// RUN_DIR/vm/ID/log is its standard error, flocked by insulad and inherited: held from the start to
// the death, also when insulad is killed in between, and by nobody else. Main thread only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "control/vm_spec.h"

struct vm_proc {
	pid_t pid; // 0 = none
	int pidfd; // -1 = none; readable when it is dead
	bool child; // ours to reap
	uint64_t started_ns; // CLOCK_BOOTTIME
};

// Starts it, in a PID namespace of its own where that can be had, with these for standard input and
// output. 0; -EBUSY: one is there; -errno with a sentence in err.
int vm_proc_start(struct vm_proc *p, const char *dir, const struct vm_spec *spec, int in, int out,
	char *err, size_t err_size);
// The one that is there. 0; -ESRCH: there is none; -errno with a sentence in err.
int vm_proc_adopt(struct vm_proc *p, const char *dir, char *err, size_t err_size);
// After its death, as process_reap.
int vm_proc_reap(struct vm_proc *p, char *ret_how, size_t size);
// Lets go of it: it runs on.
void vm_proc_leave(struct vm_proc *p);
