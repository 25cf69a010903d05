// SPDX-License-Identifier: BSD-3-Clause
// See volumes.h. Called by daemon_volumes.c, main thread.
#include "control/volumes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "control/durable.h"
#include "control/log.h"
#include "control/model_value.h"

#define SUFFIX ".raw"

void volume_path(const char *state_dir, const char *name, char path[VOLUME_PATH_SIZE])
{
	snprintf(path, VOLUME_PATH_SIZE, "%s/volumes/%s" SUFFIX, state_dir, name);
}

static void folder_of(const char *state_dir, char path[VOLUME_PATH_SIZE])
{
	snprintf(path, VOLUME_PATH_SIZE, "%s/volumes", state_dir);
}

bool volume_of_path(const char *state_dir, const char *path, char ret_name[VOLUME_NAME_SIZE])
{
	char again[VOLUME_PATH_SIZE];
	const char *name = strrchr(path, '/');

	if (!name)
		return false;
	snprintf(ret_name, VOLUME_NAME_SIZE, "%.*s", (int)strcspn(name + 1, "."), name + 1);
	volume_path(state_dir, ret_name, again);
	return !value_name(ret_name, VOLUME_NAME_SIZE) && strcmp(again, path) == 0;
}

void volumes_sweep(const char *state_dir)
{
	char folder[VOLUME_PATH_SIZE];

	folder_of(state_dir, folder);
	durable_sweep(folder);
}

static int check(const char *name, uint64_t mib, char *err, size_t err_size)
{
	const char *wrong = value_name(name, VOLUME_NAME_SIZE);

	if (wrong)
		return log_reason(-EINVAL, err, err_size,
			"name \"%.40s\" %s; allowed: 1 to 31 letters, digits, '-' or '_'; a letter "
			"or digit first",
			name, wrong);
	if (mib == 0 || mib > VOLUME_MAX_MIB)
		return log_reason(-EINVAL, err, err_size,
			"a volume has 1 MiB to 16 TiB: a number of MiB or GiB, like 512MiB or "
			"2GiB");
	return 0;
}

int volume_create(const char *state_dir, const char *name, uint64_t mib, char *err, size_t err_size)
{
	char folder[VOLUME_PATH_SIZE], path[VOLUME_PATH_SIZE], begun[VOLUME_PATH_SIZE + 8];
	int r = check(name, mib, err, err_size);

	if (r < 0)
		return r;
	folder_of(state_dir, folder);
	volume_path(state_dir, name, path);
	snprintf(begun, sizeof(begun), "%s" DURABLE_BEGUN, path);
	if (access(path, F_OK) == 0)
		return log_reason(-EEXIST, err, err_size, "there is a volume %s already", name);
	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return log_reason(-errno, err, err_size, "%s: %m", folder);
	int fd = open(begun, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)(mib << 20)) < 0 || fsync(fd) < 0 ||
		rename(begun, path) < 0)
		r = -errno;
	if (fd >= 0)
		close(fd);
	if (r == 0)
		r = durable_sync(folder);
	if (r == 0)
		return 0;
	unlink(begun);
	return log_reason(r, err, err_size, "%s: %s", path, strerror(-r));
}

int volume_stat(const char *state_dir, const char *name, uint64_t *ret_bytes,
	uint64_t *ret_allocated, char *err, size_t err_size)
{
	char path[VOLUME_PATH_SIZE];
	struct stat st = { 0 };

	volume_path(state_dir, name, path);
	if (value_name(name, VOLUME_NAME_SIZE) || stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return err ? log_reason(-ENOENT, err, err_size,
				     "there is no volume '%.40s'; `insula volume list` shows them",
				     name)
			   : -ENOENT;
	*ret_bytes = (uint64_t)st.st_size;
	*ret_allocated = (uint64_t)st.st_blocks * 512;
	return 0;
}

int volume_grow(const char *state_dir, const char *name, uint64_t mib, char *err, size_t err_size)
{
	char path[VOLUME_PATH_SIZE];
	uint64_t bytes, allocated;
	int r = check(name, mib, err, err_size);

	if (r == 0)
		r = volume_stat(state_dir, name, &bytes, &allocated, err, err_size);
	if (r < 0)
		return r;
	if (mib << 20 < bytes)
		return log_reason(-EINVAL, err, err_size,
			"volume %s has %llu MiB: it is not made smaller, which would lose what is "
			"there",
			name, (unsigned long long)bytes >> 20);
	volume_path(state_dir, name, path);
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || ftruncate(fd, (off_t)(mib << 20)) < 0 || fsync(fd) < 0)
		r = log_reason(-errno, err, err_size, "%s: %m", path);
	if (fd >= 0)
		close(fd);
	return r;
}

int volume_delete(const char *state_dir, const char *name, char *err, size_t err_size)
{
	char path[VOLUME_PATH_SIZE];
	uint64_t bytes, allocated;
	int r = volume_stat(state_dir, name, &bytes, &allocated, err, err_size);

	if (r < 0)
		return r;
	volume_path(state_dir, name, path);
	if (unlink(path) < 0)
		return log_reason(-errno, err, err_size, "%s: %m", path);
	return durable_sync_parent(path);
}

void volumes_each(const char *state_dir, void (*fn)(void *arg, const char *name), void *arg)
{
	char folder[VOLUME_PATH_SIZE];
	struct dirent **all;

	folder_of(state_dir, folder);
	int n_all = scandir(folder, &all, NULL, alphasort);
	for (int i = 0; i < n_all; i++) {
		char name[VOLUME_NAME_SIZE];
		size_t n = strlen(all[i]->d_name), end = strlen(SUFFIX);

		if (n > end && n - end < sizeof(name) &&
			strcmp(all[i]->d_name + n - end, SUFFIX) == 0) {
			snprintf(name, sizeof(name), "%.*s", (int)(n - end), all[i]->d_name);
			if (!value_name(name, sizeof(name)))
				fn(arg, name);
		}
		free(all[i]);
	}
	if (n_all >= 0)
		free(all);
}
