// SPDX-License-Identifier: BSD-3-Clause
// What the switch is told of dynamic leases, and what its word makes of them; see lease.h. The
// store comes first: a switch that insulad finds again, after a death between the two or a lost
// connection, may still have leases that ended. Main thread only.
#include <errno.h>
#include <stdio.h>
#include "control/daemon_internal.h"
#include "control/describe.h"
#include "control/lease_internal.h"
#include "control/log.h"

enum {
	AT_ONCE = 256,
	// A lease that was read from the store runs from its request on, its guard and its client's
	// ACK from when it was stored: rather too long by so much than too short.
	STORED_IN_NS = 100000000,
};

// Requests of a walk over many leases.
struct slice {
	struct leases *l;
	size_t n;
	struct switch_lease_request requests[AT_ONCE];
	struct lease *leases[AT_ONCE]; // which they are of; NULL: of one that is unknown here
};

static struct proto_lease_set set_of(const struct store_lease *s, uint64_t remaining_ns)
{
	return (struct proto_lease_set){ .h = { .type = PROTO_LEASE_SET,
						 .size = sizeof(struct proto_lease_set) },
		.port = s->port,
		.segment = s->segment,
		.mac = s->mac,
		.address = s->address,
		.remaining_ns = remaining_ns };
}

void lease_tell_end(struct leases *l, const struct store_lease *s)
{
	struct proto_lease_set set = set_of(s, 0);
	char err[256];

	if (l->d->client && switch_lease_set(l->d->client, &set, err, sizeof(err)) < 0 &&
		log_limit_pass(&l->limit, 5))
		log_warning("lease: %s", err);
}

static void refused(void *arg, const struct switch_lease_request *request, const char *why)
{
	struct leases *l = arg;
	const struct proto_lease_set *set =
		request && request->h.type == PROTO_LEASE_SET ? &request->set : NULL;
	const struct desired_port *p = set ? desired_port_by_id(l->d->desired, set->port) : NULL;
	char address[INET_ADDRSTRLEN], mac[18];

	if (!log_limit_pass(&l->limit, 5))
		return;
	if (!set) {
		log_warning("lease: %s", why);
		return;
	}
	describe_address(set->address, address);
	describe_mac(&set->mac, mac);
	log_warning(
		"lease: %s on port %s cannot have %s: %s", mac, p ? p->name : "?", address, why);
}

void lease_tell_all(struct leases *l, struct lease_answers *a)
{
	if (a->n)
		switch_lease_requests(l->d->client, a->v, a->n, refused, l);
}

// begun: 1 = no transaction yet, 0 = there is one, -errno = there is none: in the store the lease
// ends by itself.
static void drop(struct leases *l, struct lease *x, int *begun)
{
	if (*begun > 0)
		*begun = store_begin(l->d->store);
	if (*begun == 0)
		store_delete_lease(l->d->store, x->s.segment, x->s.address);
	lease_remove(&l->index, x);
}

// What the switch has no room for is nobody's: its client has been refused. Unless somebody was
// granted the address, or it was tried again, later in the batch.
void lease_settle(struct leases *l)
{
	int begun = 1;

	for (size_t i = 0; i < l->answers.n; i++) {
		const struct switch_lease_request *a = &l->answers.v[i];
		struct lease *x = a->told && a->h.type == PROTO_LEASE_SET && a->set.remaining_ns
					  ? lease_at(&l->index, a->set.segment, a->set.address)
					  : NULL;
		if (!x || x->offered || x->s.declined || x->granted_by != i)
			continue;
		x->unconfirmed = false;
		if (a->refused)
			drop(l, x, &begun);
		else // its guard and its client's ACK count from now, however slow the store was
			lease_set_end(&l->index, x, lease_now_ns() + x->s.lasts_s * LEASE_SECOND);
	}
	if (begun == 0)
		store_commit(l->d->store);
}

// --- a switch that is new, or was left alone ---

// -errno: the connection failed.
static int send_slice(struct slice *s)
{
	struct leases *l = s->l;
	int begun = 1;
	int r = s->n ? switch_lease_requests(l->d->client, s->requests, s->n, refused, l) : 0;

	for (size_t i = 0; i < s->n; i++) {
		struct lease *x = s->leases[i];

		if (!x || !s->requests[i].told)
			continue;
		// Whose client was acknowledged keeps what the store promises, and a switch without
		// a policy refuses everybody.
		if (!s->requests[i].refused)
			x->unconfirmed = false;
		else if (x->unconfirmed && l->d->switch_has_policy)
			drop(l, x, &begun);
	}
	if (begun == 0)
		store_commit(l->d->store);
	s->n = 0;
	return r;
}

static int add(struct slice *s, struct lease *x, const struct proto_lease_set *set)
{
	s->leases[s->n] = x;
	s->requests[s->n++] = (struct switch_lease_request){ .set = *set };
	return s->n == AT_ONCE ? send_slice(s) : 0;
}

static bool is_in_force(struct leases *l, const struct proto_lease_entry *e)
{
	const struct lease *x = lease_at(&l->index, e->segment, e->address);

	return x && !x->offered && !x->s.declined && x->s.port == e->port &&
	       mac_equal(&x->s.mac, &e->mac);
}

// What the switch has and the store has not is over: nobody lived to say so. First, since it may be
// in the way of what the store has.
static int end_page(struct slice *s, const struct proto_lease_entry *page, unsigned n)
{
	unsigned n_ended = 0;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < n; i++) {
		const struct store_lease gone = { .port = page[i].port,
			.segment = page[i].segment,
			.mac = page[i].mac,
			.address = page[i].address };
		const struct proto_lease_set set = set_of(&gone, 0);

		if (is_in_force(s->l, &page[i]))
			continue;
		n_ended++;
		r = add(s, NULL, &set);
	}
	if (n_ended && log_limit_pass(&s->l->limit, 5))
		log_info("lease: ending %u in insula-switch that had ended before", n_ended);
	return r == 0 ? send_slice(s) : r;
}

static void end_strays(struct slice *s)
{
	struct proto_lease_entry page[SWITCH_LEASES_PAGE];
	unsigned n;
	uint32_t from = 0;
	char err[256];

	do {
		if (switch_leases(s->l->d->client, from, page, &n, &from, err, sizeof(err)) < 0) {
			if (log_limit_pass(&s->l->limit, 5))
				log_warning("lease: %s", err);
			return;
		}
	} while (end_page(s, page, n) == 0 && from);
}

void leases_restore(struct leases *l)
{
	struct slice s = { .l = l };
	int64_t now_ns = lease_now_ns();
	struct lease *x, *next;
	int r = 0;

	if (!l->d->client)
		return;
	end_strays(&s);
	TAILQ_FOREACH_SAFE(x, &l->index.all, all, next)
	{
		if (r < 0 || x->offered || x->s.declined || x->ends_ns <= now_ns)
			continue;
		const struct proto_lease_set set =
			set_of(&x->s, (uint64_t)(x->ends_ns - now_ns) + STORED_IN_NS);
		r = add(&s, x, &set);
	}
	if (r == 0)
		send_slice(&s);
	lease_arm(l);
}
