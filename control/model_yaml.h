// SPDX-License-Identifier: BSD-3-Clause
// What the parts of the YAML reader know of each other, and the reader's table for the test that
// compares it with SCHEMA.md. For everybody else: model_from_yaml in model.h.
#pragma once

#include "control/model.h"
#include "control/model_report.h"
#include "control/yaml_node.h"

// Everything that needs more than one value to be judged (model_check.c). `root` is the tree `m`
// was read from: lists of both have the same order. A value that could not be read is zero and not
// judged again.
void model_check(const struct model *m, const struct yaml_node *root, struct report *r);

// Calls `each` with every key the reader knows and the object it stands in ("tenants[].networks[]";
// "" = top).
void model_yaml_keys(void (*each)(void *arg, const char *object, const char *key), void *arg);
