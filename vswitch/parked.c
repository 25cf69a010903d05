// SPDX-License-Identifier: BSD-3-Clause
// Table of parked DHCP messages, see parked.h: an array with a stack of free places. Called by
// control_leases.c and housekeeping.c.
#include <stdlib.h>
#include "vswitch/parked.h"

struct parking {
	uint32_t round; // upper bits of the next token
	uint32_t n_free;
	uint16_t free[PARKED_MAX]; // places
	uint16_t of_port[POLICY_MAX_PORT_ID + 1];
	struct parked slots[PARKED_MAX];
};

static_assert((PARKED_MAX & (PARKED_MAX - 1)) == 0 && PARKED_MAX <= UINT16_MAX, "places");

struct parking *parking_new(uint64_t seed)
{
	struct parking *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->round = (uint32_t)seed / PARKED_MAX;
	for (unsigned i = 0; i < PARKED_MAX; i++)
		p->free[p->n_free++] = (uint16_t)(PARKED_MAX - 1 - i);
	return p;
}

void parking_free(struct parking *p)
{
	free(p);
}

struct parked *parked_add(struct parking *p, const struct worker_message *wm, uint64_t now_ns)
{
	struct parked *slot;
	uint32_t place;

	if (wm->port > POLICY_MAX_PORT_ID || p->of_port[wm->port] >= PARKED_PER_PORT ||
		p->n_free == 0)
		return NULL;
	place = p->free[--p->n_free];
	p->round = (p->round + 1) % (UINT32_MAX / PARKED_MAX);
	slot = &p->slots[place];
	*slot = (struct parked){ .token = (p->round + 1) * PARKED_MAX + place, // never 0
		.port = wm->port,
		.segment_id = wm->segment_id,
		.since_ns = now_ns,
		.msg = wm->lease.msg };
	p->of_port[wm->port]++;
	return slot;
}

struct parked *parked_find(struct parking *p, uint32_t token)
{
	struct parked *slot = &p->slots[token % PARKED_MAX];

	return token && slot->token == token ? slot : NULL;
}

void parked_del(struct parking *p, struct parked *slot)
{
	p->of_port[slot->port]--;
	p->free[p->n_free++] = (uint16_t)(slot - p->slots);
	slot->token = 0;
}

void parked_clear(struct parking *p)
{
	for (unsigned i = 0; i < PARKED_MAX; i++)
		if (p->slots[i].token)
			parked_del(p, &p->slots[i]);
}

void parked_expire(struct parking *p, uint64_t now_ns)
{
	if (p->n_free == PARKED_MAX)
		return;
	for (unsigned i = 0; i < PARKED_MAX; i++)
		if (p->slots[i].token && now_ns - p->slots[i].since_ns > PARKED_S * 1000000000ull)
			parked_del(p, &p->slots[i]);
}
