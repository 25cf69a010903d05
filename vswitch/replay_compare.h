// SPDX-License-Identifier: BSD-3-Clause
// Two runs of the same packets under two policies: which flows end otherwise, and by which rule.
#pragma once

#include "vswitch/replay.h"

struct replay_compare;

int replay_compare_new(const struct replay_frames *frames, struct replay_compare **ret_compare);
// For replay_options.verdict of the first run, and of the second.
void replay_compare_old(void *compare, const struct replay *r, const struct replay_verdict *v);
void replay_compare_then(void *compare, const struct replay *r, const struct replay_verdict *v);
// 0; -ENOMEM; -ENOENT when an input's port is in neither policy, with a sentence in err.
int replay_compare_done(struct replay_compare *c, char *err, size_t err_size);
// Prints the flows to stdout, in the order of their first packets. How many packets end otherwise.
size_t replay_compare_print(struct replay_compare *c, bool json);
void replay_compare_free(struct replay_compare *c);
