// SPDX-License-Identifier: BSD-3-Clause
// One port: opened, given to the switch, taken back, closed; see ports.h. All of them together are
// in ports_care.c, which candidate in port_choice.c. Main thread only.
#include "control/ports.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "control/daemon_internal.h"
#include "control/host_nat.h"
#include "control/link_note.h"
#include "control/log.h"
#include "control/netns.h"
#include "control/packet_socket.h"
#include "control/remains.h"
#include "control/tap.h"
#include "control/vfio.h"

enum {
	SLOW_FACTOR = 10,
};

struct port *port_new(const struct desired_port *p, const char *run_dir, unsigned workers)
{
	struct port *port = calloc(1, sizeof(*port));

	if (!port)
		return NULL;
	port->id = p->id;
	memcpy(port->name, p->name, sizeof(port->name));
	port->n_want = port_spec_candidates(p, run_dir, workers, port->want);
	return port;
}

void port_free(struct port *p)
{
	if (!p)
		return;
	port_close(p);
	free(p);
}

void port_close(struct port *p)
{
	for (unsigned i = 0; i < p->n_fds; i++)
		close(p->fds[i]);
	p->n_fds = 0;
}

static int open_tap(
	struct daemon *d, struct port *p, const struct port *donor, char *err, size_t err_size)
{
	const struct port_spec *s = port_spec_of(p);
	struct tap_note noted = { 0 };
	bool made = false, ours = !p->temporary[0] && remains_has_tap(d->store, s, &noted);
	char now[16];
	const struct tap_params params = { .netns = s->netns,
		.ifname = p->temporary[0] ? p->temporary : s->ifname,
		.down = p->temporary[0] != 0,
		.port = p->name,
		.mac = s->mac,
		.mtu = s->mtu,
		.n_queues = s->n_queues,
		.host_nat = s->host_nat,
		.adopt = p->adopt || ours,
		.former = ours ? noted.port : NULL,
		.ifindex = noted.ifindex };
	unsigned n_have = 0;

	// Fewer queues: the donor's other ones go when it is closed.
	for (; donor && n_have < donor->n_fds && n_have < s->n_queues; n_have++) {
		p->fds[n_have] = fcntl(donor->fds[n_have], F_DUPFD_CLOEXEC, 3);
		if (p->fds[n_have] < 0) {
			int r = -errno;
			p->n_fds = n_have;
			port_close(p);
			return log_reason(
				r, err, err_size, "cannot duplicate an fd: %s", strerror(-r));
		}
	}
	int r = tap_open(&params, p->fds, n_have, &made, err, err_size);
	p->n_fds = r == 0 ? s->n_queues : n_have;
	p->tap_made = r == 0 && made;
	p->replaced = p->tap_made && ours;
	if (r == 0 && s->nat_host) // not known of one that is held
		r = host_nat_up(d->store, s, tap_name(p->fds[0], now) == 0 ? now : params.ifname,
			err, err_size);
	if (r < 0)
		port_close(p);
	return r;
}

// How the interface was is noted before it is touched, to be put back after any crash.
static int open_packet(struct daemon *d, struct port *p, char *err, size_t err_size)
{
	const struct port_spec *s = port_spec_of(p);
	struct packet_link link = { 0 };
	int r = packet_socket_state(s->ifname, &link);

	if (r < 0 && r != -ENODEV)
		return log_reason(r, err, err_size, "cannot ask for interface %s: %s", s->ifname,
			strerror(-r));
	if (r == 0 && link_note_take(d->store, d->ports, &link) < 0)
		return log_reason(-EIO, err, err_size, "state: %s", store_error(d->store));
	r = packet_socket_open(
		s->ifname, s->mtu, s->n_queues, (uint16_t)p->id, p->fds, err, err_size);
	if (r == 0)
		p->n_fds = s->n_queues;
	p->ifindex = link.ifindex;
	return r;
}

// What others did to it, as a sentence; "" = nothing.
static void compare_link(struct port *p, const char *now, uint32_t mtu, char *ret_text, size_t size)
{
	const struct port_spec *s = port_spec_of(p);

	p->renamed = strcmp(now, s->ifname) != 0;
	p->mtu_changed = !p->renamed && mtu != s->mtu; // first it has to be found by its name again
	if (p->renamed && if_nametoindex(s->ifname) != 0)
		snprintf(ret_text, size,
			"its interface %s was renamed to %s, and another one is called %s now; "
			"give "
			"that one another name, then `ip link set %s down` and `ip link set %s "
			"name %s up` mend it",
			s->ifname, now, s->ifname, now, now, s->ifname);
	else if (p->renamed)
		snprintf(ret_text, size,
			"its interface %s was renamed to %s; `ip link set %s down` and `ip link "
			"set %s name %s up` mend it",
			s->ifname, now, now, now, s->ifname);
	else if (p->mtu_changed)
		snprintf(ret_text, size,
			"the MTU of its interface %s was changed to %u; the next apply, or `ip "
			"link set %s mtu %u`, sets it back to %u",
			now, mtu, now, s->mtu, s->mtu);
}

