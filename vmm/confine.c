// SPDX-License-Identifier: BSD-3-Clause
// See confine.h. There is no PID namespace: a process does not enter the one it makes, its children
// do, and it makes no thread any more. Who starts the machine may start it in one. What the others
// would be good for is not there: no /proc, and no calls that take another process' id.
#include "vmm/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pwd.h>
#include <sched.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "vmm/confine_calls.h"

#ifdef __SANITIZE_THREAD__ // has a thread of its own
enum { SANITIZER_THREAD = 1 };
#else
enum { SANITIZER_THREAD = 0 };
#endif
enum { NOBODY = 65534, FDS = 4096 /* 32 devices' queues have about half as many */ };

void confine_close_inherited(void)
{
	close_range(STDERR_FILENO + 1, ~0u, 0);
}

// UID:GID
static bool parse_ids(struct confine *c, const char *text)
{
	char *end;
	unsigned long uid, gid;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	uid = strtoul(text, &end, 10);
	if (errno || *end != ':' || end[1] < '0' || end[1] > '9')
		return false;
	gid = strtoul(end + 1, &end, 10);
	if (errno || *end || uid >= (uid_t)-1 || gid >= (gid_t)-1)
		return false;
	c->uid = (uid_t)uid;
	c->gid = (gid_t)gid;
	return true;
}

void confine_free(struct confine *c)
{
	for (int i = 0; i < CONFINE_KIND_COUNT; i++) {
		free(c->filters[i].filter);
		c->filters[i].filter = NULL;
	}
}

static int make_filters(struct confine *c, struct error *e)
{
	int err = 0;

	// an arena that shrinks opens a file of /proc; threads that serve a guest allocate next to
	// nothing
	mallopt(M_ARENA_MAX, 1);
	for (int i = 0; err == 0 && i < CONFINE_KIND_COUNT; i++)
		err = confine_calls_make((enum confine_kind)i, &c->filters[i]);
	if (err < 0) {
		confine_free(c);
		error_set(e, -err, "system call filters: %s", strerror(-err));
	}
	return err;
}

int confine_init(struct confine *c, const char *user, struct error *e)
{
	struct confine made = { .uid = NOBODY, .gid = NOBODY };
	const struct passwd *p = NULL;

	if (user && geteuid() != 0)
		return error_set(e, EPERM, "--user %s: only root can become another user", user);
	if (!user || !parse_ids(&made, user)) {
		p = getpwnam(user ? user : "nobody");
		if (user && !p)
			return error_set(e, ENOENT,
				"--user %s: there is no such user; make one with: useradd -r -s "
				"/bin/false %s",
				user, user);
	}
	if (p) {
		made.uid = p->pw_uid;
		made.gid = p->pw_gid;
	}
	if (made.uid == 0 || made.gid == 0)
		return error_set(e, EINVAL, "--user %s: root is not what a machine may be", user);
	*c = made;
	return make_filters(c, e);
}

static void limit(int resource, rlim_t most)
{
	struct rlimit l;

	if (getrlimit(resource, &l) < 0)
		return;
	l.rlim_max = l.rlim_max < most ? l.rlim_max : most;
	l.rlim_cur = l.rlim_max;
	setrlimit(resource, &l);
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

// The one user and group that there are in a user namespace of ours: who we are outside.
static int map_ids(uid_t uid, gid_t gid)
{
	char text[64];
	int err;

	snprintf(text, sizeof(text), "%u %u 1", uid, uid);
	err = write_file("/proc/self/uid_map", text);
	if (err == 0)
		err = write_file("/proc/self/setgroups", "deny");
	snprintf(text, sizeof(text), "%u %u 1", gid, gid);
	return err < 0 ? err : write_file("/proc/self/gid_map", text);
}

// Who is not root gets the right to do it from a user namespace.
static int enter_namespaces(void)
{
	const int spaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
	const uid_t uid = geteuid();
	const gid_t gid = getegid();

	if (uid == 0)
		return unshare(spaces) < 0 ? -errno : 0;
	return unshare(CLONE_NEWUSER | spaces) < 0 ? -errno : map_ids(uid, gid);
}

// The kernel's own first file system cannot be taken off (pivot_root(2)): it is covered instead.
static int cover_root(void)
{
	return mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0
		       ? -errno
		       : 0;
}

// What is below a folder is not its own file systems' unless they are bound too, and they are not.
static int mount_root(const char *folder)
{
	const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (!folder)
		return mount("none", "/dev", "tmpfs", flags, "mode=555,nr_inodes=1");
	if (mount(folder, "/dev", NULL, MS_BIND, NULL) < 0)
		return -1;
	return mount("none", "/dev", NULL, MS_REMOUNT | MS_BIND | flags, NULL);
}

// /dev is a folder that is there for certain: its kvm is open. The new root is put over the old one
// and the old one, which is what "." leads to then, taken off.
static int empty_root(const char *folder)
{
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount_root(folder) < 0 ||
		chdir("/dev") < 0)
		return -errno;
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return errno == EINVAL ? cover_root() : -errno;
	return umount2(".", MNT_DETACH) < 0 || chdir("/") < 0 ? -errno : 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capset, &head, none) < 0 ? -errno : 0;
}

