// SPDX-License-Identifier: BSD-3-Clause
// Leases of dynamic pools (`clients: many`), and who took the addresses of configured ports.
// Requests the switch has parked are answered after one transaction for all that were waiting. Main
// thread only.
#pragma once

#include <jansson.h>
#include "control/desired.h"
#include "control/proto.h"

struct daemon;
struct leases;

// Reads the leases from the store.
int leases_new(struct daemon *d, struct leases **ret_leases);
void leases_free(struct leases *l);

// PROTO_EVENT_LEASE: collected until leases_batch_end decides and answers all.
void leases_on_event(struct leases *l, const struct proto_lease_event *e);
void leases_batch_end(struct leases *l);
// The desired state changed: leases of networks, ports and pools that are gone end.
void leases_on_apply(struct leases *l);
// A sentence for each port whose clients' leases would end with that state.
void leases_warn(struct leases *l, const struct desired *desired, json_t *warnings);
// The switch has the leases that are valid then, and no others: it may be a new one, or have been
// left with what ended meanwhile. A switch that dies under it is told by its next life.
void leases_restore(struct leases *l);

// Where a walk over configured ports' addresses and dynamic leases is, and which of them are
// wanted. All zero: before the first of all. It stays right whatever comes and goes meanwhile.
struct lease_cursor {
	be32 address; // only this one's; 0: any
	uint32_t port; // only this switch port's; 0: any
	unsigned n_configured; // looked at
	uint32_t segment; // behind this lease
	be32 behind;
};

// The next one as a flat object; NULL: none is left, or no memory.
json_t *leases_next(struct leases *l, struct lease_cursor *c);
