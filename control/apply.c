// SPDX-License-Identifier: BSD-3-Clause
// All or nothing: brings ports, policy and store from what is to what is desired, or puts
// everything back. The order: changed ports leave the switch, and DPDK devices that others may
// need; new devices are made and added, the policy is switched over, the store commits, what is
// not desired any more goes. Everything up to the store's commit has its undo (apply_undo.c).
// Called by daemon.c, main thread.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "control/apply_internal.h"
#include "control/foresee.h"
#include "control/host_address.h"
#include "control/log.h"
#include "control/remains.h"
#include "control/resolv.h"

#define GENERATION STORE_HOST "generation"

enum { DELETED_AT_ONCE = 128 };

static void add_note(struct apply *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add_note(struct apply *a, const char *fmt, ...)
{
	char text[PORT_REASON_SIZE + 400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warning("%s", text);
	if (a->notes)
		json_array_append_new(a->notes, json_string(text));
}

static int step_error(struct apply *a, int r, const char *step, const char *why)
{
	return log_reason(r, a->err, a->err_size, "%s: %s", step, why);
}

// At start what runs may run on: status tells of it.
static int step_addresses(struct apply *a)
{
	char what[200], why[200];

	for (unsigned i = 0; a->mode == APPLY_NEW && i < a->desired->n_uplinks; i++) {
		const struct desired_port *p = &a->desired->ports[i];
		if (!host_address_taken(p, why, sizeof(why)))
			continue;
		snprintf(what, sizeof(what), "port %s", p->name);
		return step_error(a, -EADDRINUSE, what, why);
	}
	return 0;
}

// Other settings are another process, with a smaller table perhaps, which no undo fills again: what
// is known to fail does so before the old one ends.
static int step_restart(struct apply *a)
{
	struct daemon *d = a->d;
	const struct model *m = a->desired->model;
	char why[512];
	bool adopted;

	if (!foresee_restart(d, a->desired))
		return 0;
	int r = a->mode == APPLY_NEW ? foresee_check(d, a->desired, a->err, a->err_size)
				     : foresee_room(d, a->desired, a->err, a->err_size);
	if (r < 0)
		return r;
	a->restarted = true;
	a->had_policy = false;
	switch_link_down(d);
	r = switch_link_up(d, &m->settings, &adopted, why, sizeof(why));
	ports_all_out(d);
	return r < 0 ? step_error(a, r, "start insula-switch", why) : 0;
}

static int rest(struct apply *a, struct port *p, const char *whose)
{
	char why[512];
	int r = p ? port_del(a->d, p, why, sizeof(why)) : 0;

	return r < 0 ? step_error(a, r, whose, why) : 0;
}

// From here on ports are made for the policy that this makes.
static int step_rest(struct apply *a)
{
	int r = 0;

	a->d->switch_has_policy = false;
	for (unsigned i = 0; r == 0 && i < a->ports.n_removed; i++) {
		struct port *p = a->ports.removed[i];
		if (port_changes_make_way(&a->ports, p))
			r = rest(a, p, p->name);
	}
	for (unsigned i = 0; r == 0 && i < a->ports.n; i++) {
		struct port_change *c = &a->ports.v[i];
		r = rest(a, c->old, c->new->name);
		if (r == 0)
			r = rest(a, c->donor, c->new->name);
		if (r == 0)
			r = rest(a, c->evicted, c->new->name);
	}
	return r;
}

static void leave_to_repair(struct apply *a, struct port *p, const char *why)
{
	p->broken = true;
	snprintf(p->trouble, sizeof(p->trouble), "%.*s", (int)sizeof(p->trouble) - 1, why);
	add_note(a, "port %s: %s; it is tried again %s", p->name, why,
		port_is_slow(p) ? "by and by" : "every second");
}

// In a switch that does not forward yet, others do not wait for a DPDK device, which may take
// seconds, unless the policy depends on what becomes of it.
static bool comes_last(const struct apply *a, const struct port *p)
{
	return (a->restarted || a->mode == APPLY_RESTORE) && p->n_want == 1 && port_is_device(p);
}

// One that was slow, or at start may be, when another one is.
static bool is_put_off(const struct apply *a, const struct port_change *c)
{
	return a->held_up && (c->was_broken ? port_is_slow(c->old)
					    : a->mode == APPLY_RESTORE && comes_last(a, c->new));
}

static int make(struct apply *a, struct port_change *c)
{
	const char *nat_user = port_changes_nat_user(&a->ports, a->d->ports, a->desired, c->new);
	char why[PORT_REASON_SIZE] = "", what[200];
	// Whatever was in trouble before the file came may stay so: it blocks no other change.
	bool may_fail = a->mode == APPLY_RESTORE || c->was_broken;
	int r = 0;

	if (c->was_broken) // of no use, and in the way of its successor
		port_close(c->old);
	if (is_put_off(a, c)) {
		c->made = c->new->unmade = true;
		c->new->last_try_ms = c->old ? c->old->last_try_ms : 0;
		c->new->tried_ns = c->old ? c->old->tried_ns : 0;
		leave_to_repair(a, c->new, c->old ? c->old->trouble : PORT_WAITS_FOR_DEVICE);
		return 0;
	}
	r = port_make(a->d, c->new, c->donor, nat_user, why, sizeof(why));
	if (r < 0 && (!may_fail || r == -EPIPE || r == -ETIMEDOUT)) {
		snprintf(what, sizeof(what), "port %s", c->new->name);
		return step_error(a, r, what, why);
	}
	c->made = true;
	a->held_up = a->held_up || (r < 0 && port_is_slow(c->new));
	if (r < 0) {
		leave_to_repair(a, c->new, why);
	} else if (c->new->fallback[0]) {
		port_spec_describe(port_spec_of(c->new), what, sizeof(what));
		add_note(a, "port %s: %s, because %s", c->new->name, what, c->new->fallback);
	}
	return 0;
}

static int step_make(struct apply *a)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < a->ports.n; i++)
		if (!comes_last(a, a->ports.v[i].new))
			r = make(a, &a->ports.v[i]);
	return r;
}

