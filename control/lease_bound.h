// SPDX-License-Identifier: BSD-3-Clause
// Who took the addresses of configured ports, and when: for lists only, since the switch serves
// these clients by itself. Outlives insulad through the store. Main thread only.
#pragma once

#include <stdint.h>
#include "control/proto.h"

struct daemon;
struct bounds;

struct bound {
	int64_t at; // CLOCK_REALTIME, seconds
	uint32_t kind; // what was said last: PROTO_LEASE_BOUND, _RELEASE or _DECLINE
	char hostname[64];
};

int bounds_new(struct daemon *d, struct bounds **ret_bounds);
// Stores what is not stored yet.
void bounds_free(struct bounds *b);

// PROTO_LEASE_BOUND, and RELEASE and DECLINE of the port's own address.
void bounds_on_event(struct bounds *b, const struct proto_lease_event *e, int64_t now_s);
// The desired state changed: ports that are gone are forgotten.
void bounds_on_apply(struct bounds *b);
// NULL: nobody yet.
const struct bound *bounds_get(const struct bounds *b, uint32_t port);
