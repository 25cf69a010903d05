// SPDX-License-Identifier: BSD-3-Clause
// Access to front ends' sockets, see vhost_watch.h. Called by ports.c, ports_care.c and the loop.
//
// Connecting to a unix socket takes write permission on it, and a front end (QEMU, testpmd) makes
// its own under a umask that leaves the switch's unprivileged user none. So the folders of such
// sockets are watched, and when the socket of a port appears or its mode changes, that user is
// added to its ACL.
#include "control/vhost_watch.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "control/daemon_internal.h"
#include "control/log.h"

#define ACL_NAME "system.posix_acl_access"

enum {
	ACL_RW = ACL_READ | ACL_WRITE,
	ACL_MAX = 32, // entries; a socket has five
	RETRY_NS = 1000000000,
};

struct vhost_watch {
	struct daemon *d;
	int fd;
	struct loop_source *source, *retry;
	struct log_limit limit; // the socket's owner may change it at any rate
};

struct acl {
	struct posix_acl_xattr_header header;
	struct posix_acl_xattr_entry e[ACL_MAX];
};

// ---- the ACL of one socket, n entries

static unsigned acl_insert(struct acl *acl, unsigned n, unsigned at, unsigned tag, unsigned perm)
{
	memmove(&acl->e[at + 1], &acl->e[at], (n - at) * sizeof(acl->e[0]));
	acl->e[at] = (struct posix_acl_xattr_entry){ .e_tag = htole16((uint16_t)tag),
		.e_perm = htole16((uint16_t)perm),
		.e_id = htole32((uint32_t)ACL_UNDEFINED_ID) };
	return n + 1;
}

// Returns how many entries; without an ACL those that say the same as the mode. 0 = cannot be read.
static unsigned acl_read(const char *path, mode_t mode, struct acl *ret)
{
	ssize_t size = getxattr(path, ACL_NAME, ret, sizeof(*ret));

	if (size > (ssize_t)sizeof(ret->header))
		return (unsigned)((size_t)size - sizeof(ret->header)) / sizeof(ret->e[0]);
	if (size >= 0 || errno != ENODATA)
		return 0;
	ret->header.a_version = htole32(POSIX_ACL_XATTR_VERSION);
	acl_insert(ret, 0, 0, ACL_USER_OBJ, mode >> 6 & 7);
	acl_insert(ret, 1, 1, ACL_GROUP_OBJ, mode >> 3 & 7);
	return acl_insert(ret, 2, 2, ACL_OTHER, mode & 7);
}

// Reading and writing for `uid`. Returns the new number of entries; 0 = it is so already.
static unsigned acl_let_in(struct acl *acl, unsigned n, uid_t uid)
{
	unsigned user = 1, mask, group = 0;
	bool changed = false;

	// Order: the owner, users, the group, groups, the mask, others.
	while (user < n && le16toh(acl->e[user].e_tag) == ACL_USER &&
		le32toh(acl->e[user].e_id) != uid)
		user++;
	if (user == n || le16toh(acl->e[user].e_tag) != ACL_USER) {
		n = acl_insert(acl, n, user, ACL_USER, 0);
		acl->e[user].e_id = htole32(uid);
	}
	for (mask = user + 1; mask < n && le16toh(acl->e[mask].e_tag) < ACL_MASK; mask++)
		group |= le16toh(acl->e[mask].e_perm);
	if (mask == n || le16toh(acl->e[mask].e_tag) != ACL_MASK)
		n = acl_insert(acl, n, mask, ACL_MASK, group);
	for (unsigned i = 0; i < 2; i++) {
		struct posix_acl_xattr_entry *e = &acl->e[i ? mask : user];
		unsigned perm = le16toh(e->e_perm);

		changed |= (perm & ACL_RW) != ACL_RW;
		e->e_perm = htole16((uint16_t)(perm | ACL_RW));
	}
	return changed ? n : 0;
}

static int let_in(const char *socket, uid_t uid)
{
	char path[32];
	struct stat st;
	struct acl acl;
	int r = 0, fd = open(socket, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	// What lies there may be its maker's trick: only a socket with no other name is touched.
	if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_nlink == 1 && st.st_uid != uid) {
		unsigned n = acl_read(path, st.st_mode, &acl);

		if (n < 3 || n > ACL_MAX - 2)
			r = -EOPNOTSUPP;
		else if ((n = acl_let_in(&acl, n, uid)) != 0 &&
			 setxattr(path, ACL_NAME, &acl, sizeof(acl.header) + n * sizeof(acl.e[0]),
				 0) < 0)
			r = -errno;
	}
	close(fd);
	return r;
}

// ---- all of them

static bool is_watched(const struct port *p)
{
	const struct port_spec *s = port_spec_of(p);

	return p->in_switch && s->kind == PROTO_PORT_VHOST && !(s->flags & PROTO_PORT_VHOST_SERVER);
}

