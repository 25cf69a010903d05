// SPDX-License-Identifier: BSD-3-Clause
// The endpoints that show what is: GET /v1/status, GET /v1/KIND and GET /v1/KIND/NAME; and POST
// /v1/stop. insulad's loop.
#include "control/api_internal.h"

#include <errno.h>

enum { PIECE = 16 << 10 };

enum MHD_Result api_get_status(struct api_request *r)
{
	json_t *result = NULL;
	int rc = daemon_status(r->daemon, &result);

	return api_reply_result(r, rc, result);
}

static ssize_t read_stream(void *arg, uint64_t at, char *buf, size_t size)
{
	ssize_t n = daemon_stream_read(arg, buf, size);

	return n > 0    ? n
	       : n == 0 ? MHD_CONTENT_READER_END_OF_STREAM
			: MHD_CONTENT_READER_END_WITH_ERROR;
}

static void close_stream(void *arg)
{
	daemon_stream_close(arg);
}

// libmicrohttpd asks for a piece in each round of insulad's loop in which the client takes one.
static enum MHD_Result reply_stream(struct api_request *r, struct daemon_stream *stream)
{
	struct MHD_Response *response = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, PIECE, read_stream, stream, close_stream);

	if (response == NULL) {
		daemon_stream_close(stream);
		return MHD_NO;
	}
	return api_queue(r, MHD_HTTP_OK, response);
}

enum MHD_Result api_get_kind(struct api_request *r)
{
	struct daemon_stream *stream;
	json_t *result = NULL;
	int rc = daemon_stream_open(r->daemon, r->kind, r->name, &stream, &result);

	if (rc == 0)
		return reply_stream(r, stream);
	if (rc == -EOPNOTSUPP)
		rc = r->name == NULL ? daemon_list(r->daemon, r->kind, &result)
				     : daemon_show(r->daemon, r->kind, r->name, &result);
	return api_reply_result(r, rc, result);
}

enum MHD_Result api_post_stop(struct api_request *r)
{
	r->stop = true;
	return api_reply(r, MHD_HTTP_OK, json_pack("{s:b}", "stopping", 1));
}
