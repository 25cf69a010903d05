// SPDX-License-Identifier: BSD-3-Clause
// See durable.h.
#include "control/durable.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int durable_read(const char *path, size_t max, char **ret_text, size_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char *text = fd >= 0 ? malloc(max + 1) : NULL;
	size_t size = 0;
	ssize_t n = 1;
	int r = 0;

	if (fd < 0)
		return -errno;
	while (text && n > 0 && size <= max) {
		n = read(fd, text + size, max + 1 - size);
		if (n > 0)
			size += (size_t)n;
	}
	if (!text)
		r = -ENOMEM;
	else if (n < 0)
		r = -errno;
	else if (size > max)
		r = -EFBIG;
	close(fd);
	if (r < 0) {
		free(text);
		return r;
	}
	text[size] = 0;
	*ret_text = text;
	*ret_size = size;
	return 0;
}

int durable_sync(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return r;
}

int durable_sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[512];

	if (!slash || (size_t)(slash - path) >= sizeof(folder))
		return -EINVAL;
	snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
	return durable_sync(folder);
}

int durable_write(const char *path, const void *data, size_t size, mode_t mode)
{
	char begun[512];
	int r = 0;

	if ((size_t)snprintf(begun, sizeof(begun), "%s" DURABLE_BEGUN, path) >= sizeof(begun))
		return -ENAMETOOLONG;
	int fd = open(begun, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	ssize_t n = write(fd, data, size);
	if (n != (ssize_t)size)
		r = n < 0 ? -errno : -ENOSPC;
	else if (fsync(fd) < 0)
		r = -errno;
	close(fd);
	if (r == 0 && rename(begun, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(begun);
	return r < 0 ? r : durable_sync_parent(path);
}

void durable_sweep(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *e;

	while (dir && (e = readdir(dir)) != NULL) {
		size_t n = strlen(e->d_name), end = strlen(DURABLE_BEGUN);

		if (n > end && strcmp(e->d_name + n - end, DURABLE_BEGUN) == 0)
			unlinkat(dirfd(dir), e->d_name, 0);
	}
	if (dir)
		closedir(dir);
}
