// SPDX-License-Identifier: BSD-3-Clause
// Held until the next apply, see hold.h: switch, ports and policy, without the desired state that
// they come from. Called by daemon.c.
#include "control/hold.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "control/host_nat.h"
#include "control/log.h"
#include "control/remains.h"
#include "control/tap.h"

static int load_sections(struct store *s, struct compiled *c)
{
	const struct policy_root *root = c->root.data;
	int r = 0;

	c->generation = root->generation;
	c->sections = calloc(root->n_sections + 1, sizeof(*c->sections));
	if (!c->sections)
		return -ENOMEM;
	for (; r == 0 && c->n_sections < root->n_sections; c->n_sections++) {
		struct policy_blob *b = &c->sections[c->n_sections];
		memcpy(b->hash, root->sections[c->n_sections].hash, POLICY_HASH_SIZE);
		r = store_get_section(s, b->hash, &b->data, &b->size);
	}
	return r;
}

// For a switch started anew, and for an apply that fails.
static int load_policy(struct store *s, uint64_t generation, struct compiled **ret_compiled)
{
	struct compiled *c = calloc(1, sizeof(*c));
	int r = c ? store_get_root(s, generation, &c->root.data, &c->root.size) : -ENOMEM;

	if (r == 0)
		r = load_sections(s, c);
	if (r < 0)
		compiled_free(c);
	else
		*ret_compiled = c;
	return r;
}

// What the switch says of a port; a tap knows more.
static struct port *as_it_is(const struct proto_port_entry *e)
{
	struct port *p = calloc(1, sizeof(*p));
	struct port_spec *s = p ? &p->want[0] : NULL;
	const char *slash;

	if (!p)
		return NULL;
	p->id = e->id;
	p->n_want = 1;
	snprintf(p->name, sizeof(p->name), "%.*s", (int)sizeof(e->name), e->name);
	s->kind = e->kind;
	s->flags = e->flags & (uint16_t)~PROTO_PORT_HELD;
	s->mtu = e->mtu;
	s->n_queues = e->n_queues;
	snprintf(s->arg, sizeof(s->arg), "%.*s", (int)sizeof(e->arg) - 1, e->arg);
	slash = strchr(s->arg, '/');
	if (s->kind == PROTO_PORT_TAP && slash) {
		snprintf(s->netns, sizeof(s->netns), "%.*s", (int)(slash - s->arg), s->arg);
		snprintf(s->ifname, sizeof(s->ifname), "%.15s", slash + 1);
	} else if (s->kind == PROTO_PORT_PACKET) {
		snprintf(s->ifname, sizeof(s->ifname), "%.15s", s->arg);
	}
	return p;
}

static int hold_port(struct daemon *d, const struct proto_port_entry *e)
{
	struct port *p = as_it_is(e);
	struct tap_note noted;

	if (!p)
		return -ENOMEM;
	ports_put(d->ports, p);
	if (port_adopt(d, p, e) < 0) {
		port_mark_broken(d, p, "its device is not as the switch says");
		return 0;
	}
	if (p->want[0].kind != PROTO_PORT_TAP)
		return 0;
	if (remains_has_tap(d->store, &p->want[0], &noted)) // the switch's may be shortened
		snprintf(p->name, sizeof(p->name), "%.95s", noted.port);
	p->want[0].host_nat = !p->want[0].netns[0] && host_nat_uses(d->store, p->want[0].ifname);
	return tap_mac(p->fds[0], &p->want[0].mac);
}

struct entries {
	struct proto_port_entry *e;
	size_t n;
};

static void collect(void *arg, const struct proto_port_entry *e)
{
	struct entries *h = arg;
	struct proto_port_entry *grown = realloc(h->e, (h->n + 1) * sizeof(*grown));

	if (!grown)
		return;
	h->e = grown;
	grown[h->n++] = *e;
}

int hold_what_runs(struct daemon *d, uint64_t generation, char *err, size_t err_size)
{
	struct entries h = { 0 };
	struct switch_settings settings = { 0 }; // of one that has to be started
	bool adopted;
	int r = load_policy(d->store, generation, &d->compiled);

	if (r < 0)
		return log_reason(r, err, err_size, "the stored policy: %s",
			r == -EIO ? store_error(d->store) : strerror(-r));
	switch_settings_fill(&settings);
	r = switch_link_up(d, &settings, &adopted, err, err_size);
	if (r < 0 || !adopted)
		return r;
	d->switch_has_policy = true;
	r = switch_port_list(d->client, collect, &h, err, err_size);
	for (size_t i = 0; r == 0 && i < h.n; i++) {
		r = hold_port(d, &h.e[i]);
		if (r < 0)
			log_reason(r, err, err_size, "port %u: %s", h.e[i].id, strerror(-r));
	}
	free(h.e);
	if (r == 0)
		leases_restore(d->leases);
	return r;
}
