// SPDX-License-Identifier: BSD-3-Clause
// The endpoints of instances beside their list: POST /v1/instances (a new one), DELETE
// /v1/instances/TENANT/NAME, POST .../ACTION, GET .../console. insulad's loop.
#include "control/api_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 128 };

// "red/web/start" into "red/web" and "start"; false: it has no second slash.
static bool split(const char *path, char name[NAME_SIZE], const char **ret_word)
{
	const char *slash = path != NULL ? strrchr(path, '/') : NULL;

	if (slash == NULL || slash == strchr(path, '/') || slash - path >= NAME_SIZE)
		return false;
	snprintf(name, NAME_SIZE, "%.*s", (int)(slash - path), path);
	*ret_word = slash + 1;
	return true;
}

bool api_is_console(const char *path)
{
	char name[NAME_SIZE];
	const char *word;

	return split(path, name, &word) && strcmp(word, "console") == 0;
}

enum MHD_Result api_get_console(struct api_request *r)
{
	char name[NAME_SIZE];
	const char *word;
	json_t *result = NULL;
	int rc = -ENOENT;

	if (split(r->name, name, &word))
		rc = daemon_instance_console(r->daemon, name, &result);
	return api_reply_result(r, rc, result);
}

static enum MHD_Result create(struct api_request *r)
{
	json_error_t wrong;
	json_t *result = NULL, *definition = json_loadb(r->body != NULL ? r->body : "", r->size,
				       JSON_REJECT_DUPLICATES, &wrong);
	int rc;

	if (definition == NULL)
		return api_reply_error(r, MHD_HTTP_BAD_REQUEST, "not JSON: line %d, column %d: %s",
			wrong.line, wrong.column, wrong.text);
	rc = daemon_instance_create(r->daemon, definition, &result);
	json_decref(definition);
	return api_reply_result(r, rc, result);
}

enum MHD_Result api_delete_instance(struct api_request *r)
{
	json_t *result = NULL;
	int rc = daemon_instance_delete(r->daemon, r->name, &result);

	return api_reply_result(r, rc, result);
}

enum MHD_Result api_post_instance(struct api_request *r)
{
	char name[NAME_SIZE];
	const char *word;
	json_t *result = NULL;
	int rc = -ENOENT;

	if (r->name == NULL)
		return create(r);
	if (split(r->name, name, &word))
		rc = daemon_instance_do(r->daemon, name, word, &result);
	return api_reply_result(r, rc, result);
}
