// SPDX-License-Identifier: BSD-3-Clause
// The tmpfs at RUN_DIR, see runtime_dir.h. Called by insulad.c at start and stop, main thread.
#include "control/runtime_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "control/log.h"
#include "control/run_owner.h"

// Sessions, mappings and headroom; pages are taken only when touched.
#define TMPFS_SIZE "size=1g,mode=0755"

static int make_dirs(const char *path, mode_t mode, bool *ret_made)
{
	char part[256];

	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return -ENAMETOOLONG;
	for (char *p = part + 1; *p; p++)
		if (*p == '/') {
			*p = 0;
			if (mkdir(part, 0755) < 0 && errno != EEXIST)
				return -errno;
			*p = '/';
		}
	*ret_made = mkdir(part, mode) == 0;
	return *ret_made || errno == EEXIST ? 0 : -errno;
}

// Locks the file, being sure that it is still the one of that name: a stopping insulad removes it.
static int take_lock(const char *path, int *ret_fd)
{
	for (unsigned n_busy = 0;;) {
		struct stat a, b;
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			int r = errno == EWOULDBLOCK ? -EBUSY : -errno;
			close(fd);
			// A killed one holds its lock until the kernel has closed all it had.
			if (r == -EBUSY && n_busy++ < 50) {
				usleep(10000);
				continue;
			}
			return r;
		}
		if (fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino) {
			if (ftruncate(fd, 0) == 0)
				dprintf(fd, "%d\n", (int)getpid()); // for who wonders
			*ret_fd = fd;
			return 0;
		}
		close(fd);
	}
}

// Is there a tmpfs of its own at path already?
static bool is_mounted(const char *path)
{
	struct stat here, parent;
	struct statfs fs;
	char up[300];

	snprintf(up, sizeof(up), "%s/..", path);
	return stat(path, &here) == 0 && stat(up, &parent) == 0 && here.st_dev != parent.st_dev &&
	       statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

static int mount_tmpfs(const char *path, bool *ret_mounted, char *err, size_t err_size)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (is_mounted(path))
		return 0;
	if (mount("insula", path, "tmpfs", flags, TMPFS_SIZE ",huge=within_size") == 0 ||
		mount("insula", path, "tmpfs", flags, TMPFS_SIZE) == 0) {
		*ret_mounted = true;
		return 0;
	}
	return log_reason(-errno, err, err_size, "cannot mount a tmpfs at %s: %m%s", path,
		errno == EPERM ? "; insulad needs CAP_SYS_ADMIN, run it as root" : "");
}

static int lock_error(int r, const char *what, const char *path, char *err, size_t err_size)
{
	if (r == -EBUSY)
		return log_reason(r, err, err_size,
			"another insulad runs with %s %s; stop it with `insula stop` or name "
			"another directory",
			what, path);
	return log_reason(r, err, err_size, "cannot make %s %s: %s%s", what, path, strerror(-r),
		r == -EACCES || r == -EPERM ? "; run insulad as root" : "");
}

static int open_state(
	const char *state_dir, int *ret_lock, bool *ret_made, char *err, size_t err_size)
{
	char lock[300];
	int r = make_dirs(state_dir, 0700, ret_made);

	if (r == 0 && chmod(state_dir, 0700) < 0)
		r = -errno;
	if (r == 0) {
		snprintf(lock, sizeof(lock), "%s/lock", state_dir);
		r = take_lock(lock, ret_lock);
	}
	return r < 0 ? lock_error(r, "state directory", state_dir, err, err_size) : 0;
}

// One that is dying is no reason to refuse.
static int check_owner(const char *run_dir, const char *state_dir, char *err, size_t err_size)
{
	for (unsigned ms = 0; run_owner_is_other(run_dir, state_dir, err, err_size); ms += 10) {
		if (ms >= RUN_OWNER_PATIENCE_MS)
			return -EBUSY;
		usleep(10000);
	}
	return 0;
}

// One that was just made, with nothing but the lock in it.
static void remove_state(const char *state_dir)
{
	char lock[300];

	snprintf(lock, sizeof(lock), "%s/lock", state_dir);
	unlink(lock);
	rmdir(state_dir);
}

int runtime_dir_open(struct runtime_dir *d, const char *run_dir, const char *state_dir, char *err,
	size_t err_size)
{
	char lock[300];
	bool made = false, made_state = false;
	int r;

	*d = (struct runtime_dir){ .run_lock = -1, .state_lock = -1 };
	// A socket's name has to fit behind it: sun_path holds 108 bytes.
	if (run_dir[0] != '/' || strlen(run_dir) > 80)
		return log_reason(-EINVAL, err, err_size,
			"run directory '%s': an absolute path of at most 80 bytes is needed",
			run_dir);
	snprintf(d->path, sizeof(d->path), "%s", run_dir);
	for (size_t n = strlen(d->path); n > 1 && d->path[n - 1] == '/'; n--)
		d->path[n - 1] = 0;
	r = make_dirs(d->path, 0755, &made);
	if (r == 0) {
		snprintf(lock, sizeof(lock), "%s.lock", d->path);
		r = take_lock(lock, &d->run_lock);
	}
	if (r < 0) {
		lock_error(r, "run directory", run_dir, err, err_size);
		return r == -EBUSY ? -EALREADY : r;
	}
	if (state_dir)
		r = check_owner(d->path, state_dir, err, err_size);
	if (r == 0 && state_dir)
		r = open_state(state_dir, &d->state_lock, &made_state, err, err_size);
	if (r == 0)
		r = mount_tmpfs(d->path, &d->mounted, err, err_size);
	if (r == 0 && state_dir)
		run_owner_note(d->path, state_dir);
	if (r == 0)
		return 0;
	// What was made goes again, while the locks are held: nobody else has begun to use it.
	if (made_state)
		remove_state(state_dir);
	if (made && rmdir(d->path) == 0)
		unlink(lock);
	runtime_dir_leave(d);
	return r;
}

bool runtime_dir_holds(const struct runtime_dir *r, const char *folder, const char *file)
{
	char path[sizeof(r->path) + 32];
	const char *slash = strrchr(file, '/');
	struct stat own, its;

	snprintf(path, sizeof(path), "%s/%s", r->path, folder);
	if (!slash || stat(path, &own) < 0)
		return false;
	snprintf(path, sizeof(path), "%.*s/", (int)(slash - file), file);
	return stat(path, &its) == 0 && own.st_dev == its.st_dev && own.st_ino == its.st_ino;
}

void runtime_dir_leave(struct runtime_dir *d)
{
	if (d->run_lock >= 0)
		close(d->run_lock);
	if (d->state_lock >= 0)
		close(d->state_lock);
	d->run_lock = d->state_lock = -1;
}

void runtime_dir_remove(struct runtime_dir *d)
{
	char lock[128];

	// Somebody may stand in it (a shell, a pager): then it goes when they leave.
	if (is_mounted(d->path) && umount2(d->path, 0) < 0 && umount2(d->path, MNT_DETACH) < 0)
		log_warning("cannot unmount %s: %m", d->path);
	if (rmdir(d->path) < 0 && errno != ENOENT)
		log_warning("cannot remove %s: %m", d->path);
	snprintf(lock, sizeof(lock), "%s.lock", d->path);
	unlink(lock);
	runtime_dir_leave(d);
}
