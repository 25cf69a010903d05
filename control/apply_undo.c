// SPDX-License-Identifier: BSD-3-Clause
// An apply that fails: what ran before, again. See apply.c, which calls it; main thread.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "control/apply_internal.h"
#include "control/host_nat.h"
#include "control/log.h"
#include "control/remains.h"
#include "control/tap.h"

enum { DYING_MS = 500 };

// A device that was handed on gets its MAC, MTU and alias back.
static void reset_device(struct apply *a, struct port *p)
{
	const struct port_spec *s = port_spec_of(p);
	const struct tap_params params = { .netns = s->netns,
		.ifname = s->ifname,
		.port = p->name,
		.mac = s->mac,
		.mtu = s->mtu,
		.n_queues = p->n_fds };
	char why[512] = "";
	bool made;
	int r = 0;

	// One that others renamed or moved was not touched.
	if (s->kind == PROTO_PORT_TAP && p->n_fds && !p->oddity[0])
		r = tap_open(&params, p->fds, p->n_fds, &made, why, sizeof(why));
	if (r == 0 && s->nat_host && p->n_fds)
		r = host_nat_up(a->d->store, s, s->ifname, why, sizeof(why));
	if (s->kind == PROTO_PORT_PACKET && p->n_fds && !p->renamed) {
		port_close(p);
		r = port_open(a->d, p, NULL, why, sizeof(why));
	}
	if (r == 0 && !p->in_switch && !p->broken)
		r = port_add(a->d, p, why, sizeof(why));
	if (r == -ENOTCONN || r == -EPIPE || r == -ETIMEDOUT)
		return; // the device is; the switch gets it when it is spoken with again
	if (r < 0) {
		log_error("port %s: cannot be put back: %s", p->name, why);
		p->broken = true;
		loop_timer_arm(a->d->repair_timer, 0);
	}
}

// Forwarding goes on without waiting for the devices of those that changed, nor for DPDK's. What
// fails here is tried again by ports_add_all.
static void add_untouched(struct apply *a)
{
	struct daemon *d = a->d;
	char why[512];

	for (uint32_t id = 1; d->client && id <= d->ports->max_id; id++) {
		struct port *p = d->ports->by_id[id];
		if (p && !p->broken && !port_is_device(p) && !port_changes_touch(&a->ports, p))
			port_add(d, p, why, sizeof(why));
	}
}

// The former switch again, or as soon as it can be had.
static void undo_restart(struct apply *a)
{
	struct daemon *d = a->d;
	size_t used = strlen(a->err);
	char why[512];
	bool adopted;

	switch_link_down(d);
	if (switch_link_up(d, &a->old_settings, &adopted, why, sizeof(why)) < 0) {
		d->proc.settings = a->old_settings; // not those of the file that is refused
		switch_link_retry(d, why);
		snprintf(a->err + used, a->err_size - used,
			"; the former insula-switch cannot be started again: %s; it is tried every "
			"second",
			why);
	}
	ports_all_out(d);
	add_untouched(a);
}

// No port of the former policy is served under the new one, nor the other way round.
static void undo_policy(struct apply *a)
{
	struct daemon *d = a->d;
	char why[512];
	int r = 0;

	if (!d->compiled)
		return;
	if (a->pushed || a->restarted)
		r = switch_link_push(d, d->compiled, NULL, why, sizeof(why));
	if (r < 0)
		log_error("policy: cannot put generation %llu back: %s",
			(unsigned long long)d->compiled->generation, why);
	d->switch_has_policy = r == 0 && (a->had_policy || a->pushed || a->restarted);
}

// A tap that was not there before, beside what there was: nobody waits for it to go.
static bool is_fresh_tap(const struct port_change *c)
{
	return c->new->tap_made && c->new->n_fds && !port_spec_of(c->new)->host_nat && !c->old &&
	       !c->donor && !c->evicted;
}

// Closing a tap takes the kernel some ms each, deleting many at once hardly more than one.
static void close_fresh_taps(struct apply *a)
{
	struct port **fresh = calloc(a->ports.n + 1, sizeof(struct port *));
	unsigned n = 0;

	for (unsigned i = 0; i < a->ports.n; i++)
		if (fresh && is_fresh_tap(&a->ports.v[i]))
			fresh[n++] = a->ports.v[i].new;
	if (fresh)
		ports_delete_taps(fresh, n);
	for (unsigned i = 0; i < a->ports.n; i++)
		port_close(a->ports.v[i].new);
	free(fresh);
}

static void undo_ports(struct apply *a)
{
	struct daemon *d = a->d;

	for (unsigned i = a->ports.n; i-- > 0;) {
		struct port_change *c = &a->ports.v[i];
		if (is_fresh_tap(c))
			continue;
		port_close(c->new);
		if (c->made)
			port_restore_host(d, d->ports, c->new);
	}
	for (unsigned i = a->ports.n; i-- > 0;) {
		struct port_change *c = &a->ports.v[i];
		if (c->old)
			reset_device(a, c->old);
		if (c->donor && c->donor != c->old && !c->donor->in_switch)
			reset_device(a, c->donor);
		if (c->evicted && c->evicted != c->old && !c->evicted->in_switch)
			reset_device(a, c->evicted);
	}
	ports_add_all(d); // also those that made way
	ports_add_devices(d);
	close_fresh_taps(a);
}

void apply_undo(struct apply *a, int error)
{
	struct daemon *d = a->d;
	char why[512];

	// Its connection ends a moment before it does.
	if (switch_link_died(d, error == -EPIPE || error == -ENOTCONN ? DYING_MS : 0))
		a->restarted = true;
	if (a->restarted)
		undo_restart(a);
	for (unsigned i = a->ports.n; !a->restarted && i-- > 0;)
		if (a->ports.v[i].made && port_del(d, a->ports.v[i].new, why, sizeof(why)) < 0)
			log_warning("port %s: %s", a->ports.v[i].new->name, why);
	undo_policy(a);
	undo_ports(a);
	// What a port that came and went could not put back, and what was noted of its tap.
	if (a->mode == APPLY_NEW && d->compiled && !remains_wait(d->store))
		remains_sweep(d->store, d->ports);
	for (unsigned i = 0; i < a->ports.n; i++) {
		const struct port_change *c = &a->ports.v[i];
		if (c->old)
			remains_note_tap(d->store, c->old);
		if (c->donor)
			remains_note_tap(d->store, c->donor);
	}
	if (store_begin(d->store) == 0) {
		if (store_round_reject(d->store, a->desired->round) < 0)
			store_rollback(d->store);
		else
			store_commit(d->store);
	}
}
