// SPDX-License-Identifier: BSD-3-Clause
// The tables' files survive kill -9 at any instant: a writer is killed at random points many times,
// and another one is single-stepped, every state its stores pass through being opened as a crash
// would leave it. After each, every invariant of both tables is checked. Also: files, lock, boot,
// capacity.
#include "vswitch/tables.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	CAPACITY = 128, // of both tables
	THREADS = 2,
	FLOWS = 100, // of each thread; two share an internal endpoint
	POOL_FIRST = 40000,
	POOL_LAST = 40149,
	MAX_STEPS = 3000000,
};

// Under ThreadSanitizer every opening costs a third of a second.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SLOW 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define SLOW 1
#endif
#ifndef SLOW
#define SLOW 0
#endif

#define UPLINK 0x80000009u
#define SECOND 1000000000ull

// What the writer has promised, flow by flow; in memory that outlives it.
enum ack { ACK_ABSENT, ACK_BUSY, ACK_PRESENT };

static enum ack *acks;
static char dir[2][64]; // the writer's, and one for copies
static const struct nat_pool pool = {
	.zone = UPLINK,
	.address = 0x017100cb,
	.port_first = POOL_FIRST,
	.port_last = POOL_LAST,
};

static struct tables must_open(const char *path)
{
	struct tables_options o = { .run_dir = path,
		.session_capacity = CAPACITY,
		.mapping_capacity = CAPACITY,
		.seed = 5 };
	struct tables t;
	char err[256] = "";

	if (tables_open(&o, &t, err, sizeof(err)) < 0)
		fail_msg("%s", err);
	return t;
}

// Every field follows from n and the external port, so that a half-written record shows.
static struct session_desc flow(uint32_t n, be16 out_port, uint32_t mapping)
{
	struct session_desc d = {
		.nexthop = { n + 1, n + 2 },
		.mapping = mapping,
		.src_port = 1 + n % 7,
		.dst_port = 1000 + n,
		.revision = { n + 3, n + 4 },
		.flags = SESSION_F_SNAT,
	};

	d.key[0] = (struct session_key){
		.zone = 1 + n % 2,
		.src = htonl(0x0a000000u + n / 2),
		.dst = htonl(0x08080000u + n),
		.src_port = htons((uint16_t)(2000 + n / 2)),
		.dst_port = htons(53),
		.proto = IPPROTO_UDP,
	};
	d.key[1] = (struct session_key){
		.zone = UPLINK,
		.src = d.key[0].dst,
		.dst = pool.address,
		.src_port = d.key[0].dst_port,
		.dst_port = out_port,
		.proto = IPPROTO_UDP,
	};
	return d;
}

static uint32_t flow_number(const struct session_record *r)
{
	return r->d.dst_port - 1000;
}

static bool flow_start(struct tables *t, uint32_t n, uint32_t *ret_id)
{
	struct session_desc d = flow(n, 0, 0);
	uint32_t mapping;

	if (nat_map(t->mappings, &pool, d.key[0].zone, IPPROTO_UDP, d.key[0].src, d.key[0].src_port,
		    SECOND, &mapping) < 0)
		return false;
	d = flow(n, nat_get(t->mappings, mapping)->out_port, mapping);
	if (session_insert(t->sessions, &d, (n + 1) * SECOND, ret_id) < 0) {
		nat_unref(t->mappings, mapping, SECOND);
		return false;
	}
	return true;
}

static void flow_end(struct tables *t, uint32_t id)
{
	uint32_t mapping = session_get(t->sessions, id)->d.mapping;

	if (session_remove(t->sessions, id))
		nat_unref(t->mappings, mapping, SECOND);
}

static void check_sessions(struct tables *t, uint32_t refs[CAPACITY])
{
	struct session_record r;
	uint32_t cursor = 0, id, seen = 0;
	uint64_t commits[CAPACITY];

	while (session_next(t->sessions, &cursor, UINT32_MAX, &id, &r)) {
		const struct nat_mapping *m = nat_get(t->mappings, r.d.mapping);
		struct session_desc want;

		assert_non_null(m);
		refs[r.d.mapping]++;
		want = flow(flow_number(&r), m->out_port, r.d.mapping);
		assert_memory_equal(&r.d, &want, offsetof(struct session_desc, flags) + 2);
		assert_int_equal(r.created_ns, (flow_number(&r) + 1) * SECOND);
		assert_int_equal(m->in_addr, r.d.key[0].src);
		assert_int_equal(m->in_port, r.d.key[0].src_port);
		assert_int_equal(m->in_zone, r.d.key[0].zone);
		for (unsigned i = 0; i < 2; i++) {
			enum session_dir way = SESSION_FORWARD;

			assert_int_equal(session_lookup(t->sessions, &r.d.key[i], &way), id);
			assert_int_equal(way, i);
		}
		for (uint32_t i = 0; i < seen; i++)
			assert_int_not_equal(commits[i], r.commit);
		commits[seen++] = r.commit;
	}
	assert_int_equal(seen, session_count(t->sessions));
}

