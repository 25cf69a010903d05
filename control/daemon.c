// SPDX-License-Identifier: BSD-3-Clause
// apply, diff and the desired state behind the API; see daemon.h. Lists and status are in
// daemon_lists.c and daemon_status.c, start and stop in daemon_life.c. Main thread only.
#include "control/daemon.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/config_mend.h"
#include "control/daemon_internal.h"
#include "control/foresee.h"
#include "control/hold.h"
#include "control/host_care.h"
#include "control/log.h"

static const char nothing[] = "version: 1\n"; // desired where no file was applied yet

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

// Room in the switch for the file's DPDK devices: others leave it first (apply.c).
static void reckon_devices(const struct daemon *d, struct desired *desired)
{
	struct switch_settings *s = &desired->model->settings;
	uint32_t queues = 0;

	for (unsigned i = 0; i < desired->n_ports; i++)
		queues += port_spec_device_queues(&desired->ports[i], s->workers);
	switch_settings_make_room(s, queues, d->proc.pidfd >= 0 ? &d->proc.settings : NULL);
}

// From YAML to a desired state with its numbers. Inside the caller's transaction.
static int read_desired(struct daemon *d, const char *file, const char *yaml, size_t size,
	struct desired **ret_desired, json_t **ret)
{
	struct model_errors errors = { 0 };
	char err[512];
	struct model *m;
	int line;
	int r = model_from_yaml(file, yaml, size, &m, &errors);

	if (r == 0)
		r = alloc_desired(d->store, m, ret_desired, &errors);
	if (r < 0 && errors.n)
		return fail_all(ret, &errors);
	model_errors_free(&errors);
	if (r < 0)
		return fail(ret, r, "%s", r == -EIO ? store_error(d->store) : strerror(-r));
	r = images_resolve(d->images, *ret_desired);
	if (r == 0)
		r = daemon_resolve_volumes(d, *ret_desired);
	if (r < 0) {
		desired_free(*ret_desired);
		return fail(ret, r, "%s", strerror(-r));
	}
	r = foresee_sockets(d, *ret_desired, &line, err, sizeof(err));
	if (r < 0) {
		desired_free(*ret_desired);
		return fail(ret, r, "%s:%d: %s", file, line, err);
	}
	reckon_devices(d, *ret_desired);
	return 0;
}

