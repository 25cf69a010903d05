// SPDX-License-Identifier: BSD-3-Clause
// What an apply would do and run into, see foresee.h. Called by daemon.c on the main thread.
#include "control/foresee.h"

#include <errno.h>
#include <stdio.h>
#include "control/daemon_internal.h"
#include "control/describe.h"
#include "control/host_address.h"
#include "control/log.h"
#include "control/plan.h"
#include "control/lease.h"
#include "control/port_changes.h"
#include "control/tap_care.h"
#include "control/vm_disk.h"

static const char *const port_kinds[DESIRED_PORT_KIND_COUNT] = { "uplink", "trunk", "port" };

static void warn(json_t *warnings, const char *port, const char *text)
{
	json_array_append_new(warnings, json_sprintf("port %s: %s", port, text));
}

static void add_fallback(json_t *changes, const struct desired_port *want,
	const struct port_spec *choice, const char *why)
{
	char what[300], text[PORT_REASON_SIZE + 320];

	port_spec_describe(choice, what, sizeof(what));
	snprintf(text, sizeof(text), "%s, because %s", what, why);
	plan_add_detail(changes, port_kinds[want->kind], want->name, text);
}

// Broken, and the file leaves it where it is?
static bool is_repair(const struct port_changes *ports, const struct port *p)
{
	for (unsigned i = 0; i < ports->n; i++)
		if (ports->v[i].old == p)
			return ports->v[i].was_broken;
	return false;
}

// The candidate that an apply falls back to; 0 = none.
static unsigned falls_back_to(struct daemon *d, const struct desired *desired,
	const struct port_changes *ports, const struct port *p)
{
	return is_repair(ports, p) ? port_may_fall_back(d, p,
					     port_changes_nat_user(ports, d->ports, desired, p))
				   : 0;
}

static void add_repair(
	json_t *changes, const struct desired_port *want, const struct port *p, unsigned falls_to)
{
	char text[sizeof(p->trouble) + 320], what[300];

	snprintf(text, sizeof(text), "repair: %s", p->trouble);
	if (falls_to) {
		size_t used = strlen(text);
		port_spec_describe(&p->want[falls_to], what, sizeof(what));
		snprintf(text + used, sizeof(text) - used, "; falls back to %s", what);
	}
	plan_add_detail(changes, port_kinds[want->kind], p->name, text);
}

// What is new or changed, and cannot have its first choice: the sentence that apply says then.
static void tell_of_fallbacks(struct daemon *d, const struct desired *desired,
	const struct port_changes *ports, json_t *changes)
{
	for (unsigned i = 0; i < ports->n; i++) {
		const struct port_change *c = &ports->v[i];
		const char *nat_user = port_changes_nat_user(ports, d->ports, desired, c->new);
		char why[PORT_REASON_SIZE];
		int choice = c->was_broken
				     ? 0
				     : port_check(d, c->new, c->donor, nat_user, why, sizeof(why));
		if (choice > 0)
			add_fallback(changes, c->desired, &c->new->want[choice], why);
	}
}

// A tap in use whose device goes, also when the file changes no more than its queues.
static void tell_of_lost_taps(json_t *changes, const struct port_changes *ports)
{
	for (unsigned i = 0; i < ports->n; i++) {
		const struct port_change *c = &ports->v[i];
		char what[300], text[400];
		if (!c->old || c->old->broken || !c->old->n_fds ||
			port_spec_of(c->old)->kind != PROTO_PORT_TAP ||
			port_changes_give(ports, c->old))
			continue;
		port_spec_describe(port_spec_of(c->old), what, sizeof(what));
		snprintf(text, sizeof(text), "%s %s: the addresses and routes on it go", what,
			c->evicted == c->old ? "is made anew" : "is removed");
		plan_add_detail(changes, port_kinds[c->desired->kind], c->new->name, text);
	}
}

// One that fell back to the nat that another uplink gets now: it may have its first choice.
static void tell_of_nat(
	const struct desired *desired, json_t *changes, const struct port_changes *ports)
{
	const struct desired_port *user = desired_nat_uplink(desired);
	char text[DESIRED_NAME_SIZE + 40];

	for (unsigned i = 0; user && i < ports->n; i++) {
		const struct port_change *c = &ports->v[i];
		if (!c->old || c->desired == user || !port_spec_of(c->old)->host_nat)
			continue;
		snprintf(text, sizeof(text), "nat goes to uplink %s", user->name);
		plan_add_detail(changes, port_kinds[c->desired->kind], c->new->name, text);
	}
}

