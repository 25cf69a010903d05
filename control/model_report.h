// SPDX-License-Identifier: BSD-3-Clause
// The mistakes found in one document: collected while it is read and checked, handed out in line
// order as struct model_errors. Used by yaml_node.c, model_yaml.c, model_value.c and model_check.c.
#pragma once

#include <stdbool.h>
#include "control/model.h"

enum { REPORT_MAX = 1000 }; // a file this wrong is not read to the end by anybody

struct report_entry {
	int line;
	unsigned order; // of finding: keeps one line's mistakes in place
	char *text; // complete: "file:line: what; allowed"
};

struct report {
	const char *file;
	unsigned n, n_dropped;
	struct report_entry *e;
	bool no_memory;
};

// One mistake; the text is "what is wrong; what is allowed", without place.
void report(struct report *r, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
bool report_failed(const struct report *r);
// Moves the texts, sorted by line, to *ret_errors and empties the report. 0 or -ENOMEM.
int report_finish(struct report *r, struct model_errors *ret_errors);
void report_free(struct report *r);