// Ports that stayed get into a switch that was started anew.
static int readd(struct apply *a, bool devices)
{
	char why[512];

	for (uint32_t id = 1; a->restarted && id <= a->d->ports->max_id; id++) {
		struct port *p = a->d->ports->by_id[id];
		bool changing = port_changes_touch(&a->ports, p);
		for (unsigned i = 0; i < a->ports.n_removed; i++)
			changing = changing || a->ports.removed[i] == p;
		if (!p || changing || p->broken || p->in_switch || port_is_device(p) != devices)
			continue;
		int r = port_add(a->d, p, why, sizeof(why));
		if (r < 0)
			return step_error(a, r, p->name, why);
	}
	return 0;
}

static int step_readd(struct apply *a)
{
	return readd(a, false);
}

// After the policy, which is that of these.
static int step_devices(struct apply *a)
{
	int r = 0;

	a->d->switch_has_policy = true;
	for (unsigned i = 0; r == 0 && i < a->ports.n; i++)
		if (comes_last(a, a->ports.v[i].new))
			r = make(a, &a->ports.v[i]);
	return r == 0 ? readd(a, true) : r;
}

// Those that fell back to nat: the policy is compiled for what they are now.
static void settle_nat(struct apply *a)
{
	for (unsigned i = 0; i < a->desired->n_uplinks; i++) {
		struct desired_port *p = &a->desired->ports[i];
		if (port_spec_of(port_changes_to_be(&a->ports, a->d->ports, p->id))->host_nat)
			desired_uplink_to_nat(p);
	}
}

static bool is_in_force(struct apply *a)
{
	const struct compiled *c = a->d->compiled;
	struct proto_hello hello;
	char why[512];

	if (c)
		return a->had_policy && c->generation == a->compiled->generation;
	return !a->restarted && switch_hello(a->d->client, &hello, why, sizeof(why)) == 0 &&
	       memcmp(hello.root_hash, a->compiled->root.hash, POLICY_HASH_SIZE) == 0;
}

