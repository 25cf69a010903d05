// SPDX-License-Identifier: BSD-3-Clause
// See vm_proc.h. Called by vm.c.
#include "control/vm_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "control/log.h"
#include "control/loop.h"
#include "control/process.h"

enum {
	MAX_FDS = 8,
	PAUSE_MS = 2,
	PATIENCE_MS = 2000, // for one that is about to become insula-vmm, or to die
};

extern char **environ;

static int open_log(const char *dir)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/log", dir);
	fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	return fd;
}

// A hint: whether it is that process is seen by its lock.
static pid_t noted_pid(const char *dir)
{
	char path[160];
	int pid = 0;

	snprintf(path, sizeof(path), "%s/pid", dir);
	FILE *f = fopen(path, "re");
	if (f && fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f)
		fclose(f);
	return pid;
}

static void note_pid(const char *dir, pid_t pid)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/pid", dir);
	FILE *f = fopen(path, "we");
	if (!f)
		return;
	fprintf(f, "%d\n", pid);
	fclose(f);
}

// The fds as 3, 4, ... of the child, which may be among them already.
static bool take_fds(const struct vm_child *c)
{
	int held[MAX_FDS];

	for (unsigned i = 0; i < c->n_fds; i++) {
		held[i] = fcntl(c->fds[i], F_DUPFD_CLOEXEC, 3 + MAX_FDS);
		if (held[i] < 0)
			return false;
	}
	for (unsigned i = 0; i < c->n_fds; i++)
		if (dup2(held[i], 3 + (int)i) < 0)
			return false;
	return true;
}

static bool become_user(const struct vm_child *c)
{
	if (c->apart && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return false;
	return c->user == 0 ||
	       (setgroups(0, NULL) == 0 && setresgid(c->user, c->user, c->user) == 0 &&
		       setresuid(c->user, c->user, c->user) == 0);
}

// The child: what it must not have of insulad's is close-on-exec.
static void become(const struct vm_child *c, int log)
{
	int in = c->in >= 0 ? c->in : open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	umask(077);
	if (dup2(in, 0) >= 0 && dup2(c->out >= 0 ? c->out : log, 1) >= 0 && dup2(log, 2) >= 0 &&
		take_fds(c) && become_user(c))
		execve(c->program, (char *const *)(uintptr_t)c->argv, environ);
	dprintf(2, "%s: cannot start %s: %s\n", c->argv[0], c->program, strerror(errno));
	_exit(127);
}

// In a PID namespace it is all there is: nothing it could name but itself.
static int spawn(struct vm_proc *p, const struct vm_child *c, int log)
{
	const uint64_t always = CLONE_PIDFD | (c->cgroup ? CLONE_INTO_CGROUP : 0);
	int pidfd = -1;
	struct clone_args args = { .flags = always | CLONE_NEWPID |
					    (c->apart ? CLONE_NEWNET | CLONE_NEWIPC : 0),
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)c->cgroup };
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0 && (errno == EPERM || errno == ENOSPC || errno == EINVAL)) {
		args.flags = always;
		pid = syscall(SYS_clone3, &args, sizeof(args));
	}
	if (pid == 0)
		become(c, log);
	if (pid < 0)
		return -errno;
	*p = (struct vm_proc){ .pid = (pid_t)pid,
		.pidfd = pidfd, // close-on-exec
		.child = true,
		.started_ns = loop_now_ns() };
	return 0;
}

int vm_proc_spawn(struct vm_proc *p, const char *dir, const struct vm_child *child, char *err,
	size_t err_size)
{
	int r, log = open_log(dir);

	if (log < 0)
		return log_reason(log, err, err_size, "%s/log: %s", dir, strerror(-log));
	if (flock(log, LOCK_EX | LOCK_NB) < 0)
		r = log_reason(-EBUSY, err, err_size, "another %s has %s", child->argv[0], dir);
	else
		r = spawn(p, child, log);
	if (r < 0 && r != -EBUSY)
		log_reason(r, err, err_size, "cannot start %s: %s", child->program, strerror(-r));
	close(log); // from here on the lock is the child's alone
	if (r == 0)
		note_pid(dir, p->pid);
	return r;
}

