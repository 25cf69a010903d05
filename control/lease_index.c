// SPDX-License-Identifier: BSD-3-Clause
// Dynamic leases in memory, found by address, client, MAC, holder and end, see lease_internal.h.
// Called by lease.c and lease_pool.c. Main thread only.
#include <stdlib.h>
#include <string.h>
#include "control/lease_internal.h"

#define ORDER(a, b) \
	do { \
		if ((a) != (b)) \
			return (a) < (b) ? -1 : 1; \
	} while (0)

static int compare_address(const struct lease *a, const struct lease *b)
{
	ORDER(a->s.segment, b->s.segment);
	ORDER(ntohl(a->s.address), ntohl(b->s.address));
	return 0;
}

// The port is part of who a client is: an identifier or a MAC can be imitated behind another one,
// so a lease moves to another port only after its RELEASE or expiry. RFC 2131 §4.2: a client is
// known by its identifier, else by its MAC.
static int compare_client_key(const struct store_lease *a, const struct store_lease *b)
{
	ORDER(a->segment, b->segment);
	ORDER(a->port, b->port);
	ORDER(a->client_id_size, b->client_id_size);
	return a->client_id_size ? memcmp(a->client_id, b->client_id, a->client_id_size)
				 : memcmp(&a->mac, &b->mac, sizeof(a->mac));
}

static int compare_client(const struct lease *a, const struct lease *b)
{
	int r = compare_client_key(&a->s, &b->s);

	if (r)
		return r;
	ORDER(a->serial, b->serial);
	return 0;
}

static int compare_mac(const struct lease *a, const struct lease *b)
{
	int r;

	ORDER(a->s.segment, b->s.segment);
	r = memcmp(&a->s.mac, &b->s.mac, sizeof(a->s.mac));
	if (r)
		return r;
	ORDER(a->s.port, b->s.port);
	ORDER(a->serial, b->serial);
	return 0;
}

static int compare_end(const struct lease *a, const struct lease *b)
{
	ORDER(a->ends_ns, b->ends_ns);
	ORDER(a->serial, b->serial);
	return 0;
}

static int compare_holder(const struct lease_holder *a, const struct lease_holder *b)
{
	ORDER(a->segment, b->segment);
	ORDER(a->port, b->port);
	return 0;
}

RB_GENERATE_INTERNAL(lease_address_tree, lease, by_address, compare_address, static inline)
RB_GENERATE_INTERNAL(lease_client_tree, lease, by_client, compare_client, static inline)
RB_GENERATE_INTERNAL(lease_mac_tree, lease, by_mac, compare_mac, static inline)
RB_GENERATE_INTERNAL(lease_end_tree, lease, by_end, compare_end, static inline)
RB_GENERATE_INTERNAL(lease_holder_tree, lease_holder, node, compare_holder, static inline)

void lease_index_init(struct lease_index *ix)
{
	*ix = (struct lease_index){ 0 };
	TAILQ_INIT(&ix->all);
}

void lease_index_clear(struct lease_index *ix)
{
	struct lease *x;

	lease_spaces_clear(ix);
	while ((x = TAILQ_FIRST(&ix->all)))
		lease_remove(ix, x);
}

struct lease_holder *lease_holder_of(struct lease_index *ix, uint32_t segment, uint32_t port)
{
	struct lease_holder key = { .segment = segment, .port = port };

	return RB_FIND(lease_holder_tree, &ix->holders, &key);
}

static struct lease_holder *holder_have(struct lease_index *ix, uint32_t segment, uint32_t port)
{
	struct lease_holder *h = lease_holder_of(ix, segment, port);

	if (h)
		return h;
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->segment = segment;
	h->port = port;
	TAILQ_INIT(&h->offers);
	RB_INSERT(lease_holder_tree, &ix->holders, h);
	return h;
}

static void holder_put(struct lease_index *ix, struct lease_holder *h)
{
	if (h->n)
		return;
	RB_REMOVE(lease_holder_tree, &ix->holders, h);
	free(h);
}

// The trees that depend on its state.
static void enter(struct lease_index *ix, struct lease *x)
{
	if (x->s.declined)
		return;
	RB_INSERT(lease_client_tree, &ix->by_client, x);
	if (x->offered) {
		TAILQ_INSERT_TAIL(&x->holder->offers, x, offer);
		x->holder->n_offers++;
	} else {
		RB_INSERT(lease_mac_tree, &ix->by_mac, x);
	}
}

static void leave(struct lease_index *ix, struct lease *x)
{
	if (x->s.declined)
		return;
	RB_REMOVE(lease_client_tree, &ix->by_client, x);
	if (x->offered) {
		TAILQ_REMOVE(&x->holder->offers, x, offer);
		x->holder->n_offers--;
	} else {
		RB_REMOVE(lease_mac_tree, &ix->by_mac, x);
	}
}

struct lease *lease_add(
	struct lease_index *ix, const struct store_lease *s, int64_t ends_ns, bool offered)
{
	struct lease *x = calloc(1, sizeof(*x));
	struct lease_holder *h = x ? holder_have(ix, s->segment, s->port) : NULL;

	if (!h) {
		free(x);
		return NULL;
	}
	x->s = *s;
	x->ends_ns = ends_ns;
	x->offered = offered;
	x->holder = h;
	x->serial = ++ix->serial;
	if (RB_INSERT(lease_address_tree, &ix->by_address, x)) {
		holder_put(ix, h);
		free(x);
		return NULL;
	}
	h->n++;
	TAILQ_INSERT_TAIL(&ix->all, x, all);
	RB_INSERT(lease_end_tree, &ix->by_end, x);
	enter(ix, x);
	lease_space_take(ix, s->segment, s->address);
	return x;
}

