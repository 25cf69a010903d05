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
#include <unistd.h>
#include "control/log.h"
#include "control/loop.h"
#include "control/switch_proc.h"

enum {
	PAUSE_MS = 2,
	// For one to die, and for one just spawned to say who it is.
	PATIENCE_MS = 5000,
};

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

static int take(int fd, const char *path, char *err, size_t err_size)
{
	uint64_t end = loop_now_ns() + PATIENCE_MS * 1000000ull;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return log_reason(-errno, err, err_size, "cannot lock %s: %m", path);
		end_holder(fd);
		if (loop_now_ns() > end)
			return log_reason(-EBUSY, err, err_size,
				"an insula-switch holds %s and does not end; end it with `fuser -k "
				"%s`",
				path, path);
		poll(NULL, 0, PAUSE_MS);
	}
	return 0;
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
