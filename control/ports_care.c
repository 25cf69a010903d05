// SPDX-License-Identifier: BSD-3-Clause
// All ports together: taken over from a living switch, given to a new one, repaired when a device
// was deleted underneath; see ports.h. Main thread only.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "control/daemon_internal.h"
#include "control/devargs.h"
#include "control/host_nat.h"
#include "control/log.h"
#include "control/packet_socket.h"
#include "control/port_changes.h"
#include "control/remains.h"
#include "control/tap.h"
#include "control/tap_care.h"

enum {
	REPAIR_INTERVAL_MS = 1000,
};

void ports_put(struct ports *ports, struct port *p)
{
	ports->by_id[p->id] = p;
	if (p->id > ports->max_id)
		ports->max_id = p->id;
}

struct entry_list {
	struct proto_port_entry *e;
	size_t n;
};

static void collect(void *arg, const struct proto_port_entry *e)
{
	struct entry_list *l = arg;
	struct proto_port_entry *grown = realloc(l->e, (l->n + 1) * sizeof(*grown));

	if (!grown)
		return;
	l->e = grown;
	grown[l->n++] = *e;
}

static bool is_as_wanted(const struct port *p, const struct proto_port_entry *e)
{
	const struct port_spec *s = port_spec_of(p);

	return s->kind == e->kind && s->flags == (e->flags & ~PROTO_PORT_HELD) &&
	       s->mtu == e->mtu && s->n_queues == e->n_queues && strcmp(s->arg, e->arg) == 0;
}

// Is the switch's port one of the candidates? Then it is the one chosen before.
static bool matches(struct port *p, const struct proto_port_entry *e)
{
	for (p->chosen = 0; p->chosen < p->n_want; p->chosen++) {
		if (is_as_wanted(p, e))
			return true;
	}
	p->chosen = 0;
	return false;
}

int port_adopt(struct daemon *d, struct port *p, const struct proto_port_entry *e)
{
	char err[256];
	int r = switch_port_fds(d->client, p->id, p->fds, &p->n_fds, err, sizeof(err));

	if (r < 0)
		return r;
	p->in_switch = true;
	p->up = e->up != 0;
	d->ports_held = d->ports_held || (e->flags & PROTO_PORT_HELD);
	vhost_watch_port(d->vhost_watch, p);
	const struct port_spec *s = port_spec_of(p);
	bool needs_fds = s->kind == PROTO_PORT_TAP || s->kind == PROTO_PORT_PACKET;
	if (needs_fds && p->n_fds != s->n_queues)
		return -EPROTO;
	if (s->kind == PROTO_PORT_PACKET) // gone meanwhile: it stays 0
		packet_socket_ifindex(p->fds[0], &p->ifindex);
	struct tap_sight sight = { 0 };
	if (s->kind == PROTO_PORT_TAP &&
		(tap_look(p->fds[0], s->netns, &sight) == -EBADFD || sight.homeless))
		return -ENODEV;
	if (s->nat_host && host_nat_adopt(d->store, s, err, sizeof(err)) < 0)
		log_error("port %s: %s", p->name, err);
	// Killed between an apply's commit and its last step.
	if (s->kind == PROTO_PORT_TAP && tap_name(p->fds[0], p->temporary) == 0 &&
		strncmp(p->temporary, PORT_TEMPORARY_PREFIX, strlen(PORT_TEMPORARY_PREFIX)) == 0)
		r = port_take_name(p, err, sizeof(err));
	p->temporary[0] = 0;
	if (r < 0)
		log_error("port %s: %s", p->name, err);
	if (p->chosen > 0)
		port_recall_fallback(d, p);
	return 0;
}

int ports_resync(struct daemon *d, char *err, size_t err_size)
{
	struct entry_list l = { 0 };
	int r = switch_port_list(d->client, collect, &l, err, err_size);

	if (r == 0)
		ports_all_out(d);
	for (size_t i = 0; r == 0 && i < l.n; i++) {
		struct port *p = l.e[i].id <= d->ports->max_id ? d->ports->by_id[l.e[i].id] : NULL;
		if (p && !p->broken && is_as_wanted(p, &l.e[i])) {
			p->in_switch = true;
			p->up = l.e[i].up == 1;
		} else {
			r = switch_port_del(d->client, l.e[i].id, err, err_size);
		}
	}
	free(l.e);
	if (r == 0)
		ports_add_all(d);
	return r;
}

