// SPDX-License-Identifier: BSD-3-Clause
// A start with a stored file that this insulad refuses. What runs is held as it is until a file is
// applied. Main thread only.
#pragma once

#include "control/daemon_internal.h"

// Adopts or starts the switch; its ports become ours as the switch has them, the policy is the
// stored one of `generation`. 0, or -errno with a sentence in err.
int hold_what_runs(struct daemon *d, uint64_t generation, char *err, size_t err_size);
