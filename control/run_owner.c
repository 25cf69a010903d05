// SPDX-License-Identifier: BSD-3-Clause
// Whose what runs on RUN_DIR is, see run_owner.h. Called by runtime_dir.c and the command line.
#include "control/run_owner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "control/log.h"
#include "control/switch_lock.h"

#define DEFAULT_RUN_DIR "/run/insula"

enum { NOTE_PATH_SIZE = 160 };

int run_owner_get(const char *run_dir, char ret_state_dir[PATH_MAX])
{
	char path[NOTE_PATH_SIZE], text[PATH_MAX] = "";
	struct stat st;
	ssize_t n = 0;

	snprintf(path, sizeof(path), "%s/state_dir", run_dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		n = read(fd, text, sizeof(text));
	close(fd);
	// Not whole: none that could be compared.
	if (n < 2 || text[0] != '/' || text[n - 1] != '\n' || memchr(text, 0, (size_t)n))
		return -ENOENT;
	text[n - 1] = 0;
	memcpy(ret_state_dir, text, (size_t)n);
	return 0;
}

// As realpath(3), but the last parts of it need not be there.
static void resolve(const char *path, char ret_path[PATH_MAX])
{
	char part[PATH_MAX], real[PATH_MAX], whole[PATH_MAX], *slash;
	bool found;

	snprintf(whole, sizeof(whole), "%s", path);
	for (size_t n = strlen(whole); n > 1 && whole[n - 1] == '/'; n--)
		whole[n - 1] = 0;
	memcpy(part, whole, sizeof(part));
	while (!(found = realpath(part, real) != NULL)) {
		slash = strrchr(part, '/');
		if (!slash || slash == part)
			break;
		*slash = 0;
	}
	if (!found || snprintf(ret_path, PATH_MAX, "%s%s", real, whole + strlen(part)) >= PATH_MAX)
		memcpy(ret_path, whole, PATH_MAX);
}

bool run_owner_is_same(const char *a, const char *b)
{
	char real_a[PATH_MAX], real_b[PATH_MAX];
	struct stat x, y;

	if (stat(a, &x) == 0 && stat(b, &y) == 0)
		return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
	resolve(a, real_a);
	resolve(b, real_b);
	return strcmp(real_a, real_b) == 0;
}

// Whole or not at all: it may be killed at any time.
static int write_note(const char *run_dir, const char *state_dir)
{
	char path[NOTE_PATH_SIZE], new[NOTE_PATH_SIZE];
	int r = 0;

	snprintf(path, sizeof(path), "%s/state_dir", run_dir);
	snprintf(new, sizeof(new), "%s/state_dir.new", run_dir);
	int fd =
		open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
	if (fd < 0)
		return -errno;
	if (dprintf(fd, "%s\n", state_dir) < 0)
		r = -errno;
	close(fd);
	if (r == 0 && rename(new, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(new);
	return r;
}

void run_owner_note(const char *run_dir, const char *state_dir)
{
	char own[PATH_MAX], noted[PATH_MAX];
	int r;

	resolve(state_dir, own);
	if (run_owner_get(run_dir, noted) == 0 && strcmp(noted, own) == 0)
		return;
	r = write_note(run_dir, own);
	if (r < 0)
		log_warning("cannot note in %s/state_dir whose state runs there: %s", run_dir,
			strerror(-r));
}

// A machine's log, see vm_proc.h.
static bool is_held(int folder, const char *id)
{
	char path[64];
	bool held;

	if (snprintf(path, sizeof(path), "%.40s/log", id) >= (int)sizeof(path))
		return false;
	int fd = openat(folder, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return false;
	held = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	close(fd);
	return held;
}

static unsigned count_machines(const char *run_dir)
{
	char path[NOTE_PATH_SIZE];
	struct dirent *e;
	unsigned n = 0;

	snprintf(path, sizeof(path), "%s/vm", run_dir);
	DIR *folder = opendir(path);
	while (folder && (e = readdir(folder)) != NULL)
		if (strspn(e->d_name, "0123456789") == strlen(e->d_name)) // no ID.disk
			n += is_held(dirfd(folder), e->d_name);
	if (folder)
		closedir(folder);
	return n;
}

// What runs there, as words; "" = nothing.
static void what_runs(const char *run_dir, char *text, size_t size)
{
	unsigned n = count_machines(run_dir);
	char machines[64] = "", number[32] = "";
	pid_t pid;
	bool has_switch = switch_lock_is_held(run_dir, &pid);

	if (n)
		snprintf(machines, sizeof(machines), "%u virtual machine%s", n, n == 1 ? "" : "s");
	if (pid > 0)
		snprintf(number, sizeof(number), " (pid %d)", pid);
	snprintf(text, size, "%s%s%s%s", has_switch ? "insula-switch" : "", number,
		has_switch && n ? " and " : "", machines);
}

bool run_owner_is_other(const char *run_dir, const char *state_dir, char *err, size_t err_size)
{
	char noted[PATH_MAX], running[160];
	bool standard = strcmp(run_dir, DEFAULT_RUN_DIR) == 0;

	if (run_owner_get(run_dir, noted) < 0 || run_owner_is_same(noted, state_dir))
		return false;
	what_runs(run_dir, running, sizeof(running));
	if (!running[0])
		return false;
	log_reason(-EBUSY, err, err_size,
		"what still runs on run directory %s (%s) has state directory %s instead of %s: "
		"start with --state-dir %s, or end it with `insula %s%s%s--state-dir %s stop`",
		run_dir, running, noted, state_dir, noted, standard ? "" : "--run-dir ",
		standard ? "" : run_dir, standard ? "" : " ", noted);
	return true;
}