// Needs CAP_SETPCAP. 0 when none is left.
static int drop_bounds(void)
{
	for (int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			return -errno;
	return 0;
}

static int become(const struct confine *c)
{
	return setgroups(0, NULL) < 0 || setresgid(c->gid, c->gid, c->gid) < 0 ||
			       setresuid(c->uid, c->uid, c->uid) < 0
		       ? -errno
		       : 0;
}

static int leave_world(const char *folder, bool is_root, struct error *ret_lacking)
{
	const int fd = folder ? open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	int err = enter_namespaces();

	if (err == 0)
		err = empty_root(folder);
	if (err < 0 && fd >= 0 && fchdir(fd) < 0) // its sockets are found all the same
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (err < 0)
		error_set(ret_lacking, -err,
			"%snamespaces of its own and an empty root folder: %s; it goes on without",
			is_root ? "" : "not root: ", strerror(-err));
	else if (!is_root)
		error_set(ret_lacking, EPERM,
			"not root: the machine stays user %u, in a user namespace", geteuid());
	return err;
}

int confine_process(const struct confine *c, struct error *ret_lacking, struct error *e)
{
	const bool is_root = geteuid() == 0;
	int err;

	ret_lacking->text[0] = 0;
	// a no-op, but an error where there is another thread, which would stay as it is
	if (!SANITIZER_THREAD && unshare(CLONE_THREAD) < 0)
		return error_set(e, EBUSY, "confinement: a thread was started before it");
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, FDS);
	leave_world(c->folder, is_root, ret_lacking);
	err = drop_bounds();
	if (is_root && err < 0)
		return error_set(e, -err, "dropping capabilities: %s", strerror(-err));
	err = is_root ? become(c) : 0;
	if (err < 0)
		return error_set(
			e, -err, "becoming user %u, group %u: %s", c->uid, c->gid, strerror(-err));
	err = drop_capabilities();
	if (err < 0)
		return error_set(e, -err, "dropping capabilities: %s", strerror(-err));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return error_set(e, errno, "no new privileges: %s", strerror(errno));
	return 0;
}

int confine_thread(const struct confine *c, enum confine_kind kind)
{
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &c->filters[kind], 0, 0) < 0 ? -errno : 0;
}

// On the stack of who starts it, until it is told.
struct starter {
	const struct confine *confine;
	enum confine_kind kind;
	void *(*run)(void *arg);
	void *arg;
	int err;
	sem_t confined;
};

static void *begin(void *arg)
{
	struct starter *s = arg, own = *s;

	own.err = own.confine ? confine_thread(own.confine, own.kind) : 0;
	s->err = own.err;
	sem_post(&s->confined); // it is gone now
	return own.err < 0 ? NULL : own.run(own.arg);
}

int confine_start_thread(const struct confine *c, enum confine_kind kind, void *(*run)(void *arg),
	void *arg, pthread_t *ret_thread)
{
	struct starter s = { .confine = c, .kind = kind, .run = run, .arg = arg };
	pthread_t thread;
	int err;

	sem_init(&s.confined, 0, 0);
	err = -pthread_create(&thread, NULL, begin, &s);
	if (err < 0)
		goto destroy;
	while (sem_wait(&s.confined) < 0)
		;
	err = s.err;
	if (err < 0)
		pthread_join(thread, NULL);
	else
		*ret_thread = thread;
destroy:
	sem_destroy(&s.confined);
	return err;
}
