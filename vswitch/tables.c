// SPDX-License-Identifier: BSD-3-Clause
// Opens the session and mapping files of a run directory; see tables.h. Main thread, at start.
#include "vswitch/tables.h"
#include "vswitch/record_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"

enum {
	PAGE_SIZE = 4096,
	LOCK_PAUSE_NS = 2000000,
	LOCK_TRIES = 1000, // two seconds
};

struct opening {
	char path[512];
	char *err;
	size_t err_size;
	uint64_t boot_id;
};

static int fail(const struct opening *o, const char *what, int error)
{
	snprintf(o->err, o->err_size, "cannot %s %s: %s", what, o->path, strerror(error));
	return -error;
}

static int read_boot_id(struct opening *o)
{
	char text[64];
	ssize_t n;
	int fd;

	snprintf(o->path, sizeof(o->path), "%s", BOOT_ID_PATH);
	fd = open(BOOT_ID_PATH, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(o, "open", errno);
	n = read(fd, text, sizeof(text));
	close(fd);
	if (n <= 0)
		return fail(o, "read", EIO);
	// FNV-1a: boots must differ, nothing else is asked of it.
	o->boot_id = 0xcbf29ce484222325u;
	for (ssize_t i = 0; i < n; i++)
		o->boot_id = (o->boot_id ^ (uint8_t)text[i]) * 0x100000001b3u;
	return 0;
}

static void fill(struct tables_limits *l)
{
	if (l->per_tenant == 0)
		l->per_tenant = l->sessions / 8;
	if (l->per_port == 0)
		l->per_port = (l->per_tenant + 1) / 2;
}

void tables_limits_default(struct tables_limits *ret)
{
	*ret = (struct tables_limits){ .sessions = TABLES_SESSIONS_DEFAULT };
	fill(ret);
}

bool tables_limits_parse(const char *text, struct tables_limits *ret)
{
	struct tables_limits l = { 0 };
	uint32_t *const to[] = { &l.sessions, &l.per_tenant, &l.per_port };

	for (unsigned i = 0; i < 3; i++) {
		char *end;
		unsigned long v = strtoul(text, &end, 10);

		if (*text < '0' || *text > '9' || v == 0 || v > TABLES_SESSIONS_MAX)
			return false;
		*to[i] = (uint32_t)v;
		text = end + 1;
		if (*end == '\0')
			break;
		if (*end != ',' || i == 2)
			return false;
	}
	fill(&l);
	if (l.per_port == 0 || l.per_port > l.per_tenant || l.per_tenant > l.sessions)
		return false;
	*ret = l;
	return true;
}

// A store to a page that the file system cannot give is a SIGBUS. The tables take each page before
// they use it (id_pool.h), so that whoever fills the file system later costs new sessions, no more;
// but do not start without room.
static int check_space(const struct opening *o, int fd, const struct stat *st, size_t size)
{
	uint64_t have = (uint64_t)st->st_blocks * 512, free_bytes;
	struct statvfs fs;

	if (fstatvfs(fd, &fs) < 0)
		return fail(o, "ask for free space beside", errno);
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	// A tmpfs without a limit has no blocks at all.
	if (fs.f_blocks == 0 || have >= size || free_bytes >= size - have)
		return 0;
	snprintf(o->err, o->err_size,
		"%s may grow by %llu KiB but its file system has %llu KiB left: "
		"enlarge it or lower the capacity",
		o->path, (unsigned long long)(size - have) / 1024,
		(unsigned long long)free_bytes / 1024);
	return -ENOSPC;
}

// A switch that was killed holds the lock until the kernel has taken its memory apart, some 100 ms
// after everyone believes it dead; so this waits a little.
static int lock_file(const struct opening *o, int fd)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };

	for (unsigned tries = 0; tries < LOCK_TRIES; tries++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK)
			return fail(o, "lock", errno);
		nanosleep(&pause, NULL);
	}
	snprintf(o->err, o->err_size, "%s is in use by another insula-switch: stop that one first",
		o->path);
	return -EBUSY;
}

static int resize(const struct opening *o, int fd, size_t size, bool empty_first)
{
	if (empty_first && ftruncate(fd, 0) < 0)
		return fail(o, "empty", errno);
	if (ftruncate(fd, (off_t)size) < 0)
		return fail(o, "size", errno);
	return 0;
}

