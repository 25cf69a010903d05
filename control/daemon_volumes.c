// SPDX-License-Identifier: BSD-3-Clause
// Volumes behind the API, see daemon.h. Attaching one edits the text of the file applied last, and
// applies that. Main thread.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/config_edit.h"
#include "control/daemon_internal.h"
#include "control/volumes.h"

static int fail(json_t **ret, int r, const char *text)
{
	*ret = json_pack("{s:[s]}", "errors", text);
	return r == -EEXIST ? -EBUSY : r;
}

// The next instance from *at on that has it; NULL: no more.
static const struct desired_instance *next_user(
	const struct desired *desired, const char *name, unsigned *at)
{
	for (; desired && *at < desired->n_instances; (*at)++) {
		const struct model_instance *m = desired->instances[*at].instance;

		for (unsigned i = 0; i < m->n_disks; i++)
			if (strcmp(m->disks[i].volume, name) == 0)
				return &desired->instances[(*at)++];
	}
	return NULL;
}

struct listing {
	struct daemon *d;
	json_t *to;
};

static void list_one(void *arg, const char *name)
{
	struct listing *l = arg;
	const struct desired_instance *in;
	json_t *users = json_array(), *holders = json_array();
	char path[VOLUME_PATH_SIZE];
	uint64_t bytes, allocated;
	unsigned at = 0;

	while ((in = next_user(l->d->desired, name, &at)) != NULL)
		json_array_append_new(users, json_string(in->name));
	volume_path(l->d->state_dir, name, path);
	vms_disk_holders(l->d->vms, path, holders);
	const char *state = json_array_size(users)     ? "attached"
			    : json_array_size(holders) ? "held"
						       : "free";
	if (volume_stat(l->d->state_dir, name, &bytes, &allocated, NULL, 0) == 0)
		json_array_append_new(l->to,
			json_pack("{s:s, s:s, s:I, s:I, s:O, s:O}", "name", name, "state", state,
				"bytes", (json_int_t)bytes, "allocated_bytes",
				(json_int_t)allocated, "attached_to", users, "held_by", holders));
	json_decref(users);
	json_decref(holders);
}

void daemon_list_volumes(struct daemon *d, json_t *to)
{
	struct listing l = { .d = d, .to = to };

	volumes_each(d->state_dir, list_one, &l);
}

int daemon_resolve_volumes(const struct daemon *d, struct desired *desired)
{
	struct model *m = desired->model;
	char path[VOLUME_PATH_SIZE];

	for (unsigned t = 0; t < m->n_tenants; t++)
		for (unsigned i = 0; i < m->tenants[t].n_instances; i++) {
			struct model_instance *in = &m->tenants[t].instances[i];

			for (unsigned k = 0; k < in->n_disks; k++) {
				if (!in->disks[k].volume[0])
					continue;
				volume_path(d->state_dir, in->disks[k].volume, path);
				in->disks[k].path = strdup(path);
				if (!in->disks[k].path)
					return -ENOMEM;
			}
		}
	return 0;
}

int daemon_volume_create(struct daemon *d, const json_t *definition, json_t **ret)
{
	const char *name = json_string_value(json_object_get(definition, "name"));
	json_int_t mib = json_integer_value(json_object_get(definition, "size_mib"));
	char err[512];
	int r = volume_create(
		d->state_dir, name ? name : "", mib > 0 ? (uint64_t)mib : 0, err, sizeof(err));

	return r < 0 ? fail(ret, r, err) : daemon_show(d, DAEMON_VOLUMES, name, ret);
}

// While somebody has it, also one who is still about to end.
static int check_free(
	struct daemon *d, const char *name, bool is_delete, char *err, size_t err_size)
{
	char path[VOLUME_PATH_SIZE], user[DESIRED_NAME_SIZE], advice[120];

	volume_path(d->state_dir, name, path);
	if (!vms_disk_user(d->vms, path, user))
		return 0;
	vms_disk_advise(d->vms, path, is_delete ? "stop or restart that first" : "stop it first",
		advice, sizeof(advice));
	return log_reason(-EBUSY, err, err_size,
		is_delete ? "volume %s cannot be deleted: instance %s has not let go of it; %s"
			  : "volume %s cannot be resized: instance %s runs with it, whose guest is "
			    "told of no other size; %s",
		name, user, advice);
}

static int resize(struct daemon *d, const char *name, const json_t *words, json_t **ret)
{
	json_int_t mib = json_integer_value(json_object_get(words, "size_mib"));
	char err[512];
	int r = check_free(d, name, false, err, sizeof(err));

	if (r == 0)
		r = volume_grow(d->state_dir, name, mib > 0 ? (uint64_t)mib : 0, err, sizeof(err));
	return r < 0 ? fail(ret, r, err) : daemon_show(d, DAEMON_VOLUMES, name, ret);
}