// Those that others changed, and this sets back.
static void tell_of_mtus(struct daemon *d, const struct desired *desired, json_t *changes)
{
	for (uint32_t id = 1; id <= d->ports->max_id; id++) {
		const struct port *p = d->ports->by_id[id];
		const struct desired_port *want = p ? desired_port_by_id(desired, id) : NULL;
		char text[100];
		if (!want || !p->mtu_changed)
			continue;
		snprintf(text, sizeof(text), "the MTU of %s is set back to %u",
			port_spec_of(p)->ifname, want->mtu);
		plan_add_detail(changes, port_kinds[want->kind], p->name, text);
	}
}

// What a guest has written to its own disk goes with it.
static void tell_of_lost_disks(struct daemon *d, const struct desired *desired, json_t *changes)
{
	for (unsigned i = 0; d->desired && i < d->desired->n_instances; i++) {
		const struct desired_instance *was = &d->desired->instances[i], *will;
		struct vm_disk disk;

		will = desired_instance_by_name(desired, was->name);
		if (was->instance->image[0] && !(will && will->instance->image[0]) &&
			vm_disk_find(d, was->name, &disk) == 0)
			plan_add_detail(changes, "instance", was->name,
				"its disk goes, with all that its guest has written to it");
	}
}

static void tell_of_machines(struct daemon *d, const struct desired *desired, json_t *changes)
{
	char text[600];

	for (unsigned i = 0; d->vms && i < desired->n_instances; i++) {
		vms_foresee(d->vms, desired, &desired->instances[i], text, sizeof(text));
		if (text[0])
			plan_add_detail(changes, "instance", desired->instances[i].name, text);
	}
}

// The file's own changes, and what apply would try that nothing else does.
static json_t *changes_to(
	struct daemon *d, const struct desired *desired, const struct port_changes *ports)
{
	json_t *was = describe_all(d->desired, d->run.path);
	json_t *will = describe_all(desired, d->run.path);
	json_t *changes = plan_changes(was, will);

	for (uint32_t id = 1; id <= d->ports->max_id; id++) {
		const struct port *p = d->ports->by_id[id];
		const struct desired_port *want = p ? desired_port_by_id(desired, id) : NULL;
		if (want && port_may_improve(p))
			plan_add_detail(changes, port_kinds[want->kind], p->name,
				"what was missing is there now");
	}
	tell_of_nat(desired, changes, ports);
	tell_of_mtus(d, desired, changes);
	tell_of_lost_taps(changes, ports);
	tell_of_machines(d, desired, changes);
	tell_of_lost_disks(d, desired, changes);
	json_decref(was);
	json_decref(will);
	return changes;
}

// Looks at the taps first, so that what is told is how they are now.
static void find_port_changes(
	struct daemon *d, const struct desired *desired, struct port_changes *ret_ports)
{
	tap_care_check(d);
	if (port_changes_find(d->ports, desired, d->run.path, desired->model->settings.workers,
		    false, ret_ports) < 0)
		return; // out of memory: the apply will say so
	for (unsigned i = 0; i < ret_ports->n; i++)
		ret_ports->v[i].new->chosen = port_expect(ret_ports->v[i].new,
			port_changes_nat_user(ret_ports, d->ports, desired, ret_ports->v[i].new));
}

// Does `failures` look at it?
static bool is_tried(const struct port_changes *ports, const struct port *p)
{
	for (unsigned i = 0; i < ports->n; i++)
		if (ports->v[i].old == p && !ports->v[i].was_broken)
			return p->broken || ports->v[i].donor == p;
	return false;
}

// Ports in trouble that no change mends, or has mended.
static void warn_of_troubles(struct daemon *d, const struct desired *desired,
	const struct port_changes *ports, json_t *warnings)
{
	for (uint32_t id = 1; id <= d->ports->max_id; id++) {
		const struct port *p = d->ports->by_id[id];
		char why[PORT_REASON_SIZE];
		if (!p || (!p->broken && (!p->oddity[0] || p->mtu_changed)) ||
			!desired_port_by_id(desired, id) || is_tried(ports, p))
			continue;
		if (!p->broken)
			warn(warnings, p->name, p->oddity);
		else if (!falls_back_to(d, desired, ports, p)) {
			const char *nat_user = port_changes_nat_user(ports, d->ports, desired, p);
			int r = port_check(d, p, NULL, nat_user, why, sizeof(why));
			warn(warnings, p->name, r < 0 ? why : p->trouble);
		}
	}
}

bool foresee_restart(const struct daemon *d, const struct desired *desired)
{
	return !d->client || !switch_settings_equal(&d->proc.settings, &desired->model->settings);
}

int foresee_room(struct daemon *d, const struct desired *desired, char *err, size_t err_size)
{
	// One that is dead has given back what it had.
	const struct switch_settings *old = d->proc.pidfd >= 0 ? &d->proc.settings : NULL;

	char why[512];
	int r = switch_settings_check(
		&desired->model->settings, old, d->run.path, why, sizeof(why));

	return r < 0 ? log_reason(r, err, err_size, "settings: %s", why) : 0;
}

