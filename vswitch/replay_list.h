// SPDX-License-Identifier: BSD-3-Clause
// The verdict list of a run, DIR/verdicts.json, and its sum.
#pragma once

#include "vswitch/replay.h"

struct replay_list; // a run's; pass it and replay_list_add as replay_options.arg and .verdict

// path: of the list; NULL: the sum alone.
int replay_list_new(const char *path, struct replay_list **ret_list, char *err, size_t err_size);
void replay_list_add(void *list, const struct replay *r, const struct replay_verdict *v);
// Prints the sum to stdout, for people or as JSON.
void replay_list_print(const struct replay_list *l, bool json);
// Closes the file. 0 or -errno with a sentence in err.
int replay_list_close(struct replay_list *l, char *err, size_t err_size);