static void check_mappings(struct tables *t, const uint32_t refs[CAPACITY])
{
	uint8_t owned[POOL_LAST - POOL_FIRST + 1] = {};
	struct nat_mapping m;
	uint32_t cursor = 0, id, seen = 0;

	while (nat_next(t->mappings, &cursor, &id, &m)) {
		uint16_t port = ntohs(m.out_port);

		assert_in_range(port, POOL_FIRST, POOL_LAST);
		assert_int_equal(owned[port - POOL_FIRST]++, 0);
		assert_int_equal(m.out_addr, pool.address);
		assert_int_equal(m.out_zone, UPLINK);
		assert_int_equal(m.proto, IPPROTO_UDP);
		assert_int_equal(m.tenant, m.in_zone);
		assert_int_equal(nat_references(t->mappings, id), refs[id]);
		assert_int_equal(nat_lookup_external(
					 t->mappings, UPLINK, IPPROTO_UDP, m.out_addr, m.out_port),
			refs[id] != 0 ? id : MAPPING_NONE);
		seen++;
	}
	assert_int_equal(seen, nat_count(t->mappings));
}

static void check_invariants(struct tables *t)
{
	uint32_t refs[CAPACITY] = {};

	assert_int_equal(t->n_orphans, 0);
	assert_null(t->sessions_fresh);
	assert_null(t->mappings_fresh);
	check_sessions(t, refs);
	check_mappings(t, refs);
}

// Kept promises: what was acknowledged is there, what was ended is not.
static void check_acks(struct tables *t)
{
	bool present[THREADS * FLOWS] = {};
	struct session_record r;
	uint32_t cursor = 0, id;

	while (session_next(t->sessions, &cursor, UINT32_MAX, &id, &r)) {
		assert_true(flow_number(&r) < THREADS * FLOWS);
		present[flow_number(&r)] = true;
	}
	for (uint32_t n = 0; n < THREADS * FLOWS; n++) {
		if (acks[n] == ACK_BUSY)
			acks[n] = present[n] ? ACK_PRESENT : ACK_ABSENT;
		assert_int_equal(present[n], acks[n] == ACK_PRESENT);
	}
}

// Every record not in use can be used: nothing leaked through the crash.
static void check_room(struct tables *t)
{
	uint32_t used = session_count(t->sessions), n = 0, ids[CAPACITY];
	struct session_desc d;

	for (;; n++) {
		uint32_t id;

		d = flow(5000 + n, htons(1), 0);
		d.mapping = MAPPING_NONE;
		if (session_insert(t->sessions, &d, 0, &id) < 0)
			break;
		assert_true(n < CAPACITY);
		ids[n] = id;
	}
	assert_int_equal(used + n, CAPACITY);
	for (uint32_t i = 0; i < n; i++)
		assert_true(session_remove(t->sessions, ids[i]));
}

struct writer {
	struct tables *t;
	uint32_t first; // of its flows
	uint64_t random;
	uint32_t id[FLOWS];
};

static void *writer_run(void *arg)
{
	struct writer *w = arg;

	for (;;) {
		uint32_t i, n;
		bool done;

		w->random = w->random * 6364136223846793005u + 1442695040888963407u;
		i = (uint32_t)(w->random >> 33) % FLOWS;
		n = w->first + i;
		if (w->id[i] == SESSION_NONE) {
			__atomic_store_n(&acks[n], ACK_BUSY, __ATOMIC_SEQ_CST);
			done = flow_start(w->t, n, &w->id[i]);
			__atomic_store_n(
				&acks[n], done ? ACK_PRESENT : ACK_ABSENT, __ATOMIC_SEQ_CST);
		} else {
			__atomic_store_n(&acks[n], ACK_BUSY, __ATOMIC_SEQ_CST);
			flow_end(w->t, w->id[i]);
			w->id[i] = SESSION_NONE;
			__atomic_store_n(&acks[n], ACK_ABSENT, __ATOMIC_SEQ_CST);
		}
	}
	return NULL;
}

