// SPDX-License-Identifier: BSD-3-Clause
// Calls: adds 1 to an eventfd whose other holders are hostile.
#pragma once

// Never waits, whatever the counter and the flags of `fd` (an eventfd) are. A counter that is full
// stays so: its reader has something to read. Any thread; each keeps a file and a kernel context
// for as long as it lives.
void call_fd_signal(int fd);
