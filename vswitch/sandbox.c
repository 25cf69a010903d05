// SPDX-License-Identifier: BSD-3-Clause
// Privileges: after start the switch is an ordinary user without capabilities under a seccomp
// filter. What it needs from the host (taps, packet sockets) comes as fds from insulad.
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vswitch/sandbox.h"

int sandbox_drop_user(const char *user, char *err, size_t err_size)
{
	const struct passwd *pw;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (!user || geteuid() != 0)
		return 0;
	pw = getpwnam(user);
	if (!pw) {
		snprintf(err, err_size, "no user %s; make one with: useradd -r -s /bin/false %s",
			user, user);
		return -ENOENT;
	}
	if (setgroups(0, NULL) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
		setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0) {
		int r = -errno;

		snprintf(err, err_size, "becoming %s: %s", user, strerror(-r));
		return r;
	}
	return 0;
}

// By what they are for: memory, threads, packets and sockets, vhost-user back end, time and end.
static const int allowed[] = {
	SCMP_SYS(mmap),
	SCMP_SYS(munmap),
	SCMP_SYS(mprotect),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(mremap),
	SCMP_SYS(memfd_create),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate),
	SCMP_SYS(mlock),
	SCMP_SYS(get_mempolicy),
	SCMP_SYS(mbind),
	SCMP_SYS(set_mempolicy),
	SCMP_SYS(futex),
	SCMP_SYS(clone3),
	SCMP_SYS(clone),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_setaffinity),
	SCMP_SYS(prctl),
	SCMP_SYS(gettid),
	SCMP_SYS(getpid),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(getcpu),
	SCMP_SYS(membarrier),
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendto),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(eventfd2),
	SCMP_SYS(accept4),
	SCMP_SYS(accept),
	SCMP_SYS(close),
	SCMP_SYS(dup),
	SCMP_SYS(fcntl),
	SCMP_SYS(ioctl),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(fstat),
	SCMP_SYS(fstatfs), // vhost_memory.c: what kind of file a front end's memory is
	SCMP_SYS(newfstatat),
	SCMP_SYS(lseek),
	SCMP_SYS(pread64), // a PCI device's registers through VFIO
	SCMP_SYS(pwrite64),
	SCMP_SYS(getdents64), // DPDK looks for it in sysfs
	SCMP_SYS(timerfd_settime), // drivers' alarms
	SCMP_SYS(epoll_create), // DPDK's interrupt thread, when they have another source
	SCMP_SYS(connect),
	SCMP_SYS(bind),
	SCMP_SYS(listen),
	SCMP_SYS(shutdown),
	SCMP_SYS(unlink),
	SCMP_SYS(umask), // vhost_port.c: sockets for front ends of other users
	SCMP_SYS(io_setup), // call_fd.c: to signal a guest's eventfd without ever waiting
	SCMP_SYS(io_submit),
	SCMP_SYS(timer_create), // call_fd.c: where there is no asynchronous read
	SCMP_SYS(timer_settime),
	SCMP_SYS(openat),
	SCMP_SYS(pipe2),
	SCMP_SYS(pipe),
	SCMP_SYS(select),
	SCMP_SYS(pselect6),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(lstat),
	SCMP_SYS(readlink), // vhost_filter.c: what kind of fd a front end sent
	SCMP_SYS(readlinkat),
	SCMP_SYS(stat),
	SCMP_SYS(access),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getrandom),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(sysinfo),
	SCMP_SYS(uname),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(tgkill),
	SCMP_SYS(restart_syscall),
#ifdef __SANITIZE_ADDRESS__ // LeakSanitizer stops all threads and looks, at the very end
	SCMP_SYS(ptrace),
	SCMP_SYS(wait4),
	SCMP_SYS(getppid),
	SCMP_SYS(getdents),
	SCMP_SYS(open),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(getrlimit),
	SCMP_SYS(prlimit64),
	SCMP_SYS(kill),
#endif
};

int sandbox_seccomp(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = ctx ? 0 : -ENOMEM;

	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	// vhost-user speaks over unix sockets; nothing here opens any other.
	if (r == 0)
		r = seccomp_rule_add(
			ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
	// A DPDK driver that wants another kind fails to make its port; the switch lives on.
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 1,
			SCMP_A0(SCMP_CMP_NE, AF_UNIX));
	for (size_t i = 0; r == 0 && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}
