// SPDX-License-Identifier: BSD-3-Clause
// Calls to a guest, see call_fd.h. write() to an eventfd waits when the counter is full and
// O_NONBLOCK is not set, and that flag is the open file's: a front end may clear it at any time,
// between our check and our write too. An eventfd cannot be opened anew, nor takes RWF_NOWAIT
// (Linux 6.12). What never waits is the kernel's own way to signal one: as the completion of an
// asynchronous read, here of nothing from /dev/null, which is over when io_submit returns. It
// costs 0.9 instead of 0.3 microseconds.

#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/aio_abi.h>
#include "vswitch/call_fd.h"

enum { N_EVENTS = 16 };

// The kernel's ring of completions, whose address is the context (fs/aio.c, as libaio reads it).
struct completions {
	uint32_t id, n;
	_Atomic uint32_t head, tail;
	uint32_t magic;
};
#define COMPLETIONS_MAGIC 0xa10a10a1

static _Thread_local struct {
	enum { UNTRIED, READY, UNFIT } state;
	aio_context_t context;
	int null_fd;
} thread;

static void prepare(void)
{
	thread.state = UNFIT;
	if (syscall(SYS_io_setup, N_EVENTS, &thread.context) != 0)
		return; // a kernel without it, or too many of them
	thread.null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (thread.null_fd >= 0 &&
		((struct completions *)thread.context)->magic == COMPLETIONS_MAGIC)
		thread.state = READY;
}

void call_fd_signal(int fd)
{
	uint64_t one = 1;

	if (thread.state == UNTRIED)
		prepare();
	if (thread.state == READY) {
		struct completions *done = (struct completions *)thread.context;
		struct iocb read_nothing = { .aio_lio_opcode = IOCB_CMD_PREAD,
			.aio_fildes = (uint32_t)thread.null_fd,
			.aio_flags = IOCB_FLAG_RESFD,
			.aio_resfd = (uint32_t)fd };
		struct iocb *list = &read_nothing;

		if (syscall(SYS_io_submit, thread.context, 1, &list) == 1) {
			// Taken note of: the ring stays empty.
			atomic_store_explicit(&done->head,
				atomic_load_explicit(&done->tail, memory_order_acquire),
				memory_order_release);
			return;
		}
	}
	(void)!write(fd, &one, sizeof(one));
}
