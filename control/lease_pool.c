// SPDX-License-Identifier: BSD-3-Clause
// Who gets which address of a dynamic pool: finds a client's lease, judges addresses, chooses a
// free one. Called by lease.c. Main thread only.
#include <stdlib.h>
#include <time.h>
#include "control/lease_internal.h"

enum {
	OFFER_S = 30,
	MAX_OFFERS = 64, // outstanding, of one port: a flood of DISCOVERs pushes out its own only
};

int64_t lease_now_s(void)
{
	return (int64_t)(loop_now_ns() / 1000000000u);
}

int64_t lease_time_of_day_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

void lease_ends_in(struct lease *x, int64_t seconds)
{
	x->ends_s = lease_now_s() + seconds;
	x->s.expires_at = lease_time_of_day_s() + seconds;
}

struct lease *lease_append(struct leases *l)
{
	if ((l->n & (l->n - 1)) == 0) { // full at each power of two
		struct lease *grown = realloc(l->v, (l->n ? 2 * l->n : 1) * sizeof(*grown));
		if (!grown)
			return NULL;
		l->v = grown;
	}
	l->v[l->n] = (struct lease){ 0 };
	return &l->v[l->n++];
}

// The port is part of who a client is: an identifier or a MAC can be imitated behind another one,
// so a lease moves to another port only after its RELEASE or expiry.
static bool same_client(const struct store_lease *s, const struct proto_lease_event *e)
{
	if (s->segment != e->segment || s->port != e->port)
		return false;
	if (e->client_id_size || s->client_id_size) // RFC 2131 §4.2: the identifier, else the MAC
		return s->client_id_size == e->client_id_size &&
		       memcmp(s->client_id, e->client_id, e->client_id_size) == 0;
	return mac_equal(&s->mac, &e->mac);
}

struct lease *lease_of_client(struct leases *l, const struct proto_lease_event *e)
{
	for (size_t i = 0; i < l->n; i++)
		if (!l->v[i].gone && !l->v[i].s.declined && same_client(&l->v[i].s, e))
			return &l->v[i];
	return NULL;
}

// The guard knows one port for a MAC: as long as it has a lease behind another, it gets none here.
bool lease_mac_elsewhere(const struct leases *l, const struct proto_lease_event *e)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct lease *x = &l->v[i];
		if (!x->gone && !x->offered && !x->s.declined && x->s.segment == e->segment &&
			x->s.port != e->port && mac_equal(&x->s.mac, &e->mac))
			return true;
	}
	return false;
}

const struct desired_segment *lease_pool_of(struct leases *l, const struct proto_lease_event *e)
{
	const struct desired *d = l->d->desired;
	const struct desired_port *p = d ? desired_port_by_id(d, e->port) : NULL;

	if (!p || p->kind != DESIRED_NIC || !p->nic->clients_many ||
		d->segments[p->segment].id != e->segment ||
		!d->segments[p->segment].network->pool_first)
		return NULL;
	return &d->segments[p->segment];
}

bool lease_in_pool(const struct desired_segment *s, be32 address)
{
	uint32_t a = ntohl(address);

	return a >= ntohl(s->network->pool_first) && a <= ntohl(s->network->pool_last);
}

// An address of the pool that no port has by configuration: what a lease may hold.
bool lease_may_hold(struct leases *l, const struct desired_segment *s, be32 address)
{
	const struct desired *d = l->d->desired;

	if (!lease_in_pool(s, address))
		return false;
	for (unsigned i = 0; i < d->n_ports; i++)
		if (d->ports[i].address == address && d->ports[i].kind == DESIRED_NIC &&
			d->segments[d->ports[i].segment].id == s->id)
			return false;
	return true;
}

static void mark(uint8_t *used, const struct desired_segment *s, be32 address)
{
	uint32_t bit = ntohl(address) - ntohl(s->network->pool_first);

	if (lease_in_pool(s, address))
		used[bit / 8] |= (uint8_t)(1 << bit % 8);
}