int daemon_volume_delete(struct daemon *d, const char *name, json_t **ret)
{
	const struct desired_instance *in;
	unsigned at = 0;
	char err[512];
	int r;

	in = next_user(d->desired, name, &at);
	if (in || d->held) {
		snprintf(err, sizeof(err), "volume %.40s is attached to %s", name,
			in ? in->name : "nobody knows whom: the stored file is not understood");
		return fail(ret, -EBUSY, err);
	}
	r = check_free(d, name, true, err, sizeof(err));
	if (r == 0)
		r = volume_delete(d->state_dir, name, err, sizeof(err));
	if (r < 0)
		return fail(ret, r, err);
	*ret = json_pack("{s:s}", "deleted", name);
	return 0;
}

// --- whose it is ---

static int edit(struct daemon *d, const char *name, const struct desired_instance *in, bool attach,
	bool restart, json_t **ret)
{
	const char *tenant = d->desired->tenants[in->tenant].tenant->name;
	char err[512], *yaml = NULL;
	const uint32_t id = in->id;
	size_t size = 0;
	int r = attach ? config_attach(d->yaml, d->yaml_size, tenant, in->instance->name, name,
				 &yaml, &size, err, sizeof(err))
		       : config_detach(d->yaml, d->yaml_size, tenant, in->instance->name, name,
				 &yaml, &size, err, sizeof(err));

	vms_rather_restart(d->vms, id, restart);
	r = daemon_apply_edited(d, r, yaml, size, err, ret);
	vms_rather_restart(d->vms, id, false);
	return r;
}

static bool is_forced(const json_t *words)
{
	return json_is_true(json_object_get(words, "restart"));
}

// Another machine would keep it from this one; who has it itself may have it back.
static int check_let_go(struct daemon *d, const char *name, const struct desired_instance *in,
	char *err, size_t err_size)
{
	json_t *holders = json_array(), *holder;
	char path[VOLUME_PATH_SIZE], act[DESIRED_NAME_SIZE + 60], advice[sizeof(act)];
	int r = 0;
	size_t i;

	volume_path(d->state_dir, name, path);
	vms_disk_holders(d->vms, path, holders);
	json_array_foreach(holders, i, holder) {
		const char *other = json_string_value(holder);
		if (r < 0 || !other || strcmp(other, in->name) == 0)
			continue;
		snprintf(
			act, sizeof(act), "`insula instance restart %s` takes it from that", other);
		vms_disk_advise(d->vms, path, act, advice, sizeof(advice));
		r = log_reason(-EBUSY, err, err_size,
			"volume %s is still held by instance %s, which has not let go of it; %s",
			name, other, advice);
	}
	json_decref(holders);
	return r;
}

static int attach(struct daemon *d, const char *name, const json_t *words, json_t **ret)
{
	const char *to = json_string_value(json_object_get(words, "instance"));
	const struct desired_instance *in = desired_instance_by_name(d->desired, to ? to : ""),
				      *has;
	char err[512];
	uint64_t bytes, allocated;
	unsigned at = 0;
	int r = volume_stat(d->state_dir, name, &bytes, &allocated, err, sizeof(err));

	if (r < 0)
		return fail(ret, r, err);
	has = next_user(d->desired, name, &at);
	if (has) {
		snprintf(err, sizeof(err), "volume %s is attached to %s", name, has->name);
		return fail(ret, -EBUSY, err);
	}
	if (!in || !in->id) {
		snprintf(err, sizeof(err), "there is no instance '%.90s' of kind vm", to ? to : "");
		return fail(ret, -ENOENT, err);
	}
	r = check_let_go(d, name, in, err, sizeof(err));
	if (r == 0 && !is_forced(words))
		r = vms_check_plug(d->vms, in->id, name, err, sizeof(err));
	return r < 0 ? fail(ret, r, err) : edit(d, name, in, true, is_forced(words), ret);
}

static int detach(struct daemon *d, const char *name, const json_t *words, json_t **ret)
{
	const struct desired_instance *in;
	unsigned at = 0;
	char err[512];

	in = next_user(d->desired, name, &at);
	if (!in) {
		snprintf(err, sizeof(err), "volume %.40s is attached to no instance", name);
		return fail(ret, -EBUSY, err);
	}
	return edit(d, name, in, false, is_forced(words), ret);
}

int daemon_volume_do(
	struct daemon *d, const char *name, const char *word, const json_t *words, json_t **ret)
{
	if (strcmp(word, "resize") == 0)
		return resize(d, name, words, ret);
	if (strcmp(word, "attach") == 0)
		return attach(d, name, words, ret);
	if (strcmp(word, "detach") == 0)
		return detach(d, name, words, ret);
	return fail(ret, -ENOENT, "no such action; resize, attach or detach");
}
