// SPDX-License-Identifier: BSD-3-Clause
// The two tables that outlive the switch, in files of the run directory (a tmpfs): RUN_DIR/sessions
// and RUN_DIR/mappings. Opened once at start, by the main thread, before privileges are dropped.
#pragma once

#include "vswitch/nat_table.h"
#include "vswitch/session_table.h"

enum {
	TABLES_SESSIONS_DEFAULT = 131072, // 16 MiB of tmpfs when all are used, nothing when none is
	TABLES_SESSIONS_MAX = 4194304,
	TABLES_MAPPINGS_DEFAULT = 65536, // 4 MiB likewise
};

struct tables_options {
	const char *run_dir;
	uint32_t session_capacity, mapping_capacity; // records; 0 = default
	uint64_t seed; // of the hashes and the choice of ports; 0 = from the kernel
};

// What settings may say of the sessions (`--sessions N,PER_TENANT,PER_PORT`).
struct tables_limits {
	uint32_t sessions, per_tenant, per_port;
};

struct tables_file { // private
	int fd;
	void *mem;
	size_t size;
};

struct tables {
	struct session_table *sessions;
	struct nat_table *mappings;
	const char *sessions_fresh, *mappings_fresh; // why it starts empty; NULL = it goes on
	uint32_t n_orphans; // sessions ended at start because their mapping was not there
	uint32_t n_lost; // and those that a smaller table has no room for
	struct tables_file file[2];
};

void tables_limits_default(struct tables_limits *ret);
// Reads "N", or "N,PER_TENANT,PER_PORT"; what is not said is an eighth of N for a tenant, half of
// that for a port. False: out of range, or not as it should be.
bool tables_limits_parse(const char *text, struct tables_limits *ret);

// Creates or attaches both files, starts one of another boot or layout anew, rebuilds references.
// Files are locked: a second switch on the same directory is refused. 0 or -errno with a sentence
// in err.
int tables_open(const struct tables_options *o, struct tables *ret, char *err, size_t err_size);
// Lets go of memory and files; their content stays for the next switch.
void tables_close(struct tables *t);
// session_reclaim and nat_reclaim: the control thread calls it each time a grace period has passed
// since the last call. True while removed ids still wait.
bool tables_reclaim(struct tables *t);
