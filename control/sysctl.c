// SPDX-License-Identifier: BSD-3-Clause
// /proc/sys/net/ipv4, see sysctl.h. Called by host_nat.c, main thread. Notes are named
// "host:sysctl:conf/all/forwarding" and so on.
#include "control/sysctl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "control/log.h"

#define BASE "/proc/sys/net/ipv4/"
#define PREFIX STORE_HOST "sysctl:"

static int read_value(const char *name, char *value, size_t size)
{
	char path[400];

	snprintf(path, sizeof(path), BASE "%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, value, size - 1);
	int r = n < 0 ? -errno : 0;
	close(fd);
	if (r < 0)
		return r;
	value[n] = 0;
	value[strcspn(value, "\n")] = 0;
	return 0;
}

static int write_value(const char *name, const char *value)
{
	char path[400];

	snprintf(path, sizeof(path), BASE "%s", name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = write(fd, value, strlen(value)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static int note(struct store *s, const char *name)
{
	char key[320], value[32];
	int r = read_value(name, value, sizeof(value));

	if (r < 0)
		return r;
	snprintf(key, sizeof(key), PREFIX "%s", name);
	return store_note(s, key, value);
}

struct note_entry {
	char key[320], value[32];
};

struct note_list {
	struct note_entry *e;
	size_t n;
	bool incomplete; // no memory for all of them
};

static void collect(void *arg, const char *key, const char *value)
{
	struct note_list *l = arg;
	struct note_entry *grown = realloc(l->e, (l->n + 1) * sizeof(*grown));

	if (!grown) {
		l->incomplete = true;
		return;
	}
	l->e = grown;
	snprintf(grown[l->n].key, sizeof(grown[l->n].key), "%s", key);
	snprintf(grown[l->n].value, sizeof(grown[l->n].value), "%s", value);
	l->n++;
}

static void forget_all(struct store *s)
{
	struct note_list l = { 0 };

	store_each_note(s, PREFIX, collect, &l);
	for (size_t j = 0; j < l.n; j++)
		store_forget_note(s, l.e[j].key);
	free(l.e);
}

// "all" and "default" come by readdir too. Our own tap goes away with everything of its own.
static int note_interfaces(struct store *s)
{
	DIR *dir = opendir(BASE "conf");
	int r = dir ? 0 : -errno;

	for (struct dirent *e; r == 0 && (e = readdir(dir));) {
		char name[300];
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "conf/%s/forwarding", e->d_name);
		r = note(s, name);
		if (r == 0) {
			snprintf(name, sizeof(name), "conf/%s/accept_redirects", e->d_name);
			r = note(s, name);
		}
		if (r == -ENOENT) // it went away meanwhile
			r = 0;
	}
	if (dir)
		closedir(dir);
	return r;
}

int sysctl_forwarding_on(struct store *s, char *err, size_t err_size)
{
	char now[32];
	int r = read_value("ip_forward", now, sizeof(now));

	if (r == 0 && strcmp(now, "1") == 0)
		return 0; // somebody needs it already: not ours to change
	if (r == 0)
		r = store_begin(s);
	if (r == 0) {
		forget_all(s); // of a boot before, or somebody turned it off since
		r = note(s, "ip_forward");
		if (r == 0)
			r = note_interfaces(s);
		if (r == 0)
			r = store_commit(s);
		else
			store_rollback(s);
	}
	if (r == 0)
		r = write_value("ip_forward", "1");
	if (r < 0)
		return log_reason(r, err, err_size, "cannot turn on net.ipv4.ip_forward: %s%s",
			strerror(-r),
			r == -EROFS || r == -EACCES || r == -EPERM
				? "; run `sysctl -w net.ipv4.ip_forward=1` on the host"
				: "");
	return 0;
}

// 0 also for one that is gone.
static int restore(const struct note_entry *n)
{
	const char *name = n->key + strlen(PREFIX);
	char now[32];
	int r = read_value(name, now, sizeof(now));

	if (r == -ENOENT || (r == 0 && strcmp(now, n->value) == 0))
		return 0;
	if (r == 0)
		r = write_value(name, n->value);
	if (r < 0)
		log_warning("cannot put back net.ipv4 %s to %s: %s", name, n->value, strerror(-r));
	return r;
}

// ip_forward first: writing it changes the others.
int sysctl_forwarding_restore(struct store *s)
{
	struct note_list l = { 0 };
	static const char *const order[] = { PREFIX "ip_forward", PREFIX "conf/all/",
		PREFIX "conf/default/", PREFIX "conf/" };
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(order) / sizeof(order[0]); i++) {
		l.n = 0;
		r = store_each_note(s, order[i], collect, &l);
		if (l.incomplete)
			r = -ENOMEM;
		for (size_t j = 0; r == 0 && j < l.n; j++)
			r = restore(&l.e[j]);
	}
	free(l.e);
	if (r == 0)
		forget_all(s);
	return r;
}