static void read_generation(void *arg, const char *key, const char *value)
{
	uint64_t *newest = arg, noted = strtoull(value, NULL, 10);

	if (noted > *newest)
		*newest = noted;
}

// Of those that were ever given to a switch, whether they stayed in force or not: sessions remember
// by which revision they were decided, and are decided again by any other. They live as long as
// RUN_DIR, and so does the note.
static uint64_t newest_generation(const struct apply *a, uint64_t stored)
{
	const struct compiled *c = a->d->compiled;
	uint64_t newest = stored;
	struct proto_hello hello;
	char why[256];

	if (c && c->generation > newest)
		newest = c->generation;
	if (!c && !a->restarted && switch_hello(a->d->client, &hello, why, sizeof(why)) == 0 &&
		hello.generation > newest)
		newest = hello.generation;
	store_each_note(a->d->store, GENERATION, read_generation, &newest);
	return newest;
}

static int note_generation(struct store *s, uint64_t generation)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)generation);
	return store_set_note(s, GENERATION, text);
}

static int step_policy(struct apply *a)
{
	struct daemon *d = a->d;
	struct store_desired stored = { 0 };
	void *stored_root = NULL;
	size_t size;
	char why[512];

	settle_nat(a);
	int r = store_get_desired(d->store, &stored);
	uint64_t generation = newest_generation(a, stored.generation) + 1;
	store_desired_clear(&stored);
	if (r == 0 && !d->compiled)
		r = store_get_root(d->store, generation, &stored_root, &size);
	if (r < 0 && r != -ENOENT)
		return step_error(a, r, "state", store_error(d->store));
	a->n_dns = resolv_host(NULL, NULL, a->dns);
	r = compile_policy(a->desired, a->dns, a->n_dns,
		d->compiled ? d->compiled->root.data : stored_root, generation, &a->compiled, why,
		sizeof(why));
	free(stored_root);
	if (r < 0)
		return step_error(a, r, "compile the policy", why);
	if (!d->ports_held && is_in_force(a))
		return 0;
	if (a->compiled->generation == generation && note_generation(d->store, generation) < 0)
		return step_error(a, -EIO, "state", store_error(d->store));
	a->pushed = true;
	r = switch_link_push(d, a->compiled, a->had_policy ? d->compiled : NULL, why, sizeof(why));
	return r < 0 ? step_error(a, r, "insula-switch refuses the policy", why) : 0;
}

// A switch that hangs would take a policy, and not go by it.
static int step_sync(struct apply *a)
{
	char why[512];
	int r = a->mode == APPLY_NEW ? switch_sync(a->d->client, why, sizeof(why)) : 0;

	return r < 0 ? step_error(a, r, "insula-switch", why) : 0;
}

// Ports whose device is nobody's after this.
static struct port **leaving(const struct apply *a, unsigned *ret_n)
{
	struct port **gone = calloc(a->ports.n_removed + a->ports.n + 1, sizeof(struct port *));

	*ret_n = 0;
	for (unsigned i = 0; gone && i < a->ports.n_removed; i++)
		if (!port_changes_give(&a->ports, a->ports.removed[i]))
			gone[(*ret_n)++] = a->ports.removed[i];
	for (unsigned i = 0; gone && i < a->ports.n; i++)
		if (a->ports.v[i].old && !port_changes_give(&a->ports, a->ports.v[i].old))
			gone[(*ret_n)++] = a->ports.v[i].old;
	return gone;
}

// They lose their persistence before the commit: a crash right after it then leaves none behind,
// and one right before it costs nothing, as the next start makes them again.
static void set_leaving_persistent(struct apply *a, bool on)
{
	unsigned n;
	struct port **gone = leaving(a, &n);

	for (unsigned i = 0; i < n; i++)
		port_set_persistent(gone[i], on);
	free(gone);
}

