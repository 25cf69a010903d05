// SPDX-License-Identifier: BSD-3-Clause
// The endpoints that take or give the desired state: PUT and GET /v1/config, POST /v1/diff. The
// body is the YAML file itself; the header X-Insula-File names it in error messages. insulad's
// loop.
#include "control/api_internal.h"

#include <stdint.h>
#include <string.h>

static const char file_header[] = "X-Insula-File";

// The file's name for messages; bounded, since it comes back in each of them.
static const char *file_of(struct api_request *r)
{
	const char *name = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, file_header);

	return name != NULL && name[0] != '\0' && strlen(name) < 1024 ? name : "config";
}

enum MHD_Result api_put_config(struct api_request *r)
{
	json_t *result = NULL;
	int rc = daemon_apply(
		r->daemon, file_of(r), r->body != NULL ? r->body : "", r->size, &result);

	return api_reply_result(r, rc, result);
}

enum MHD_Result api_post_diff(struct api_request *r)
{
	json_t *result = NULL;
	int rc = daemon_diff(
		r->daemon, file_of(r), r->body != NULL ? r->body : "", r->size, &result);

	return api_reply_result(r, rc, result);
}

enum MHD_Result api_get_config(struct api_request *r)
{
	struct MHD_Response *response;
	const char *file, *yaml;
	enum MHD_Result result;
	size_t size;
	int rc = daemon_get_config(r->daemon, &file, &yaml, &size);

	if (rc < 0)
		return api_reply_error(r, MHD_HTTP_NOT_FOUND,
			"nothing has been applied yet; apply a file with: insula apply -f FILE");
	// Copied: the daemon's own is valid until the next apply only, and the client may be slow.
	response = MHD_create_response_from_buffer(
		size, (void *)(uintptr_t)yaml, MHD_RESPMEM_MUST_COPY);
	if (response == NULL)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/yaml");
	MHD_add_response_header(response, file_header, file); // refused if it is no header text
	result = MHD_queue_response(r->connection, MHD_HTTP_OK, response);
	MHD_destroy_response(response);
	return result;
}
