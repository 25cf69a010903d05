// SPDX-License-Identifier: BSD-3-Clause
// DPDK's environment as the switch starts it: it takes no PCI device by itself, keeps no right to
// the processor's I/O ports, and may lock its memory. tests/e2e/pci_device.py runs this in a
// machine that has such devices and gives such a right; elsewhere a part of it may say nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <rte_ethdev.h>
#ifdef __x86_64__
#include <sys/io.h>
#endif
#include "vswitch/eal.h"

enum { MEMORY_MIB = 32 };

static char folder[] = "/tmp/insula-test-eal-XXXXXX";

static int start(void **state)
{
	return mkdtemp(folder) ? eal_start(MEMORY_MIB, false, folder) : -1;
}

static int end(void **state)
{
	char command[64];

	rte_eal_cleanup();
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

static void takes_no_device(void **state)
{
	assert_int_equal(rte_eth_dev_count_avail(), 0);
}

#ifdef __x86_64__
// In a process of its own; was it allowed?
static bool may(bool ask_first)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (ask_first && iopl(3) < 0)
			_exit(1);
		inb(0x80); // POST codes: reading does nothing
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void keeps_no_io_ports(void **state)
{
	if (!may(true)) {
		printf("skip: a kernel that gives a process I/O ports (iopl)\n");
		fflush(stdout);
		skip();
	}
	assert_false(may(false));
}
#endif

static void may_lock_its_memory(void **state)
{
	struct rlimit limit;
	size_t allowed, needed;
	bool enough = eal_may_lock(&allowed, &needed);

	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	assert_true(allowed == limit.rlim_cur);
	assert_int_equal(needed, (size_t)MEMORY_MIB << 20);
	assert_int_equal(enough, allowed >= needed);
	if (limit.rlim_max >= needed)
		assert_true(enough);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_no_device),
#ifdef __x86_64__
		cmocka_unit_test(keeps_no_io_ports),
#endif
		cmocka_unit_test(may_lock_its_memory),
	};

	return cmocka_run_group_tests(tests, start, end);
}