void port_look_at_link(struct port *p)
{
	char text[sizeof(p->oddity)] = "", now[IFNAMSIZ];
	struct packet_link link;

	if (port_spec_of(p)->kind != PROTO_PORT_PACKET || p->broken || !p->n_fds ||
		packet_socket_ifname(p->fds[0], now) < 0 || packet_socket_state(now, &link) < 0)
		return;
	compare_link(p, now, link.mtu, text, sizeof(text));
	if (text[0] && strcmp(text, p->oddity) != 0)
		log_warning("port %s: %s", p->name, text);
	memcpy(p->oddity, text, sizeof(text));
}

void port_set_mtu_back(struct port *p)
{
	const struct port_spec *s = port_spec_of(p);
	const struct packet_link wanted = { .mtu = s->mtu, .up = true };

	port_look_at_link(p);
	if (!p->mtu_changed)
		return;
	packet_socket_restore(s->ifname, &wanted);
	port_look_at_link(p);
	if (!p->mtu_changed)
		log_info("port %s: the MTU of %s is %u again", p->name, s->ifname, s->mtu);
}

int port_open(
	struct daemon *d, struct port *p, const struct port *donor, char *err, size_t err_size)
{
	switch ((enum proto_port_kind)port_spec_of(p)->kind) {
	case PROTO_PORT_TAP:
		if (donor && !port_spec_same_tap(port_spec_of(p), port_spec_of(donor)))
			donor = NULL;
		return open_tap(d, p, donor, err, err_size);
	case PROTO_PORT_PACKET:
		return open_packet(d, p, err, err_size);
	case PROTO_PORT_VHOST:
	case PROTO_PORT_ETHDEV:
		return port_check_candidate(d, p, port_spec_of(p), NULL, err, err_size);
	case PROTO_PORT_PCAP:
	case PROTO_PORT_KIND_COUNT:
		break;
	}
	return 0;
}

// VFIO's fds are not kept: as long as one is open, the kernel keeps the group from a new switch.
static int add_ethdev(struct daemon *d, struct port *p, struct proto_port_add *request, char *err,
	size_t err_size)
{
	int fds[VFIO_MAX_FDS];
	unsigned n;
	int r = vfio_open(request->arg, fds, &n, err, err_size);

	p->tried_ns = loop_now_ns();
	if (r == 0)
		r = switch_port_add(d->client, request, fds, n, err, err_size);
	while (n > 0)
		close(fds[--n]);
	p->last_try_ms = (uint32_t)((loop_now_ns() - p->tried_ns) / 1000000);
	// When one answers quickly, so may the next.
	d->devices_after_ns = r < 0 && p->last_try_ms >= PORT_SLOW_MS
				      ? loop_now_ns() + SLOW_FACTOR * p->last_try_ms * 1000000ull
				      : 0;
	return r;
}

bool port_is_device(const struct port *p)
{
	return port_spec_of(p)->kind == PROTO_PORT_ETHDEV;
}

bool port_is_slow(const struct port *p)
{
	return port_is_device(p) && p->last_try_ms >= PORT_SLOW_MS;
}

int port_add(struct daemon *d, struct port *p, char *err, size_t err_size)
{
	const struct port_spec *s = port_spec_of(p);
	struct proto_port_add request = { .id = p->id,
		.kind = s->kind,
		.flags = (uint16_t)(s->flags | (d->switch_has_policy ? 0 : PROTO_PORT_HELD)),
		.mtu = s->mtu,
		.n_queues = s->n_queues };

	memcpy(request.name, p->name, sizeof(request.name) - 1);
	memcpy(request.arg, s->arg, sizeof(request.arg));
	int r = s->kind == PROTO_PORT_ETHDEV
			? add_ethdev(d, p, &request, err, err_size)
			: switch_port_add(d->client, &request, p->fds, p->n_fds, err, err_size);
	p->in_switch = r == 0;
	d->ports_held = d->ports_held || (request.flags & PROTO_PORT_HELD);
	vhost_watch_port(d->vhost_watch, p);
	return r;
}

