// SPDX-License-Identifier: BSD-3-Clause
// Images behind the API, see daemon.h. Main thread.
#include <errno.h>
#include "control/daemon_internal.h"

static int fail(json_t **ret, int r, const char *text)
{
	*ret = json_pack("{s:[s]}", "errors", text);
	return r;
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
