// SPDX-License-Identifier: BSD-3-Clause
// An io_uring that can do nothing but what its owner registers before it is enabled, to files
// that only a call of its own exchanges: seccomp sees that, and not what goes through the ring.
#pragma once
#include <liburing.h>
#include <stdint.h>

// Entries of the submission ring; fds become the only files, by their index; ops the only
// operations. 0 or what the kernel answers.
int uring_init(struct io_uring *ring, unsigned int entries, const int *fds, unsigned int n_fds,
	const uint8_t *ops, unsigned int n_ops);
// Another file at this index; -1: none.
int uring_set_file(struct io_uring *ring, unsigned int index, int fd);
