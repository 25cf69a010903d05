// SPDX-License-Identifier: BSD-3-Clause
// The endpoints of volumes beside their list: POST /v1/volumes (a new one), POST
// /v1/volumes/NAME/ACTION, DELETE /v1/volumes/NAME. insulad's loop.
#include "control/api_internal.h"

#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 128 };

enum MHD_Result api_post_volume(struct api_request *r)
{
	const char *slash = r->name != NULL ? strchr(r->name, '/') : NULL;
	json_t *result = NULL, *words;
	json_error_t wrong;
	char name[NAME_SIZE];
	int rc;

	if (slash != NULL && slash - r->name >= NAME_SIZE)
		return api_reply_error(r, MHD_HTTP_NOT_FOUND,
			"a name of more than %d characters; /v1/volumes/NAME/ACTION",
			NAME_SIZE - 1);
	words = json_loadb(r->size > 0 ? r->body : "{}", r->size > 0 ? r->size : 2,
		JSON_REJECT_DUPLICATES, &wrong);
	if (words == NULL)
		return api_reply_error(r, MHD_HTTP_BAD_REQUEST, "not JSON: line %d, column %d: %s",
			wrong.line, wrong.column, wrong.text);
	if (slash == NULL) {
		rc = daemon_volume_create(r->daemon, words, &result);
	} else {
		snprintf(name, sizeof(name), "%.*s", (int)(slash - r->name), r->name);
		rc = daemon_volume_do(r->daemon, name, slash + 1, words, &result);
	}
	json_decref(words);
	return api_reply_result(r, rc, result);
}

enum MHD_Result api_delete_volume(struct api_request *r)
{
	json_t *result = NULL;
	int rc = daemon_volume_delete(r->daemon, r->name, &result);

	return api_reply_result(r, rc, result);
}
