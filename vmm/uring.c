// SPDX-License-Identifier: BSD-3-Clause
// See uring.h. Debian 12's liburing forgets to export its own functions for two of the registers.
#include "vmm/uring.h"

#include <errno.h>

enum { OPS = 8 };

static int restrict_to(struct io_uring *ring, const uint8_t *ops, unsigned int n_ops)
{
	struct io_uring_restriction rules[OPS + 2] = { 0 };

	if (n_ops > OPS)
		return -EINVAL;
	for (unsigned int i = 0; i < n_ops; i++) {
		rules[i].opcode = IORING_RESTRICTION_SQE_OP;
		rules[i].sqe_op = ops[i];
	}
	rules[n_ops + 1].opcode = IORING_RESTRICTION_REGISTER_OP;
	rules[n_ops + 1].register_op = IORING_REGISTER_FILES_UPDATE;
	rules[n_ops].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	rules[n_ops].sqe_flags = IOSQE_FIXED_FILE;
	return io_uring_register(ring->ring_fd, IORING_REGISTER_RESTRICTIONS, rules, n_ops + 2);
}

int uring_init(struct io_uring *ring, unsigned int entries, const int *fds, unsigned int n_fds,
	const uint8_t *ops, unsigned int n_ops)
{
	int err = io_uring_queue_init(entries, ring, IORING_SETUP_R_DISABLED);

	if (err < 0)
		return err;
	err = io_uring_register_files(ring, fds, n_fds);
	if (err == 0)
		err = restrict_to(ring, ops, n_ops);
	if (err == 0)
		err = io_uring_register(ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (err < 0)
		io_uring_queue_exit(ring);
	return err;
}

int uring_set_file(struct io_uring *ring, unsigned int index, int fd)
{
	int err = io_uring_register_files_update(ring, index, &fd, 1);

	return err < 0 ? err : 0;
}
