// SPDX-License-Identifier: BSD-3-Clause
// A table of another size takes over the session file: everything that fits is found again, what
// does not fit is counted, established connections last; killed at any instruction, nothing is
// lost or there twice.
#include "vswitch/tables.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BOOT = 7, SEED = 99, LARGE = 4096, SMALL = 256, MAX_STEPS = 3000000 };

struct table {
	void *mem;
	size_t size;
	struct session_table *t;
};

static void table_open(struct table *x, uint32_t capacity)
{
	assert_int_equal(
		session_table_open(x->mem, x->size, capacity, BOOT, SEED + capacity, &x->t), 0);
}

static struct table table_new(uint32_t capacity)
{
	struct table x = { .size = session_table_file_size(capacity) };

	x.mem = mmap(NULL, x.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(x.mem, MAP_FAILED);
	table_open(&x, capacity);
	return x;
}

static void table_free(struct table *x)
{
	session_table_close(x->t);
	munmap(x->mem, x->size);
}

static struct session_desc flow(uint32_t n)
{
	struct session_key k = { .zone = 1,
		.src = htonl(n),
		.dst = htonl(0xc0000201u),
		.src_port = 1,
		.dst_port = 2,
		.proto = IPPROTO_TCP };
	struct session_key back = { .zone = 1,
		.src = k.dst,
		.dst = k.src,
		.src_port = 2,
		.dst_port = 1,
		.proto = IPPROTO_TCP };

	return (struct session_desc){ .key = { k, back },
		.nexthop = { n, n + 1 },
		.mapping = MAPPING_NONE,
		.src_port = 1,
		.dst_port = 2,
		.revision = { n + 2, n + 3 } };
}

static void insert(struct session_table *t, uint32_t n, bool established)
{
	struct session_desc d = flow(n);
	uint32_t id;

	assert_int_equal(session_insert(t, &d, 1000000000ull * n, &id), 0);
	for (unsigned dir = 0; established && dir < 2; dir++)
		session_touch(session_get(t, id), (enum session_dir)dir, TCP_ACK, 100, n);
	assert_int_equal(session_state_of(session_get(t, id)),
		established ? SESSION_ESTABLISHED : SESSION_NEW);
}

// Whole, in both directions, or not at all.
static bool is_there(struct session_table *t, uint32_t n)
{
	struct session_desc d = flow(n);
	enum session_dir dir;
	uint32_t id = session_lookup(t, &d.key[SESSION_FORWARD], &dir);
	const struct session_record *r;

	assert_int_equal(session_lookup(t, &d.key[SESSION_REVERSE], &dir), id);
	if (id == SESSION_NONE)
		return false;
	r = session_get(t, id);
	assert_memory_equal(&r->d, &d, sizeof(d));
	assert_int_equal(r->created_ns, 1000000000ull * n);
	return true;
}

static void remove_flow(struct session_table *t, uint32_t n)
{
	struct session_desc d = flow(n);
	enum session_dir dir;

	assert_true(session_remove(t, session_lookup(t, &d.key[0], &dir)));
}

static void all_that_fits(void **state)
{
	struct table x = table_new(LARGE);
	uint32_t n_left = 0;

	for (uint32_t n = 0; n < LARGE; n++)
		insert(x.t, n, n % 2);
	for (uint32_t n = 0; n < LARGE; n++)
		if (n % 20 != 7)
			remove_flow(x.t, n);
	session_table_close(x.t);
	table_open(&x, SMALL);
	assert_int_equal(session_table_lost(x.t), 0);
	for (uint32_t n = 0; n < LARGE; n++) {
		bool there = is_there(x.t, n);

		assert_int_equal(there, n % 20 == 7);
		n_left += there;
	}
	assert_int_equal(session_count(x.t), n_left);
	assert_int_equal(session_port_count(x.t, 1), n_left);
	for (uint32_t n = LARGE; n_left < SMALL; n++, n_left++)
		insert(x.t, n, false);
	assert_int_equal(
		session_insert(x.t, &(struct session_desc){ .src_port = 1 }, 0, &(uint32_t){ 0 }),
		-ENOSPC);
	// And back: what is there stays, and there is room for more.
	session_table_close(x.t);
	table_open(&x, LARGE);
	assert_int_equal(session_count(x.t), SMALL);
	insert(x.t, 100000, true);
	table_free(&x);
}

// Those that were silent longest end first.
static void silent_ones_first(void **state)
{
	struct table x = table_new(LARGE);

	for (uint32_t n = 0; n < 2 * SMALL; n++)
		insert(x.t, (n * 7) % (2 * SMALL), false);
	session_table_close(x.t);
	table_open(&x, SMALL);
	assert_int_equal(session_table_lost(x.t), SMALL);
	for (uint32_t n = 0; n < 2 * SMALL; n++)
		assert_int_equal(is_there(x.t, n), n >= SMALL);
	table_free(&x);
}

static void established_ones_last(void **state)
{
	struct table x = table_new(LARGE);
	uint32_t established = 0, others = 0;

	for (uint32_t n = 0; n < 2 * SMALL; n++)
		insert(x.t, n, n % 3 == 0);
	session_table_close(x.t);
	table_open(&x, SMALL);
	assert_int_equal(session_table_lost(x.t), SMALL);
	for (uint32_t n = 0; n < 2 * SMALL; n++) {
		established += is_there(x.t, n) && n % 3 == 0;
		others += is_there(x.t, n) && n % 3 != 0;
	}
	assert_int_equal(established, (2 * SMALL + 2) / 3);
	assert_int_equal(established + others, SMALL);
	assert_int_equal(session_count(x.t), SMALL);
	session_table_close(x.t);
	table_open(&x, SMALL / 2);
	assert_int_equal(session_count(x.t), SMALL / 2);
	for (uint32_t n = 0; n < 2 * SMALL; n++)
		assert_false(is_there(x.t, n) && n % 3 != 0);
	table_free(&x);
}

// In the child: the table gets smaller, an instruction at a time.
static void stepped_process(struct table *x, uint32_t capacity)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(1);
	raise(SIGSTOP);
	_exit(session_table_open(x->mem, x->size, capacity, BOOT, SEED, &x->t) == 0 ? 0 : 1);
}

