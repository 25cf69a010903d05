// SPDX-License-Identifier: BSD-3-Clause
// The tables' file system is filled by somebody else: no SIGBUS, what is there stays, new records
// are refused until there is room again. On a small tmpfs in a mount namespace of a child's own.
#include "vswitch/tables.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define DIR "/tmp"

enum { CAPACITY = 4096 }; // 512 KiB of sessions, 256 KiB of mappings

static const struct tables_options options = {
	.run_dir = DIR, .session_capacity = CAPACITY, .mapping_capacity = CAPACITY, .seed = 1
};

#define MUST(what) \
	do { \
		if (!(what)) { \
			fprintf(stderr, "line %d: %s: %s\n", __LINE__, #what, strerror(errno)); \
			_exit(1); \
		} \
	} while (0)

// Takes all that is left, to the last page.
static void fill(void)
{
	static char block[4096];
	int fd = open(DIR "/filler", O_WRONLY | O_CREAT | O_APPEND, 0600);

	MUST(fd >= 0);
	while (write(fd, block, sizeof(block)) == (ssize_t)sizeof(block))
		;
	MUST(errno == ENOSPC);
	close(fd);
}

static int start(struct tables *t, uint32_t n)
{
	const struct nat_pool pool = {
		.zone = 0x80000001u, .address = 1, .port_first = 1024, .port_last = 65535
	};
	struct session_desc d = { .src_port = 1, .dst_port = 2 };
	struct session_key *key = d.key;
	uint32_t id;
	int r = nat_map(t->mappings, &pool, 1, IPPROTO_UDP, htonl(n), 7, 1000000000, &d.mapping);

	if (r < 0)
		return r;
	key[0] = (struct session_key){ 1, htonl(n), 9, 7, 53, IPPROTO_UDP, { 0 } };
	key[1] = (struct session_key){ 2, 9, htonl(n), 53, 7, IPPROTO_UDP, { 0 } };
	r = session_insert(t->sessions, &d, 1000000000, &id);
	if (r < 0)
		nat_unref(t->mappings, d.mapping, 1000000000);
	return r;
}

static uint32_t start_all(struct tables *t)
{
	uint32_t n = 0;
	int r;

	for (uint32_t i = 1; i <= CAPACITY; i++) {
		r = start(t, i);
		MUST(r == 0 || r == -ENOSPC || r == -EEXIST);
		n += r == 0;
	}
	return n;
}

static void filled_while_open(void)
{
	struct tables t;
	char err[256] = "";
	uint32_t n;

	MUST(tables_open(&options, &t, err, sizeof(err)) == 0);
	MUST(start(&t, 1) == 0);
	fill();
	n = start_all(&t); // as far as pages were taken ahead
	MUST(n > 0 && n < CAPACITY - 1);
	MUST(session_count(t.sessions) == n + 1);
	MUST(unlink(DIR "/filler") == 0);
	MUST(start_all(&t) == CAPACITY - n - 1);
	tables_close(&t);
}

static void filled_before(void)
{
	struct tables t;
	char err[256] = "";

	MUST(unlink(DIR "/sessions") == 0 && unlink(DIR "/mappings") == 0);
	fill();
	MUST(tables_open(&options, &t, err, sizeof(err)) == -ENOSPC);
	MUST(strstr(err, "may grow by"));
	MUST(unlink(DIR "/filler") == 0);
}

static void tell(const char *path, const char *what, unsigned id)
{
	FILE *f = fopen(path, "w");

	MUST(f && (*what ? fprintf(f, "%s", what) : fprintf(f, "0 %u 1", id)) > 0 &&
		fclose(f) == 0);
}

// A mount namespace; without root, in a user namespace whose root is oneself.
static void become_alone(void)
{
	unsigned uid = geteuid(), gid = getegid();

	MUST(unshare(CLONE_NEWNS | (uid ? CLONE_NEWUSER : 0)) == 0);
	if (uid) {
		tell("/proc/self/setgroups", "deny", 0);
		tell("/proc/self/uid_map", "", uid);
		tell("/proc/self/gid_map", "", gid);
	}
	MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
}

static void in_a_small_tmpfs(void **state)
{
	static void (*const cases[])(void) = { filled_while_open, filled_before };
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		become_alone();
		MUST(mount("small", DIR, "tmpfs", 0, "size=1m") == 0);
		for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
			cases[i]();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status)); // not by SIGBUS
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(in_a_small_tmpfs) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
