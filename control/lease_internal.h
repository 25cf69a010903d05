// SPDX-License-Identifier: BSD-3-Clause
// Shared by lease.c and lease_pool.c only.
#pragma once

#include "control/daemon_internal.h"
#include "control/lease.h"
#include "control/lease_bound.h"
#include "control/log.h"

struct lease {
	struct store_lease s;
	int64_t ends_s; // CLOCK_BOOTTIME; s.expires_at is for a life after a reboot
	bool offered; // not durable yet
	bool gone; // to be swept
};

// What the switch is told after the transaction.
struct answer {
	bool set, reply;
	struct proto_lease_set lease;
	uint32_t token;
	be32 address;
};

struct leases {
	struct daemon *d;
	struct loop_source *timer;
	size_t n, n_events, n_answers;
	struct lease *v;
	struct proto_lease_event *events;
	struct answer *answers;
	struct bounds *bounds;
	struct log_limit limit;
};

// lease_pool.c: who may have which address. Nothing here is durable or told to anybody.
// CLOCK_BOOTTIME: by it leases run, so that who sets the time of day ends none and prolongs none.
int64_t lease_now_s(void);
int64_t lease_time_of_day_s(void);
void lease_ends_in(struct lease *x, int64_t seconds);
// NULL: no memory. Pointers to other leases are void then.
struct lease *lease_append(struct leases *l);
// The lease or offer of the client that speaks, or NULL.
struct lease *lease_of_client(struct leases *l, const struct proto_lease_event *e);
bool lease_mac_elsewhere(const struct leases *l, const struct proto_lease_event *e);
// The segment whose pool the port may lease from, or NULL.
const struct desired_segment *lease_pool_of(struct leases *l, const struct proto_lease_event *e);
bool lease_in_pool(const struct desired_segment *s, be32 address);
bool lease_may_hold(struct leases *l, const struct desired_segment *s, be32 address);
// A new offer; NULL when there is no room. exact: the address that the client names, or none.
struct lease *lease_new(struct leases *l, const struct desired_segment *s,
	const struct proto_lease_event *e, bool exact);