int ports_adopt(struct daemon *d, const struct desired *desired, char *err, size_t err_size)
{
	struct entry_list l = { 0 };
	int r = switch_port_list(d->client, collect, &l, err, err_size);

	for (size_t i = 0; r == 0 && i < l.n; i++) {
		const struct desired_port *want = desired_port_by_id(desired, l.e[i].id);
		struct port *p = want ? port_new(want, d->run.path, d->proc.settings.workers)
				      : calloc(1, sizeof(*p));
		if (!p) {
			r = log_reason(-ENOMEM, err, err_size, "out of memory");
			break;
		}
		if (want && matches(p, &l.e[i]) && port_adopt(d, p, &l.e[i]) == 0) {
			ports_put(d->ports, p);
			continue;
		}
		// Not desired, or not like this: a tap of it must not outlive it.
		p->id = l.e[i].id;
		p->in_switch = true;
		port_close(p);
		if (l.e[i].kind == PROTO_PORT_TAP &&
			switch_port_fds(d->client, p->id, p->fds, &p->n_fds, err, err_size) == 0 &&
			p->n_fds > 0)
			tap_set_persistent(p->fds[0], false);
		r = port_del(d, p, err, err_size);
		port_free(p);
	}
	free(l.e);
	return r;
}

void ports_all_out(struct daemon *d)
{
	for (uint32_t id = 1; id <= d->ports->max_id; id++)
		if (d->ports->by_id[id])
			d->ports->by_id[id]->in_switch = d->ports->by_id[id]->up = false;
}

static bool is_lost(int r)
{
	return r == -EPIPE || r == -ETIMEDOUT || r == -ENOTCONN;
}

// To be repaired; 0 too when the switch is there. -errno: it is not.
static int add_again(struct daemon *d, struct port *p)
{
	char err[256];
	int r = port_add(d, p, err, sizeof(err));

	if (r == 0 || is_lost(r))
		return r;
	log_error("port %s: %s", p->name, err);
	p->broken = true;
	snprintf(p->trouble, sizeof(p->trouble), "%s", err);
	loop_timer_arm(d->repair_timer, 0);
	return 0;
}

void ports_add_all(struct daemon *d)
{
	for (uint32_t id = 1; id <= d->ports->max_id; id++) {
		struct port *p = d->ports->by_id[id];
		if (p && !p->broken && !p->in_switch && !port_is_device(p) && add_again(d, p) < 0)
			return; // dead again: its next life gets them
	}
}

static bool is_card(const struct port *p)
{
	char address[DEVARGS_ADDRESS_SIZE];

	return devargs_address(port_spec_of(p)->arg, address);
}

// Cards first: they wait for nobody.
void ports_add_devices(struct daemon *d)
{
	bool slow = false;

	for (uint32_t i = 0; i < 2 * d->ports->max_id; i++) {
		struct port *p = d->ports->by_id[1 + i % d->ports->max_id];
		if (!p || p->broken || p->in_switch || !port_is_device(p) ||
			is_card(p) != (i < d->ports->max_id))
			continue;
		if (slow)
			port_mark_broken(d, p, PORT_WAITS_FOR_DEVICE);
		else if (add_again(d, p) < 0)
			return;
		slow = slow || (p->broken && port_is_slow(p));
	}
}

void port_mark_broken(struct daemon *d, struct port *p, const char *why)
{
	if (p->broken)
		return;
	p->broken = true;
	p->up = false;
	snprintf(p->trouble, sizeof(p->trouble), "%s", why);
	log_warning("port %s: %s", p->name, why);
	loop_timer_arm(d->repair_timer, 0);
}

void ports_on_event(struct daemon *d, const struct proto_port_event *e)
{
	struct port *p = e->id <= d->ports->max_id ? d->ports->by_id[e->id] : NULL;

	if (!p)
		return;
	if (e->up == 2)
		port_mark_broken(d, p,
			port_is_device(p) && !is_card(p) ? "who serves its socket has hung up"
							 : "its device was deleted underneath");
	else
		p->up = e->up == 1;
}

// By its name as the file has it, or as it is now.
static bool is_on(const struct port *p, const char *ifname)
{
	const struct port_spec *s = port_spec_of(p);
	char now[IFNAMSIZ];

	if (s->netns[0])
		return false;
	if (strcmp(s->ifname, ifname) == 0)
		return true;
	return s->kind == PROTO_PORT_PACKET && !p->broken && p->n_fds &&
	       (packet_socket_ifname(p->fds[0], now) < 0 || strcmp(now, ifname) == 0);
}

