// SPDX-License-Identifier: BSD-3-Clause
// The process insula-vmm of one machine: started, or found again when it outlived an insulad.
// RUN_DIR/vm/ID/log is its standard error, flocked by insulad and inherited: held from the start
// to the death, also when insulad is killed in between, and by nobody else. Main thread only.
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

// What a child becomes.
struct vm_child {
	const char *program;
	const char *const *argv;
	int in, out; // -1: /dev/null; the log
	const int *fds; // which it has as 3, 4, ...
	unsigned n_fds;
	int cgroup; // where it begins; 0: where insulad is
	uint32_t user; // and group; 0: what insulad is
	bool apart; // in network and IPC namespaces of its own, too, and without new privileges
};

// Starts it, in a PID namespace of its own where that can be had; DIR/log is its standard error.
// 0; -EBUSY: one is there; -errno with a sentence in err.
int vm_proc_spawn(struct vm_proc *p, const char *dir, const struct vm_child *child, char *err,
	size_t err_size);
// The machine: starts it, in a PID namespace of its own where that can be had, with these for
// standard input and output. disk: the words for its own disk, or NULL; cgroup as in vm_child. As
// vm_proc_spawn.
int vm_proc_start(struct vm_proc *p, const char *dir, const struct vm_spec *spec, const char *disk,
	int in, int out, int cgroup, char *err, size_t err_size);
// The one that is there. 0; -ESRCH: there is none; -errno with a sentence in err.
int vm_proc_adopt(struct vm_proc *p, const char *dir, char *err, size_t err_size);
// After its death, as process_reap.
int vm_proc_reap(struct vm_proc *p, char *ret_how, size_t size);
// Lets go of it: it runs on.
void vm_proc_leave(struct vm_proc *p);
