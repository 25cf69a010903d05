// SPDX-License-Identifier: BSD-3-Clause
// Notes of what is ours on this host, see remains.h. A tap's is "host:tap:NETNS/IFNAME" and names
// the port, as its alias does: a device that someone else made under that name is not taken for it.
// Called by apply.c, ports.c and daemon_life.c.
#include "control/remains.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/host_nat.h"
#include "control/link_note.h"
#include "control/log.h"
#include "control/packet_socket.h"
#include "control/tap.h"

#define TAP STORE_HOST "tap:"
// There from the loss of a state until the next apply, which says what is still wanted.
#define FORMER STORE_HOST "former"

struct note {
	char key[128], value[128];
	bool used;
};

struct notes {
	size_t n;
	struct note *v; // in the order of their keys
};

static void collect(void *arg, const char *key, const char *value)
{
	struct notes *l = arg;
	struct note *grown = realloc(l->v, (l->n + 1) * sizeof(*grown));

	if (!grown)
		return;
	l->v = grown;
	snprintf(grown[l->n].key, sizeof(grown->key), "%s", key);
	snprintf(grown[l->n].value, sizeof(grown->value), "%s", value);
	grown[l->n++].used = false;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct note *)a)->key, ((const struct note *)b)->key);
}

// The key of what the port has on this host; "" = nothing that is noted by name.
static void key_of(const struct port_spec *s, struct note *ret_note)
{
	ret_note->key[0] = 0;
	if (s->kind == PROTO_PORT_TAP)
		snprintf(ret_note->key, sizeof(ret_note->key), TAP "%s/%s", s->netns, s->ifname);
}

int remains_note_tap(struct store *s, const struct port *p)
{
	struct note n;

	key_of(port_spec_of(p), &n);
	return port_spec_of(p)->kind == PROTO_PORT_TAP ? store_set_note(s, n.key, p->name) : 0;
}

bool remains_has_tap(struct store *s, const struct port_spec *spec, char ret_port[128])
{
	struct notes l = { 0 };
	struct note n;
	bool found = false;

	key_of(spec, &n);
	store_each_note(s, n.key, collect, &l);
	for (size_t i = 0; i < l.n; i++)
		if (strcmp(l.v[i].key, n.key) == 0) { // eth10 also begins with eth1
			memcpy(ret_port, l.v[i].value, sizeof(l.v[i].value));
			found = true;
		}
	free(l.v);
	return found;
}

// The note of an adopted port's interface as a former version wrote it.
static void mark_former_link(struct notes *l, const struct port *p)
{
	struct packet_link link;
	struct note key = { 0 }, *n;

	snprintf(key.key, sizeof(key.key), LINK_NOTE "%s", port_spec_of(p)->ifname);
	n = bsearch(&key, l->v, l->n, sizeof(key), by_key);
	if (n && packet_link_parse(n->value, &link) &&
		(!link.ifindex || link.ifindex == p->ifindex))
		n->used = true;
}

// Whether uplink mode nat is in use.
static bool mark_used(struct notes *l, const struct ports *ports)
{
	bool nat = false;

	for (uint32_t id = 1; ports && id <= ports->max_id; id++) {
		const struct port *p = ports->by_id[id];
		struct note key, *n;
		if (!p)
			continue;
		nat = nat || port_spec_of(p)->host_nat;
		key_of(port_spec_of(p), &key);
		if (port_spec_of(p)->kind == PROTO_PORT_PACKET)
			link_note_key(p->ifindex, key.key);
		n = bsearch(&key, l->v, l->n, sizeof(key), by_key);
		if (n)
			n->used = true;
		else if (port_spec_of(p)->kind == PROTO_PORT_PACKET)
			mark_former_link(l, p);
	}
	return nat;
}

// 0 if nothing is left of it, or nothing ever will be done about it.
static int take_back(const struct note *n)
{
	char netns[64], *slash;
	struct packet_link link;
	int r;

	if (strncmp(n->key, LINK_NOTE, strlen(LINK_NOTE)) == 0) {
		if (packet_link_parse(n->value, &link))
			return packet_socket_restore(n->key + strlen(LINK_NOTE), &link);
		return 0;
	}
	snprintf(netns, sizeof(netns), "%s", n->key + strlen(TAP));
	slash = strchr(netns, '/');
	if (!slash)
		return 0;
	*slash++ = 0;
	r = tap_delete(netns, slash, n->value);
	if (r == 0)
		log_info("tap %s of port %s, left behind, is removed", slash, n->value);
	else if (r != -ENODEV)
		log_warning(
			"tap %s of port %s cannot be removed: %s", slash, n->value, strerror(-r));
	return r == -ENODEV ? 0 : r;
}

void remains_sweep(struct store *s, const struct ports *ports)
{
	struct notes l = { 0 };

	store_each_note(s, LINK_NOTE, collect, &l);
	store_each_note(s, TAP, collect, &l);
	if (!mark_used(&l, ports))
		host_nat_down(s);
	store_forget_note(s, FORMER);
	bool ok = store_begin(s) == 0; // else they are looked at again
	for (size_t i = 0; i < l.n; i++) {
		if (l.v[i].used)
			continue;
		if (take_back(&l.v[i]) == 0 && ok)
			store_forget_note(s, l.v[i].key);
	}
	if (ok)
		store_commit(s);
	free(l.v);
}

static void found(void *arg, const char *key, const char *value)
{
	*(bool *)arg = true;
}

void remains_after_start(struct store *s, const struct ports *ports)
{
	bool any = false, former = false;

	if (store_is_new(s)) {
		store_each_note(s, STORE_HOST, found, &any);
		if (any)
			store_note(s, FORMER, "");
	}
	store_each_note(s, FORMER, found, &former);
	if (!former)
		remains_sweep(s, ports);
}
