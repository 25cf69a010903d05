// SPDX-License-Identifier: BSD-3-Clause
// desired − actual, for people: what an apply creates, updates and deletes. Pure; `diff` prints it,
// `apply` returns it.
#pragma once

#include <jansson.h>

// was, will: as describe_all gives them. An array of {"op", "kind", "name", "detail"}: deletions
// last and in reverse order, so that what is needed longest goes last.
json_t *plan_changes(const json_t *was, const json_t *will);
// Says of one thing what else happens; an update is added if it is in no change yet.
void plan_add_detail(json_t *changes, const char *kind, const char *name, const char *detail);
