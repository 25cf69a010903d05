// SPDX-License-Identifier: BSD-3-Clause
// The endpoints that show what is: GET /v1/status, GET /v1/KIND and GET /v1/KIND/NAME; and POST
// /v1/stop. insulad's loop.
#include "control/api_internal.h"

enum MHD_Result api_get_status(struct api_request *r)
{
	json_t *result = NULL;
	int rc = daemon_status(r->daemon, &result);

	return api_reply_result(r, rc, result);
}

enum MHD_Result api_get_kind(struct api_request *r, enum daemon_kind kind)
{
	json_t *result = NULL;
	int rc = r->name == NULL ? daemon_list(r->daemon, kind, &result)
				 : daemon_show(r->daemon, kind, r->name, &result);

	return api_reply_result(r, rc, result);
}

enum MHD_Result api_post_stop(struct api_request *r)
{
	r->stop = true;
	return api_reply(r, MHD_HTTP_OK, json_pack("{s:b}", "stopping", 1));
}
