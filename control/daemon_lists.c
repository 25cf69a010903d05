// SPDX-License-Identifier: BSD-3-Clause
// list and show, see daemon.h: flat JSON objects of what is desired and what the switch says. Main
// thread.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/daemon_internal.h"
#include "control/describe.h"
#include "control/packet_socket.h"
#include "control/tap_care.h"
#include "control/vhost_watch.h"
#include "vswitch/drop.h"

static const char *const kind_names[DAEMON_KIND_COUNT] = { "tenants", "networks", "ports", "leases",
	"sessions", "drops", "uplinks", "instances", "images", "volumes" };

const char *daemon_kind_name(enum daemon_kind kind)
{
	return kind_names[kind];
}

int daemon_kind_from_name(const char *name, enum daemon_kind *ret_kind)
{
	for (int i = 0; i < DAEMON_KIND_COUNT; i++)
		if (strcmp(name, kind_names[i]) == 0) {
			*ret_kind = (enum daemon_kind)i;
			return 0;
		}
	return -ENOENT;
}

// --- ports ---

struct stats {
	struct proto_stats_entry *by_id[POLICY_MAX_PORT_ID + 1];
};

static void take_stats(void *arg, const struct proto_stats_entry *e)
{
	struct stats *s = arg;

	if (e->id > POLICY_MAX_PORT_ID || s->by_id[e->id])
		return;
	s->by_id[e->id] = malloc(sizeof(*e));
	if (s->by_id[e->id])
		*s->by_id[e->id] = *e;
}

// Events tell of changes; this is how things are.
static void take_up(void *arg, const struct proto_port_entry *e)
{
	struct daemon *d = arg;

	struct port *p = e->id <= POLICY_MAX_PORT_ID ? d->ports->by_id[e->id] : NULL;

	if (!p)
		return;
	p->up = e->up == 1;
	// With mode poll, no worker ever sleeps.
	p->sleepless = e->sleepless && !d->proc.settings.poll;
}

// A packet port's interface, whatever has passed lately; NULL: it is well, or of another kind.
static const char *why_down(const struct port *p)
{
	return port_spec_of(p)->kind == PROTO_PORT_PACKET && p->n_fds
		       ? packet_socket_why_down(p->fds[0])
		       : NULL;
}

static bool is_up(const struct port *p)
{
	if (port_spec_of(p)->kind == PROTO_PORT_PACKET)
		return !why_down(p);
	return p->up && !p->set_down;
}

// What is no trouble, but good to know of a port that the switch has, in text if it takes more than
// a constant; NULL: nothing.
static const char *note_of(const struct daemon *d, const struct port *p, char *text, size_t size)
{
	if (p->sleepless)
		return "its driver has no rx interrupts: a worker polls it all the time, and takes "
		       "a processor";
	if (why_down(p))
		return why_down(p);
	if (!p->in_switch || p->up || port_spec_of(p)->kind != PROTO_PORT_VHOST)
		return NULL;
	return vhost_watch_blocked(d->vhost_watch, p, text, size)
		       ? text
		       : "no guest runs behind its socket yet";
}

// heard: the switch answered.
static void put_runtime(const struct daemon *d, json_t *o, const struct port *p,
	const struct proto_stats_entry *stats, bool heard)
{
	char device[300], text[600];
	const char *note;

	json_object_set_new(o, "state",
		json_string(!p || p->broken           ? "broken"
			    : !p->in_switch || !heard ? "waiting"
			    : is_up(p)                ? "up"
						      : "down"));
	if (p && p->n_want) {
		port_spec_describe(port_spec_of(p), device, sizeof(device));
		json_object_set_new(o, "device", json_string(device));
		json_object_set_new(o, "type", json_string(port_spec_kind_name(port_spec_of(p))));
		json_object_set_new(o, "queues", json_integer(port_spec_of(p)->n_queues));
	}
	if (p && p->broken)
		json_object_set_new(o, "trouble", json_string(p->trouble));
	else if (p && p->oddity[0])
		json_object_set_new(o, "trouble", json_string(p->oddity));
	else if (!heard)
		json_object_set_new(o, "trouble", json_string("insula-switch does not answer"));
	if (p && !p->broken && p->fallback[0])
		json_object_set_new(o, "reason", json_string(p->fallback));
	note = p && !p->broken && heard ? note_of(d, p, text, sizeof(text)) : NULL;
	if (note)
		json_object_set_new(o, "note", json_string(note));
	if (stats)
		json_object_update_new(
			o, json_pack("{s:I, s:I, s:I, s:I, s:I}", "rx_packets",
				   (json_int_t)stats->rx_packets, "rx_bytes",
				   (json_int_t)stats->rx_bytes, "tx_packets",
				   (json_int_t)stats->tx_packets, "tx_bytes",
				   (json_int_t)stats->tx_bytes, "drops", (json_int_t)stats->drops));
}

