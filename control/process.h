// SPDX-License-Identifier: BSD-3-Clause
// Processes held by pidfd: insula-switch and the machines' insula-vmm. What they have in common.
// Main thread only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

// Where a program of ours lies: what the environment's variable `env` says, else beside this
// program, else in `folder` of its build tree. 0, or -errno with a sentence in err.
int process_find_program(const char *env, const char *name, const char *folder, char *path,
	size_t size, char *err, size_t err_size);
// A pidfd (close-on-exec), or -errno.
int process_open(pid_t pid);
// Is it dead, or is so within the time?
bool process_ends(int pidfd, int within_ms);
// After its death: reaps a child and says how it ended ("was killed by signal 11 (Segmentation
// fault)"). Its exit status, 128 and the signal that killed it, or -1: not known, it is another's.
int process_reap(int pidfd, bool child, char *ret_how, size_t size);
void process_signal(int pidfd, int signal);
// Has it the flock of a file, taken or inherited? It may be looked for whoever else has it open.
bool process_has_flock(pid_t pid, const struct stat *file);
// Who has it, in this PID namespace and other than this process; 0 = nobody.
pid_t process_find_flock(const struct stat *file);
