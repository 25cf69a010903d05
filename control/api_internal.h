// SPDX-License-Identifier: BSD-3-Clause
// What api.c (socket, HTTP, routing) and its endpoints (api_config.c, api_lists.c) know of each
// other. Everything runs on insulad's loop; a handler answers before it returns.
#pragma once

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>

#include "control/daemon.h"

enum { API_MAX_BODY = 16 << 20 };

struct api_request {
	struct daemon *daemon;
	struct MHD_Connection *connection;
	enum daemon_kind kind; // of /v1/KIND...
	const char *
		name; // what follows the kind in the path: "red" of /v1/tenants/red; NULL = nothing
	char *body; // NULL when empty
	size_t size; // bytes of the body
	bool too_large; // the body went beyond API_MAX_BODY and was thrown away
	bool stop; // set by POST /v1/stop: insulad ends when this answer has been sent
};

typedef enum MHD_Result (*api_handler)(struct api_request *r);

enum MHD_Result api_put_config(struct api_request *r);
enum MHD_Result api_get_config(struct api_request *r);
enum MHD_Result api_post_diff(struct api_request *r);
enum MHD_Result api_get_status(struct api_request *r);
enum MHD_Result api_post_stop(struct api_request *r);
enum MHD_Result api_get_kind(struct api_request *r);

// r->name: TENANT/NAME/WORD
bool api_is_console(const char *name);
enum MHD_Result api_get_console(struct api_request *r);
enum MHD_Result api_post_instance(struct api_request *r);
enum MHD_Result api_delete_instance(struct api_request *r);
enum MHD_Result api_post_image(struct api_request *r);
enum MHD_Result api_delete_image(struct api_request *r);
enum MHD_Result api_post_volume(struct api_request *r);
enum MHD_Result api_delete_volume(struct api_request *r);

// Answers with this response of JSON, which is taken.
enum MHD_Result api_queue(struct api_request *r, unsigned status, struct MHD_Response *response);
// Answers with a JSON object, which is taken. NULL becomes 500.
enum MHD_Result api_reply(struct api_request *r, unsigned status, json_t *object);
// {"errors": [text]}
enum MHD_Result api_reply_error(struct api_request *r, unsigned status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
// What a function of daemon.h returned and set.
enum MHD_Result api_reply_result(struct api_request *r, int result, json_t *object);