static int list_ports(struct daemon *d, bool uplinks_only, json_t *list, char *err, size_t err_size)
{
	struct stats *stats = calloc(1, sizeof(*stats));
	bool heard;

	if (!stats)
		return -ENOMEM;
	tap_care_check(d);
	// Without the switch there are ports, but no figures.
	heard = d->client && switch_stats(d->client, take_stats, stats, err, err_size) == 0 &&
		switch_port_list(d->client, take_up, d, err, err_size) == 0;
	for (unsigned i = 0; i < d->desired->n_ports; i++) {
		const struct desired_port *p = &d->desired->ports[i];
		if (uplinks_only && p->kind != DESIRED_UPLINK)
			continue;
		json_t *o = describe_port(d->desired, p, d->run.path);
		if (p->nat && p->uplink->mode != MODEL_UPLINK_NAT)
			describe_fallback_to_nat(o, p);
		put_runtime(d, o, d->ports->by_id[p->id], stats->by_id[p->id], heard);
		json_array_append_new(list, o);
	}
	for (uint32_t id = 0; id <= POLICY_MAX_PORT_ID; id++)
		free(stats->by_id[id]);
	free(stats);
	return 0;
}

// --- drops ---

// The sentence for a reason's name, from the list that makes the counters.
static const char *reason_text(const char *reason)
{
#define X(symbol, name, text) { name, text },
	static const struct {
		const char *name, *text;
	} reasons[] = { DROP_REASONS(X) };
#undef X

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (strcmp(reasons[i].name, reason) == 0)
			return reasons[i].text;
	return "";
}

static void add_drop(void *arg, const char *name, uint64_t count)
{
	json_array_append_new(arg, json_pack("{s:s, s:I, s:s}", "reason", name, "count",
					   (json_int_t)count, "text", reason_text(name)));
}

// --- all kinds ---

static void list_networks(const struct daemon *d, json_t *to)
{
	for (unsigned i = 0; i < d->desired->n_segments; i++) {
		const struct desired_segment *s = &d->desired->segments[i];
		json_t *o = describe_network(d->desired, s);
		describe_dns(o, s->network, d->dns, d->n_dns);
		json_array_append_new(to, o);
	}
}

static int list(struct daemon *d, enum daemon_kind kind, json_t *to, char *err, size_t err_size)
{
	switch (kind) {
	case DAEMON_TENANTS:
		for (unsigned i = 0; i < d->desired->n_tenants; i++)
			json_array_append_new(
				to, describe_tenant(d->desired, &d->desired->tenants[i]));
		return 0;
	case DAEMON_NETWORKS:
		list_networks(d, to);
		return 0;
	case DAEMON_PORTS:
		return list_ports(d, false, to, err, err_size);
	case DAEMON_UPLINKS:
		return list_ports(d, true, to, err, err_size);
	case DAEMON_INSTANCES:
		daemon_list_instances(d, to);
		return 0;
	case DAEMON_IMAGES:
		images_list(d->images, to);
		return 0;
	case DAEMON_VOLUMES:
		daemon_list_volumes(d, to);
		return 0;
	case DAEMON_DROPS:
		return switch_drops(d->client, 0, add_drop, to, err, err_size);
	case DAEMON_LEASES: // both: daemon_stream.c
	case DAEMON_SESSIONS:
	case DAEMON_KIND_COUNT:
		break;
	}
	return -ENOENT;
}

int daemon_list(struct daemon *d, enum daemon_kind kind, json_t **ret)
{
	json_t *array = json_array();
	char err[512] = "out of memory";
	int r = list(d, kind, array, err, sizeof(err));

	if (r < 0) {
		json_decref(array);
		*ret = json_pack("{s:[s]}", "errors", err);
		return r;
	}
	*ret = json_pack("{s:o}", kind_names[kind], array);
	return 0;
}

