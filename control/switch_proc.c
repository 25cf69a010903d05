// SPDX-License-Identifier: BSD-3-Clause
// Spawn, adopt, watch and end insula-switch, see switch_proc.h. Called by switch_link.c, main
// thread.
#include "control/switch_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "control/log.h"
#include "control/loop.h"

extern char **environ;

int switch_proc_find(char *path, size_t size, char *err, size_t err_size)
{
	static const char *const places[] = { "insula-switch", "../vswitch/insula-switch" };
	const char *given = getenv("INSULA_SWITCH");
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
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, size, "%s/%s", self, places[i]);
		if (access(path, X_OK) == 0)
			return 0;
	}
	return log_reason(-ENOENT, err, err_size,
		"insula-switch is not in %s; install it there or name it in "
		"INSULA_SWITCH",
		self);
}

static int hold(struct switch_proc *p, pid_t pid, bool child)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0)
		return -errno;
	fcntl(pidfd, F_SETFD, FD_CLOEXEC);
	p->pid = pid;
	p->pidfd = pidfd;
	p->child = child;
	p->started_ns = loop_now_ns();
	return 0;
}

// Its own session, so that Ctrl-C at insulad's terminal does not reach it; insulad's blocked
// signals are not its own.
static int start(const char *path, char *const argv[], int log_fd, int lock_fd, pid_t *ret_pid)
{
	posix_spawnattr_t attr;
	posix_spawn_file_actions_t files;
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(
		&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, log_fd, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, log_fd, STDERR_FILENO);
	posix_spawn_file_actions_adddup2(&files, lock_fd, lock_fd); // no longer close-on-exec
	int r = -posix_spawn(ret_pid, path, &files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return r;
}

int switch_proc_spawn(struct switch_proc *p, const char *run_dir,
	const struct switch_settings *settings, int lock_fd, char *err, size_t err_size)
{
	char path[320], dir[128], number[16], words[SWITCH_SETTINGS_SIZE];
	char name[] = "insula-switch", run[] = "--run-dir", lock[] = "--lock-fd";
	char *argv[5 + SWITCH_SETTINGS_WORDS] = { name, run, dir, lock, number };
	pid_t pid;
	int r = switch_proc_find(path, sizeof(path), err, err_size);

	if (r == 0)
		r = switch_settings_check(settings, NULL, run_dir, err, err_size);
	if (r < 0)
		return r;
	switch_settings_arguments(settings, words, argv + 5);
	snprintf(dir, sizeof(dir), "%s", run_dir);
	snprintf(number, sizeof(number), "%d", lock_fd);
	r = start(path, argv, p->log_fd, lock_fd, &pid);
	if (r < 0)
		return log_reason(r, err, err_size, "cannot start %s: %s", path, strerror(-r));
	r = hold(p, pid, true);
	if (r < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return log_reason(r, err, err_size, "pidfd_open: %s; Linux 5.3 or later is needed",
			strerror(-r));
	}
	p->settings = *settings;
	return 0;
}

int switch_proc_adopt(struct switch_proc *p, pid_t pid)
{
	return hold(p, pid, false);
}

bool switch_proc_ends(const struct switch_proc *p, int within_ms)
{
	struct pollfd poll_fd = { .fd = p->pidfd, .events = POLLIN };
	uint64_t end = loop_now_ns() + (uint64_t)within_ms * 1000000u;

	for (;;) {
		int r = poll(&poll_fd, 1, within_ms);
		if (r >= 0 || errno != EINTR || loop_now_ns() >= end)
			return r > 0;
	}
}

bool switch_proc_alive(const struct switch_proc *p)
{
	return p->pidfd >= 0 && !switch_proc_ends(p, 0);
}

void switch_proc_reap(struct switch_proc *p, char *ret_how, size_t size)
{
	siginfo_t info = { 0 };

	snprintf(ret_how, size, "ended");
	if (p->child && waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED) == 0) {
		if (info.si_code == CLD_EXITED)
			snprintf(ret_how, size, "exited with status %d", info.si_status);
		else
			snprintf(ret_how, size, "was killed by signal %d (%s)", info.si_status,
				strsignal(info.si_status));
	}
	if (p->pidfd >= 0)
		close(p->pidfd);
	p->pidfd = -1;
	p->pid = 0;
}

void switch_proc_kill(const struct switch_proc *p)
{
	if (p->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0);
}

void switch_proc_stop(struct switch_proc *p)
{
	char how[64];

	if (p->pidfd < 0)
		return;
	syscall(SYS_pidfd_send_signal, p->pidfd, SIGTERM, NULL, 0);
	if (!switch_proc_ends(p, 3000)) {
		log_warning("insula-switch (pid %d) did not end within 3 s: killing it", p->pid);
		switch_proc_kill(p);
		switch_proc_ends(p, 2000);
	}
	switch_proc_reap(p, how, sizeof(how));
}
