// SPDX-License-Identifier: BSD-3-Clause
// RUN_DIR/switch.lock: whoever is, or is about to be, insula-switch there. The flock is taken by
// insulad and inherited with the fd, so it is held from the spawn to the death, also when insulad
// is killed in between; the switch puts its own record lock on the same fd, by which the kernel
// tells its pid. Neither outlives the process, so a number is never somebody else's.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

// Takes it, so that there is no switch and none will be but by who inherits *ret_fd. One that is
// there, whether it listens, hangs or has just been spawned, is ended. 0, or -errno with a sentence
// in err (-EBUSY: it does not end).
int switch_lock_take(const char *run_dir, int *ret_fd, char *err, size_t err_size);
// Is there one, listening or not? It is left alone. *ret_pid: 0 = there is none, or none in this
// PID namespace. Nobody may be about to take the lock: it is tried.
bool switch_lock_is_held(const char *run_dir, pid_t *ret_pid);
