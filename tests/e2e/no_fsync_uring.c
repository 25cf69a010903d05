// SPDX-License-Identifier: BSD-3-Clause
// Preloaded: what is said through an io_uring to be on the disk is not. For guest_power_loss.py.
#include <dlfcn.h>
#include <liburing.h>

// An fsync becomes a write of nothing, which the ring's restrictions allow and which succeeds; a
// durable write one that is not.
static void take_away(struct io_uring_sqe *sqe)
{
	if (sqe->opcode == IORING_OP_FSYNC) {
		sqe->opcode = IORING_OP_WRITEV;
		sqe->addr = 0;
		sqe->len = 0;
		sqe->off = 0;
		sqe->rw_flags = 0;
	} else if (sqe->opcode == IORING_OP_WRITEV) {
		sqe->rw_flags &= ~RWF_DSYNC;
	}
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr)
{
	static int (*next)(struct io_uring *, unsigned);

	if (!next)
		next = (int (*)(struct io_uring *, unsigned))dlsym(
			RTLD_NEXT, "io_uring_submit_and_wait");
	for (unsigned at = ring->sq.sqe_head; at != ring->sq.sqe_tail; at++)
		take_away(&ring->sq.sqes[at & ring->sq.ring_mask]);
	return next(ring, wait_nr);
}
