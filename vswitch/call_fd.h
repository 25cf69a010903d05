// SPDX-License-Identifier: BSD-3-Clause
// Calls: adds 1 to an eventfd whose other holders are hostile.
#pragma once

#include <stdbool.h>

// Whatever the counter and the flags of `fd` (an eventfd) are, it waits for 10 ms at most, and
// where the kernel has asynchronous reads to give, not at all. A counter that is full stays so: its
// reader has something to read. False: it had to wait, or cannot be told without. Any thread; each
// keeps a file, a kernel context or a timer for as long as it lives, and has SIGRTMIN taken.
bool call_fd_signal(int fd);
