// SPDX-License-Identifier: BSD-3-Clause
// An io_uring that can do nothing but what its owner registers before it is enabled: seccomp does
// not see what goes through one.
#pragma once
#include <liburing.h>
#include <stdint.h>

// Entries of the submission ring; fds become the only files, by their index; ops the only
// operations. 0 or what the kernel answers.
int uring_init(struct io_uring *ring, unsigned int entries, const int *fds, unsigned int n_fds,
	const uint8_t *ops, unsigned int n_ops);
