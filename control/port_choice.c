// SPDX-License-Identifier: BSD-3-Clause
// Which of a port's candidates: made in their order, or foreseen without making anything; and why
// not the first. See ports.h. Main thread only.
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include "control/daemon_internal.h"
#include "control/devargs.h"
#include "control/packet_socket.h"
#include "control/ports.h"
#include "control/remains.h"
#include "control/tap.h"
#include "control/vfio.h"

// A client would dial for ever. Whether anybody listens is another matter: he may come later.
static int check_folder(const char *socket, char *err, size_t err_size)
{
	char folder[256];
	struct stat st;

	snprintf(folder, sizeof(folder), "%s", socket);
	*strrchr(folder, '/') = 0;
	if (stat(folder[0] ? folder : "/", &st) < 0)
		return log_reason(-errno, err, err_size,
			"folder %s: %s; make it with `mkdir -p %s`", folder, strerror(errno),
			folder);
	return 0;
}

// As far as can be said without the switch. A driver that needs rights is better told what does
// the same without than which others there are.
static int check_ethdev(const char *devargs, enum devargs_user user, char *err, size_t err_size)
{
	if (devargs_out_of_reach(devargs, user, err, err_size))
		return -EPERM;
	if (devargs_unknown(devargs, err, err_size))
		return -ENODEV;
	return vfio_check(devargs, err, err_size);
}

// What a candidate needs is not there. Taps and DPDK devices that are no PCI device never are
// missing: only trying tells.
static bool is_missing(const struct port_spec *s)
{
	struct packet_link link;
	char why[256];

	if (s->kind == PROTO_PORT_PACKET)
		return packet_socket_state(s->ifname, &link) == -ENODEV;
	if (s->kind == PROTO_PORT_ETHDEV)
		return check_ethdev(s->arg, DEVARGS_NIC, why, sizeof(why)) < 0;
	return s->kind == PROTO_PORT_VHOST && check_folder(s->arg, why, sizeof(why)) == -ENOENT;
}

bool port_may_improve(const struct port *p)
{
	for (unsigned i = 0; i < p->chosen; i++)
		if (p->missing & 1u << i && !is_missing(&p->want[i]))
			return true;
	return false;
}

// Without the last resort that another uplink has.
static unsigned usable(const struct port *p, const char *nat_user)
{
	return p->n_want - (nat_user && p->n_want > 1 && p->want[p->n_want - 1].host_nat);
}

// What speaks against a candidate, added to what speaks against those before.
static void add_reason(const struct port_spec *s, const char *why, char *err, size_t err_size)
{
	size_t used = strlen(err);
	char what[200];

	port_spec_describe(s, what, sizeof(what));
	snprintf(err + used, err_size - used, "%s%s: %s", used ? "; " : "", what, why);
}

static void add_nat_user(const struct port *p, const char *nat_user, char *err, size_t err_size)
{
	size_t used = strlen(err);

	if (usable(p, nat_user) < p->n_want)
		snprintf(err + used, err_size - used,
			"; its last resort is nat, which uplink %s has, and there is room for one: "
			"mend what it lacks, or take one of the two out of the file",
			nat_user);
}

// The first of n candidates that can be had.
static int make_one_of(struct daemon *d, struct port *p, unsigned n, const struct port *donor,
	bool restore, char *err, size_t err_size)
{
	int r = -EINVAL;

	p->fallback[0] = err[0] = 0;
	p->missing = 0;
	for (p->chosen = 0; p->chosen < n; p->chosen++) {
		char why[256];
		r = port_open(d, p, donor, why, sizeof(why));
		if (r == 0)
			r = port_add(d, p, why, sizeof(why));
		if (r == 0) {
			snprintf(p->fallback, sizeof(p->fallback), "%s", err);
			p->broken = p->unmade = false;
			return 0;
		}
		port_close(p);
		if (restore)
			port_restore_host(d, d->ports, p);
		p->missing |= is_missing(port_spec_of(p)) ? 1u << p->chosen : 0;
		add_reason(port_spec_of(p), why, err, err_size);
		if (r == -EPIPE || r == -ENOTCONN || r == -ETIMEDOUT)
			break; // the switch's trouble, whichever candidate
	}
	p->chosen = 0;
	p->unmade = true;
	return r;
}

int port_make(struct daemon *d, struct port *p, const struct port *donor, const char *nat_user,
	char *err, size_t err_size)
{
	int r = make_one_of(d, p, usable(p, nat_user), donor, true, err, err_size);

	if (r < 0)
		add_nat_user(p, nat_user, err, err_size);
	return r;
}

static enum devargs_user user_of(const struct port *p)
{
	if (strchr(p->name, '/'))
		return DEVARGS_NIC;
	return p->want[p->n_want - 1].host_nat ? DEVARGS_UPLINK : DEVARGS_TRUNK;
}

