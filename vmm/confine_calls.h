// SPDX-License-Identifier: BSD-3-Clause
// Which system calls each kind of thread makes, for confine.c.
#pragma once
#include <linux/filter.h>
#include "vmm/confine.h"

// The filter of a kind, as the kernel takes it; its instructions are the caller's to free. What it
// does not name kills the process. -errno.
int confine_calls_make(enum confine_kind kind, struct sock_fprog *ret_filter);
