// SPDX-License-Identifier: BSD-3-Clause
// What an apply would do, mend and run into, told before and after it: two states' difference, and
// what only the ports know. Touches nothing. Main thread only.
#pragma once

#include <jansson.h>
#include "control/desired.h"

struct daemon;

// What the file changes, and what apply would mend beyond what mends itself. *ret_warnings:
// sentences about what would make the apply fail, and about ports in trouble that it leaves alone.
json_t *foresee_diff(
	struct daemon *d, const struct desired *desired, json_t **ret_warnings, bool *ret_fails);

// Does an apply of it start another switch?
bool foresee_restart(const struct daemon *d, const struct desired *desired);
// Is there room for that switch? 0, or -errno with a sentence in err.
int foresee_room(struct daemon *d, const struct desired *desired, char *err, size_t err_size);
// Is each vhost-user socket one port's, and none of insulad's own? 0, or -EINVAL with a sentence in
// err.
int foresee_sockets(const struct daemon *d, const struct desired *desired, int *ret_line, char *err,
	size_t err_size);
// Would an apply of it fail, as far as is known before? 0, or -errno with the first reason in err.
int foresee_check(struct daemon *d, const struct desired *desired, char *err, size_t err_size);

// A sentence for each network whose MTU is larger than its uplink's.
void warn_of_mtus(const struct desired *desired, json_t *warnings);

// The same changes, of an apply about to begin. *ret_repairs goes to foresee_applied, or is let go
// of when the apply fails. *ret_warnings: of what will be gone then.
json_t *foresee_apply(struct daemon *d, const struct desired *desired, json_t **ret_repairs,
	json_t **ret_warnings);
// It has succeeded: adds to the changes what it repaired on its way and where it fell back, and to
// the warnings the ports still in trouble, as sentences. Takes `repairs`.
void foresee_applied(struct daemon *d, json_t *changes, json_t *repairs, json_t *warnings);
