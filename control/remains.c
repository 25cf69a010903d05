// SPDX-License-Identifier: BSD-3-Clause
// Notes of what is ours on this host, see remains.h. A tap's is "host:tap:NETNS/IFNAME" and names
// the port, as its alias does, and the device's index: a device that someone else made under that
// name is not taken for it, and one that was renamed is found; and its MAC, for one that was moved.
// "PORT #INDEX MAC"; former versions' notes have the port alone.
// Called by apply.c, ports.c and daemon_life.c.
#include "control/remains.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/host_nat.h"
#include "control/link_note.h"
#include "control/log.h"
#include "control/netns.h"
#include "control/packet_socket.h"
#include "control/tap.h"

#define TAP STORE_HOST "tap:"
// There from the loss of a state until the next apply, which says what is still wanted.
#define FORMER STORE_HOST "former"

struct note {
	char key[128], value[160];
	bool used;
	bool missing; // it is not where it was made
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
	grown[l->n].used = grown[l->n].missing = false;
	l->n++;
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

static void parse(const char *value, struct tap_note *ret_note)
{
	const char *more = strstr(value, " #");
	uint8_t *m = ret_note->mac.b;

	*ret_note = (struct tap_note){ 0 };
	snprintf(ret_note->port, sizeof(ret_note->port), "%.*s",
		(int)(more ? (size_t)(more - value) : strlen(value)), value);
	if (more)
		sscanf(more, " #%d %hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &ret_note->ifindex, &m[0], &m[1],
			&m[2], &m[3], &m[4], &m[5]);
}

int remains_note_tap(struct store *s, const struct port *p)
{
	const struct port_spec *spec = port_spec_of(p);
	struct tap_note former;
	struct note n;

	key_of(spec, &n);
	if (spec->kind != PROTO_PORT_TAP)
		return 0;
	const uint8_t *m = spec->mac.b;
	int ifindex = p->n_fds ? tap_index(p->fds[0], spec->netns) : 0;
	// Of one that was moved away, what was noted stands.
	if (p->n_fds && !ifindex && remains_has_tap(s, spec, &former) &&
		strcmp(former.port, p->name) == 0)
		return 0;
	snprintf(n.value, sizeof(n.value), "%s #%d %02x:%02x:%02x:%02x:%02x:%02x", p->name, ifindex,
		m[0], m[1], m[2], m[3], m[4], m[5]);
	return store_set_note(s, n.key, n.value);
}

bool remains_has_tap(struct store *s, const struct port_spec *spec, struct tap_note *ret_note)
{
	struct notes l = { 0 };
	struct note n;
	bool found = false;

	key_of(spec, &n);
	store_each_note(s, n.key, collect, &l);
	for (size_t i = 0; i < l.n; i++)
		if (strcmp(l.v[i].key, n.key) == 0) { // eth10 also begins with eth1
			parse(l.v[i].value, ret_note);
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

	for (uint32_t id = 1; id <= ports->max_id; id++) {
		const struct port *p = ports->by_id[id];
		struct note key, *n;
		if (!p)
			continue;
		nat = nat || port_spec_of(p)->host_nat;
		key_of(port_spec_of(p), &key);
		if (port_spec_of(p)->kind == PROTO_PORT_PACKET)
			link_note_key(p->ifindex, key.key);
		n = l->n ? bsearch(&key, l->v, l->n, sizeof(key), by_key) : NULL;
		if (n)
			n->used = true;
		else if (port_spec_of(p)->kind == PROTO_PORT_PACKET)
			mark_former_link(l, p);
	}
	return nat;
}

// 0 if nothing is left of it, or nothing ever will be done about it.
static int take_back(struct note *n)
{
	char netns[64], *slash;
	struct packet_link link;
	struct tap_note tap;
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
	parse(n->value, &tap);
	r = tap_delete(netns, slash, tap.ifindex, &tap.mac, tap.port);
	n->missing = r == -ENODEV;
	if (r == 0)
		log_info("tap %s of port %s, left behind, is removed", slash, tap.port);
	else if (r != -ENODEV)
		log_warning(
			"tap %s of port %s cannot be removed: %s", slash, tap.port, strerror(-r));
	return r == -ENODEV ? 0 : r;
}

static bool is_missing(void *arg, const char *netns, const char *port, const struct mac *mac)
{
	const struct notes *l = arg;
	struct tap_note tap;

	for (size_t i = 0; i < l->n; i++) {
		if (!l->v[i].missing)
			continue;
		parse(l->v[i].value, &tap);
		if (strcmp(tap.port, port) == 0 && mac_equal(&tap.mac, mac))
			return true;
	}
	return false;
}

// 0, or the -errno of uplink mode nat with a sentence in err.
static int sweep(struct store *s, const struct ports *ports, bool all, char *err, size_t err_size)
{
	struct notes l = { 0 };
	bool missing = false;
	int r = 0;

	store_each_note(s, LINK_NOTE, collect, &l);
	store_each_note(s, TAP, collect, &l);
	if (!mark_used(&l, ports) || all)
		r = host_nat_down(s, err, err_size);
	store_forget_note(s, FORMER);
	bool ok = store_begin(s) == 0; // else they are looked at again
	for (size_t i = 0; i < l.n; i++) {
		struct note *n = &l.v[i];
		if (n->used && !all)
			continue;
		if (take_back(n) == 0 && ok)
			store_forget_note(s, n->key);
		n->missing = n->missing && !n->used; // its port has just let it go
		missing = missing || n->missing;
	}
	if (ok)
		store_commit(s);
	if (missing && all)
		tap_delete_strays(is_missing, &l);
	free(l.v);
	return r;
}

void remains_sweep(struct store *s, const struct ports *ports)
{
	char err[512];

	if (sweep(s, ports, false, err, sizeof(err)) < 0)
		log_warning("%s", err);
}

int remains_take_back_all(struct store *s, const struct ports *ports, char *err, size_t err_size)
{
	return sweep(s, ports, true, err, err_size);
}

static void found(void *arg, const char *key, const char *value)
{
	*(bool *)arg = true;
}

static bool is_replaced(void *arg, const char *netns, const char *port, const struct mac *mac)
{
	const struct ports *ports = arg;

	for (uint32_t id = 1; id <= ports->max_id; id++) {
		const struct port *p = ports->by_id[id];
		if (p && p->replaced && strcmp(p->name, port) == 0)
			return mac_equal(&port_spec_of(p)->mac, mac) &&
			       !netns_is_same(port_spec_of(p)->netns, netns);
	}
	return false;
}

// Of what a former version noted there is no index; of what the switch kept, perhaps no note.
static void note_again(struct store *s, const struct ports *ports)
{
	struct notes l = { 0 };
	bool ok = store_each_note(s, TAP, collect, &l) == 0 && store_begin(s) == 0;

	for (uint32_t id = 1; ok && id <= ports->max_id; id++) {
		const struct port *p = ports->by_id[id];
		struct note key, *n;
		if (!p || !p->n_fds || port_spec_of(p)->kind != PROTO_PORT_TAP)
			continue;
		key_of(port_spec_of(p), &key);
		n = bsearch(&key, l.v, l.n, sizeof(key), by_key);
		if (!n || !strstr(n->value, " #"))
			remains_note_tap(s, p);
	}
	if (ok)
		store_commit(s);
	free(l.v);
}

bool remains_wait(struct store *s)
{
	bool former = false;

	store_each_note(s, FORMER, found, &former);
	return former;
}

void remains_after_start(struct store *s, struct ports *ports)
{
	bool any = false, replaced = false;

	note_again(s, ports);
	for (uint32_t id = 1; id <= ports->max_id; id++)
		replaced = replaced || (ports->by_id[id] && ports->by_id[id]->replaced);
	if (replaced)
		tap_delete_strays(is_replaced, ports);
	if (store_is_new(s)) {
		store_each_note(s, STORE_HOST, found, &any);
		if (any)
			store_note(s, FORMER, "");
	}
	if (!remains_wait(s))
		remains_sweep(s, ports);
}