// Insulad gives the switch's user access to sockets of vhost-user front ends: its own and the
// switch's are none, and each is one port's. Others in the file were compared when it was read.
static bool socket_taken(const struct daemon *d, const struct desired *desired,
	const struct desired_port *p, char *why, size_t size)
{
	const char *name = strrchr(p->nic->socket, '/');

	if (!name)
		return false;
	if (runtime_dir_holds(&d->run, "", p->nic->socket) ||
		runtime_dir_holds(&d->run, "vm", p->nic->socket)) {
		snprintf(why, size,
			"socket %s is in insulad's own folder; allowed there: in %s/vhost",
			p->nic->socket, d->run.path);
		return true;
	}
	for (unsigned i = 0; i < desired->n_ports; i++) {
		const struct desired_port *q = &desired->ports[i];
		char own[sizeof(((struct port_spec *)0)->arg)];

		if (q->kind != DESIRED_NIC || q->nic->type != MODEL_NIC_VHOST_USER ||
			q->nic->socket[0])
			continue;
		port_spec_vhost_path(q, d->run.path, own, sizeof(own));
		if (strcmp(strrchr(own, '/'), name) != 0 ||
			!runtime_dir_holds(&d->run, "vhost", p->nic->socket))
			continue;
		snprintf(why, size, "socket %s is that of port %s; one port each", own, q->name);
		return true;
	}
	return false;
}

int foresee_sockets(const struct daemon *d, const struct desired *desired, int *ret_line, char *err,
	size_t err_size)
{
	char why[400];

	for (unsigned i = 0; i < desired->n_ports; i++) {
		const struct desired_port *p = &desired->ports[i];

		if (p->kind == DESIRED_NIC && p->nic->type == MODEL_NIC_VHOST_USER &&
			socket_taken(d, desired, p, why, sizeof(why))) {
			*ret_line = p->nic->line;
			return log_reason(-EINVAL, err, err_size, "port %s: %s", p->name, why);
		}
	}
	return 0;
}

// An address of the host's fails the whole apply, and so does what is new or moved and cannot be
// made, and a switch for which there is no room.
static json_t *failures(
	struct daemon *d, const struct desired *desired, const struct port_changes *ports)
{
	json_t *list = json_array();
	char text[PORT_REASON_SIZE];

	if (foresee_restart(d, desired) && foresee_room(d, desired, text, sizeof(text)) < 0)
		json_array_append_new(list, json_string(text));
	for (unsigned i = 0; i < desired->n_uplinks; i++)
		if (host_address_taken(&desired->ports[i], text, sizeof(text)))
			warn(list, desired->ports[i].name, text);
	for (unsigned i = 0; i < ports->n; i++) {
		const struct port_change *c = &ports->v[i];
		char why[PORT_REASON_SIZE];
		const char *nat_user = port_changes_nat_user(ports, d->ports, desired, c->new);
		if (!c->was_broken &&
			port_check(d, c->new, c->donor, nat_user, why, sizeof(why)) < 0)
			warn(list, c->new->name, why);
	}
	return list;
}

int foresee_check(struct daemon *d, const struct desired *desired, char *err, size_t err_size)
{
	struct port_changes ports;
	int r = 0;

	find_port_changes(d, desired, &ports);
	json_t *list = failures(d, desired, &ports);
	if (!list || json_array_size(list) > 0) {
		const char *first = json_string_value(json_array_get(list, 0));
		r = log_reason(-EINVAL, err, err_size, "%s", first ? first : "out of memory");
	}
	json_decref(list);
	port_changes_free(&ports, true);
	return r;
}

static void warn_of_failures(const json_t *list, json_t *warnings)
{
	size_t i;
	json_t *text;

	json_array_foreach(list, i, text)
		json_array_append_new(
			warnings, json_sprintf("apply would fail: %s", json_string_value(text)));
}

void warn_of_mtus(const struct desired *desired, json_t *warnings)
{
	for (unsigned i = 0; i < desired->n_segments; i++) {
		const struct desired_segment *s = &desired->segments[i];
		const struct desired_port *up = desired_port_by_id(desired, s->snat_port);
		if (up && up->mtu < s->network->mtu)
			json_array_append_new(warnings,
				json_sprintf("network %s: its MTU is %u and that of its uplink %s "
					     "%u; packets between the two are dropped, and nobody "
					     "is told; give the network `mtu: %u`",
					s->name, s->network->mtu, up->name, up->mtu, up->mtu));
	}
}

json_t *foresee_diff(
	struct daemon *d, const struct desired *desired, json_t **ret_warnings, bool *ret_fails)
{
	struct port_changes ports;