int port_check_candidate(struct daemon *d, const struct port *p, const struct port_spec *s,
	const struct port *donor, char *err, size_t err_size)
{
	struct tap_note noted = { 0 };
	bool ours = !p->temporary[0] && remains_has_tap(d->store, s, &noted);
	const struct tap_params params = { .netns = s->netns,
		.ifname = p->temporary[0] ? p->temporary : s->ifname,
		.port = p->name,
		.host_nat = s->host_nat,
		.adopt = p->adopt || p->broken || ours,
		.former = ours ? noted.port : NULL,
		.ifindex = noted.ifindex };
	struct tap_sight sight = { 0 };

	switch ((enum proto_port_kind)s->kind) {
	case PROTO_PORT_TAP:
		if (!donor || !port_spec_same_tap(s, port_spec_of(donor)))
			return tap_check(&params, err, err_size);
		return tap_look(donor->fds[0], s->netns, &sight) == 0 &&
				       tap_is_odd(&sight, s->netns, s->ifname, err, err_size)
			       ? -ENODEV
			       : 0;
	case PROTO_PORT_PACKET:
		return packet_socket_check(s->ifname, err, err_size);
	case PROTO_PORT_VHOST:
		return check_folder(s->arg, err, err_size);
	case PROTO_PORT_ETHDEV:
		return check_ethdev(s->arg, user_of(p), err, err_size);
	case PROTO_PORT_PCAP:
	case PROTO_PORT_KIND_COUNT:
		break;
	}
	return 0;
}

// What a failure changed on the host stays so until it works or an apply puts it back: done every
// second, it would wake linkwatch, which tries again at once.
int port_remake(struct daemon *d, struct port *p, const char *nat_user, char *err, size_t err_size)
{
	unsigned n = usable(p, nat_user), last = n - 1;
	bool not_nat = n > 1 && p->want[last].host_nat;
	int r = make_one_of(d, p, not_nat ? last : n, NULL, false, err, err_size);
	char why[256];

	if (r == 0)
		return 0;
	if (not_nat)
		add_reason(&p->want[last],
			port_check_candidate(d, p, &p->want[last], NULL, why, sizeof(why)) < 0
				? why
				: "the next apply takes it",
			err, err_size);
	add_nat_user(p, nat_user, err, err_size);
	return r;
}

unsigned port_may_fall_back(struct daemon *d, const struct port *p, const char *nat_user)
{
	unsigned n = usable(p, nat_user);
	char why[256];

	if (!p->broken || port_may_improve(p) || !is_missing(port_spec_of(p)))
		return 0;
	for (unsigned i = p->chosen + 1; i < n; i++)
		if (port_check_candidate(d, p, &p->want[i], NULL, why, sizeof(why)) == 0)
			return p->unmade && !p->want[i].host_nat ? 0 : i;
	return 0;
}

unsigned port_expect(const struct port *p, const char *nat_user)
{
	unsigned i = 0;

	while (i + 1 < usable(p, nat_user) && is_missing(&p->want[i]))
		i++;
	return i;
}

int port_check(struct daemon *d, const struct port *p, const struct port *donor,
	const char *nat_user, char *err, size_t err_size)
{
	int r = -EINVAL;

	err[0] = 0;
	for (unsigned i = 0; i < usable(p, nat_user); i++) {
		char why[256];
		r = port_check_candidate(d, p, &p->want[i], donor, why, sizeof(why));
		if (r == 0)
			return (int)i;
		add_reason(&p->want[i], why, err, err_size);
	}
	add_nat_user(p, nat_user, err, err_size);
	return r;
}

static void fallback_key(const struct port *p, char *key, size_t size)
{
	snprintf(key, size, "fallback:%u", p->id);
}

void port_keep_fallback(struct daemon *d, const struct port *p)
{
	char key[32];

	fallback_key(p, key, sizeof(key));
	store_forget_note(d->store, key);
	if (p->fallback[0])
		store_note(d->store, key, p->fallback);
}

static void read_fallback(void *arg, const char *key, const char *value)
{
	struct port *p = arg;
	char own[32];

	fallback_key(p, own, sizeof(own));
	if (strcmp(key, own) == 0)
		snprintf(p->fallback, sizeof(p->fallback), "%s", value);
}

void port_recall_fallback(struct daemon *d, struct port *p)
{
	for (unsigned i = 0; i < p->chosen; i++)
		p->missing |= is_missing(&p->want[i]) ? 1u << i : 0;
	snprintf(p->fallback, sizeof(p->fallback), "%s", "the first choice could not be had");
	store_each_note(d->store, "fallback:", read_fallback, p);
}
