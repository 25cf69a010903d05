// SPDX-License-Identifier: BSD-3-Clause
// RUN_DIR/state_dir: the state directory, as a line, whose switch and virtual machines are those
// that run on RUN_DIR. They outlive an insulad, and the next one ends what its state does not name.
// It goes with RUN_DIR's tmpfs.
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum { RUN_OWNER_PATIENCE_MS = 2000 }; // for what was killed to be dead

// 0; -ENOENT: none is noted (also by former versions); -errno.
int run_owner_get(const char *run_dir, char ret_state_dir[PATH_MAX]);
// Notes it, if it is not noted already. That it cannot is logged.
void run_owner_note(const char *run_dir, const char *state_dir);
// Whether both are one directory, by whatever path; it need not be there.
bool run_owner_is_same(const char *a, const char *b);
// Whether the switch or a virtual machine of another state directory runs on RUN_DIR, with a
// sentence in err. It tries their locks: RUN_DIR.lock is the caller's, which may be shared.
bool run_owner_is_other(const char *run_dir, const char *state_dir, char *err, size_t err_size);
