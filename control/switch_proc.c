// SPDX-License-Identifier: BSD-3-Clause
// Spawn, adopt, watch and end insula-switch, see switch_proc.h. Called by switch_link.c, main
// thread.
#include "control/switch_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "control/log.h"
#include "control/loop.h"
#include "control/process.h"

extern char **environ;

int switch_proc_find(char *path, size_t size, char *err, size_t err_size)
{
	return process_find_program(
		"INSULA_SWITCH", "insula-switch", "vswitch", path, size, err, err_size);
}

static int hold(struct switch_proc *p, pid_t pid, bool child)
{
	int pidfd = process_open(pid);

	if (pidfd < 0)
		return pidfd;
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
	return process_ends(p->pidfd, within_ms);
}

bool switch_proc_alive(const struct switch_proc *p)
{
	return p->pidfd >= 0 && !switch_proc_ends(p, 0);
}

void switch_proc_reap(struct switch_proc *p, char *ret_how, size_t size)
{
	process_reap(p->pidfd, p->child, ret_how, size);
	if (p->pidfd >= 0)
		close(p->pidfd);
	p->pidfd = -1;
	p->pid = 0;
}

void switch_proc_kill(const struct switch_proc *p)
{
	process_signal(p->pidfd, SIGKILL);
}

void switch_proc_stop(struct switch_proc *p)
{
	char how[64];

	if (p->pidfd < 0)
		return;
	process_signal(p->pidfd, SIGTERM);
	if (!switch_proc_ends(p, 3000)) {
		log_warning("insula-switch (pid %d) did not end within 3 s: killing it", p->pid);
		switch_proc_kill(p);
		switch_proc_ends(p, 2000);
	}
	switch_proc_reap(p, how, sizeof(how));
}
