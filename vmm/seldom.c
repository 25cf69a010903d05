// SPDX-License-Identifier: BSD-3-Clause
// See seldom.h. Called by run.c and blk_error.c.
#include "vmm/seldom.h"

uint64_t seldom_count(struct seldom *s, uint64_t n, uint64_t now_ns)
{
	const uint64_t told = s->n + n;

	s->n = told;
	if (now_ns < s->next_ns)
		return 0;
	s->n = 0;
	s->next_ns = now_ns + SELDOM_SECONDS * 1000000000ull;
	return told;
}
