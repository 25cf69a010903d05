// SPDX-License-Identifier: BSD-3-Clause
// A moment in another network namespace: sockets and taps made between enter and leave belong to
// it.
#pragma once

#include <stdbool.h>

// Moves this thread into the namespace named under /run/netns ("" = stay). 0 with *ret_back for
// netns_leave; -ENOENT if there is none of that name, or another -errno.
int netns_enter(const char *name, int *ret_back);
// Do both names lead to the same one?
bool netns_is_same(const char *a, const char *b);
// Back again. A thread that cannot return would work on in a stranger's network: that ends the
// process.
void netns_leave(int back);