	*ret_warnings = json_array();
	find_port_changes(d, desired, &ports);
	json_t *changes = changes_to(d, desired, &ports);
	for (uint32_t id = 1; id <= d->ports->max_id; id++) {
		const struct port *p = d->ports->by_id[id];
		const struct desired_port *want = p ? desired_port_by_id(desired, id) : NULL;
		unsigned falls_to = want ? falls_back_to(d, desired, &ports, p) : 0;
		if (falls_to)
			add_repair(changes, want, p, falls_to);
	}
	tell_of_fallbacks(d, desired, &ports, changes);
	json_t *fails = failures(d, desired, &ports);
	*ret_fails = json_array_size(fails) > 0;
	warn_of_failures(fails, *ret_warnings);
	json_decref(fails);
	warn_of_mtus(desired, *ret_warnings);
	leases_warn(d->leases, desired, *ret_warnings);
	warn_of_troubles(d, desired, &ports, *ret_warnings);
	port_changes_free(&ports, true);
	return changes;
}

json_t *foresee_apply(struct daemon *d, const struct desired *desired, json_t **ret_repairs,
	json_t **ret_warnings)
{
	struct port_changes ports;

	*ret_repairs = json_array();
	*ret_warnings = json_array();
	leases_warn(d->leases, desired, *ret_warnings);
	find_port_changes(d, desired, &ports);
	for (unsigned i = 0; i < ports.n; i++)
		if (ports.v[i].was_broken) {
			unsigned falls_to = falls_back_to(d, desired, &ports, ports.v[i].old);
			add_repair(*ret_repairs, ports.v[i].desired, ports.v[i].old, falls_to);
			json_object_set_new(
				json_array_get(*ret_repairs, json_array_size(*ret_repairs) - 1),
				"falls_back", json_boolean(falls_to));
		}
	json_t *changes = changes_to(d, desired, &ports);
	port_changes_free(&ports, true);
	return changes;
}

// What was wrong with a port is why it fell back, too: that is said once.
static void tell_of_repair(json_t *changes, const struct desired_port *want, const struct port *p,
	const json_t *repair)
{
	const char *said = json_string_value(json_object_get(repair, "detail"));
	char text[2 * PORT_REASON_SIZE + 700], what[300];

	port_spec_describe(port_spec_of(p), what, sizeof(what));
	if (!p->fallback[0])
		snprintf(text, sizeof(text), "%s", said);
	else if (json_is_true(json_object_get(repair, "falls_back")))
		snprintf(text, sizeof(text), "repair: falls back to %s, because %s", what,
			p->fallback);
	else if (strstr(said, p->fallback))
		snprintf(text, sizeof(text), "%s; now %s", said, what);
	else
		snprintf(text, sizeof(text), "%s; %s, because %s", said, what, p->fallback);
	plan_add_detail(changes, port_kinds[want->kind], p->name, text);
}

// Only those that succeeded.
static void add_repairs(struct daemon *d, json_t *changes, const json_t *repairs)
{
	size_t i;
	json_t *c;

	json_array_foreach(repairs, i, c) {
		const char *name = json_string_value(json_object_get(c, "name"));
		const struct desired_port *want = desired_port_by_name(d->desired, name);
		const struct port *p = want ? d->ports->by_id[want->id] : NULL;
		if (p && !p->broken)
			tell_of_repair(changes, want, p, c);
	}
}

static bool is_among(const json_t *repairs, const char *name)
{
	size_t i;
	json_t *c;

	json_array_foreach(repairs, i, c)
		if (strcmp(json_string_value(json_object_get(c, "name")), name) == 0)
			return true;
	return false;
}

// The desired state only says which candidate comes first; the ports know what became of it.
static void add_fallbacks(struct daemon *d, json_t *changes, const json_t *repairs)
{
	size_t n = json_array_size(changes);

	for (uint32_t id = 1; id <= d->ports->max_id; id++) {
		const struct port *p = d->ports->by_id[id];
		const struct desired_port *want = p ? desired_port_by_id(d->desired, id) : NULL;
		if (!want || !p->fallback[0] || is_among(repairs, p->name))
			continue;
		// Only of what this apply touched.
		for (size_t i = 0; i < n; i++) {
			json_t *c = json_array_get(changes, i);
			if (strcmp(json_string_value(json_object_get(c, "name")), p->name) == 0)
				add_fallback(changes, want, port_spec_of(p), p->fallback);
		}
	}
}

void foresee_applied(struct daemon *d, json_t *changes, json_t *repairs, json_t *warnings)
{
	const struct port_changes none = { 0 };

	add_repairs(d, changes, repairs);
	add_fallbacks(d, changes, repairs);
	json_decref(repairs);
	warn_of_troubles(d, d->desired, &none, warnings);
	warn_of_mtus(d->desired, warnings);
}
