// SPDX-License-Identifier: BSD-3-Clause
// See listen.h.
#include "vmm/listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

// A socket that a former process left is in the way; one that somebody listens at, or a file, is
// not ours.
static int make_way(const struct sockaddr_un *a, int type)
{
	struct stat st;
	int fd, err;

	if (lstat(a->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 ? 0 : errno;
	close(fd);
	if (err != ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(a->sun_path) < 0 ? -errno : 0;
}

int listen_at(const char *path, int type, int backlog, bool mine)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	mode_t mask;
	int fd, err;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, path);
	err = make_way(&a, type);
	if (err < 0)
		return err;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0177);
	if (!mine)
		umask(mask);
	err = bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
			      (type != SOCK_DGRAM && listen(fd, backlog) < 0)
		      ? -errno
		      : 0;
	umask(mask);
	if (err == 0)
		return fd;
	close(fd);
	return err;
}
