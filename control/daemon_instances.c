// SPDX-License-Identifier: BSD-3-Clause
// Instances behind the API, see daemon.h: what they are, and what is done with those of kind vm.
// Main thread.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/config_edit.h"
#include "control/daemon_internal.h"
#include "control/describe.h"

enum { CONSOLE_LINES = 1000 };

static json_t *addresses_of(const struct desired *d, const struct desired_instance *in)
{
	json_t *list = json_array();
	char text[INET_ADDRSTRLEN];

	for (unsigned i = 0; i < in->n_ports; i++) {
		describe_address(d->ports[in->first_port + i].address, text);
		if (text[0])
			json_array_append_new(list, json_string(text));
	}
	return list;
}

static json_t *object_of(struct daemon *d, const struct desired_instance *in)
{
	json_t *o = describe_instance(d->desired, in);

	json_object_set_new(o, "tenant", json_string(d->desired->tenants[in->tenant].tenant->name));
	json_object_set_new(o, "addresses", addresses_of(d->desired, in));
	vms_describe(d->vms, in, o);
	return o;
}

void daemon_list_instances(struct daemon *d, json_t *to)
{
	for (unsigned i = 0; i < d->desired->n_instances; i++)
		json_array_append_new(to, object_of(d, &d->desired->instances[i]));
}

static int fail(json_t **ret, int r, const char *text)
{
	*ret = json_pack("{s:[s]}", "errors", text);
	return r;
}

static bool parse_action(const char *word, enum vm_action *ret_action)
{
	static const char *const words[VM_ACTION_COUNT] = { "start", "stop", "kill", "restart",
		"pause", "resume" };

	for (int i = 0; i < VM_ACTION_COUNT; i++)
		if (strcmp(words[i], word) == 0) {
			*ret_action = (enum vm_action)i;
			return true;
		}
	return false;
}

// Of kind vm. Else what daemon_show says of it, or that it is somebody else's to run.
static const struct desired_instance *find_vm(
	struct daemon *d, const char *name, int *ret_r, json_t **ret)
{
	const struct desired_instance *in = desired_instance_by_name(d->desired, name);
	char text[256];

	if (in && in->id)
		return in;
	if (!in) {
		*ret_r = daemon_show(d, DAEMON_INSTANCES, name, ret);
		return NULL;
	}
	snprintf(text, sizeof(text), "instance %s is of kind external: others run it", name);
	*ret_r = fail(ret, -EBUSY, text);
	return NULL;
}

int daemon_instance_do(struct daemon *d, const char *name, const char *word, json_t **ret)
{
	enum vm_action action;
	char err[512];
	int r = 0;

	if (!parse_action(word, &action))
		return fail(ret, -ENOENT,
			"no such action; start, stop, kill, restart, pause or resume");
	if (!find_vm(d, name, &r, ret))
		return r;
	r = vms_do(d->vms, name, action, err, sizeof(err));
	if (r < 0)
		return fail(ret, r, err);
	return daemon_show(d, DAEMON_INSTANCES, name, ret);
}

int daemon_instance_console(struct daemon *d, const char *name, json_t **ret)
{
	int r = 0;
	const struct desired_instance *in = find_vm(d, name, &r, ret);

	if (!in)
		return r;
	*ret = json_pack("{s:o}", "text", vms_console_text(d->vms, in, CONSOLE_LINES));
	return 0;
}

// "red/web" into both.
static bool split(const char *full, char tenant[POLICY_NAME_SIZE], const char **ret_name)
{
	const char *slash = full ? strchr(full, '/') : NULL;

	if (!slash || slash == full || slash - full >= POLICY_NAME_SIZE || !slash[1])
		return false;
	snprintf(tenant, POLICY_NAME_SIZE, "%.*s", (int)(slash - full), full);
	*ret_name = slash + 1;
	return true;
}

// Nobody has a file with these lines.
static void drop_lines(json_t *result, const char *file)
{
	json_t *errors = json_object_get(result, "errors"), *e;
	size_t i, n = strlen(file);

	json_array_foreach(errors, i, e) {
		const char *text = json_string_value(e);
		size_t digits = strncmp(text, file, n) == 0 && text[n] == ':'
					? strspn(text + n + 1, "0123456789")
					: 0;

		if (digits && strncmp(text + n + 1 + digits, ": ", 2) == 0)
			json_array_set_new(errors, i, json_string(text + n + 1 + digits + 2));
	}
}

int daemon_apply_edited(
	struct daemon *d, int r, char *yaml, size_t size, const char *err, json_t **ret)
{
	if (r < 0)
		return fail(ret, r, err);
	char *file = strdup(d->has_config ? d->file : "-");
	r = file ? daemon_apply(d, file, yaml, size, ret) : -ENOMEM;
	if (r < 0 && file)
		drop_lines(*ret, file);
	free(file);
	free(yaml);
	return r;
}

int daemon_instance_create(struct daemon *d, const json_t *definition, json_t **ret)
{
	const char *full = json_string_value(json_object_get(definition, "name")), *name;
	char tenant[POLICY_NAME_SIZE], err[512], *yaml = NULL;
	json_t *object;
	size_t size = 0;

	if (!split(full, tenant, &name))
		return fail(ret, -EINVAL, "name is missing; allowed: TENANT/INSTANCE");
	if (desired_instance_by_name(d->desired, full)) {
		snprintf(err, sizeof(err), "there is an instance %s already", full);
		return fail(ret, -EBUSY, err);
	}
	object = json_copy((json_t *)(uintptr_t)definition);
	json_object_set_new(object, "name", json_string(name));
	int r = config_add_instance(d->has_config ? d->yaml : "version: 1\n",
		d->has_config ? d->yaml_size : strlen("version: 1\n"), tenant, object, &yaml, &size,
		err, sizeof(err));
	json_decref(object);
	return daemon_apply_edited(d, r, yaml, size, err, ret);
}

int daemon_instance_delete(struct daemon *d, const char *full, json_t **ret)
{
	char tenant[POLICY_NAME_SIZE], err[512], *yaml = NULL;
	const char *name;
	size_t size = 0;

	if (!desired_instance_by_name(d->desired, full) || !split(full, tenant, &name))
		return daemon_show(d, DAEMON_INSTANCES, full, ret);
	int r = config_delete_instance(
		d->yaml, d->yaml_size, tenant, name, &yaml, &size, err, sizeof(err));
	return daemon_apply_edited(d, r, yaml, size, err, ret);
}
