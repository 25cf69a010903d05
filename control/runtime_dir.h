// SPDX-License-Identifier: BSD-3-Clause
// Where Insula lives while it runs: a tmpfs of its own at RUN_DIR, found again after a crash and
// unmounted on stop, and the locks by which a second insulad on the same directories is refused.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct runtime_dir {
	char path[108]; // RUN_DIR
	int run_lock, state_lock; // fds, -1 = not held
	bool mounted; // by us, not found
};

// Takes the locks (RUN_DIR.lock and STATE_DIR/lock), makes both directories (0755, 0700) and mounts
// the tmpfs unless it is there already. Without state_dir (NULL): RUN_DIR alone. 0, or -errno with
// a sentence in err (-EBUSY: what runs on RUN_DIR has another state directory, or STATE_DIR/lock is
// held; -EALREADY: another insulad has RUN_DIR.lock, and for more than the half second that a
// killed one may take to die).
int runtime_dir_open(struct runtime_dir *r, const char *run_dir, const char *state_dir, char *err,
	size_t err_size);
// Whether the folder that `file` lies in is RUN_DIR's `folder` ("" = RUN_DIR), by whatever path.
bool runtime_dir_holds(const struct runtime_dir *r, const char *folder, const char *file);
// Gives up the locks only: what runs goes on.
void runtime_dir_leave(struct runtime_dir *r);
// Unmounts and removes RUN_DIR and its lock. The state directory stays.
void runtime_dir_remove(struct runtime_dir *r);
