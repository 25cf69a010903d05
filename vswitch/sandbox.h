// SPDX-License-Identifier: BSD-3-Clause
// Giving up privileges once the switch has everything it needs. Main thread, before workers start.
#pragma once

#include <stddef.h>

// Becomes `user` (NULL: stays who it is) without groups and capabilities, and lets no exec bring
// any back. 0 or -errno with a sentence.
int sandbox_drop_user(const char *user, char *err, size_t err_size);
// Allows only the system calls a running switch makes, in all its threads; any other kills it.
int sandbox_seccomp(void);
