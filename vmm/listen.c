// SPDX-License-Identifier: BSD-3-Clause
// See listen.h.
#include "vmm/listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int set_address(struct sockaddr_un *ret_address, const char *path)
{
	if (strlen(path) >= sizeof(ret_address->sun_path))
		return -ENAMETOOLONG;
	*ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	strcpy(ret_address->sun_path, path);
	return 0;
}

int connect_to(const char *path, int type)
{
	struct sockaddr_un a;
	int fd, err = set_address(&a, path);

	if (err < 0)
		return err;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

// A socket that a former process left is in the way; one that somebody listens at, or a file, is
// not ours.
static int make_way(const char *path, int type)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = connect_to(path, type);
	if (fd >= 0)
		close(fd);
	if (fd != -ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(path) < 0 ? -errno : 0;
}

int listen_at(const char *path, int type, int backlog, bool mine)
{
	struct sockaddr_un a;
	mode_t mask;
	int fd, err = set_address(&a, path);

	if (err == 0)
		err = make_way(path, type);
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