// The user that the switch became: it was given its own folder.
static bool switch_user(const struct vhost_watch *w, struct stat *ret_st)
{
	char folder[sizeof(w->d->run.path) + 8];

	snprintf(folder, sizeof(folder), "%s/vhost", w->d->run.path);
	return stat(folder, ret_st) == 0;
}

// What lets the user into the folder, as chmod has it; NULL: it may, or an ACL has to be asked.
static const char *way_in(const char *folder, const struct stat *user)
{
	struct stat st;

	if (stat(folder, &st) < 0 || !S_ISDIR(st.st_mode) ||
		getxattr(folder, ACL_NAME, NULL, 0) > 0)
		return NULL;
	if (st.st_uid == user->st_uid)
		return st.st_mode & S_IXUSR ? NULL : "u+x";
	if (st.st_gid == user->st_gid)
		return st.st_mode & S_IXGRP ? NULL : "g+x";
	return st.st_mode & S_IXOTH ? NULL : "o+x";
}

bool vhost_watch_blocked(const struct vhost_watch *w, const struct port *p, char *text, size_t size)
{
	char folder[sizeof(port_spec_of(p)->arg)];
	struct stat user;

	if (!is_watched(p) || !switch_user(w, &user) || user.st_uid == 0)
		return false;
	for (const char *at = port_spec_of(p)->arg; (at = strchr(at + 1, '/')) != NULL;) {
		snprintf(folder, sizeof(folder), "%.*s", (int)(at - port_spec_of(p)->arg),
			port_spec_of(p)->arg);
		const char *way = way_in(folder, &user);
		if (!way)
			continue;
		snprintf(text, size,
			"the switch's user, %u, may not enter %s: `chmod %s %s`, or have "
			"the socket elsewhere",
			user.st_uid, folder, way, folder);
		return true;
	}
	return false;
}

static void let_switch_in(struct vhost_watch *w, const struct port *p)
{
	struct stat st;

	if (!switch_user(w, &st) || runtime_dir_holds(&w->d->run, "", port_spec_of(p)->arg))
		return; // insulad's own sockets are nobody else's
	int r = let_in(port_spec_of(p)->arg, st.st_uid);
	if (r < 0 && log_limit_pass(&w->limit, 5))
		log_warning("port %s: cannot let user %u connect to %s: %s; `chmod 666` it",
			p->name, st.st_uid, port_spec_of(p)->arg, strerror(-r));
}

void vhost_watch_port(struct vhost_watch *w, const struct port *p)
{
	char folder[256];

	if (!is_watched(p))
		return;
	snprintf(folder, sizeof(folder), "%s", port_spec_of(p)->arg);
	strrchr(folder, '/')[folder[0] && strrchr(folder, '/') == folder] = 0;
	// Watched before looked at: nothing appears in between. A folder twice is one watch.
	if (inotify_add_watch(w->fd, folder, IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_ONLYDIR) < 0)
		loop_timer_arm(w->retry, RETRY_NS);
	let_switch_in(w, p);
}

static void watch_all(void *arg)
{
	struct vhost_watch *w = arg;

	for (uint32_t id = 1; id <= w->d->ports->max_id; id++)
		if (w->d->ports->by_id[id])
			vhost_watch_port(w, w->d->ports->by_id[id]);
}

static void on_name(struct vhost_watch *w, const char *name)
{
	for (uint32_t id = 1; id <= w->d->ports->max_id; id++) {
		const struct port *p = w->d->ports->by_id[id];

		if (p && is_watched(p) && strcmp(strrchr(port_spec_of(p)->arg, '/') + 1, name) == 0)
			let_switch_in(w, p);
	}
}

static void on_readable(void *arg, uint32_t events)
{
	struct vhost_watch *w = arg;
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(w->fd, buffer, sizeof(buffer));

	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *e = (const void *)(buffer + at);

		if (e->mask & IN_Q_OVERFLOW)
			watch_all(w);
		else if (e->mask & IN_IGNORED) // the folder was deleted; another may come
			loop_timer_arm(w->retry, RETRY_NS);
		else if (e->len > 0)
			on_name(w, e->name);
		at += (ssize_t)(sizeof(*e) + e->len);
	}
}

int vhost_watch_new(struct daemon *d, struct vhost_watch **ret_watch)
{
	struct vhost_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->d = d;
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	r = w->fd < 0 ? -errno : loop_add(d->loop, w->fd, EPOLLIN, on_readable, w, &w->source);
	if (r == 0)
		r = loop_add_timer(d->loop, watch_all, w, &w->retry);
	if (r < 0) {
		vhost_watch_free(w);
		return r;
	}
	*ret_watch = w;
	return 0;
}

void vhost_watch_free(struct vhost_watch *w)
{
	if (!w)
		return;
	loop_remove(w->d->loop, w->source);
	loop_remove(w->d->loop, w->retry);
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}
