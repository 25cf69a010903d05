// SPDX-License-Identifier: BSD-3-Clause
// The host's DNS upstreams: what counts as one, and where they are when a local stub hides them.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "control/resolv.h"

static be32 dns[POLICY_MAX_DNS];
static bool stub;

static unsigned parse(const char *text)
{
	return resolv_parse(text, strlen(text), dns, &stub);
}

static void test_lines(void **state)
{
	assert_int_equal(parse("# nameserver 9.9.9.9\nsearch x\n nameserver\t192.0.2.1 # main\n"
			       "nameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver192.0.2.9\n"
			       "nameserver 192.0.2.2"),
		2);
	assert_int_equal(dns[0], inet_addr("192.0.2.1"));
	assert_int_equal(dns[1], inet_addr("192.0.2.2"));
	assert_false(stub);
	assert_int_equal(parse("nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\n"
			       "nameserver 1.1.1.4\n"),
		POLICY_MAX_DNS);
	assert_int_equal(parse(""), 0);
	assert_int_equal(parse("nameserver"), 0);
	assert_int_equal(parse("nameserver \n"), 0);
	assert_int_equal(parse("nameserver 0.0.0.0\nnameserver 300.1.1.1\n"), 0);
	assert_int_equal(parse("nameserver 224.0.0.1\nnameserver 255.255.255.255\n"), 0);
}

static void test_loopback_is_never_given(void **state)
{
	assert_int_equal(parse("nameserver 127.0.0.53\nnameserver ::1\n"), 0);
	assert_true(stub);
	assert_int_equal(parse("nameserver 127.0.0.53\nnameserver 192.0.2.7\n"), 1);
	assert_int_equal(dns[0], inet_addr("192.0.2.7"));
}

static void write_file(char *path, const char *text)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void test_behind_the_stub(void **state)
{
	char conf[] = "/tmp/insula-resolv-XXXXXX", upstream[] = "/tmp/insula-resolv-XXXXXX";

	write_file(conf, "nameserver 127.0.0.53\n");
	write_file(upstream, "nameserver 192.0.2.8\nnameserver 127.0.0.1\n");
	assert_int_equal(resolv_host(conf, upstream, dns), 1);
	assert_int_equal(dns[0], inet_addr("192.0.2.8"));
	assert_int_equal(
		resolv_host(upstream, conf, dns), 1); // real ones: the stub's file is not asked
	assert_int_equal(dns[0], inet_addr("192.0.2.8"));
	assert_int_equal(resolv_host("/nonexistent", upstream, dns), 0);
	unlink(conf);
	unlink(upstream);
}

// What is no file of lines is none; of one that is too long, no line is cut short.
static void test_odd_files(void **state)
{
	char conf[] = "/tmp/insula-resolv-XXXXXX", fifo[] = "/tmp/insula-resolv-XXXXXX";
	static char text[16384 + 32];
	const char server[] = "\nnameserver 10.1.1.123\n";

	memset(text, '#', sizeof(text));
	memcpy(text, "nameserver 192.0.2.8\n", 21);
	memcpy(text + 16384 - sizeof(server) + 4, server, sizeof(server));
	write_file(conf, text);
	assert_int_equal(resolv_host(conf, conf, dns), 1);
	assert_int_equal(dns[0], inet_addr("192.0.2.8"));
	unlink(conf);
	assert_int_equal(close(mkstemp(fifo)), 0);
	assert_int_equal(unlink(fifo), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(resolv_host(fifo, fifo, dns), 0);
	unlink(fifo);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_loopback_is_never_given),
		cmocka_unit_test(test_behind_the_stub),
		cmocka_unit_test(test_odd_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
