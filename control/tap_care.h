// SPDX-License-Identifier: BSD-3-Clause
// What others do to the taps while they are in use: their network namespace is deleted, perhaps
// another one gets its name; they are renamed, set down or moved
// away. A guest's is told of; the host's end of uplink mode nat is put right. Main thread only.
#pragma once

#include <stdbool.h>

struct daemon;
struct port;
struct tap_care;

int tap_care_new(struct daemon *d, struct tap_care **ret_care);
void tap_care_free(struct tap_care *c);
// Looks at every tap now. A port whose namespace has gone is broken then, and its tap let go of.
void tap_care_check(struct daemon *d);
// Looks at one port (NULL: none), or at its interface's MTU. Did that take long?
bool tap_care_look(struct daemon *d, struct port *p);
