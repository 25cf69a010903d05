// SPDX-License-Identifier: BSD-3-Clause
// Volumes without instances: made, grown, removed; what is refused, and what a crash leaves.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "control/volumes.h"

static char dir[64], err[300], names[200];
static uint64_t bytes, allocated;

static int setup(void **state)
{
	strcpy(dir, "/tmp/insula-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	return 0;
}

static int teardown(void **state)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void collect(void *arg, const char *name)
{
	strcat(strcat(names, name), " ");
}

static const char *all(void)
{
	names[0] = 0;
	volumes_each(dir, collect, NULL);
	return names;
}

static int create(const char *name, uint64_t mib)
{
	return volume_create(dir, name, mib, err, sizeof(err));
}

static int look(const char *name)
{
	return volume_stat(dir, name, &bytes, &allocated, err, sizeof(err));
}

static void life(void **state)
{
	char path[VOLUME_PATH_SIZE];

	assert_string_equal(all(), "");
	volumes_sweep(dir); // nothing is there
	assert_int_equal(create("two", 1 << 20), 0); // 1 TiB
	assert_int_equal(create("one", 8), 0);
	assert_string_equal(all(), "one two ");
	assert_int_equal(look("two"), 0);
	assert_int_equal(bytes, UINT64_C(1) << 40);
	assert_true(allocated < 1 << 20);
	char name[VOLUME_NAME_SIZE];
	assert_false(volume_of_path(dir, "one", name));
	assert_false(volume_of_path(dir, "/elsewhere/one.raw", name));
	volume_path(dir, "one", path);
	assert_true(volume_of_path(dir, path, name));
	assert_string_equal(name, "one");
	strcat(path, ".begun");
	assert_false(volume_of_path(dir, path, name));
	volume_path(dir, "one", path);
	int fd = open(path, O_RDWR);
	assert_int_equal(pwrite(fd, "kept", 4, (8 << 20) - 4), 4);
	assert_int_equal(volume_grow(dir, "one", 16, err, sizeof(err)), 0);
	assert_int_equal(volume_grow(dir, "one", 16, err, sizeof(err)), 0);
	assert_int_equal(look("one"), 0);
	assert_int_equal(bytes, 16 << 20);
	assert_int_equal(pread(fd, path, 4, (8 << 20) - 4), 4);
	assert_memory_equal(path, "kept", 4);
	close(fd);
	assert_int_equal(volume_delete(dir, "one", err, sizeof(err)), 0);
	assert_string_equal(all(), "two ");
	assert_int_equal(look("one"), -ENOENT);
}

static void refused(void **state)
{
	assert_int_equal(create("one", 8), 0);
	assert_int_equal(create("one", 9), -EEXIST);
	assert_int_equal(look("one"), 0);
	assert_int_equal(bytes, 8 << 20);
	assert_int_equal(create("a/b", 8), -EINVAL);
	assert_int_equal(create("..", 8), -EINVAL);
	assert_int_equal(create("", 8), -EINVAL);
	assert_int_equal(create("two", 0), -EINVAL);
	assert_int_equal(create("two", VOLUME_MAX_MIB + 1), -EINVAL);
	assert_int_equal(volume_grow(dir, "one", 7, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "volume one has 8 MiB: it is not made smaller"));
	assert_int_equal(volume_grow(dir, "two", 7, err, sizeof(err)), -ENOENT);
	assert_int_equal(volume_delete(dir, "two", err, sizeof(err)), -ENOENT);
	assert_int_equal(look("../volumes/one"), -ENOENT);
	assert_string_equal(all(), "one ");
}

// One that was being made when its maker was killed is none.
static void unfinished(void **state)
{
	char path[VOLUME_PATH_SIZE + 8];

	assert_int_equal(create("one", 8), 0);
	snprintf(path, sizeof(path), "%s/volumes/two.raw.new", dir);
	close(open(path, O_RDWR | O_CREAT, 0600));
	assert_string_equal(all(), "one ");
	volumes_sweep(dir);
	assert_int_equal(access(path, F_OK), -1);
	assert_string_equal(all(), "one ");
	assert_int_equal(create("two", 8), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(life, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(unfinished, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