// Goes on from what the file holds; says 'r' once and works until it is killed.
static void writer_process(int ready, uint64_t random)
{
	struct tables t = must_open(dir[0]);
	static struct writer w[THREADS];
	struct session_record r;
	uint32_t cursor = 0, id;
	pthread_t thread;

	for (uint32_t i = 0; i < THREADS; i++) {
		w[i] = (struct writer){ .t = &t, .first = i * FLOWS, .random = random + i };
		memset(w[i].id, 0xff, sizeof(w[i].id));
	}
	while (session_next(t.sessions, &cursor, UINT32_MAX, &id, &r))
		w[flow_number(&r) / FLOWS].id[flow_number(&r) % FLOWS] = id;
	for (uint32_t i = 0; i < THREADS; i++) {
		if (pthread_create(&thread, NULL, writer_run, &w[i]) != 0)
			_exit(1);
	}
	if (write(ready, "r", 1) != 1)
		_exit(1);
	for (;;) {
		// No grace period is needed: writers hold only ids of their own live flows.
		nat_expire(t.mappings, SECOND, 0, 8);
		tables_reclaim(&t);
	}
}

static void kill_once(uint64_t random)
{
	struct timespec delay = { .tv_nsec = (long)(random % 1500000) };
	int ready[2], status;
	struct tables t;
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		writer_process(ready[1], random);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	nanosleep(&delay, NULL); // the random point at which it dies
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(ready[0]);

	t = must_open(dir[0]);
	check_invariants(&t);
	check_acks(&t);
	if (random % 8 == 0)
		check_room(&t);
	tables_close(&t);
}

static void killed_at_random_points(void **state)
{
	const char *env = getenv("INSULA_TEST_KILLS");
	long kills = env != NULL ? strtol(env, NULL, 10) : SLOW ? 20 : 200;
	size_t size = THREADS * FLOWS * sizeof(*acks);
	struct tables t = must_open(dir[0]);
	uint64_t random = 1;

	tables_close(&t);
	acks = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(acks, MAP_FAILED);
	for (long i = 0; i < kills; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		kill_once(random >> 20);
	}
	munmap(acks, size);
}

// What the stepped process does: everything that stores into the files, ids reused.
static void stepped_process(void)
{
	struct tables t = must_open(dir[0]);
	uint32_t id[4];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	for (unsigned round = 0; round < 2; round++) {
		for (uint32_t n = 0; n < 4; n++) {
			if (!flow_start(&t, n + round, &id[n]))
				_exit(2);
		}
		for (uint32_t n = 0; n < 4; n++)
			flow_end(&t, id[n]);
		nat_expire(t.mappings, 2 * SECOND, 0, 8);
		while (tables_reclaim(&t))
			;
	}
	_exit(0);
}

struct view { // of one of the writer's files, and what it last looked like
	uint8_t *now, *before;
	size_t size;
	int copy; // the file it is copied to
};

static void view_open(struct view *v, const char *name, size_t size)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir[0], name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	v->size = size;
	v->now = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(v->now, MAP_FAILED);
	v->before = calloc(1, size);
	assert_non_null(v->before);
	close(fd);
	snprintf(path, sizeof(path), "%s/%s", dir[1], name);
	v->copy = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(v->copy >= 0);
}

static bool view_changed(struct view *v)
{
	if (memcmp(v->now, v->before, v->size) == 0)
		return false;
	memcpy(v->before, v->now, v->size);
	return true;
}

static void view_close(struct view *v)
{
	munmap(v->now, v->size);
	free(v->before);
	close(v->copy);
}

// The files as they are at this instruction, opened by another switch.
static void check_copy(struct view v[2])
{
	struct tables t;

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pwrite(v[i].copy, v[i].before, v[i].size, 0), v[i].size);
	t = must_open(dir[1]);
	check_invariants(&t);
	tables_close(&t);
}

__attribute__((unused)) static void stepped_through_every_store(void **state)
{
	struct tables t = must_open(dir[0]);
	unsigned steps = 0, states = 0;
	struct view v[2];
	int status;
	pid_t pid;
	tables_close(&t);
	view_open(&v[0], "sessions", session_table_file_size(CAPACITY));
	view_open(&v[1], "mappings", nat_table_file_size(CAPACITY));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		stepped_process();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status));
	for (;; steps++) {
		bool sessions = view_changed(&v[0]), mappings = view_changed(&v[1]);

		if (sessions || mappings) {
			check_copy(v);
			states++;
		}
		assert_true(steps < MAX_STEPS);
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status))
			break;
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	print_message("%u instructions, %u states of the files\n", steps, states);
	assert_true(states > 100); // it did watch the stores
	view_close(&v[0]);
	view_close(&v[1]);
}