int vm_proc_start(struct vm_proc *p, const char *dir, const struct vm_spec *spec, const char *disk,
	int in, int out, int cgroup, char *err, size_t err_size)
{
	char program[320], *argv[VM_SPEC_WORDS];
	const char *words[VM_SPEC_WORDS];
	int r = process_find_program(
		"INSULA_VMM", "insula-vmm", "vmm", program, sizeof(program), err, err_size);

	if (r < 0)
		return r;
	vm_spec_arguments(spec, argv);
	for (unsigned i = 0; i < VM_SPEC_WORDS; i++) {
		words[i] = argv[i] && vm_spec_is_own_disk(argv[i]) ? disk : argv[i];
		if (!argv[i])
			break;
	}
	const struct vm_child child = {
		.program = program, .argv = words, .in = in, .out = out, .cgroup = cgroup
	};
	return vm_proc_spawn(p, dir, &child, err, err_size);
}

// The first line of /proc/PID/NAME; "" if there is none.
static void read_line(pid_t pid, const char *name, char *ret_line, int size)
{
	char path[64];

	ret_line[0] = 0;
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	FILE *f = fopen(path, "re");
	if (f && !fgets(ret_line, size, f))
		ret_line[0] = 0;
	if (f)
		fclose(f);
}

// Before it has become insula-vmm, a child of an insulad has all that this one had open.
static bool is_insulad(pid_t pid)
{
	char comm[32];

	read_line(pid, "comm", comm, sizeof(comm));
	return strcmp(comm, "insulad\n") == 0;
}

// Field 22 of proc_pid_stat(5): in ticks since the machine was started. Now, if it cannot be read.
static uint64_t started_ns(pid_t pid)
{
	unsigned long long ticks = 0;
	char text[1024];

	read_line(pid, "stat", text, sizeof(text));
	const char *at = strrchr(text, ')'); // the name may have anything in it
	for (unsigned field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at || sscanf(at, "%llu", &ticks) != 1)
		return loop_now_ns();
	return ticks * (1000000000ull / (unsigned long long)sysconf(_SC_CLK_TCK));
}

// Held first, then looked at: the number cannot become another's in between.
static int hold(struct vm_proc *p, pid_t pid, const struct stat *log)
{
	int pidfd = pid > 0 ? process_open(pid) : -ESRCH;

	if (pidfd < 0)
		return pidfd;
	if (!process_has_flock(pid, log) || is_insulad(pid)) {
		close(pidfd);
		return -ESRCH;
	}
	*p = (struct vm_proc){ .pid = pid, .pidfd = pidfd, .started_ns = started_ns(pid) };
	return 0;
}

static int find(struct vm_proc *p, const char *dir, int log, char *err, size_t err_size)
{
	uint64_t end = loop_now_ns() + PATIENCE_MS * 1000000ull;
	struct stat st;

	if (fstat(log, &st) < 0)
		return log_reason(-errno, err, err_size, "%s/log: %m", dir);
	while (flock(log, LOCK_EX | LOCK_NB) < 0) {
		if (hold(p, noted_pid(dir), &st) == 0 || hold(p, process_find_flock(&st), &st) == 0)
			return 0;
		if (loop_now_ns() > end)
			return log_reason(-EBUSY, err, err_size,
				"somebody holds %s/log and is no insula-vmm; `fuser %s/log` tells "
				"who",
				dir, dir);
		poll(NULL, 0, PAUSE_MS);
	}
	return -ESRCH;
}

int vm_proc_adopt(struct vm_proc *p, const char *dir, char *err, size_t err_size)
{
	int r, log = open_log(dir);

	if (log < 0)
		return log_reason(log, err, err_size, "%s/log: %s", dir, strerror(-log));
	r = find(p, dir, log, err, err_size);
	close(log);
	return r;
}

void vm_proc_leave(struct vm_proc *p)
{
	if (p->pidfd >= 0)
		close(p->pidfd);
	p->pidfd = -1;
	p->pid = 0;
}

int vm_proc_reap(struct vm_proc *p, char *ret_how, size_t size)
{
	int status = process_reap(p->pidfd, p->child, ret_how, size);

	vm_proc_leave(p);
	return status;
}
