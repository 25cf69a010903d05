// SPDX-License-Identifier: BSD-3-Clause
// What others do to the taps while they are in use: their network namespace is deleted, perhaps
// another one gets its name; they are renamed, set down or moved away. Main thread only.
#pragma once

struct daemon;
struct tap_care;

int tap_care_new(struct daemon *d, struct tap_care **ret_care);
void tap_care_free(struct tap_care *c);
// Looks at every tap now. A port whose namespace has gone is broken then, and its tap let go of.
void tap_care_check(struct daemon *d);