// Opens, locks and maps; *ret_fresh says whether it holds nothing yet. A file that is larger than
// it has to be is mapped whole: `trim` cuts it once its records are where they belong.
static int map_file(struct opening *o, size_t size, struct tables_file *f, bool *ret_fresh)
{
	uint64_t magic = 0;
	struct stat st;
	int r;

	// O_NONBLOCK: whatever lies there instead of our file, open does not wait for it.
	f->fd = open(o->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (f->fd < 0)
		return fail(o, "open", errno);
	if (fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		snprintf(o->err, o->err_size, "%s is not a regular file: remove it", o->path);
		return -EINVAL;
	}
	r = lock_file(o, f->fd);
	if (r < 0)
		return r;
	if (fchmod(f->fd, 0600) < 0)
		return fail(o, "set the mode of", errno);
	// Without a magic number the last switch died while formatting, or the file is new.
	if (pread(f->fd, &magic, sizeof(magic), 0) != (ssize_t)sizeof(magic))
		magic = 0;
	*ret_fresh = magic == 0;
	if (magic == 0 || (size_t)st.st_size < size) {
		r = resize(o, f->fd, size, magic == 0);
		if (r < 0)
			return r;
	}
	r = check_space(o, f->fd, &st, size);
	if (r < 0)
		return r;
	f->size = magic != 0 && (size_t)st.st_size > size ? (size_t)st.st_size : size;
	f->mem = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	if (f->mem == MAP_FAILED) {
		f->mem = NULL;
		return fail(o, "map", errno);
	}
	if (madvise(f->mem, RECORD_HEADER_SIZE, MADV_POPULATE_WRITE) < 0)
		return fail(o, "take the first page of", ENOSPC);
	return 0;
}

// Gives back what a smaller table does not need: its pages would be missing elsewhere.
static int trim(const struct opening *o, struct tables_file *f, size_t size)
{
	size_t whole = (size + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);

	if (f->size == size)
		return 0;
	if (f->size > whole)
		munmap((uint8_t *)f->mem + whole, f->size - whole);
	f->size = size;
	return resize(o, f->fd, size, false);
}

static int attach_sessions(
	struct tables *t, const struct tables_options *o, uint64_t boot_id, uint64_t seed)
{
	return session_table_open(
		t->file[0].mem, t->file[0].size, o->session_capacity, boot_id, seed, &t->sessions);
}

static int attach_mappings(
	struct tables *t, const struct tables_options *o, uint64_t boot_id, uint64_t seed)
{
	return nat_table_open(
		t->file[1].mem, t->file[1].size, o->mapping_capacity, boot_id, seed, &t->mappings);
}

typedef int attach_fn(
	struct tables *t, const struct tables_options *o, uint64_t boot_id, uint64_t seed);

static int open_file(struct opening *op, struct tables *t, const struct tables_options *o,
	unsigned which, uint64_t seed, const char **ret_fresh)
{
	static const char *const names[2] = { "sessions", "mappings" };
	static attach_fn *const attach[2] = { attach_sessions, attach_mappings };
	struct tables_file *f = &t->file[which];
	size_t size = which == 0 ? session_table_file_size(o->session_capacity)
				 : nat_table_file_size(o->mapping_capacity);
	bool fresh = false;
	int r;

	if ((size_t)snprintf(op->path, sizeof(op->path), "%s/%s", o->run_dir, names[which]) >=
		sizeof(op->path))
		return fail(op, "open", ENAMETOOLONG);
	r = map_file(op, size, f, &fresh);
	if (r < 0)
		return r;
	*ret_fresh = fresh ? "new file" : NULL;
	r = attach[which](t, o, op->boot_id, seed);
	if ((r == -EINVAL || r == -E2BIG) && !fresh) {
		// The mapping stays valid: it is the same file, all zero now.
		*ret_fresh = "written by another boot, layout or capacity";
		r = resize(op, f->fd, f->size, true);
		if (r < 0)
			return r;
		r = attach[which](t, o, op->boot_id, seed);
	}
	if (r < 0)
		return fail(op, "attach", -r);
	return trim(op, f, size);
}

// Whether a session's mapping is there and is the one its reverse direction was written with.
static bool mapping_fits(const struct session_desc *d, const struct nat_mapping *m)
{
	const struct session_key *back = &d->key[SESSION_REVERSE];

	if (m == NULL || m->proto != back->proto)
		return false;
	if ((d->flags & SESSION_F_SNAT) == 0)
		return true;
	return m->out_zone == back->zone && m->out_addr == back->dst &&
	       m->out_port == back->dst_port;
}

// Counts the references of the file's sessions. One whose mapping is missing (its file began
// anew) would rewrite packets to a port it does not own: it ends.
static void join(struct tables *t)
{
	struct session_record r;
	uint32_t cursor = 0, id;

	while (session_next(t->sessions, &cursor, UINT32_MAX, &id, &r)) {
		if (r.d.mapping == MAPPING_NONE)
			continue;
		if (mapping_fits(&r.d, nat_get(t->mappings, r.d.mapping))) {
			nat_ref(t->mappings, r.d.mapping);
		} else {
			session_remove(t->sessions, id);
			t->n_orphans++;
		}
	}
	// Nobody can hold an id yet.
	while (tables_reclaim(t))
		;
}

int tables_open(
	const struct tables_options *options, struct tables *ret, char *err, size_t err_size)
{
	struct tables_options o = *options;
	struct opening op = { .err = err, .err_size = err_size };
	struct tables t = { .file = { { .fd = -1 }, { .fd = -1 } } };
	uint64_t seed = o.seed;
	int r;

	if (o.session_capacity == 0)
		o.session_capacity = TABLES_SESSIONS_DEFAULT;
	if (o.mapping_capacity == 0)
		o.mapping_capacity = TABLES_MAPPINGS_DEFAULT;
	if (seed == 0 && getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
		snprintf(err, err_size, "cannot get a random seed: %s", strerror(errno));
		return -EIO;
	}
	r = read_boot_id(&op);
	if (r < 0)
		return r;
	r = open_file(&op, &t, &o, 0, seed, &t.sessions_fresh);
	if (r < 0)
		goto err_tables;
	t.n_lost = session_table_lost(t.sessions);
	r = open_file(&op, &t, &o, 1, seed ^ 0x5851f42d4c957f2du, &t.mappings_fresh);
	if (r < 0)
		goto err_tables;
	join(&t);
	*ret = t;
	return 0;

err_tables:
	tables_close(&t);
	return r;
}

void tables_close(struct tables *t)
{
	session_table_close(t->sessions);
	nat_table_close(t->mappings);
	for (unsigned i = 0; i < 2; i++) {
		if (t->file[i].mem != NULL)
			munmap(t->file[i].mem, t->file[i].size);
		if (t->file[i].fd >= 0)
			close(t->file[i].fd);
	}
	*t = (struct tables){ .file = { { .fd = -1 }, { .fd = -1 } } };
}

bool tables_reclaim(struct tables *t)
{
	bool sessions = session_reclaim(t->sessions);

	return nat_reclaim(t->mappings) || sessions;
}
