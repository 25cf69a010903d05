// SPDX-License-Identifier: BSD-3-Clause
// Enter and leave a named network namespace, see netns.h. Main thread only (setns is per thread).
#include "control/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "control/log.h"

enum { LEAVE_TRIES = 100 };

int netns_enter(const char *name, int *ret_back)
{
	char path[128];

	if (!name[0]) {
		*ret_back = -1;
		return 0;
	}
	snprintf(path, sizeof(path), "/run/netns/%s", name);
	int to = open(path, O_RDONLY | O_CLOEXEC);
	if (to < 0)
		return -errno;
	int back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int r = back < 0 || setns(to, CLONE_NEWNET) < 0 ? -errno : 0;
	close(to);
	if (r < 0) {
		if (back >= 0)
			close(back);
		// An unmounted leftover of a namespace is an empty file.
		return r == -EINVAL ? -ENOENT : r;
	}
	*ret_back = back;
	return 0;
}

static int find(const char *name, struct stat *ret_st)
{
	char path[128];

	snprintf(path, sizeof(path), "/run/netns/%s", name);
	return stat(name[0] ? path : "/proc/thread-self/ns/net", ret_st);
}

bool netns_is_same(const char *a, const char *b)
{
	struct stat sa, sb;

	return find(a, &sa) == 0 && find(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

void netns_leave(int back)
{
	unsigned tries = 0;

	if (back < 0)
		return;
	while (setns(back, CLONE_NEWNET) < 0) { // it takes memory
		if (++tries < LEAVE_TRIES)
			continue;
		log_error("cannot return to the own network namespace (%m): giving up");
		abort();
	}
	close(back);
}
