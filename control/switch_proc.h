// SPDX-License-Identifier: BSD-3-Clause
// The process insula-switch, held by pidfd: spawned, or re-adopted when it outlived an insulad. It
// is not tied to our life (no PR_SET_PDEATHSIG): forwarding goes on while insulad restarts.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "control/switch_settings.h"

struct switch_proc {
	pid_t pid; // 0 = none
	int pidfd; // -1 = none; readable when it is dead
	bool child; // ours to reap
	uint64_t started_ns; // CLOCK_BOOTTIME; when it was spawned or adopted
	struct switch_settings settings;
	int log_fd; // its standard output and error
};

// Where it lies: INSULA_SWITCH (environment), else beside this program or in its build tree. 0, or
// -errno with a sentence in err.
int switch_proc_find(char *path, size_t size, char *err, size_t err_size);
// Starts INSULA_SWITCH (environment), else the insula-switch beside this binary or in the build
// tree. 0, or -errno with a sentence in err.
// lock_fd: switch_lock.h's, which it inherits.
int switch_proc_spawn(struct switch_proc *p, const char *run_dir,
	const struct switch_settings *settings, int lock_fd, char *err, size_t err_size);
int switch_proc_adopt(struct switch_proc *p, pid_t pid);
// Is it dead, or is so within the time?
bool switch_proc_ends(const struct switch_proc *p, int within_ms);
bool switch_proc_alive(const struct switch_proc *p);
// After its death: reaps it and says how it ended ("killed by signal 11 (Segmentation fault)").
void switch_proc_reap(struct switch_proc *p, char *ret_how, size_t size);
// At once, without waiting: SIGKILL.
void switch_proc_kill(const struct switch_proc *p);
// Ends it: SIGTERM, then SIGKILL when it has not gone within 3 s.
void switch_proc_stop(struct switch_proc *p);
