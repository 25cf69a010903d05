// SPDX-License-Identifier: BSD-3-Clause
// Which dynamic leases a desired state has no room for: they end when it is applied, and who asks
// for the difference is told before. See lease.h. Main thread only.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/describe.h"
#include "control/lease_internal.h"

enum { NAMED = 4 }; // addresses in a sentence

// What a state says of leases: the addresses that ports have by configuration, in order.
struct room {
	const struct desired *d;
	uint64_t *keys; // NULL: no memory
	size_t n;
};

static uint64_t key_of(uint32_t segment, be32 address)
{
	return (uint64_t)segment << 32 | ntohl(address);
}

static int by_key(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static struct room room_of(const struct desired *d)
{
	struct room r = { .d = d, .keys = malloc((d->n_ports + 1) * sizeof(*r.keys)) };

	for (unsigned i = 0; r.keys && i < d->n_ports; i++)
		if (d->ports[i].kind == DESIRED_NIC && d->ports[i].address)
			r.keys[r.n++] =
				key_of(d->segments[d->ports[i].segment].id, d->ports[i].address);
	if (r.keys)
		qsort(r.keys, r.n, sizeof(*r.keys), by_key);
	return r;
}

// A client keeps an address of the network that its pool has no more, until it asks to renew the
// lease: it has traffic under it.
static bool fits(const struct room *room, const struct lease *x)
{
	const struct desired_segment *s = lease_pool_of(room->d, x->s.port, x->s.segment);
	uint64_t key = key_of(x->s.segment, x->s.address);

	if (!s || (room->keys && bsearch(&key, room->keys, room->n, sizeof(key), by_key)))
		return false;
	if (x->offered || x->s.declined)
		return lease_in_pool(s, x->s.address);
	return x->s.address != s->network->gateway &&
	       ipv4_in_prefix(x->s.address, s->network->subnet, s->network->prefix_len) &&
	       ipv4_is_host(x->s.address, s->network->prefix_len);
}

void lease_mark_outside(struct leases *l)
{
	struct lease *x;

	TAILQ_FOREACH(x, &l->index.all, all)
	{
		const struct desired_segment *s =
			lease_pool_of(l->d->desired, x->s.port, x->s.segment);

		x->holder->n_outside -= x->outside;
		x->outside = s && !lease_in_pool(s, x->s.address);
		x->holder->n_outside += x->outside;
	}
}

void leases_on_apply(struct leases *l)
{
	bool any = false, ok = false; // not ok: the next start ends them in the store
	struct lease *x, *next;

	lease_spaces_clear(&l->index); // pools and ports may be others now
	if (!l->d->desired || l->d->held)
		return;
	bounds_on_apply(l->bounds);
	struct room room = room_of(l->d->desired);
	TAILQ_FOREACH_SAFE(x, &l->index.all, all, next)
	{
		if (fits(&room, x))
			continue;
		if (!any)
			ok = store_begin(l->d->store) == 0;
		any = true;
		if (!x->offered)
			lease_tell_end(l, &x->s);
		if (ok)
			store_delete_lease(l->d->store, x->s.segment, x->s.address);
		lease_remove(&l->index, x);
	}
	if (ok)
		store_commit(l->d->store);
	free(room.keys);
	lease_mark_outside(l);
	lease_arm(l);
}

// The leases of one port that would end, as a sentence.
struct ending {
	unsigned n;
	char addresses[NAMED * (INET_ADDRSTRLEN + 2)];
};

static void add(struct ending *e, be32 address)
{
	size_t used = strlen(e->addresses);

	if (e->n++ >= NAMED)
		return;
	if (used)
		used += (size_t)snprintf(e->addresses + used, sizeof(e->addresses) - used, ", ");
	describe_address(address, e->addresses + used);
}

static void warn(json_t *warnings, const struct desired_port *p, const struct ending *e)
{
	char more[32] = "";

	if (e->n > NAMED)
		snprintf(more, sizeof(more), " and %u more", e->n - NAMED);
	json_array_append_new(warnings,
		json_sprintf("port %s: the lease%s of %s%s end%s with this file; who has %s is cut "
			     "off until it asks for another",
			p->name, e->n == 1 ? "" : "s", e->addresses, more, e->n == 1 ? "s" : "",
			e->n == 1 ? "it" : "one"));
}

void leases_warn(struct leases *l, const struct desired *desired, json_t *warnings)
{
	struct ending *endings = calloc(desired->n_ports + 1, sizeof(*endings));
	struct room room = room_of(desired);

	for (struct lease *x = lease_behind(&l->index, 0, 0); endings && x; x = lease_next(x)) {
		const struct desired_port *p = desired_port_by_id(desired, x->s.port);

		if (p && !x->offered && !x->s.declined && !fits(&room, x))
			add(&endings[p - desired->ports], x->s.address);
	}
	for (unsigned i = 0; endings && i < desired->n_ports; i++)
		if (endings[i].n)
			warn(warnings, &desired->ports[i], &endings[i]);
	free(room.keys);
	free(endings);
}
