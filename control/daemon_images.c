// SPDX-License-Identifier: BSD-3-Clause
// Images behind the API, see daemon.h. Main thread.
#include <errno.h>
#include <string.h>
#include "control/daemon_internal.h"
#include "control/vm_disk.h"

static int fail(json_t **ret, int r, const char *text)
{
	*ret = json_pack("{s:[s]}", "errors", text);
	return r;
}

json_t *daemon_image_users(void *arg, const struct image *image)
{
	struct daemon *d = arg;
	json_t *names = json_array(), *disks = json_array(), *name;
	size_t i;

	for (unsigned n = 0; d->desired && n < d->desired->n_instances; n++)
		if (strcmp(d->desired->instances[n].instance->image, image->name) == 0)
			json_array_append_new(names, json_string(d->desired->instances[n].name));
	if (json_array_size(names) == 0) // while the stored file is not understood, say
		vm_disk_users(d, image->disk, disks);
	json_array_foreach(disks, i, name)
		if (!d->held && desired_instance_by_name(d->desired, json_string_value(name)))
			continue; // by another name of the same content
		else
			json_array_append(names, name);
	json_decref(disks);
	return names;
}

int daemon_image_import(struct daemon *d, const json_t *definition, json_t **ret)
{
	char err[1400];
	int r = images_import(d->images, definition, err, sizeof(err));

	if (r < 0)
		return fail(ret, r == -ENOENT ? -EINVAL : r, err);
	return daemon_show(
		d, DAEMON_IMAGES, json_string_value(json_object_get(definition, "name")), ret);
}

int daemon_image_delete(struct daemon *d, const char *name, json_t **ret)
{
	char err[400];
	int r = images_delete(d->images, name, err, sizeof(err));

	if (r < 0)
		return fail(ret, r, err);
	*ret = json_pack("{s:s}", "deleted", name);
	return 0;
}