// A copy of the file as it is at this instruction, opened in either size.
static void check_copy(const struct table *x, uint8_t *copy, uint32_t n_flows)
{
	for (unsigned small = 0; small < 2; small++) {
		struct table y = { .mem = copy, .size = x->size };

		memcpy(copy, x->mem, x->size);
		table_open(&y, small ? 32 : 64);
		assert_int_equal(session_count(y.t), n_flows);
		assert_int_equal(session_port_count(y.t, 1), n_flows);
		for (uint32_t n = 40; n < 40 + n_flows; n++)
			assert_true(is_there(y.t, n));
		session_table_close(y.t);
	}
}

__attribute__((unused)) static void killed_at_any_store(void **state)
{
	struct table x = table_new(64);
	uint8_t *before = malloc(x.size), *copy = NULL;
	unsigned steps = 0, states = 0;
	int status;
	pid_t pid;

	assert_int_equal(posix_memalign((void **)&copy, 4096, x.size), 0);
	for (uint32_t n = 0; n < 60; n++)
		insert(x.t, n, true);
	for (uint32_t n = 0; n < 40; n++)
		remove_flow(x.t, n);
	session_table_close(x.t);
	memcpy(before, x.mem, x.size);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		stepped_process(&x, 32);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	for (; WIFSTOPPED(status); steps++) {
		if (memcmp(before, x.mem, x.size) != 0) {
			memcpy(before, x.mem, x.size);
			check_copy(&x, copy, 20);
			states++;
		}
		assert_true(steps < MAX_STEPS);
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	print_message("%u instructions, %u states of the file\n", steps, states);
	assert_true(states > 100); // it did watch the stores
	free(before);
	free(copy);
	table_open(&x, 32);
	table_free(&x);
}

static struct tables must_open(const char *dir, uint32_t capacity)
{
	struct tables_options o = {
		.run_dir = dir, .session_capacity = capacity, .mapping_capacity = 64, .seed = SEED
	};
	char err[256] = "";
	struct tables t;

	if (tables_open(&o, &t, err, sizeof(err)) < 0)
		fail_msg("%s", err);
	return t;
}

static void assert_size(const char *path, uint32_t capacity)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, session_table_file_size(capacity));
	assert_true(st.st_blocks * 512 <= (blkcnt_t)session_table_file_size(capacity) + 4096);
}

// The file gives its pages back.
static void the_file(void **state)
{
	char dir[] = "/dev/shm/insula-shrink-XXXXXX", path[64];
	struct tables t;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sessions", dir);
	t = must_open(dir, LARGE);
	for (uint32_t n = 0; n < LARGE; n++)
		insert(t.sessions, n, true);
	tables_close(&t);
	assert_size(path, LARGE);
	t = must_open(dir, 300); // ends within a page
	assert_null(t.sessions_fresh);
	assert_int_equal(t.n_lost, LARGE - 300);
	assert_int_equal(session_count(t.sessions), 300);
	assert_size(path, 300);
	tables_close(&t);
	t = must_open(dir, LARGE);
	assert_null(t.sessions_fresh);
	assert_int_equal(t.n_lost, 0);
	assert_int_equal(session_count(t.sessions), 300);
	for (uint32_t n = LARGE; n < 2 * LARGE - 300; n++)
		insert(t.sessions, n, false);
	tables_close(&t);
	assert_size(path, LARGE);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/mappings", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void limits(void **state)
{
	static const char *const wrong[] = { "", "x", "0", "10,0,0x", "1024,2048", "1024,16,17",
		"1024,16,8,1", "4194305", "-1", "1024 ,1", "1024x", "1024,", "1024,9,8,",
		"99999999999999999999" };
	struct tables_limits l;

	tables_limits_default(&l);
	assert_int_equal(l.sessions, TABLES_SESSIONS_DEFAULT);
	assert_int_equal(l.per_tenant, 16384);
	assert_int_equal(l.per_port, 8192);
	assert_true(tables_limits_parse("4194304", &l));
	assert_int_equal(l.per_tenant, 524288);
	assert_int_equal(l.per_port, 262144);
	assert_true(tables_limits_parse("1024,1024,1024", &l));
	assert_int_equal(l.per_port, 1024);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (tables_limits_parse(wrong[i], &l))
			fail_msg("%s is taken", wrong[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_fits),
		cmocka_unit_test(silent_ones_first),
		cmocka_unit_test(established_ones_last),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
		cmocka_unit_test(killed_at_any_store), // of instrumented code there is too much
#endif
		cmocka_unit_test(the_file),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