void lease_remove(struct lease_index *ix, struct lease *x)
{
	lease_space_give(ix, x->s.segment, x->s.address);
	leave(ix, x);
	RB_REMOVE(lease_end_tree, &ix->by_end, x);
	RB_REMOVE(lease_address_tree, &ix->by_address, x);
	TAILQ_REMOVE(&ix->all, x, all);
	x->holder->n_outside -= x->outside;
	x->holder->n--;
	holder_put(ix, x->holder);
	free(x);
}

void lease_set_end(struct lease_index *ix, struct lease *x, int64_t ends_ns)
{
	RB_REMOVE(lease_end_tree, &ix->by_end, x);
	x->ends_ns = ends_ns;
	RB_INSERT(lease_end_tree, &ix->by_end, x);
}

void lease_set_client(struct lease_index *ix, struct lease *x, const struct proto_lease_event *e)
{
	leave(ix, x);
	x->s.client_id_size = e->client_id_size;
	memcpy(x->s.client_id, e->client_id, e->client_id_size);
	enter(ix, x);
}

void lease_set_granted(struct lease_index *ix, struct lease *x, const struct mac *mac)
{
	leave(ix, x);
	x->offered = false;
	x->s.mac = *mac;
	enter(ix, x);
}

void lease_set_declined(struct lease_index *ix, struct lease *x)
{
	leave(ix, x);
	x->offered = false;
	x->s.declined = 1;
}

struct lease *lease_first_to_end(struct lease_index *ix)
{
	return RB_MIN(lease_end_tree, &ix->by_end);
}

// The client that speaks, as its leases name it.
static struct lease client_key(const struct proto_lease_event *e)
{
	struct lease key = { .s = { .segment = e->segment,
				     .port = e->port,
				     .mac = e->mac,
				     .client_id_size = e->client_id_size } };

	memcpy(key.s.client_id, e->client_id, e->client_id_size);
	return key;
}

struct lease *lease_of_client(struct lease_index *ix, const struct proto_lease_event *e)
{
	struct lease key = client_key(e), *x, *outside = NULL;

	x = RB_NFIND(lease_client_tree, &ix->by_client, &key);
	for (; x && compare_client_key(&x->s, &key.s) == 0; x = RB_NEXT(lease_client_tree, NULL, x))
		if (!x->outside)
			return x;
		else if (!outside)
			outside = x;
	return outside;
}

struct lease *lease_named(struct lease_index *ix, const struct proto_lease_event *e)
{
	struct lease key = client_key(e), *x = lease_at(ix, e->segment, e->address);

	return x && !x->s.declined && compare_client_key(&x->s, &key.s) == 0 ? x : NULL;
}

// The first granted lease of this MAC from this port on.
static struct lease *mac_from_port(
	struct lease_index *ix, const struct proto_lease_event *e, uint32_t port)
{
	struct lease key = { .s = { .segment = e->segment, .port = port, .mac = e->mac } };
	struct lease *x = RB_NFIND(lease_mac_tree, &ix->by_mac, &key);

	return x && x->s.segment == e->segment && mac_equal(&x->s.mac, &e->mac) ? x : NULL;
}

struct lease *lease_of_mac(
	struct lease_index *ix, const struct proto_lease_event *e, const struct lease *but)
{
	struct lease *x = mac_from_port(ix, e, e->port);

	if (x && x == but) {
		x = RB_NEXT(lease_mac_tree, &ix->by_mac, x);
		if (x && (x->s.segment != e->segment || !mac_equal(&x->s.mac, &e->mac)))
			x = NULL;
	}
	return x && x->s.port == e->port ? x : NULL;
}

// The guard knows one port for a MAC: as long as it has a lease behind another, it gets none here.
bool lease_mac_elsewhere(struct lease_index *ix, const struct proto_lease_event *e)
{
	struct lease *x = mac_from_port(ix, e, 0);

	if (x && x->s.port == e->port)
		x = e->port < UINT32_MAX ? mac_from_port(ix, e, e->port + 1) : NULL;
	return x;
}

struct lease *lease_first_of_segment(struct lease_index *ix, uint32_t segment)
{
	struct lease key = { .s = { .segment = segment } };
	struct lease *x = RB_NFIND(lease_address_tree, &ix->by_address, &key);

	return x && x->s.segment == segment ? x : NULL;
}

struct lease *lease_next_of_segment(struct lease *x)
{
	struct lease *next = RB_NEXT(lease_address_tree, NULL, x);

	return next && next->s.segment == x->s.segment ? next : NULL;
}

struct lease *lease_behind(struct lease_index *ix, uint32_t segment, be32 address)
{
	struct lease key = { .s = { .segment = segment, .address = address } };
	struct lease *x = RB_NFIND(lease_address_tree, &ix->by_address, &key);

	return x && compare_address(x, &key) == 0 ? lease_next(x) : x;
}

struct lease *lease_at(struct lease_index *ix, uint32_t segment, be32 address)
{
	struct lease key = { .s = { .segment = segment, .address = address } };

	return RB_FIND(lease_address_tree, &ix->by_address, &key);
}

struct lease *lease_next(struct lease *x)
{
	return RB_NEXT(lease_address_tree, NULL, x);
}
