// SPDX-License-Identifier: BSD-3-Clause
// Makes a running thread do a system call in the place of its next one, as somebody would who has
// taken it over. For vmm_confine.py. The call is changed where ptrace(2) sees it begin, which is
// before seccomp looks at it; the thread is then told that its own was interrupted.
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>
#include <sys/wait.h>

enum { ARGUMENTS = 6 };

static void die(const char *what)
{
	fprintf(stderr, "vmm-inject: %s: %s\n", what, strerror(errno));
	exit(1);
}

// Until the thread begins (or ends) a call. Ends the program with what became of a thread that
// ended.
static void next_stop(pid_t tid, bool begins)
{
	struct __ptrace_syscall_info info = { 0 };
	int status, wanted = begins ? PTRACE_SYSCALL_INFO_ENTRY : PTRACE_SYSCALL_INFO_EXIT;

	do {
		if (ptrace(PTRACE_SYSCALL, tid, 0, 0) < 0)
			die("PTRACE_SYSCALL");
		if (waitpid(tid, &status, __WALL) < 0)
			die("waitpid");
		if (WIFSIGNALED(status)) {
			printf("killed by signal %d\n", WTERMSIG(status));
			exit(0);
		}
		if (WIFEXITED(status)) {
			printf("exited with %d\n", WEXITSTATUS(status));
			exit(0);
		}
		if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) < 0)
			die("PTRACE_GET_SYSCALL_INFO");
	} while (info.op != wanted);
}

static void stop(pid_t tid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD) < 0)
		die("PTRACE_SEIZE");
	if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0 || waitpid(tid, &status, __WALL) < 0)
		die("PTRACE_INTERRUPT");
}

int main(int argc, char **argv)
{
	unsigned long long words[1 + ARGUMENTS] = { 0 };
	struct user_regs_struct regs;
	pid_t tid;
	long long result;

	if (argc < 3 || argc > 3 + ARGUMENTS) {
		fputs("usage: vmm-inject TID NUMBER [ARGUMENT...]\n", stderr);
		return 2;
	}
	tid = atoi(argv[1]);
	for (int i = 2; i < argc; i++)
		words[i - 2] = strtoull(argv[i], NULL, 0);
	stop(tid);
	next_stop(tid, true);
	if (ptrace(PTRACE_GETREGS, tid, 0, &regs) < 0)
		die("PTRACE_GETREGS");
	regs.orig_rax = words[0];
	regs.rdi = words[1];
	regs.rsi = words[2];
	regs.rdx = words[3];
	regs.r10 = words[4];
	regs.r8 = words[5];
	regs.r9 = words[6];
	if (ptrace(PTRACE_SETREGS, tid, 0, &regs) < 0)
		die("PTRACE_SETREGS");
	next_stop(tid, false);
	if (ptrace(PTRACE_GETREGS, tid, 0, &regs) < 0)
		die("PTRACE_GETREGS");
	result = (long long)regs.rax;
	regs.rax = (unsigned long long)-EINTR;
	if (ptrace(PTRACE_SETREGS, tid, 0, &regs) < 0)
		die("PTRACE_SETREGS");
	next_stop(tid, true); // who is killed is so behind the call's end
	if (ptrace(PTRACE_DETACH, tid, 0, 0) < 0)
		die("PTRACE_DETACH");
	printf("answered %lld\n", result);
	return 0;
}
