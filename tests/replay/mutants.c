// SPDX-License-Identifier: BSD-3-Clause
// Part of run_fixtures in build-mutants/ only: which check is negated, and which checks a case met.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include "tests/replay/fixture.h"
#include "tests/replay/mutants.h"

enum { CASE_CPU_S = 4 }; // a hundred times what the longest case takes

unsigned mutant_number, mutant_depth;
unsigned char mutant_seen[MUTANTS_MAX];

static void __attribute__((constructor)) read_number(void)
{
	const char *number = getenv("INSULA_MUTANT");

	mutant_number = number ? (unsigned)strtoul(number, NULL, 10) : 0;
}

// A case that does not end is killed by SIGPROF.
void fixture_begins(const char *name)
{
	const struct itimerval limit = { .it_value.tv_sec = CASE_CPU_S };

	memset(mutant_seen, 0, sizeof(mutant_seen));
	setitimer(ITIMER_PROF, &limit, NULL);
}

// INSULA_MUTANTS_SEEN: a file that gets a line a case: its name, and NUMBER:SEEN of what it met.
void fixture_ends(const char *name)
{
	const char *path = getenv("INSULA_MUTANTS_SEEN");
	FILE *f = path ? fopen(path, "ae") : NULL;

	if (!f)
		return;
	fputs(name, f);
	for (unsigned i = 1; i < MUTANTS_MAX; i++)
		if (mutant_seen[i])
			fprintf(f, " %u:%u", i, mutant_seen[i]);
	fputc('\n', f);
	fclose(f);
}