// A free address of the pool, `wish` if possible; 0 when none is left. One pass over leases and
// ports.
static be32 choose(struct leases *l, const struct desired_segment *s, be32 wish, uint32_t salt)
{
	const struct desired *d = l->d->desired;
	uint32_t first = ntohl(s->network->pool_first);
	uint32_t size = ntohl(s->network->pool_last) - first + 1;
	be32 chosen = 0;
	uint8_t *used = calloc(1, size / 8 + 1);

	if (!used)
		return 0;
	mark(used, s, s->network->gateway);
	for (size_t i = 0; i < l->n; i++)
		if (!l->v[i].gone && l->v[i].s.segment == s->id)
			mark(used, s, l->v[i].s.address);
	for (unsigned i = 0; i < d->n_ports; i++)
		if (d->ports[i].kind == DESIRED_NIC &&
			d->segments[d->ports[i].segment].id == s->id && d->ports[i].address)
			mark(used, s, d->ports[i].address);
	uint32_t start = wish && lease_in_pool(s, wish) ? ntohl(wish) - first : salt % size;
	for (uint32_t i = 0; i < size && !chosen; i++) {
		uint32_t bit = (uint32_t)(((uint64_t)start + i) % size);
		if (!(used[bit / 8] & (1 << bit % 8)))
			chosen = htonl(first + bit);
	}
	free(used);
	return chosen;
}

// How many addresses of a pool one port may take: half of them when there is another port for many.
static uint32_t share(const struct desired *d, const struct desired_segment *s)
{
	uint32_t size = ntohl(s->network->pool_last) - ntohl(s->network->pool_first) + 1;
	unsigned n = 0;

	for (unsigned i = 0; i < d->n_ports; i++)
		n += d->ports[i].kind == DESIRED_NIC && d->ports[i].nic->clients_many &&
		     d->segments[d->ports[i].segment].id == s->id;
	return n > 1 ? (size + 1) / 2 : size;
}

// Is there room for one more lease of this port? Its oldest offer makes room; a client that asks
// for an offer forgotten gets it all the same if nobody else has it. Entries are in their order of
// age.
static bool make_room(
	struct leases *l, const struct desired_segment *s, const struct proto_lease_event *e)
{
	uint32_t n = 0, n_offers = 0;
	struct lease *oldest = NULL;

	for (size_t i = 0; i < l->n; i++) {
		struct lease *x = &l->v[i];
		if (x->gone || x->s.segment != s->id || x->s.port != e->port)
			continue;
		n++;
		n_offers += x->offered;
		if (x->offered && !oldest)
			oldest = x;
	}
	if (n_offers < MAX_OFFERS && n < share(l->d->desired, s))
		return true;
	if (oldest)
		oldest->gone = true;
	return oldest;
}

struct lease *lease_new(struct leases *l, const struct desired_segment *s,
	const struct proto_lease_event *e, bool exact)
{
	// Clients scatter by their MAC, so that one gets the same address again if it can.
	uint32_t salt = (uint32_t)e->mac.b[2] << 24 | (uint32_t)e->mac.b[3] << 16 |
			(uint32_t)e->mac.b[4] << 8 | e->mac.b[5];
	struct lease *x = NULL;
	be32 address = 0;

	if (!lease_mac_elsewhere(l, e) && make_room(l, s, e))
		address = choose(l, s, e->address, salt * 2654435761u);
	if (address && (!exact || address == e->address))
		x = lease_append(l);
	if (!x)
		return NULL;
	x->s = (struct store_lease){ .segment = e->segment,
		.port = e->port,
		.address = address,
		.mac = e->mac,
		.client_id_size = e->client_id_size };
	memcpy(x->s.client_id, e->client_id, e->client_id_size);
	x->offered = true;
	lease_ends_in(x, OFFER_S);
	return x;
}
