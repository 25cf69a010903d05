// SPDX-License-Identifier: BSD-3-Clause
// Follows what the host changes underneath: its name servers (a laptop changes networks), and rule
// sets flushed together with ours. Main thread only.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct daemon;
struct host_care;

int host_care_new(struct daemon *d, struct host_care **ret_care);
void host_care_free(struct host_care *c);
// The ports are known for the first time: what became of the nat table while nobody looked?
void host_care_look(struct host_care *c);
// Does a datagram of nf_tables' events (aligned to 4) tell of our table, its chains or its rules?
// For tests.
bool host_care_table_touched(const void *messages, size_t size);
