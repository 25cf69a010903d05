// SPDX-License-Identifier: BSD-3-Clause
// insulad's log in a file: time and level in words, and a long file set aside as FILE.1.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/log.h"

static char dir[64], path[80], set_aside[88];

static int setup(void **state)
{
	strcpy(dir, "/tmp/insula-log-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
	snprintf(set_aside, sizeof(set_aside), "%s.1", path);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	unlink(set_aside);
	return rmdir(dir);
}

// One line with standard error at the file.
static void log_to_file(int flags)
{
	int was = dup(STDERR_FILENO), fd = open(path, O_WRONLY | O_CREAT | flags, 0600);

	assert_true(was >= 0 && fd >= 0 && dup2(fd, STDERR_FILENO) == STDERR_FILENO);
	log_warning("%s is wet", "water");
	dup2(was, STDERR_FILENO);
	close(was);
	close(fd);
}

static off_t size_of(const char *name)
{
	struct stat st;

	return stat(name, &st) == 0 ? st.st_size : -1;
}

static void check_line(void)
{
	char text[256] = "";
	FILE *f = fopen(path, "re");
	regex_t re;

	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_int_equal(regcomp(&re,
				 "^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z "
				 "warning insulad: water is wet\n$",
				 REG_EXTENDED | REG_NOSUB),
		0);
	assert_int_equal(regexec(&re, text, 0, NULL, 0), 0);
	regfree(&re);
}

static void test_time_and_level(void **state)
{
	struct stat st;
	char stream[64];

	log_to_file(O_APPEND);
	check_line();
	// It is the journal if its name is this very file's.
	assert_int_equal(stat(path, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	off_t before = size_of(path);
	setenv("JOURNAL_STREAM", stream, 1);
	log_to_file(O_APPEND);
	unsetenv("JOURNAL_STREAM");
	assert_int_equal(size_of(path) - before, strlen("<4>insulad: water is wet\n"));
}

static void test_long_file(void **state)
{
	off_t size = (8 << 20) + 1;

	log_to_file(O_APPEND);
	assert_int_equal(truncate(path, size), 0);
	log_to_file(0); // nobody knows where its other writers stand
	assert_int_equal(size_of(path), size);
	assert_int_equal(size_of(set_aside), -1);
	log_to_file(O_APPEND);
	assert_int_equal(size_of(set_aside), size);
	check_line();
	assert_true(size_of(path) < 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_time_and_level, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_file, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
