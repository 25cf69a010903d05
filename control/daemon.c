// SPDX-License-Identifier: BSD-3-Clause
// apply, diff and the desired state behind the API; see daemon.h. Lists and status are in
// daemon_lists.c and daemon_status.c, start and stop in daemon_life.c. Main thread only.
#include "control/daemon.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/daemon_internal.h"
#include "control/describe.h"
#include "control/log.h"
#include "control/plan.h"
#include "control/tap_care.h"

static int fail(json_t **ret, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int fail(json_t **ret, int r, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	*ret = json_pack("{s:[s]}", "errors", text);
	return r;
}

static int fail_all(json_t **ret, struct model_errors *errors)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < errors->n; i++)
		json_array_append_new(list, json_string(errors->text[i]));
	model_errors_free(errors);
	*ret = json_pack("{s:o}", "errors", list);
	return -EINVAL;
}

// From YAML to a desired state with its numbers. Inside the caller's transaction.
static int read_desired(struct daemon *d, const char *file, const char *yaml, size_t size,
	struct desired **ret_desired, json_t **ret)
{
	struct model_errors errors = { 0 };
	struct model *m;
	int r = model_from_yaml(file, yaml, size, &m, &errors);

	if (r == 0)
		r = alloc_desired(d->store, m, ret_desired, &errors);
	if (r < 0 && errors.n)
		return fail_all(ret, &errors);
	model_errors_free(&errors);
	if (r < 0)
		return fail(ret, r, "%s", r == -EIO ? store_error(d->store) : strerror(-r));
	return 0;
}

static const char *const port_kinds[DESIRED_PORT_KIND_COUNT] = { "uplink", "trunk", "port" };

static void add_repair(json_t *changes, const struct desired_port *want, const struct port *p)
{
	char text[sizeof(p->trouble) + 320], what[300];

	snprintf(text, sizeof(text), "repair: %s", p->trouble);
	if (port_may_fall_back(p)) {
		size_t used = strlen(text);
		port_spec_describe(&p->want[p->chosen + 1], what, sizeof(what));
		snprintf(text + used, sizeof(text) - used, "; falls back to %s", what);
	}
	plan_add_detail(changes, port_kinds[want->kind], p->name, text);
}

// What the file changes, and what apply would mend beyond what mends itself. An apply repairs what
// is broken on its way: `repairs` names that too.
static json_t *changes_to(struct daemon *d, const struct desired *desired, bool repairs)
{
	tap_care_check(d);
	json_t *was = describe_all(d->desired, d->run.path);
	json_t *will = describe_all(desired, d->run.path);
	json_t *changes = plan_changes(was, will);

	for (uint32_t id = 1; id <= d->ports->max_id; id++) {
		const struct port *p = d->ports->by_id[id];
		const struct desired_port *want = p ? desired_port_by_id(desired, id) : NULL;
		if (want && p->broken && (repairs || port_may_fall_back(p)))
			add_repair(changes, want, p);
		else if (want && port_may_improve(p))
			plan_add_detail(changes, port_kinds[want->kind], p->name,
				"what was missing is there now");
	}
	json_decref(was);
	json_decref(will);
	return changes;
}

// The desired state only says which candidate comes first; the ports know what became of it.
static void add_fallbacks(struct daemon *d, json_t *changes)
{
	size_t n = json_array_size(changes);

	for (uint32_t id = 1; id <= d->ports->max_id; id++) {
		const struct port *p = d->ports->by_id[id];
		const struct desired_port *want = p ? desired_port_by_id(d->desired, id) : NULL;
		char what[300], text[600];
		if (!want || !p->fallback[0])
			continue;
		port_spec_describe(port_spec_of(p), what, sizeof(what));
		snprintf(text, sizeof(text), "%s, because %s", what, p->fallback);
		// Only of what this apply touched.
		for (size_t i = 0; i < n; i++) {
			json_t *c = json_array_get(changes, i);
			if (strcmp(json_string_value(json_object_get(c, "name")), p->name) == 0)
				plan_add_detail(changes, port_kinds[want->kind], p->name, text);
		}
	}
}

static int remember(struct daemon *d, const char *file, const char *yaml, size_t size)
{
	if (yaml == d->yaml) // host_care.c applies again what is remembered
		return 0;
	char *f = strdup(file), *y = malloc(size + 1);

	if (!f || !y) {
		free(f);
		free(y);
		return -ENOMEM;
	}
	memcpy(y, yaml, size);
	y[size] = 0;
	free(d->file);
	free(d->yaml);
	d->file = f;
	d->yaml = y;
	d->yaml_size = size;
	d->has_config = true;
	return 0;
}