// What it takes to start the machines that are new in the file.
static int check_machines(struct daemon *d, const char *file, struct desired *desired, json_t **ret)
{
	char err[512];
	int line = 0, r = vms_check(d, desired, &line, err, sizeof(err));

	if (r < 0) {
		desired_free(desired);
		return fail(ret, -EINVAL, "%s:%d: %s", file, line, err);
	}
	return 0;
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

// Stored, and not to be undone; but nobody may take it for done.
static int fail_unconfirmed(struct daemon *d, const char *file, const char *why, json_t *changes,
	json_t *repairs, json_t **ret)
{
	unsigned long long generation = d->compiled->generation;

	json_decref(changes);
	json_decref(repairs);
	log_error("applied %s: generation %llu, not confirmed: %s", file, generation, why);
	return fail(ret, -ETIMEDOUT,
		"%s; the file is stored as generation %llu, and insula-switch gets the rest of it "
		"when it answers again or has been replaced: see `insula status`",
		why, generation);
}

int daemon_apply(struct daemon *d, const char *file, const char *yaml, size_t size, json_t **ret)
{
	struct desired *desired;
	char err[1024];
	uint64_t start = loop_now_ns();

	if (d->stop_all)
		return fail(ret, -EBUSY, "Insula is stopping");
	int r = store_begin(d->store);

	if (r < 0)
		return fail(ret, r, "state: %s", store_error(d->store));
	r = read_desired(d, file, yaml, size, &desired, ret);
	if (r == 0)
		r = check_machines(d, file, desired, ret);
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
	switch_link_look(d);
	json_t *repairs, *warnings, *changes = foresee_apply(d, desired, &repairs, &warnings);
	switch_link_look(d);
	r = apply_desired(d, desired, APPLY_NEW, file, yaml, size, NULL, err, sizeof(err));
	if (r < 0) {
		json_decref(changes);
		json_decref(repairs);
		json_decref(warnings);
		log_error("apply of %s failed: %s", file, err);
		return fail(ret, -EIO, "%s", err);
	}
	if (remember(d, file, yaml, size) < 0)
		log_warning("out of memory: `insula config` shows the one before");
	if (r > 0) {
		json_decref(warnings);
		return fail_unconfirmed(d, file, err, changes, repairs, ret);
	}
	foresee_applied(d, changes, repairs, warnings);
	size_t n = json_array_size(changes);
	log_info("applied %s: generation %llu, %zu change%s, %llu ms", file,
		(unsigned long long)d->compiled->generation, n, n == 1 ? "" : "s",
		(unsigned long long)((loop_now_ns() - start) / 1000000));
	*ret = json_pack("{s:I, s:o, s:o}", "generation", (json_int_t)d->compiled->generation,
		"changes", changes, "warnings", warnings);
	if (!*ret) // a moment without memory must not make a failure of it
		*ret = json_pack("{s:I, s:[], s:[s]}", "generation",
			(json_int_t)d->compiled->generation, "changes", "warnings",
			"all of it was applied, but there was no memory to say what; `insula list` "
			"shows what is");
	return 0;
}

int daemon_diff(struct daemon *d, const char *file, const char *yaml, size_t size, json_t **ret)
{
	struct desired *desired;
	int r = store_begin(d->store);

	if (r < 0)
		return fail(ret, r, "state: %s", store_error(d->store));
	r = read_desired(d, file, yaml, size, &desired, ret);
	if (r == 0)
		r = check_machines(d, file, desired, ret);
	store_rollback(d->store); // the numbers shown are those it would get
	if (r < 0)
		return r;
	bool fails;
	json_t *warnings, *changes = foresee_diff(d, desired, &warnings, &fails);
	*ret = json_pack(
		"{s:o, s:o, s:b}", "changes", changes, "warnings", warnings, "would_fail", fails);
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

// The stored file is not understood any more (an older insulad's, or a newer's): nothing is
// desired, loudly, and what runs is left as it is.
static int restore_held(struct daemon *d, const struct store_desired *stored, const json_t *errors,
	char *err, size_t err_size)
{
	const char *first = json_string_value(json_array_get(json_object_get(errors, "errors"), 0));
	json_t *none = NULL;
	int r = store_begin(d->store);

	if (r == 0) {
		r = read_desired(d, "-", nothing, strlen(nothing), &d->desired, &none);
		store_rollback(d->store);
	}
	json_decref(none);
	if (r < 0)
		return log_reason(r, err, err_size, "state: %s", store_error(d->store));
	if (asprintf(&d->held,
		    "%s; until a file is applied that mends it, what runs is left as it is "
		    "(`insula config` shows the stored one)",
		    first) < 0)
		return log_reason(-ENOMEM, err, err_size, "out of memory");
	log_error("%s", d->held);
	vms_hold(d->vms);
	r = hold_what_runs(d, stored->generation, err, err_size);
	return r == 0 ? remember(d, stored->file, stored->yaml, stored->yaml_size) : r;
}

// That the same numbers were used once more need not be written: with a full disk the start goes on
// without.
static int keep_numbers(struct daemon *d, struct desired *desired)
{
	bool gave = store_round_gave(d->store);
	int r = store_commit(d->store);

	if (r < 0 && !gave) {
		log_warning("state: %s; this start goes by what is stored", store_error(d->store));
		desired->round = 0; // none: who is not marked as used by it is not unused
		r = 0;
	}
	return r;
}

// The file as it was taken when it was applied, before keys with nothing behind them were refused.
static int mend_stored(struct store_desired *stored)
{
	char *yaml;
	size_t size;
	int r = config_mend(stored->yaml, stored->yaml_size, &yaml, &size);

	if (r <= 0)
		return r;
	log_info("the stored configuration has keys with nothing behind them, which count as "
		 "empty: [] or {} is written there now");
	free(stored->yaml);
	stored->yaml = yaml;
	stored->yaml_size = size;
	return 1;
}

// In a transaction, which is over where this fails.
static int read_stored(
	struct daemon *d, struct store_desired *stored, struct desired **ret_desired, json_t **ret)
{
	int r;

	for (bool mended = false;; mended = true) {
		bool any = stored->yaml_size > 0;

		r = store_begin(d->store);
		if (r < 0)
			return r;
		r = read_desired(d, "the stored configuration", any ? stored->yaml : nothing,
			any ? stored->yaml_size : strlen(nothing), ret_desired, ret);
		if (r == 0)
			return 0;
		store_rollback(d->store);
		if (r != -EINVAL || mended || !any)
			return r;
		int changed = mend_stored(stored);
		if (changed <= 0)
			return changed < 0 ? changed : r;
		json_decref(*ret);
		*ret = NULL;
	}
}

// At start.
int daemon_restore(struct daemon *d, char *err, size_t err_size)
{
	struct store_desired stored = { 0 };
	struct desired *desired = NULL;
	json_t *errors = NULL;
	bool adopted;
	int r = store_get_desired(d->store, &stored);

	if (r < 0)
		return log_reason(r, err, err_size, "state: %s", store_error(d->store));
	const char *file = stored.file ? stored.file : "-";
	r = read_stored(d, &stored, &desired, &errors);
	if (r == 0)
		r = keep_numbers(d, desired);
	if (r == -EINVAL && stored.yaml) {
		r = restore_held(d, &stored, errors, err, err_size);
		goto out;
	}
	if (r < 0) {
		log_reason(r, err, err_size, "the stored configuration: %s", store_error(d->store));
		goto out;
	}
	if (store_is_new(d->store))
		r = switch_link_forget(d, err, err_size);
	if (r == 0)
		r = switch_link_up(d, &desired->model->settings, &adopted, err, err_size);
	if (r == 0 && adopted) {
		reckon_devices(d, desired); // it may have more room than these need
		r = ports_adopt(d, desired, err, err_size);
	}
	if (r == 0) {
		r = apply_desired(d, desired, APPLY_RESTORE, file, stored.yaml ? stored.yaml : "",
			stored.yaml_size, NULL, err, err_size);
		desired = NULL;
	}
	if (r >= 0) {
		r = 0;
		leases_restore(d->leases);
		host_care_look(d->host_care);
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
