// SPDX-License-Identifier: BSD-3-Clause
// Who gets which address of a dynamic pool: judges addresses, chooses a free one. Called by
// lease.c. Main thread only.
#include <time.h>
#include "control/lease_internal.h"

enum {
	OFFER_S = 30,
	MAX_OFFERS = 64, // outstanding, of one port: a flood of DISCOVERs pushes out its own only
};

int64_t lease_now_ns(void)
{
	return (int64_t)loop_now_ns();
}

int64_t lease_time_of_day_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

void lease_ends_in(struct leases *l, struct lease *x, int64_t seconds)
{
	lease_set_end(&l->index, x, lease_now_ns() + seconds * LEASE_SECOND);
	x->s.expires_at = lease_time_of_day_s() + seconds;
	x->s.boot = l->boot;
	x->s.boot_ends_ns = x->ends_ns;
	x->s.lasts_s = (uint32_t)seconds;
}

const struct desired_segment *lease_pool_of(
	const struct desired *d, uint32_t port, uint32_t segment)
{
	const struct desired_port *p = d ? desired_port_by_id(d, port) : NULL;

	if (!p || p->kind != DESIRED_NIC || !p->nic->clients_many ||
		d->segments[p->segment].id != segment ||
		!d->segments[p->segment].network->pool_first)
		return NULL;
	return &d->segments[p->segment];
}

bool lease_in_pool(const struct desired_segment *s, be32 address)
{
	uint32_t a = ntohl(address);

	return a >= ntohl(s->network->pool_first) && a <= ntohl(s->network->pool_last);
}

// An address of the pool that no port has by configuration: what a lease may hold. None when memory
// is short.
bool lease_may_hold(struct leases *l, const struct desired_segment *s, be32 address)
{
	const struct lease_space *sp = lease_space_of(l, s);

	return sp && lease_in_pool(s, address) && !lease_space_reserved(sp, address);
}

// How many addresses of a pool one port may take: half of them when there is another port for many.
static uint32_t share(const struct lease_space *sp)
{
	return sp->n_many > 1 ? (sp->size + 1) / 2 : sp->size;
}

// Is there room for one more lease of this port? Its oldest offer makes room; a client that asks
// for an offer forgotten gets it all the same if nobody else has it.
static bool make_room(
	struct leases *l, const struct lease_space *sp, const struct proto_lease_event *e)
{
	struct lease_holder *h = lease_holder_of(&l->index, sp->segment, e->port);
	struct lease *oldest = h ? TAILQ_FIRST(&h->offers) : NULL;

	if (!h || (h->n_offers < MAX_OFFERS && h->n - h->n_outside < share(sp)))
		return true;
	if (oldest)
		lease_remove(&l->index, oldest);
	return oldest;
}

// A free address of the pool, `wish` if possible; 0 when none is left.
static be32 choose(const struct lease_space *sp, be32 wish, uint32_t salt)
{
	uint32_t n = ntohl(wish) - sp->first;

	return lease_space_find(sp, wish && n < sp->size ? n : salt % sp->size);
}

struct lease *lease_new(struct leases *l, const struct desired_segment *s,
	const struct proto_lease_event *e, bool exact)
{
	// Clients scatter by their MAC, so that one gets the same address again if it can.
	uint32_t salt = (uint32_t)e->mac.b[2] << 24 | (uint32_t)e->mac.b[3] << 16 |
			(uint32_t)e->mac.b[4] << 8 | e->mac.b[5];
	const struct lease_space *sp = lease_space_of(l, s);
	struct store_lease lease = { .segment = e->segment,
		.port = e->port,
		.mac = e->mac,
		.client_id_size = e->client_id_size,
		.expires_at = lease_time_of_day_s() + OFFER_S };

	if (sp && !lease_mac_elsewhere(&l->index, e) && make_room(l, sp, e))
		lease.address = choose(sp, e->address, salt * 2654435761u);
	if (!lease.address || (exact && lease.address != e->address))
		return NULL;
	memcpy(lease.client_id, e->client_id, e->client_id_size);
	return lease_add(&l->index, &lease, lease_now_ns() + OFFER_S * LEASE_SECOND, true);
}
