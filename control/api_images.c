// SPDX-License-Identifier: BSD-3-Clause
// The endpoints of images beside their list: POST /v1/images (an import), DELETE /v1/images/NAME.
// insulad's loop.
#include "control/api_internal.h"

enum MHD_Result api_post_image(struct api_request *r)
{
	json_error_t wrong;
	json_t *result = NULL, *definition;
	int rc;

	definition =
		json_loadb(r->body != NULL ? r->body : "", r->size, JSON_REJECT_DUPLICATES, &wrong);
	if (definition == NULL)
		return api_reply_error(r, MHD_HTTP_BAD_REQUEST, "not JSON: line %d, column %d: %s",
			wrong.line, wrong.column, wrong.text);
	rc = daemon_image_import(r->daemon, definition, &result);
	json_decref(definition);
	return api_reply_result(r, rc, result);
}

enum MHD_Result api_delete_image(struct api_request *r)
{
	json_t *result = NULL;
	int rc = daemon_image_delete(r->daemon, r->name, &result);

	return api_reply_result(r, rc, result);
}
