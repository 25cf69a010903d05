// SPDX-License-Identifier: BSD-3-Clause
// See confine_calls.h. Memory is never executable, files and sockets are those that are open, other
// processes do not exist. A device that needs another call names it here, for its threads' kind.
#include "vmm/confine_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	DEVICE = 1 << CONFINE_DEVICE,
	CPU = 1 << CONFINE_CPU,
	IO = 1 << CONFINE_IO,
	SOCKET = 1 << CONFINE_SOCKET,
	ALL = DEVICE | CPU | IO | SOCKET,
};

// Whatever their arguments are. By what they are for: memory, threads and time, fds, a back end's
// socket and the API's, the guest's memory at boot, disks.
static const struct {
	int call, kinds;
} CALLS[] = {
	{ SCMP_SYS(munmap), ALL },
	{ SCMP_SYS(madvise), ALL },
	{ SCMP_SYS(brk), ALL },
	{ SCMP_SYS(mremap), ALL },
	{ SCMP_SYS(futex), ALL },
	{ SCMP_SYS(sched_yield), ALL },
	{ SCMP_SYS(getpid), ALL },
	{ SCMP_SYS(gettid), ALL },
	{ SCMP_SYS(rt_sigprocmask), ALL },
	{ SCMP_SYS(rt_sigreturn), ALL },
	{ SCMP_SYS(restart_syscall), ALL },
	{ SCMP_SYS(clock_gettime), ALL },
	{ SCMP_SYS(clock_nanosleep), ALL },
	{ SCMP_SYS(getrandom), ALL },
	{ SCMP_SYS(exit), ALL },
	{ SCMP_SYS(exit_group), ALL },
	{ SCMP_SYS(read), ALL },
	{ SCMP_SYS(write), ALL },
	{ SCMP_SYS(writev), ALL }, // also what abort() has to say
	{ SCMP_SYS(poll), ALL },
	{ SCMP_SYS(close), DEVICE | CPU | SOCKET },
	{ SCMP_SYS(epoll_ctl), DEVICE | CPU | SOCKET },
	{ SCMP_SYS(epoll_wait), DEVICE | SOCKET },
	{ SCMP_SYS(accept4), DEVICE | SOCKET },
	{ SCMP_SYS(sendmsg), DEVICE | CPU | SOCKET },
	{ SCMP_SYS(sendto), DEVICE | CPU | SOCKET },
	{ SCMP_SYS(recvfrom), DEVICE | CPU | SOCKET },
	{ SCMP_SYS(recvmsg), DEVICE },
	{ SCMP_SYS(shutdown), DEVICE | SOCKET },
	{ SCMP_SYS(connect), SOCKET }, // where to, the root folder decides
	{ SCMP_SYS(timerfd_settime), DEVICE },
	{ SCMP_SYS(fstat), DEVICE },
	{ SCMP_SYS(pread64), DEVICE },
	{ SCMP_SYS(pwrite64), DEVICE },
	{ SCMP_SYS(fallocate), DEVICE },
	{ SCMP_SYS(io_uring_enter), IO },
	{ SCMP_SYS(timerfd_settime), IO },
	{ SCMP_SYS(ppoll), IO },
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) // to tell what they have found
	{ SCMP_SYS(openat), ALL },
	{ SCMP_SYS(open), ALL },
	{ SCMP_SYS(close), ALL },
	{ SCMP_SYS(readlink), ALL },
	{ SCMP_SYS(stat), ALL },
	{ SCMP_SYS(mmap), ALL },
	{ SCMP_SYS(mprotect), ALL },
	{ SCMP_SYS(sigaltstack), ALL },
	{ SCMP_SYS(rt_sigaction), ALL },
	{ SCMP_SYS(sched_getaffinity), ALL },
	{ SCMP_SYS(getrlimit), ALL },
	{ SCMP_SYS(prlimit64), ALL },
	{ SCMP_SYS(nanosleep), ALL },
	{ SCMP_SYS(pipe2), ALL },
	{ SCMP_SYS(uname), ALL },
#endif
};

static const struct {
	unsigned long request;
	int kinds;
} IOCTLS[] = {
	{ KVM_RUN, CPU },
	{ KVM_IRQ_LINE, DEVICE | CPU },
	{ KVM_SET_GSI_ROUTING, DEVICE | CPU },
	{ KVM_IRQFD, DEVICE | CPU },
	{ KVM_IOEVENTFD, DEVICE | CPU },
	// a guest that boots again
	{ KVM_SET_IRQCHIP, DEVICE },
	{ KVM_SET_MSRS, DEVICE },
	{ KVM_SET_SREGS, DEVICE },
	{ KVM_SET_REGS, DEVICE },
	{ KVM_SET_FPU, DEVICE },
	{ KVM_SET_LAPIC, DEVICE },
	{ KVM_SET_VCPU_EVENTS, DEVICE },
	{ KVM_SET_DEBUGREGS, DEVICE },
	{ KVM_SET_MP_STATE, DEVICE },
	// one that is paused
	{ KVM_GET_CLOCK, DEVICE },
	{ KVM_SET_CLOCK, DEVICE },
	{ KVM_KVMCLOCK_CTRL, DEVICE },
	// a tap's driver is ready; it uses more or fewer queues
	{ TUNSETVNETHDRSZ, DEVICE | CPU },
	{ TUNSETOFFLOAD, DEVICE | CPU },
	{ TUNSETQUEUE, DEVICE | CPU },
	{ BLKDISCARD, IO }, // fallocate of a block device may write zeroes instead
	// a block device that is plugged in
	{ BLKGETSIZE64, DEVICE },
	{ BLKSSZGET, DEVICE },
	{ BLKPBSZGET, DEVICE },
	// the terminal as it was
	{ TCGETS, DEVICE },
	{ TCSETS, DEVICE },
};