void ports_on_link(struct daemon *d, const char *ifname, bool gone)
{
	for (uint32_t id = 1; id <= d->ports->max_id; id++) {
		struct port *p = d->ports->by_id[id];
		if (!p)
			continue;
		const struct port_spec *s = port_spec_of(p);
		char now[IFNAMSIZ];
		if (!is_on(p, ifname))
			continue;
		if (p->broken && !gone)
			loop_timer_arm(d->repair_timer, 0);
		else if (gone && s->kind == PROTO_PORT_TAP && p->n_fds && !tap_alive(p->fds[0]))
			port_mark_broken(d, p, "its tap was deleted underneath");
		else if (s->kind == PROTO_PORT_PACKET && p->n_fds &&
			 packet_socket_ifname(p->fds[0], now) == -ENODEV)
			port_mark_broken(d, p, "its interface was deleted underneath");
		else
			tap_care_look(d, p);
	}
}

// The candidate in use, or of one that has none any: but for nat, which needs another policy.
static int repair(struct daemon *d, struct port *p, char *err, size_t err_size)
{
	const struct port_changes none = { 0 };
	int r = port_del(d, p, err, err_size);

	if (r < 0)
		return r;
	port_close(p);
	p->adopt = true;
	if (p->unmade)
		return port_remake(
			d, p, port_changes_nat_user(&none, d->ports, d->desired, p), err, err_size);
	r = port_open(d, p, NULL, err, err_size);
	if (r < 0)
		return r;
	r = port_add(d, p, err, err_size);
	if (r < 0)
		port_close(p);
	return r;
}

static void tell_of_repair(const struct port *p)
{
	char what[300];

	if (p->chosen == 0) {
		log_info("port %s: its device is back", p->name);
		return;
	}
	port_spec_describe(port_spec_of(p), what, sizeof(what));
	log_info("port %s: %s is there, because %s", p->name, what, p->fallback);
}

// 1 = it is a port again.
static int try_repair(struct daemon *d, struct port *p)
{
	char err[PORT_REASON_SIZE] = "";

	if (repair(d, p, err, sizeof(err)) < 0) {
		if (strcmp(p->trouble, err) != 0)
			log_warning("port %s: %s", p->name, err);
		snprintf(p->trouble, sizeof(p->trouble), "%.*s", (int)sizeof(p->trouble) - 1, err);
		return 0;
	}
	port_set_persistent(p, true);
	remains_note_tap(d->store, p); // it has another index
	p->broken = false;
	p->trouble[0] = 0;
	port_keep_fallback(d, p);
	tell_of_repair(p);
	return 1;
}

// The slow one whose turn it is.
static struct port *next_slow(const struct ports *ports)
{
	struct port *next = NULL;

	for (uint32_t id = 1; id <= ports->max_id; id++) {
		struct port *p = ports->by_id[id];
		if (p && p->broken && port_is_slow(p) && (!next || p->tried_ns < next->tried_ns))
			next = p;
	}
	return next;
}

// What is left to do, and when: the loop serves others between two of them.
static void repair_again(struct daemon *d, bool others, bool device_waits)
{
	uint64_t now = loop_now_ns();

	if (device_waits)
		loop_timer_arm(d->repair_timer, 0);
	else if (others)
		loop_timer_arm(d->repair_timer, REPAIR_INTERVAL_MS * 1000000ull);
	else if (next_slow(d->ports))
		loop_timer_arm(
			d->repair_timer, d->devices_after_ns > now ? d->devices_after_ns - now : 0);
}

void ports_repair(void *arg)
{
	struct daemon *d = arg;
	struct port *turn = loop_now_ns() >= d->devices_after_ns ? next_slow(d->ports) : NULL;
	bool others = false, made_anew = false, device_waits = false, held_up = false;

	for (uint32_t id = 1; id <= d->ports->max_id; id++) {
		struct port *p = d->ports->by_id[id];
		char err[PORT_REASON_SIZE];
		if (p && !p->broken && p->temporary[0] && port_take_name(p, err, sizeof(err)) < 0)
			others = true;
		if (!p || !p->broken || (port_is_slow(p) && p != turn))
			continue;
		if (!d->client || (held_up && port_is_device(p))) {
			others = others || !d->client;
			device_waits = device_waits || d->client;
		} else if (try_repair(d, p)) {
			made_anew = true;
		} else if (port_is_slow(p)) {
			held_up = true;
		} else {
			others = true;
		}
	}
	if (made_anew)
		leases_restore(d->leases); // of a dynamic pool: they went with the old port
	repair_again(d, others, device_waits);
}
