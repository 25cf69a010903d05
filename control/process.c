// SPDX-License-Identifier: BSD-3-Clause
// See process.h. Called by switch_proc.c, switch_lock.c and the vm files, main thread.
#include "control/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "control/log.h"
#include "control/loop.h"

int process_find_program(const char *env, const char *name, const char *folder, char *path,
	size_t size, char *err, size_t err_size)
{
	const char *given = getenv(env);
	char self[256];

	if (given && given[0]) {
		snprintf(path, size, "%s", given);
		return 0;
	}
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return log_reason(-errno, err, err_size, "cannot read /proc/self/exe: %m");
	self[n] = 0;
	*strrchr(self, '/') = 0;
	snprintf(path, size, "%s/%s", self, name);
	if (access(path, X_OK) == 0)
		return 0;
	snprintf(path, size, "%s/../%s/%s", self, folder, name);
	if (access(path, X_OK) == 0)
		return 0;
	return log_reason(-ENOENT, err, err_size,
		"%s is not in %s; install it there or name it in %s", name, self, env);
}

int process_open(pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0)
		return -errno;
	fcntl(pidfd, F_SETFD, FD_CLOEXEC);
	return pidfd;
}

bool process_ends(int pidfd, int within_ms)
{
	struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };
	uint64_t end = loop_now_ns() + (uint64_t)within_ms * 1000000u;

	for (;;) {
		int r = poll(&poll_fd, 1, within_ms);
		if (r >= 0 || errno != EINTR || loop_now_ns() >= end)
			return r > 0;
	}
}

int process_reap(int pidfd, bool child, char *ret_how, size_t size)
{
	siginfo_t info = { 0 };

	snprintf(ret_how, size, "ended");
	if (!child || waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0)
		return -1;
	if (info.si_code == CLD_EXITED) {
		snprintf(ret_how, size, "exited with status %d", info.si_status);
		return info.si_status;
	}
	snprintf(ret_how, size, "was killed by signal %d (%s)", info.si_status,
		strsignal(info.si_status));
	return 128 + info.si_status;
}

void process_signal(int pidfd, int signal)
{
	if (pidfd >= 0)
		syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

// proc_pid_fdinfo(5): the locks on what the fd is open on, by this fd or one it is a duplicate of.
static bool fd_has_flock(pid_t pid, const char *fd)
{
	char path[64], line[160];
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.20s", pid, fd);
	FILE *f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = strncmp(line, "lock:", 5) == 0 && strstr(line, " FLOCK ") != NULL;
	if (f)
		fclose(f);
	return found;
}

bool process_has_flock(pid_t pid, const struct stat *file)
{
	char path[64];
	struct dirent *e;
	struct stat st;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	DIR *fds = opendir(path);
	while (fds && !found && (e = readdir(fds)) != NULL)
		found = fstatat(dirfd(fds), e->d_name, &st, 0) == 0 && st.st_dev == file->st_dev &&
			st.st_ino == file->st_ino && fd_has_flock(pid, e->d_name);
	if (fds)
		closedir(fds);
	return found;
}

pid_t process_find_flock(const struct stat *file)
{
	struct dirent *e;
	pid_t pid, found = 0;
	DIR *all = opendir("/proc");

	while (all && found <= 0 && (e = readdir(all)) != NULL) {
		pid = (pid_t)strtol(e->d_name, NULL, 10); // 0: no process
		if (pid > 0 && pid != getpid() && process_has_flock(pid, file))
			found = pid;
	}
	if (all)
		closedir(all);
	return found;
}
