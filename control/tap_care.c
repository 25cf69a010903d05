// SPDX-License-Identifier: BSD-3-Clause
// Follows the taps, see tap_care.h. Called by host_care.c, by lists and plans, and by the loop: at
// once when a name under /run/netns comes or goes, and now and then, since no kernel tells of
// interfaces in a namespace that nobody listens in.
#include "control/tap_care.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>
#include "control/daemon_internal.h"
#include "control/host_nat.h"
#include "control/log.h"
#include "control/tap.h"

// A look at a tap in a namespace takes 35 us: thousands are looked at by and by, and a burst of
// new namespaces is one occasion.
#define INTERVAL_NS 2000000000ull
#define BURST_NS 20000000ull

enum { MAX_PER_ROUND = 256 };

struct tap_care {
	struct daemon *d;
	int fd;
	struct loop_source *source, *timer;
	bool all; // the next round looks at all
	uint32_t last; // port looked at
};

// The tap would keep the nameless namespace alive: it goes, and ports_repair makes another where
// the name leads now.
static void leave_namespace(struct daemon *d, struct port *p)
{
	char why[sizeof(p->trouble)];

	snprintf(why, sizeof(why), "network namespace %s was deleted underneath",
		port_spec_of(p)->netns);
	port_set_persistent(p, false);
	port_close(p);
	port_mark_broken(d, p, why);
}

// The host's end of uplink mode nat. What cannot be mended is its oddity.
static void mend_nat(struct port *p, struct tap_sight *sight, char *ret_text, size_t size)
{
	char what[128];
	int r = host_nat_mend_tap(port_spec_of(p), what, sizeof(what));

	if (r < 0)
		snprintf(ret_text, size, "its tap %s cannot be put right: %s%s%s", sight->ifname,
			what, what[0] ? ": " : "", strerror(-r));
	if (r <= 0)
		return;
	sight->up = true;
	log_warning("port %s: its tap %s was changed underneath (%s): it is as before", p->name,
		sight->ifname, what);
}

// A guest may do with its interface as it likes: said, not undone.
static void compare(struct port *p, struct tap_sight *sight)
{
	const struct port_spec *s = port_spec_of(p);
	char text[sizeof(p->oddity)] = "";

	if (!tap_is_odd(sight, s->netns, s->ifname, text, sizeof(text)) && s->host_nat &&
		s->nat_host && !p->temporary[0])
		mend_nat(p, sight, text, sizeof(text));
	if (text[0] && strcmp(text, p->oddity) != 0)
		log_warning("port %s: %s", p->name, text);
	memcpy(p->oddity, text, sizeof(text));
	if (p->set_down == sight->up)
		log_info("port %s: its tap was set %s", p->name, sight->up ? "up" : "down");
	p->set_down = !sight->up;
}

bool tap_care_look(struct daemon *d, struct port *p)
{
	struct tap_sight sight;

	if (p)
		port_look_at_link(p);
	if (!p || p->broken || !p->n_fds || port_spec_of(p)->kind != PROTO_PORT_TAP)
		return false;
	int r = tap_look(p->fds[0], port_spec_of(p)->netns, &sight);
	if (r == -EBADFD)
		port_mark_broken(d, p, "its tap was deleted underneath");
	else if (r == 0 && sight.homeless)
		leave_namespace(d, p);
	else if (r == 0)
		compare(p, &sight);
	return true;
}

void tap_care_check(struct daemon *d)
{
	for (uint32_t id = 1; id <= d->ports->max_id; id++)
		tap_care_look(d, d->ports->by_id[id]);
}

static void look_at_some(struct tap_care *c)
{
	const struct ports *ports = c->d->ports;
	unsigned n = 0;

	for (uint32_t i = 0; i < ports->max_id && n < MAX_PER_ROUND; i++) {
		c->last = c->last < ports->max_id ? c->last + 1 : 1;
		n += tap_care_look(c->d, ports->by_id[c->last]);
	}
	for (uint32_t id = 1; id <= ports->max_id; id++)
		if (ports->by_id[id] && port_spec_of(ports->by_id[id])->host_nat)
			tap_care_look(c->d, ports->by_id[id]);
}

// Again and again, which changes nothing: the folder may come later than insulad, or be another.
static void on_timer(void *arg)
{
	struct tap_care *c = arg;

	inotify_add_watch(c->fd, "/run/netns",
		IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR);
	if (c->all)
		tap_care_check(c->d);
	else
		look_at_some(c);
	c->all = false;
	loop_timer_arm(c->timer, INTERVAL_NS);
}

static void on_readable(void *arg, uint32_t events)
{
	struct tap_care *c = arg;
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

	// Which one does not matter.
	while (read(c->fd, buffer, sizeof(buffer)) > 0)
		;
	if (!c->all)
		loop_timer_arm(c->timer, BURST_NS);
	c->all = true;
}

int tap_care_new(struct daemon *d, struct tap_care **ret_care)
{
	struct tap_care *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->d = d;
	c->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int r = c->fd < 0 ? -errno : loop_add(d->loop, c->fd, EPOLLIN, on_readable, c, &c->source);
	if (r == 0)
		r = loop_add_timer(d->loop, on_timer, c, &c->timer);
	if (r < 0) {
		tap_care_free(c);
		return r;
	}
	loop_timer_arm(c->timer, 0);
	*ret_care = c;
	return 0;
}

void tap_care_free(struct tap_care *c)
{
	if (!c)
		return;
	loop_remove(c->d->loop, c->source);
	loop_remove(c->d->loop, c->timer);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}