int port_del(struct daemon *d, struct port *p, char *err, size_t err_size)
{
	int r = p->in_switch ? switch_port_del(d->client, p->id, err, err_size) : 0;

	if (r == -ENOENT)
		r = 0;
	if (r == 0)
		p->in_switch = false;
	return r;
}

static bool has_tap(const struct port *p)
{
	return p && p->n_fds && port_spec_of(p)->kind == PROTO_PORT_TAP;
}

// By its name, nobody else's interface would be meant.
static bool is_in_place(const struct port *p)
{
	const struct port_spec *s = port_spec_of(p);
	struct tap_sight sight = { 0 };
	int r = tap_look(p->fds[0], s->netns, &sight);

	// An older kernel does not tell where it is.
	return r != -EBADFD && !sight.homeless && !sight.moved &&
	       strcmp(sight.ifname, s->ifname) == 0;
}

// Those of ports[first..n) that live in the namespace of ports[first]; they are marked done.
static unsigned taps_beside(
	struct port *const *ports, unsigned first, unsigned n, bool *done, const char **ret_names)
{
	const char *netns = port_spec_of(ports[first])->netns;
	unsigned k = 0;

	for (unsigned i = first; i < n; i++) {
		if (done[i] || !has_tap(ports[i]) ||
			strcmp(port_spec_of(ports[i])->netns, netns) != 0)
			continue;
		done[i] = true;
		if (is_in_place(ports[i]))
			ret_names[k++] = port_spec_of(ports[i])->ifname;
	}
	return k;
}

static int delete_beside(const char *netns, const char *const *names, unsigned n)
{
	struct nl_sock *s = NULL;
	int back, r = netns_enter(netns, &back);

	if (r < 0)
		return r;
	r = link_socket_open(&s);
	if (r == 0)
		r = link_delete_many(s, names, n);
	link_socket_close(s);
	netns_leave(back);
	return r;
}

void ports_delete_taps(struct port *const *ports, unsigned n)
{
	bool *done = calloc(n + 1, sizeof(*done));
	const char **names = calloc(n + 1, sizeof(*names));

	for (unsigned i = 0; done && names && i < n; i++) {
		if (done[i] || !has_tap(ports[i]))
			continue;
		unsigned k = taps_beside(ports, i, n, done, names);
		int r = k ? delete_beside(port_spec_of(ports[i])->netns, names, k) : 0;
		if (r < 0)
			log_warning("port %s: its tap goes with its last user: %s", ports[i]->name,
				strerror(-r));
	}
	for (unsigned i = 0; i < n; i++)
		if (has_tap(ports[i]))
			port_set_persistent(ports[i], false);
	free(done);
	free(names);
}

int port_take_name(struct port *p, char *err, size_t err_size)
{
	const struct port_spec *s = port_spec_of(p);
	int r = 0;

	if (s->kind == PROTO_PORT_TAP && p->n_fds)
		r = tap_rename(s->netns, p->temporary, s->ifname, err, err_size);
	if (r == 0)
		p->temporary[0] = 0;
	return r;
}

void port_set_persistent(struct port *p, bool on)
{
	if (port_spec_of(p)->kind != PROTO_PORT_TAP || !p->n_fds)
		return;
	int r = tap_set_persistent(p->fds[0], on);
	if (r ==
		// the kernel's trouble of a moment; a tap left behind would be there for good
		-ENOMEM)
		r = tap_set_persistent(p->fds[0], on);
	if (r < 0 && r != -EBADFD && !p->broken) // that: its device is gone
		log_warning("%s: cannot make tap %s%s persistent: %s", p->name, on ? "" : "not ",
			port_spec_of(p)->ifname, strerror(-r));
}

static bool others_use(const struct ports *ports, const struct port *p)
{
	const struct port_spec *s = port_spec_of(p);

	for (uint32_t id = 1; id <= ports->max_id; id++) {
		const struct port *o = ports->by_id[id];
		if (!o || o == p || o->broken || !o->n_fds)
			continue;
		const struct port_spec *os = port_spec_of(o);
		if (s->host_nat ? os->host_nat != 0
				: os->kind == s->kind && o->ifindex == p->ifindex)
			return true;
	}
	return false;
}

void port_restore_host(struct daemon *d, const struct ports *ports, const struct port *p)
{
	const struct port_spec *s = port_spec_of(p);
	char why[512];

	if ((s->kind != PROTO_PORT_PACKET && !s->host_nat) || others_use(ports, p))
		return;
	if (s->host_nat) {
		if (host_nat_down(d->store, why, sizeof(why)) < 0)
			log_warning("%s", why);
		return;
	}
	if (p->ifindex)
		link_note_restore(d->store, p->ifindex, s->ifname);
}
