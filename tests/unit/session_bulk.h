// SPDX-License-Identifier: BSD-3-Clause
// The sessions of many keys by the steps of session_lookup.h, for tests and benches.
#pragma once

#include <assert.h>
#include "vswitch/session_lookup.h"

enum { SESSION_BULK_MAX = 64 };

// n <= SESSION_BULK_MAX. ret_found[i].record is NULL where there is none.
static inline void session_lookup_bulk(const struct session_table *t,
	const struct session_key keys[], unsigned n, struct session_found ret_found[])
{
	struct session_search s[SESSION_BULK_MAX];

	assert(n <= SESSION_BULK_MAX);
	for (unsigned i = 0; i < n; i++) {
		s[i].key = keys[i];
		session_search_begin(t, &s[i]);
	}
	for (unsigned i = 0; i < n; i++)
		session_search_record(t, &s[i]);
	for (unsigned i = 0; i < n; i++)
		if (!session_search_end(t, &s[i], &ret_found[i]))
			ret_found[i].record = NULL;
}