int daemon_apply(struct daemon *d, const char *file, const char *yaml, size_t size, json_t **ret)
{
	struct desired *desired;
	char err[1024];
	uint64_t start = loop_now_ns();
	int r = store_begin(d->store);

	if (r < 0)
		return fail(ret, r, "state: %s", store_error(d->store));
	r = read_desired(d, file, yaml, size, &desired, ret);
	if (r < 0) {
		store_rollback(d->store);
		return r;
	}
	// Durable before anything uses them: a worker hands out addresses at once.
	r = store_commit(d->store);
	if (r < 0) {
		desired_free(desired);
		return fail(ret, r, "state: %s", store_error(d->store));
	}
	json_t *changes = changes_to(d, desired, true);
	r = apply_desired(d, desired, APPLY_NEW, file, yaml, size, NULL, err, sizeof(err));
	if (r < 0) {
		json_decref(changes);
		log_error("apply of %s failed: %s", file, err);
		return fail(ret, r == -EINVAL ? -EIO : r, "%s; nothing was changed", err);
	}
	if (remember(d, file, yaml, size) < 0)
		log_warning("out of memory: `insula config` shows the one before");
	add_fallbacks(d, changes);
	size_t n = json_array_size(changes);
	log_info("applied %s: generation %llu, %zu change%s, %llu ms", file,
		(unsigned long long)d->compiled->generation, n, n == 1 ? "" : "s",
		(unsigned long long)((loop_now_ns() - start) / 1000000));
	*ret = json_pack("{s:I, s:o}", "generation", (json_int_t)d->compiled->generation, "changes",
		changes);
	return 0;
}

int daemon_diff(struct daemon *d, const char *file, const char *yaml, size_t size, json_t **ret)
{
	struct desired *desired;
	int r = store_begin(d->store);

	if (r < 0)
		return fail(ret, r, "state: %s", store_error(d->store));
	r = read_desired(d, file, yaml, size, &desired, ret);
	store_rollback(d->store); // the numbers shown are those it would get
	if (r < 0)
		return r;
	*ret = json_pack("{s:o}", "changes", changes_to(d, desired, false));
	desired_free(desired);
	return 0;
}

int daemon_get_config(
	struct daemon *d, const char **ret_file, const char **ret_yaml, size_t *ret_size)
{
	if (!d->has_config)
		return -ENOENT;
	*ret_file = d->file;
	*ret_yaml = d->yaml;
	*ret_size = d->yaml_size;
	return 0;
}

// At start. A stored file that is not understood any more (an older insulad's) leaves an empty
// state, loudly.
int daemon_restore(struct daemon *d, char *err, size_t err_size)
{
	struct store_desired stored = { 0 };
	struct desired *desired = NULL;
	json_t *errors = NULL;
	bool adopted;
	int r = store_get_desired(d->store, &stored);

	if (r == 0)
		r = store_begin(d->store);
	if (r < 0) {
		store_desired_clear(&stored);
		return log_reason(r, err, err_size, "state: %s", store_error(d->store));
	}
	const char *file = stored.file ? stored.file : "-";
	r = read_desired(
		d, file, stored.yaml ? stored.yaml : "", stored.yaml_size, &desired, &errors);
	if (r == 0)
		r = store_commit(d->store);
	else
		store_rollback(d->store);
	if (r < 0) {
		json_t *first =
			errors ? json_array_get(json_object_get(errors, "errors"), 0) : NULL;
		log_reason(r, err, err_size, "the stored configuration: %s",
			first ? json_string_value(first) : store_error(d->store));
		goto out;
	}
	unsigned workers = desired->model->workers ? desired->model->workers : 1;
	r = switch_link_up(d, workers, desired->model->poll, &adopted, err, err_size);
	if (r == 0 && adopted)
		r = ports_adopt(d, desired, err, err_size);
	if (r == 0) {
		r = apply_desired(d, desired, APPLY_RESTORE, file, stored.yaml ? stored.yaml : "",
			stored.yaml_size, NULL, err, err_size);
		desired = NULL;
	}
	if (r == 0) {
		leases_restore(d->leases);
		log_info("insula-switch (pid %d) %s, generation %llu", d->proc.pid,
			adopted ? "runs on" : "started",
			(unsigned long long)d->compiled->generation);
		if (stored.yaml)
			r = remember(d, file, stored.yaml, stored.yaml_size);
	}
out:
	desired_free(desired);
	json_decref(errors);
	store_desired_clear(&stored);
	return r;
}
