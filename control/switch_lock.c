// SPDX-License-Identifier: BSD-3-Clause
// Finds and ends the switches that nobody holds any more, see switch_lock.h. Called by
// switch_link.c, main thread.
#include "control/switch_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "control/log.h"
#include "control/loop.h"
#include "control/process.h"
#include "control/switch_proc.h"

enum {
	PAUSE_MS = 2,
	// For one to die, and for one just spawned to say who it is.
	PATIENCE_MS = 5000,
};

#define SWITCH_COMM "insula-switch"

// 0 = it has not said who it is.
static pid_t holder(int fd)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK ? l.l_pid : 0;
}

static void end_holder(int fd)
{
	struct switch_proc p = { .pidfd = -1 };
	pid_t pid = holder(fd);
	char how[96];

	if (pid <= 0 || switch_proc_adopt(&p, pid) < 0)
		return;
	// It still holds the lock: the number has been its own all the time.
	if (holder(fd) == pid) {
		log_info("insula-switch (pid %d) of an insulad that died does not serve: ending it",
			pid);
		switch_proc_stop(&p);
	} else {
		switch_proc_reap(&p, how, sizeof(how));
	}
}

// Who has either lock; 0 = nobody in this PID namespace. /proc/locks would tell who took the flock,
// which is not who inherited it.
static pid_t find_holder(int fd)
{
	pid_t found = holder(fd);
	struct stat lock;

	return found > 0 || fstat(fd, &lock) < 0 ? found : process_find_flock(&lock);
}

// Some other program has the lock: nothing of ours to end. comm: it may be read of any process.
static bool is_stranger(pid_t pid, char comm[16])
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	FILE *f = fopen(path, "re");
	bool found = f && fgets(comm, 16, f);
	if (f)
		fclose(f);
	if (!found) // it has ended
		return false;
	comm[strcspn(comm, "\n")] = 0;
	// insulad: a switch that has been spawned and not yet begun
	return strncmp(comm, SWITCH_COMM, strlen(SWITCH_COMM)) != 0 && strcmp(comm, "insulad") != 0;
}

// 0, or -EBUSY when `find` tells of one that has a lock there.
static int check_stranger(
	int fd, pid_t (*find)(int fd), const char *path, char *err, size_t err_size)
{
	pid_t pid = find(fd);
	char comm[16];

	// It still holds the lock: the number has been its own all the time.
	if (pid <= 0 || !is_stranger(pid, comm) || find(fd) != pid)
		return 0;
	return log_reason(-EBUSY, err, err_size,
		"%s (pid %d), which is no insula-switch, holds %s; end it with `kill %d`", comm,
		pid, path, pid);
}

static int does_not_end(int fd, const char *path, char *err, size_t err_size)
{
	pid_t pid = find_holder(fd);

	if (pid > 0)
		return log_reason(-EBUSY, err, err_size,
			"an insula-switch (pid %d) holds %s and does not end; end it with `kill "
			"-9 %d`",
			pid, path, pid);
	return log_reason(-EBUSY, err, err_size,
		"an insula-switch that is not in this PID namespace holds %s and does not end",
		path);
}

static int take(int fd, const char *path, char *err, size_t err_size)
{
	uint64_t end = loop_now_ns() + PATIENCE_MS * 1000000ull;
	pid_t (*find)(int fd) = find_holder; // which reads all of /proc: once

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return log_reason(-errno, err, err_size, "cannot lock %s: %m", path);
		if (check_stranger(fd, find, path, err, err_size) < 0)
			return -EBUSY;
		find = holder;
		end_holder(fd);
		if (loop_now_ns() > end)
			return does_not_end(fd, path, err, err_size);
		poll(NULL, 0, PAUSE_MS);
	}
	// With the record lock alone it would keep the switch from its own.
	return check_stranger(fd, holder, path, err, err_size);
}

int switch_lock_take(const char *run_dir, int *ret_fd, char *err, size_t err_size)
{
	char path[128];
	int fd, r;

	snprintf(path, sizeof(path), "%s/switch.lock", run_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return log_reason(-errno, err, err_size, "cannot open %s: %m", path);
	r = take(fd, path, err, err_size);
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

bool switch_lock_is_held(const char *run_dir, pid_t *ret_pid)
{
	char path[128], comm[16];
	bool held;

	*ret_pid = 0;
	snprintf(path, sizeof(path), "%s/switch.lock", run_dir);
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return false;
	held = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	if (held)
		*ret_pid = find_holder(fd);
	if (*ret_pid > 0 && is_stranger(*ret_pid, comm)) {
		*ret_pid = 0;
		held = false;
	}
	close(fd);
	return held;
}
