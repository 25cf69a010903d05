// SPDX-License-Identifier: BSD-3-Clause
// Guest RAM: what is inside of it and what only touches it; sealed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "vmm/memory.h"

static const uint64_t MIB = 1 << 20;

static void bounds(void **state)
{
	struct guest_memory m;
	uint8_t *host;

	assert_int_equal(guest_memory_init(&m, 4 * MIB, false, NULL), 0);
	host = guest_memory_at(&m, 0, 4 * MIB);
	assert_non_null(host);
	assert_ptr_equal(guest_memory_at(&m, 4 * MIB - 1, 1), host + 4 * MIB - 1);
	assert_null(guest_memory_at(&m, 4 * MIB - 1, 2));
	assert_null(guest_memory_at(&m, 4 * MIB, 0));
	assert_null(guest_memory_at(&m, 8, UINT64_MAX - 4)); // wraps
	assert_null(guest_memory_at(&m, UINT64_MAX, 2));
	assert_int_equal(ftruncate(m.regions[0].fd, 0), -1);
	assert_int_equal(errno, EPERM);
	guest_memory_free(&m);
}

static void around_the_hole(void **state)
{
	struct guest_memory m;

	assert_int_equal(guest_memory_init(&m, GUEST_HOLE_BEGIN + 2 * MIB, false, NULL), 0);
	assert_non_null(guest_memory_at(&m, GUEST_HOLE_BEGIN - 1, 1));
	assert_null(guest_memory_at(&m, GUEST_HOLE_BEGIN - 1, 2));
	assert_null(guest_memory_at(&m, GUEST_HOLE_BEGIN, 1));
	assert_null(guest_memory_at(&m, GUEST_HOLE_END - 1, 2));
	assert_non_null(guest_memory_at(&m, GUEST_HOLE_END, 2 * MIB));
	assert_null(guest_memory_at(&m, GUEST_HOLE_END + 1, 2 * MIB));
	guest_memory_free(&m);
}

static void refused_sizes(void **state)
{
	struct guest_memory m = { .size = 7 };
	struct error e = { "" };

	assert_int_equal(guest_memory_init(&m, 0, false, NULL), -EINVAL);
	assert_int_equal(guest_memory_init(&m, 4 * MIB + 1, false, &e), -EINVAL);
	assert_non_null(strstr(e.text, "multiple of 2 MiB"));
	assert_int_equal(guest_memory_init(&m, UINT64_MAX - 2 * MIB + 1, false, NULL), -EINVAL);
	assert_int_equal(m.size, 7);
}

// KiB of the process' shared memory that pages of 2 MiB map.
static unsigned long huge_kib(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	unsigned long kib = 0;
	char line[128];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "ShmemPmdMapped: %lu", &kib) == 1)
			break;
	fclose(file);
	return kib;
}

// Whether this kernel makes large pages when it is asked to, of any memory.
static bool kernel_collapses(void)
{
	const size_t size = 4 * MIB;
	uint8_t *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *page = at + (-(uintptr_t)at & (2 * MIB - 1));
	bool made;

	assert_true(at != MAP_FAILED);
	page[0] = 1;
	made = madvise(page, 2 * MIB, 25) == 0; // MADV_COLLAPSE
	munmap(at, size);
	return made;
}

static void collapsed(void **state)
{
	struct guest_memory m;
	uint8_t *host;

	if (!kernel_collapses())
		skip();
	assert_int_equal(guest_memory_init(&m, 16 * MIB, false, NULL), 0);
	host = guest_memory_at(&m, 0, 16 * MIB);
	host[5 * MIB] = 7;
	guest_memory_collapse(&m, 15 * MIB, 2 * MIB); // not all of it RAM
	assert_int_equal(huge_kib(), 0);
	guest_memory_collapse(&m, 5 * MIB, 2 * MIB); // lies in two
	assert_int_equal(huge_kib(), 4096);
	assert_int_equal(host[5 * MIB], 7);
	assert_int_equal(host[4 * MIB], 0);
	guest_memory_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(bounds),
		cmocka_unit_test(around_the_hole), cmocka_unit_test(refused_sizes),
		cmocka_unit_test(collapsed) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
