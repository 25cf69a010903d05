// SPDX-License-Identifier: BSD-3-Clause
// Ports that are against ports desired, see port_changes.h. Called by apply.c and foresee.c.
#include "control/port_changes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_same(const struct port *a, const struct port *b)
{
	return a->n_want == b->n_want && memcmp(a->want, b->want, sizeof(a->want)) == 0;
}

// The same devices, whatever else is different.
static bool is_same_place(const struct port *a, const struct port *b)
{
	for (unsigned i = 0; i < a->n_want && a->n_want == b->n_want; i++)
		if (a->want[i].kind != b->want[i].kind ||
			strcmp(a->want[i].arg, b->want[i].arg) != 0)
			return false;
	return a->n_want == b->n_want;
}

static void consider(struct port_change *c, struct port *other)
{
	if (!other || !other->n_fds || other->broken)
		return;
	for (unsigned i = 0; i < c->new->n_want; i++) {
		if (!c->donor && port_spec_same_tap(port_spec_of(other), &c->new->want[i]))
			c->donor = other;
		if (!port_spec_replaces_tap(port_spec_of(other), &c->new->want[i]))
			continue;
		c->evicted = other;
		snprintf(c->new->temporary, sizeof(c->new->temporary), PORT_TEMPORARY_PREFIX "%u",
			c->new->id & 0xffff);
	}
}

// A tap that changes hands (a renamed instance) or only its MTU keeps its device and its carrier.
static void find_donors(struct port_changes *all)
{
	for (unsigned i = 0; i < all->n; i++) {
		struct port_change *c = &all->v[i];
		consider(c, c->old);
		for (unsigned j = 0; !c->donor && j < all->n_removed; j++)
			consider(c, all->removed[j]);
		for (unsigned j = 0; !c->donor && j < all->n; j++)
			consider(c, all->v[j].old);
	}
}

// It fell back to the nat that the file has given to another uplink since.
static bool gives_nat_away(const struct port *p, const struct desired *desired)
{
	const struct desired_port *user = desired_nat_uplink(desired);

	return user && user->id != p->id && port_spec_of(p)->host_nat;
}

// Is there no room for the file's vhost-user ports and those that it no longer names at once?
static bool is_vhost_crowded(const struct port_changes *c, const struct desired *desired)
{
	unsigned places = 0;

	for (unsigned i = 0; i < desired->n_ports; i++) {
		const struct model_nic *nic = desired->ports[i].nic;
		if (desired->ports[i].kind == DESIRED_NIC && nic->type == MODEL_NIC_VHOST_USER)
			places += nic->vhost_server ? 2 : 1;
	}
	for (unsigned i = 0; i < c->n_removed; i++) {
		const struct port_spec *s = port_spec_of(c->removed[i]);
		if (s->kind == PROTO_PORT_VHOST)
			places += s->flags & PROTO_PORT_VHOST_SERVER ? 2 : 1;
	}
	return places > PROTO_MAX_VHOST_PLACES;
}

int port_changes_find(const struct ports *ports, const struct desired *desired, const char *run_dir,
	unsigned workers, bool adopt, struct port_changes *ret_changes)
{
	struct port_changes *c = ret_changes;
	bool *wanted = calloc(POLICY_MAX_PORT_ID + 1, sizeof(*wanted));
	int r = -ENOMEM;

	*c = (struct port_changes){ .v = calloc(desired->n_ports + 1, sizeof(*c->v)),
		.removed = calloc(ports->max_id + 1, sizeof(struct port *)) };
	if (!wanted || !c->v || !c->removed)
		goto out;
	for (unsigned i = 0; i < desired->n_ports; i++) {
		const struct desired_port *want = &desired->ports[i];
		struct port *old = ports->by_id[want->id];
		struct port *new = port_new(want, run_dir, workers);
		if (!new)
			goto out;
		wanted[want->id] = true;
		if (old && is_same(old, new) && !old->broken && !port_may_improve(old) &&
			!gives_nat_away(old, desired)) {
			port_free(new);
			continue;
		}
		bool was_broken = old && old->broken && is_same_place(old, new);
		new->adopt = adopt || (old && old->broken);
		c->v[c->n++] = (struct port_change){
			.desired = want, .old = old, .new = new, .was_broken = was_broken
		};
	}
	for (uint32_t id = 1; id <= ports->max_id; id++)
		if (ports->by_id[id] && !wanted[id])
			c->removed[c->n_removed++] = ports->by_id[id];
	c->vhost_crowded = is_vhost_crowded(c, desired);
	find_donors(c);
	r = 0;
out:
	free(wanted);
	return r;
}

const struct port *port_changes_to_be(
	const struct port_changes *c, const struct ports *ports, uint32_t id)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->v[i].new->id == id)
			return c->v[i].new;
	return ports->by_id[id];
}

const char *port_changes_nat_user(const struct port_changes *c, const struct ports *ports,
	const struct desired *desired, const struct port *p)
{
	const struct desired_port *user = desired_nat_uplink(desired);

	if (!p->want[p->n_want - 1].host_nat) // whoever has it
		return NULL;
	if (user)
		return user->id == p->id ? NULL : user->name;
	for (unsigned i = 0; i < desired->n_uplinks; i++) {
		const struct desired_port *u = &desired->ports[i];
		const struct port *other =
			u->id == p->id ? NULL : port_changes_to_be(c, ports, u->id);
		if (other && port_spec_of(other)->host_nat)
			return u->name;
	}
	return NULL;
}

bool port_changes_give(const struct port_changes *c, const struct port *p)
{
	for (unsigned j = 0; j < c->n; j++)
		if (c->v[j].donor == p &&
			port_spec_same_tap(port_spec_of(p), port_spec_of(c->v[j].new)))
			return true;
	return false;
}

// May one of those that are made have this socket?
static bool is_socket_wanted(const struct port_changes *c, const char *path)
{
	for (unsigned i = 0; i < c->n; i++)
		for (unsigned k = 0; k < c->v[i].new->n_want; k++)
			if (c->v[i].new->want[k].kind == PROTO_PORT_VHOST &&
				strcmp(c->v[i].new->want[k].arg, path) == 0)
				return true;
	return false;
}

bool port_changes_make_way(const struct port_changes *c, const struct port *p)
{
	if (port_spec_of(p)->kind == PROTO_PORT_VHOST)
		return c->vhost_crowded || is_socket_wanted(c, port_spec_of(p)->arg);
	for (unsigned i = 0; i < c->n && port_is_device(p); i++)
		for (unsigned k = 0; k < c->v[i].new->n_want; k++)
			if (c->v[i].new->want[k].kind == PROTO_PORT_ETHDEV)
				return true;
	return false;
}

bool port_changes_touch(const struct port_changes *c, const struct port *p)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->v[i].old == p || c->v[i].donor == p || c->v[i].evicted == p)
			return true;
	return false;
}

void port_changes_free(struct port_changes *c, bool new_too)
{
	for (unsigned i = 0; new_too && i < c->n; i++)
		port_free(c->v[i].new);
	free(c->v);
	free(c->removed);
	*c = (struct port_changes){ 0 };
}