static void files_and_lock(void **state)
{
	struct tables_options o = { .run_dir = dir[0],
		.session_capacity = CAPACITY,
		.mapping_capacity = CAPACITY,
		.seed = 1 };
	struct tables t = must_open(dir[0]), other;
	char err[256] = "", path[128];
	struct stat st;
	uint32_t id;

	snprintf(path, sizeof(path), "%s/sessions", dir[0]);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, session_table_file_size(CAPACITY));
	assert_int_equal(tables_open(&o, &other, err, sizeof(err)), -EBUSY);
	assert_non_null(strstr(err, "in use by another"));
	assert_true(flow_start(&t, 1, &id));
	tables_close(&t);

	// Grows with its content; the sessions' mapping is still there.
	o.session_capacity = 2 * CAPACITY;
	assert_int_equal(tables_open(&o, &t, err, sizeof(err)), 0);
	assert_null(t.sessions_fresh);
	assert_int_equal(session_count(t.sessions), 1);
	assert_int_equal(nat_references(t.mappings, session_get(t.sessions, id)->d.mapping), 1);
	tables_close(&t);

	// A mapping file that began anew takes the sessions with it that named it.
	snprintf(path, sizeof(path), "%s/mappings", dir[0]);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(tables_open(&o, &t, err, sizeof(err)), 0);
	assert_int_equal(t.n_orphans, 1);
	assert_non_null(t.mappings_fresh);
	assert_int_equal(session_count(t.sessions), 0);
	tables_close(&t);
	o.run_dir = "/nonexistent";
	assert_int_equal(tables_open(&o, &t, err, sizeof(err)), -ENOENT);
	assert_non_null(strstr(err, "/nonexistent/sessions"));
}

static void damaged_file(const char *content, size_t size, const char *why)
{
	struct tables_options o = { .run_dir = dir[0],
		.session_capacity = CAPACITY,
		.mapping_capacity = CAPACITY,
		.seed = 1 };
	char path[128], err[256] = "";
	struct tables t;
	int fd;

	snprintf(path, sizeof(path), "%s/sessions", dir[0]);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, size), size);
	close(fd);
	assert_int_equal(tables_open(&o, &t, err, sizeof(err)), 0);
	assert_string_equal(t.sessions_fresh, why);
	assert_int_equal(session_count(t.sessions), 0);
	check_room(&t);
	tables_close(&t);
	t = must_open(dir[0]);
	assert_null(t.sessions_fresh);
	tables_close(&t);
}

static void foreign_files_start_anew(void **state)
{
	static char page[20000];

	memset(page, 'x', sizeof(page));
	damaged_file(page, sizeof(page), "written by another boot, layout or capacity");
	damaged_file(page, 8, "written by another boot, layout or capacity");
	damaged_file(page, 7, "new file");
	damaged_file(page, 0, "new file");
	memset(page, 0, 8); // died while formatting, with rubbish behind
	damaged_file(page, sizeof(page), "new file");
}

static void not_a_file(void **state)
{
	struct tables_options o = { .run_dir = dir[1], .seed = 1 };
	char path[128], err[256] = "";
	struct tables t;

	snprintf(path, sizeof(path), "%s/sessions", dir[1]);
	(void)unlink(path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(tables_open(&o, &t, err, sizeof(err)), -ELOOP);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(tables_open(&o, &t, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "not a regular file"));
	assert_int_equal(unlink(path), 0);
}

// Files of the default capacity that nobody uses take next to nothing, also after a restart.
static void empty_costs_nothing(void **state)
{
	struct tables_options o = { .run_dir = dir[1],
		.session_capacity = 1 << 20,
		.mapping_capacity = 1 << 20,
		.seed = 1 };
	char err[256] = "";
	struct tables t;
	struct stat st;

	for (unsigned i = 0; i < 2; i++) {
		if (tables_open(&o, &t, err, sizeof(err)) < 0)
			fail_msg("%s", err);
		for (unsigned f = 0; f < 2; f++) {
			assert_int_equal(fstat(t.file[f].fd, &st), 0);
			assert_true(st.st_blocks * 512 <= 65536);
		}
		tables_close(&t);
	}
}

static int make_dirs(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		snprintf(dir[i], sizeof(dir[i]), "/dev/shm/insula-tables-XXXXXX");
		if (mkdtemp(dir[i]) == NULL)
			return -1;
	}
	return 0;
}

static int remove_dirs(void **state)
{
	static const char *const names[] = { "sessions", "mappings" };
	char path[256];

	for (unsigned i = 0; i < 2; i++) {
		for (unsigned f = 0; f < 2; f++) {
			snprintf(path, sizeof(path), "%s/%s", dir[i], names[f]);
			(void)unlink(path);
		}
		if (rmdir(dir[i]) < 0)
			return -1;
	}
	return 0;
}

int main(void)
{
#define IN_DIRS(f) cmocka_unit_test_setup_teardown(f, make_dirs, remove_dirs)
	const struct CMUnitTest tests[] = {
		IN_DIRS(files_and_lock),
		IN_DIRS(foreign_files_start_anew),
		IN_DIRS(not_a_file),
		IN_DIRS(empty_costs_nothing),
#if !SLOW // one thread only: nothing for ThreadSanitizer to see
		IN_DIRS(stepped_through_every_store),
#endif
		IN_DIRS(killed_at_random_points),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