static bool is_named(const json_t *o, const char *name)
{
	const char *value = json_string_value(json_object_get(o, "name"));
	char id[16];

	snprintf(id, sizeof(id), "%lld", (long long)json_integer_value(json_object_get(o, "id")));
	return strcmp(id, name) == 0 || (value && strcmp(value, name) == 0);
}

// The full names that end (red/lan) or begin (red/web, of red/web.eth0) as `name` does: ", "
// between them. "" if there is none.
static void similar(const json_t *all, const char *name, char *ret_text, size_t size)
{
	size_t i, used = 0, n = strlen(name);
	const json_t *o;

	ret_text[0] = 0;
	json_array_foreach(all, i, o) {
		const char *full = json_string_value(json_object_get(o, "name"));
		const char *slash = full ? strchr(full, '/') : NULL;
		if (!slash || !n ||
			(strcmp(slash + 1, name) != 0 &&
				(strncmp(full, name, n) != 0 || full[n] != '.') &&
				(strncmp(slash + 1, name, n) != 0 || slash[1 + n] != '.')))
			continue;
		if (used + strlen(full) + 3 > size)
			break;
		used += (size_t)snprintf(
			ret_text + used, size - used, "%s%s", used ? ", " : "", full);
	}
}

static int not_there(const char *one, const json_t *all, const char *name, json_t **ret)
{
	char names[400];

	similar(all, name, names, sizeof(names));
	if (names[0])
		*ret = json_pack("{s:[o]}", "errors",
			json_sprintf("there is no %s '%s'; there is %s", one, name, names));
	else
		*ret = json_pack("{s:[o]}", "errors",
			json_sprintf("there is no %s '%s'; `insula list %s` shows them", one, name,
				one));
	return -ENOENT;
}

static int show_drops(struct daemon *d, const char *name, json_t **ret)
{
	json_t *array;
	char err[512], *end;
	const struct desired_port *p = desired_port_by_name(d->desired, name);
	unsigned long id = strtoul(name, &end, 10);

	if (!p && end != name && !*end && id <= POLICY_MAX_PORT_ID)
		p = desired_port_by_id(d->desired, (uint32_t)id);
	if (!p) {
		json_t *all;
		int r = daemon_list(d, DAEMON_PORTS, &all);
		r = not_there("port", r == 0 ? json_object_get(all, "ports") : NULL, name, ret);
		json_decref(all);
		return r;
	}
	array = json_array();
	int r = switch_drops(d->client, p->id, add_drop, array, err, sizeof(err));
	if (r < 0) {
		json_decref(array);
		*ret = json_pack("{s:[s]}", "errors", err);
		return r;
	}
	*ret = json_pack("{s:o}", "drops", array);
	return 0;
}

static int show_session(struct daemon *d, const char *name, json_t **ret)
{
	char err[256] = "out of memory", *end;
	unsigned long id = strtoul(name, &end, 10);
	int r = name[0] >= '0' && name[0] <= '9' && !*end && id < UINT32_MAX
			? daemon_session(d, (uint32_t)id, ret, err, sizeof(err))
			: -ENOENT;

	if (r == -ENOENT)
		return not_there("session", NULL, name, ret);
	if (r < 0)
		*ret = json_pack("{s:[s]}", "errors", err);
	return r;
}

int daemon_show(struct daemon *d, enum daemon_kind kind, const char *name, json_t **ret)
{
	static const char *const singular[DAEMON_KIND_COUNT] = { "tenant", "network", "port",
		"lease", "session", "drop", "uplink", "instance", "image", "volume" };
	json_t *all, *o;
	size_t i;

	if (kind == DAEMON_DROPS)
		return show_drops(d, name, ret);
	if (kind == DAEMON_SESSIONS)
		return show_session(d, name, ret);
	if (kind == DAEMON_LEASES)
		return daemon_lease(d, name, ret) < 0 ? not_there("lease", NULL, name, ret) : 0;
	int r = daemon_list(d, kind, &all);
	if (r < 0) {
		*ret = all;
		return r;
	}
	*ret = NULL;
	json_array_foreach(json_object_get(all, kind_names[kind]), i, o)
		if (!*ret && is_named(o, name))
			*ret = json_incref(o);
	if (!*ret)
		r = not_there(singular[kind], json_object_get(all, kind_names[kind]), name, ret);
	json_decref(all);
	return r;
}
