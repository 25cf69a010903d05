// SPDX-License-Identifier: BSD-3-Clause
// Who took the addresses of configured ports, see lease_bound.h. Stored as notes a moment later,
// all of a second in one transaction: a guest that asks without end costs no more. Called by
// lease.c, main thread.
#include "control/lease_bound.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/daemon_internal.h"
#include "control/log.h"

#define KEY "bound:"
// Behind the time in a note; nothing: bound.
#define RELEASED "r"
#define DECLINED "d"
#define STORE_DELAY_NS 1000000000u

struct entry {
	struct bound bound;
	bool dirty; // newer than the store's
};

struct bounds {
	struct daemon *d;
	struct loop_source *timer;
	bool dirty; // one of them is, and the timer runs
	struct entry *by_port[POLICY_MAX_PORT_ID + 1];
};

static struct entry *entry_of(struct bounds *b, uint32_t port)
{
	if (!b->by_port[port])
		b->by_port[port] = calloc(1, sizeof(*b->by_port[0]));
	return b->by_port[port];
}

static int store_one(struct bounds *b, uint32_t port)
{
	const struct bound *bound = &b->by_port[port]->bound;
	char key[32], value[128];

	snprintf(key, sizeof(key), KEY "%u", port);
	snprintf(value, sizeof(value), "%" PRId64 "%s %.*s", bound->at,
		bound->kind == PROTO_LEASE_RELEASE   ? RELEASED
		: bound->kind == PROTO_LEASE_DECLINE ? DECLINED
						     : "",
		(int)sizeof(bound->hostname), bound->hostname);
	return store_set_note(b->d->store, key, value);
}

static void store_all(void *arg)
{
	struct bounds *b = arg;
	int r = store_begin(b->d->store);

	for (uint32_t id = 1; r == 0 && id <= POLICY_MAX_PORT_ID; id++)
		if (b->by_port[id] && b->by_port[id]->dirty)
			r = store_one(b, id);
	if (r == 0)
		r = store_commit(b->d->store);
	else
		store_rollback(b->d->store);
	b->dirty = false;
	if (r < 0) { // the next one that is bound tries again
		log_warning("leases of configured ports: %s", store_error(b->d->store));
		return;
	}
	for (uint32_t id = 1; id <= POLICY_MAX_PORT_ID; id++)
		if (b->by_port[id])
			b->by_port[id]->dirty = false;
}

static void load_one(void *arg, const char *key, const char *value)
{
	struct bounds *b = arg;
	unsigned long port = strtoul(key + strlen(KEY), NULL, 10);
	char *end;
	int64_t at = strtoll(value, &end, 10);
	struct entry *e =
		port > 0 && port <= POLICY_MAX_PORT_ID ? entry_of(b, (uint32_t)port) : NULL;

	if (!e)
		return;
	e->bound.at = at;
	e->bound.kind = *end == RELEASED[0]   ? PROTO_LEASE_RELEASE
			: *end == DECLINED[0] ? PROTO_LEASE_DECLINE
					      : PROTO_LEASE_BOUND;
	end += e->bound.kind != PROTO_LEASE_BOUND;
	snprintf(e->bound.hostname, sizeof(e->bound.hostname), "%s", *end == ' ' ? end + 1 : "");
}

int bounds_new(struct daemon *d, struct bounds **ret_bounds)
{
	struct bounds *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->d = d;
	int r = loop_add_timer(d->loop, store_all, b, &b->timer);
	if (r == 0)
		r = store_each_note(d->store, KEY, load_one, b);
	if (r < 0) {
		bounds_free(b);
		return r;
	}
	*ret_bounds = b;
	return 0;
}

void bounds_free(struct bounds *b)
{
	if (!b)
		return;
	if (b->dirty)
		store_all(b);
	loop_remove(b->d->loop, b->timer);
	for (uint32_t id = 0; id <= POLICY_MAX_PORT_ID; id++)
		free(b->by_port[id]);
	free(b);
}

void bounds_on_event(struct bounds *b, const struct proto_lease_event *e, int64_t now_s)
{
	struct entry *entry;

	if (e->port == 0 || e->port > POLICY_MAX_PORT_ID || !b->d->desired ||
		!desired_port_by_id(b->d->desired, e->port))
		return;
	entry = entry_of(b, e->port);
	if (!entry)
		return;
	entry->bound.at = now_s;
	entry->bound.kind = e->kind;
	memcpy(entry->bound.hostname, e->hostname, sizeof(e->hostname));
	entry->dirty = true;
	if (!b->dirty)
		loop_timer_arm(b->timer, STORE_DELAY_NS);
	b->dirty = true;
}

static void forget(struct bounds *b, uint32_t port)
{
	char key[32];

	snprintf(key, sizeof(key), KEY "%u", port);
	if (store_forget_note(b->d->store, key) < 0)
		log_warning("leases of configured ports: %s", store_error(b->d->store));
	free(b->by_port[port]);
	b->by_port[port] = NULL;
}

void bounds_on_apply(struct bounds *b)
{
	bool begun = false;

	for (uint32_t id = 1; id <= POLICY_MAX_PORT_ID; id++) {
		if (!b->by_port[id] || desired_port_by_id(b->d->desired, id))
			continue;
		if (!begun)
			begun = store_begin(b->d->store) == 0;
		forget(b, id);
	}
	if (begun)
		store_commit(b->d->store);
}

const struct bound *bounds_get(const struct bounds *b, uint32_t port)
{
	return b->by_port[port] ? &b->by_port[port]->bound : NULL;
}