// Many at once: one by one, each would wait 20 ms for the kernel. All of a thousand at once take
// most of a second, in which a switch that dies is not replaced.
static void delete_leaving_taps(struct apply *a)
{
	unsigned n;
	struct port **gone = leaving(a, &n);

	for (unsigned done = 0; done < n; done += DELETED_AT_ONCE) {
		unsigned left = n - done;
		ports_delete_taps(gone + done, left < DELETED_AT_ONCE ? left : DELETED_AT_ONCE);
		switch_link_look(a->d);
	}
	free(gone);
}

// They become persistent in `finish`. In a transaction of their own, before the state's: one over
// two files, one of them with a WAL, may end with one of them committed and an error.
static int note_taps(struct apply *a)
{
	struct store *s = a->d->store;
	int r = store_begin(s);

	for (unsigned i = 0; r == 0 && i < a->ports.n; i++)
		r = remains_note_tap(s, a->ports.v[i].new);
	if (r == 0)
		return store_commit(s);
	store_rollback(s);
	return r;
}

static int store_all(struct apply *a, const char *file, const char *yaml, size_t yaml_size)
{
	struct store *s = a->d->store;
	const struct compiled *c = a->compiled;
	int r = store_begin(s);

	for (unsigned i = 0; r == 0 && i < c->n_sections; i++)
		r = store_put_section(
			s, c->sections[i].hash, c->sections[i].data, c->sections[i].size);
	if (r == 0)
		r = store_put_root(s, c->generation, c->root.hash, c->root.data, c->root.size);
	if (r == 0)
		r = store_put_desired(s, c->generation, file, yaml, yaml_size);
	if (r == 0)
		r = store_round_accept(s, a->desired->round);
	if (r == 0)
		return store_commit(s);
	store_rollback(s);
	return r;
}

static int step_store(struct apply *a, const char *file, const char *yaml, size_t yaml_size)
{
	set_leaving_persistent(a, false);
	int r = note_taps(a);
	if (r == 0) {
		r = store_all(a, file, yaml, yaml_size);
		// A full disk keeps no start from what is on it. What may differ (a fallback, the
		// host's name servers) is found again by the next one.
		if (r < 0 && a->mode == APPLY_RESTORE) {
			log_warning("state: %s; starts without storing what is different now",
				store_error(a->d->store));
			r = 0;
		}
	}
	if (r == 0)
		return 0;
	set_leaving_persistent(a, true);
	return step_error(a, r, "store the file", store_error(a->d->store));
}

// The port that leaves is in a switch that does not answer: said, as it may still be served.
static void take_out(struct apply *a, struct port *p)
{
	char why[512], what[DESIRED_NAME_SIZE + 8];
	int r = port_del(a->d, p, why, sizeof(why));

	if (r == 0)
		return;
	log_warning("port %s: %s", p->name, why);
	if (r != -EPIPE && r != -ETIMEDOUT && r != -ENOTCONN)
		return;
	snprintf(what, sizeof(what), "port %s", p->name);
	if (!a->unconfirmed)
		step_error(a, r, what, why);
	a->unconfirmed = true;
}

// From here on what the file says is what there has to be, also in a switch that must be started
// anew while the rest is done.
static void take_over(struct apply *a)
{
	struct daemon *d = a->d;

	for (unsigned i = 0; i < a->ports.n_removed; i++)
		d->ports->by_id[a->ports.removed[i]->id] = NULL;
	for (unsigned i = 0; i < a->ports.n; i++)
		ports_put(d->ports, a->ports.v[i].new);
	free(d->held);
	d->held = NULL;
	desired_free(d->desired);
	compiled_free(d->compiled);
	d->desired = a->desired;
	d->compiled = a->compiled;
	memcpy(d->dns, a->dns, sizeof(d->dns));
	d->n_dns = a->n_dns;
	d->switch_has_policy = true;
	switch_link_look(d);
}

static void finish_removed(struct apply *a)
{
	delete_leaving_taps(a); // first: with its device gone, closing a tap's fd costs nothing
	for (unsigned i = 0; i < a->ports.n_removed; i++) {
		switch_link_look(a->d);
		take_out(a, a->ports.removed[i]);
	}
	for (unsigned i = 0; i < a->ports.n_removed; i++) {
		switch_link_look(a->d);
		port_close(a->ports.removed[i]);
	}
}

