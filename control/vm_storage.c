// SPDX-License-Identifier: BSD-3-Clause
// See vm_storage.h. Formats are said and never probed, and neither file may name another one
// (HOSTILE.md H-34): the image was looked at when it was imported, and "backing" is given here.
#include "control/vm_storage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "control/daemon_internal.h"
#include "control/durable.h"
#include "control/process.h"
#include "control/vm.h"

#define PROGRAM "qemu-storage-daemon"

enum {
	END_NS = 1000000000, // ten times, then it is killed
	ENDS = 10,
	KILLED_MS = 2000,
	LOG_MAX = 64 << 10,
	N_FDS = 3, // overlay, image, socket
};

static void path_of(const struct vm *vm, const char *name, char *path, size_t size)
{
	snprintf(path, size, "%s.disk/%s", vm->dir, name);
}

void vm_storage_socket(const struct vm *vm, char *path, size_t size)
{
	path_of(vm, "sock", path, size);
}

void vm_storage_init(struct vm *vm)
{
	vm->storage.proc.pidfd = -1;
}

bool vm_storage_is_there(const struct vm *vm)
{
	return vm->storage.proc.pidfd >= 0;
}

// --- its end ---

// What it said last, on one line.
static void last_words(const struct vm *vm, char *text, size_t size)
{
	char path[160], *log;
	size_t n;

	text[0] = 0;
	path_of(vm, "log", path, sizeof(path));
	if (durable_read(path, LOG_MAX, &log, &n) < 0)
		return;
	while (n > 0 && log[n - 1] == '\n')
		log[--n] = 0;
	const char *line = strrchr(log, '\n');
	snprintf(text, size, ": %s", n ? (line ? line + 1 : log) : "it said nothing");
	for (char *p = text; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	free(log);
}

static void on_end(void *arg, uint32_t events)
{
	struct vm *vm = arg;
	struct vm_storage *s = &vm->storage;
	pid_t pid = s->proc.pid;
	char how[96], last[200];

	loop_remove(vm->all->d->loop, s->ended);
	s->ended = NULL;
	loop_timer_disarm(s->timer);
	vm_proc_reap(&s->proc, how, sizeof(how));
	last_words(vm, last, sizeof(last));
	if (!s->ending) {
		snprintf(s->trouble, sizeof(s->trouble), "%s (pid %d) of its disk %s%s", PROGRAM,
			pid, how, last);
		log_error("instance %s: %s", vm->name, s->trouble);
	}
	vm_on_storage_end(vm, !s->ending);
}

static void on_timer(void *arg)
{
	struct vm *vm = arg;

	if (++vm->storage.asked < ENDS) {
		loop_timer_arm(vm->storage.timer, END_NS);
		return;
	}
	log_warning("instance %s: %s (pid %d) does not end: killing it", vm->name, PROGRAM,
		vm->storage.proc.pid);
	process_signal(vm->storage.proc.pidfd, SIGKILL);
}

void vm_storage_end(struct vm *vm)
{
	struct vm_storage *s = &vm->storage;

	if (!vm_storage_is_there(vm) || s->ending)
		return;
	s->ending = true;
	s->asked = 0;
	process_signal(s->proc.pidfd, SIGTERM);
	loop_timer_arm(s->timer, END_NS);
}

void vm_storage_kill(struct vm *vm)
{
	process_signal(vm->storage.proc.pidfd, SIGKILL);
	process_ends(vm->storage.proc.pidfd, KILLED_MS);
}

void vm_storage_leave(struct vm *vm)
{
	loop_remove(vm->all->d->loop, vm->storage.ended);
	loop_remove(vm->all->d->loop, vm->storage.timer);
	vm_proc_leave(&vm->storage.proc);
}

void vm_storage_forget(struct vm *vm)
{
	static const char *const files[] = { "sock", "log", "pid", "own/ready" };
	char path[160];

	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		path_of(vm, files[i], path, sizeof(path));
		unlink(path);
	}
	path_of(vm, "own", path, sizeof(path));
	rmdir(path);
	path_of(vm, "", path, sizeof(path));
	if (rmdir(path) < 0 && errno != ENOENT)
		log_warning("instance %s: %s: %m", vm->name, path);
}

// --- its start ---

static int watch(struct vm *vm)
{
	struct vm_storage *s = &vm->storage;
	struct loop *loop = vm->all->d->loop;
	int r = s->timer ? 0 : loop_add_timer(loop, on_timer, vm, &s->timer);

	s->ending = false;
	s->trouble[0] = 0;
	return r < 0 ? r : loop_add(loop, s->proc.pidfd, EPOLLIN, on_end, vm, &s->ended);
}

int vm_storage_adopt(struct vm *vm, char *err, size_t err_size)
{
	char dir[160];
	int r;

	snprintf(dir, sizeof(dir), "%s.disk", vm->dir);
	if (access(dir, F_OK) < 0)
		return 0;
	r = vm_proc_adopt(&vm->storage.proc, dir, err, err_size);
	if (r < 0)
		return r == -ESRCH ? 0 : r;
	r = watch(vm);
	return r < 0 ? log_reason(r, err, err_size, "epoll: %s", strerror(-r)) : 0;
}

bool vm_storage_is_ready(const struct vm *vm)
{
	struct stat st;
	char path[160];

	path_of(vm, "own/ready", path, sizeof(path)); // its pid file: the last that it does
	return lstat(path, &st) == 0 && st.st_size > 0;
}