static int allow_memory(scmp_filter_ctx ctx)
{
	int err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
		SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));

	return err < 0 ? err
		       : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				 SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

// Processors are called out of the guest; abort().
static int allow_signals(scmp_filter_ctx ctx)
{
	static const int SIGNALS[] = { SIGUSR1, SIGABRT };
	int err = 0;

	for (unsigned int i = 0; err == 0 && i < sizeof(SIGNALS) / sizeof(SIGNALS[0]); i++)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 2,
			SCMP_A0(SCMP_CMP_EQ, (uint64_t)getpid()), SCMP_A2(SCMP_CMP_EQ, SIGNALS[i]));
	return err;
}

// What a disk or a card is plugged in with is looked at: how it was opened, whether it listens and
// whether somebody else has it. A disk's ring gets it.
static int allow_plug(scmp_filter_ctx ctx)
{
	static const int FCNTLS[] = { F_GETFL, F_OFD_SETLK };
	int err = 0;

	for (unsigned int i = 0; err == 0 && i < sizeof(FCNTLS) / sizeof(FCNTLS[0]); i++)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
			SCMP_A1(SCMP_CMP_EQ, (uint64_t)FCNTLS[i]));
	if (err == 0)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(getsockopt), 2,
			SCMP_A1(SCMP_CMP_EQ, SOL_SOCKET), SCMP_A2(SCMP_CMP_EQ, SO_ACCEPTCONN));
	return err < 0 ? err
		       : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(io_uring_register), 1,
				 SCMP_A1(SCMP_CMP_EQ, IORING_REGISTER_FILES_UPDATE));
}

static int allow_device(scmp_filter_ctx ctx)
{
	int err = allow_plug(ctx);

	// fstat of today's libc: of an fd, not of a path
	if (err == 0)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
			SCMP_A3(SCMP_CMP_EQ, AT_EMPTY_PATH));

	// the socket's file, at the end: it cannot be seen any more (README.md)
	return err < 0 ? err : seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(unlink), 0);
}

// Unix sockets only: what they may be connected to is in one folder.
static int allow_socket(scmp_filter_ctx ctx)
{
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
		SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
		SCMP_A1(SCMP_CMP_EQ, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC));
}

static int fill(scmp_filter_ctx ctx, enum confine_kind kind)
{
	const int bit = 1 << kind;
	int err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	for (unsigned int i = 0; err == 0 && i < sizeof(CALLS) / sizeof(CALLS[0]); i++)
		if (CALLS[i].kinds & bit)
			err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, CALLS[i].call, 0);
	for (unsigned int i = 0; err == 0 && i < sizeof(IOCTLS) / sizeof(IOCTLS[0]); i++)
		if (IOCTLS[i].kinds & bit)
			err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				SCMP_A1(SCMP_CMP_EQ, IOCTLS[i].request));
	if (err == 0)
		err = allow_memory(ctx);
	if (err == 0)
		err = allow_signals(ctx);
	if (err == 0 && kind == CONFINE_DEVICE)
		err = allow_device(ctx);
	if (err == 0 && kind == CONFINE_SOCKET)
		err = allow_socket(ctx);
	// what a processor's thread does all the time is found first
	if (err == 0 && kind == CONFINE_CPU)
		err = seccomp_syscall_priority(ctx, SCMP_SYS(ioctl), UINT8_MAX);
	return err;
}

// The library gives a filter to an fd only.
static int take(scmp_filter_ctx ctx, struct sock_fprog *ret_filter)
{
	int fd = memfd_create("filter", MFD_CLOEXEC), err;
	struct sock_filter *code = NULL;
	struct stat st;

	if (fd < 0)
		return -errno;
	err = seccomp_export_bpf(ctx, fd);
	if (err == 0 && fstat(fd, &st) < 0)
		err = -errno;
	if (err == 0 && !(code = malloc((size_t)st.st_size)))
		err = -ENOMEM;
	if (err == 0 && pread(fd, code, (size_t)st.st_size, 0) != st.st_size)
		err = -EIO;
	close(fd);
	if (err < 0) {
		free(code);
		return err;
	}
	ret_filter->len = (unsigned short)((size_t)st.st_size / sizeof(*code));
	ret_filter->filter = code;
	return 0;
}

int confine_calls_make(enum confine_kind kind, struct sock_fprog *ret_filter)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int err = ctx ? fill(ctx, kind) : -ENOMEM;

	if (err == 0)
		err = take(ctx, ret_filter);
	seccomp_release(ctx);
	return err;
}