static void finish_made(struct apply *a)
{
	struct daemon *d = a->d;
	bool again = false;
	char why[512];

	for (unsigned i = 0; i < a->ports.n; i++) {
		struct port *new = a->ports.v[i].new, *old = a->ports.v[i].old;
		switch_link_look(d);
		if (new->fallback[0] || (old && old->fallback[0]))
			port_keep_fallback(d, new);
		if (new->temporary[0] && port_take_name(new, why, sizeof(why)) < 0) {
			log_error("port %s: %s; trying again every second", new->name, why);
			again = true;
		}
		port_set_persistent(new, true);
		again = again || new->broken;
	}
	if (again)
		loop_timer_arm(d->repair_timer, 1000000000);
}

// Nothing fails any more; what does is logged.
static void finish(struct apply *a)
{
	struct daemon *d = a->d;

	take_over(a);
	finish_removed(a);
	finish_made(a);
	for (unsigned i = 0; i < a->ports.n; i++) {
		switch_link_look(d);
		if (a->ports.v[i].old)
			port_close(a->ports.v[i].old);
	}
	for (unsigned i = 0; i < a->ports.n; i++)
		if (a->ports.v[i].old) {
			port_restore_host(d, d->ports, a->ports.v[i].old);
			port_free(a->ports.v[i].old);
		}
	for (unsigned i = 0; i < a->ports.n_removed; i++) {
		port_restore_host(d, d->ports, a->ports.removed[i]);
		port_free(a->ports.removed[i]);
	}
	for (uint32_t id = 1; id <= d->ports->max_id; id++)
		if (d->ports->by_id[id])
			port_set_mtu_back(d->ports->by_id[id]);
	if (a->mode == APPLY_NEW)
		remains_sweep(d->store, d->ports);
	else
		remains_after_start(d->store, d->ports);
}

static void apply_free(struct apply *a, int r)
{
	if (r < 0) {
		compiled_free(a->compiled);
		desired_free(a->desired);
	}
	port_changes_free(&a->ports, r < 0);
}

int apply_desired(struct daemon *d, struct desired *desired, enum apply_mode mode, const char *file,
	const char *yaml, size_t yaml_size, json_t *notes, char *err, size_t err_size)
{
	struct apply a = { .d = d,
		.desired = desired,
		.mode = mode,
		.notes = notes,
		.err = err,
		.err_size = err_size,
		.had_policy = d->switch_has_policy };
	a.old_settings = d->proc.settings;
	switch_settings_fill(&a.old_settings);
	int r = step_addresses(&a);

	if (r == 0)
		r = step_restart(&a);
	if (r == 0) {
		r = port_changes_find(d->ports, desired, d->run.path, d->proc.settings.workers,
			mode == APPLY_RESTORE, &a.ports);
		if (r < 0)
			log_reason(r, err, err_size, "out of memory");
	}
	if (r == 0)
		r = step_rest(&a);
	if (r == 0)
		r = step_make(&a);
	if (r == 0)
		r = step_readd(&a);
	if (r == 0)
		r = step_policy(&a);
	if (r == 0)
		r = step_devices(&a);
	if (r == 0)
		r = step_sync(&a);
	if (r == 0)
		r = step_store(&a, file, yaml, yaml_size);
	if (r == 0)
		finish(&a);
	else
		apply_undo(&a, r);
	if (a.unconfirmed) // perhaps it was the connection only
		a.unconfirmed = !switch_link_reconnect(d);
	bool made_anew = a.restarted || a.ports.n > 0; // their leases went with the old ones
	apply_free(&a, r);
	if (r == 0 && d->vms)
		vms_on_apply(d->vms);
	leases_on_apply(d->leases);
	if (made_anew && mode == APPLY_NEW) // at start daemon_restore does
		leases_restore(d->leases);
	return r == 0 && a.unconfirmed ? 1 : r;
}