// The folder is root's, but for one within, where the daemon may say that it is ready.
static int make_folder(struct vm *vm, uint32_t user, char *err, size_t err_size)
{
	char path[160];
	int r = 0;

	path_of(vm, "", path, sizeof(path));
	if (mkdir(path, 0711) < 0 && errno != EEXIST)
		r = -errno;
	if (r == 0 && chmod(path, 0711) < 0)
		r = -errno;
	path_of(vm, "own/ready", path, sizeof(path));
	unlink(path);
	path_of(vm, "own", path, sizeof(path));
	if (r == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
		r = -errno;
	if (r == 0 && user && chown(path, user, user) < 0)
		r = -errno;
	return r < 0 ? log_reason(r, err, err_size, "%s: %s", path, strerror(-r)) : 0;
}

// It listens before anybody serves: root's alone, as who connects has the disk.
static int make_socket(struct vm *vm, char *err, size_t err_size)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char path[160];
	int r = 0, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	vm_storage_socket(vm, path, sizeof(path));
	if (fd < 0 || strlen(path) >= sizeof(a.sun_path))
		r = fd < 0 ? -errno : -ENAMETOOLONG;
	else
		memcpy(a.sun_path, path, strlen(path));
	unlink(path);
	mode_t mask = umask(0177);
	if (r == 0 && (bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 1) < 0))
		r = -errno;
	umask(mask);
	if (r == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return log_reason(r, err, err_size, "%s: %s", path, strerror(-r));
}

static int find_program(char *path, size_t size, char *err, size_t err_size)
{
	static const char *const places[] = { "/usr/bin/" PROGRAM, "/usr/local/bin/" PROGRAM };

	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, size, "%s", places[i]);
		if (access(path, X_OK) == 0)
			return 0;
	}
	return log_reason(-ENOENT, err, err_size,
		PROGRAM " is missing, which serves disks that share an image where the file system "
			"cannot; `apt-get install qemu-system-common` brings it");
}

static const char raw_image[] = "{\"driver\":\"raw\",\"node-name\":\"image\",\"read-only\":true,"
				"\"file\":\"image-file\"}",
		  qcow2_image[] = "{\"driver\":\"qcow2\",\"node-name\":\"image\","
				  "\"read-only\":true,\"file\":\"image-file\",\"backing\":null}";

static int spawn(struct vm *vm, const int fds[N_FDS], char *err, size_t err_size)
{
	const bool qcow2 = vm->storage.image_is_qcow2;
	char path[320], ready[160], dir[160];
	// The fds are /proc/self/fd/3 and so on in the child.
	const char *const argv[] = { PROGRAM, "--blockdev",
		"{\"driver\":\"file\",\"node-name\":\"image-file\",\"read-only\":true,"
		"\"filename\":\"/proc/self/fd/4\"}",
		"--blockdev", qcow2 ? qcow2_image : raw_image, "--blockdev",
		"{\"driver\":\"file\",\"node-name\":\"file\",\"discard\":\"unmap\","
		"\"filename\":\"/proc/self/fd/3\"}",
		"--blockdev",
		"{\"driver\":\"qcow2\",\"node-name\":\"disk\",\"discard\":\"unmap\","
		"\"file\":\"file\",\"backing\":\"image\"}",
		"--export",
		"vhost-user-blk,id=disk,node-name=disk,writable=on,num-queues=1,addr.type=fd,"
		"addr.str=5",
		"--pidfile", ready, NULL };
	struct vm_child child = { .program = path,
		.argv = argv,
		.in = -1,
		.out = -1,
		.fds = fds,
		.n_fds = N_FDS,
		.user = vm_spec_user(vm->id),
		.apart = true };
	int r = find_program(path, sizeof(path), err, err_size);

	if (r < 0)
		return r;
	path_of(vm, "own/ready", ready, sizeof(ready));
	snprintf(dir, sizeof(dir), "%s.disk", vm->dir);
	child.cgroup = cgroup_get(&vm->all->cgroups, vm->id, &vm->limits, err, err_size);
	if (child.cgroup < 0)
		return child.cgroup;
	r = vm_proc_spawn(&vm->storage.proc, dir, &child, err, err_size);
	if (child.cgroup > 0)
		close(child.cgroup);
	return r;
}

int vm_storage_start(struct vm *vm, char *err, size_t err_size)
{
	int fds[N_FDS] = { -1, -1, -1 };
	int r = make_folder(vm, vm_spec_user(vm->id), err, err_size);

	if (r < 0)
		return r;
	fds[0] = open(vm->disk.path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fds[0] < 0)
		return log_reason(-errno, err, err_size, "its disk %s: %m", vm->disk.path);
	fds[1] = open(vm->storage.image_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fds[1] < 0)
		r = log_reason(-errno, err, err_size, "its image's %s: %m", vm->storage.image_path);
	if (r == 0) {
		fds[2] = make_socket(vm, err, err_size);
		r = fds[2] < 0 ? fds[2] : spawn(vm, fds, err, err_size);
	}
	for (unsigned i = 0; i < N_FDS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (r < 0)
		return r;
	r = watch(vm);
	if (r < 0) {
		vm_storage_kill(vm);
		vm_proc_leave(&vm->storage.proc);
		return log_reason(r, err, err_size, "epoll: %s", strerror(-r));
	}
	return 0;
}
