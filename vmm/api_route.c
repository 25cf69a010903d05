// SPDX-License-Identifier: BSD-3-Clause
// See api.h. Requests are their sender's word: paths and bodies are checked here, what they say of
// the machine in the ops.
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/api.h"
#include "vmm/fds.h"

enum { PATIENCE_MS = 10000, PATIENCE_MOST = 600 };

struct request {
	const struct api_ops *ops;
	void *arg;
	const char *body;
	size_t size;
	const char *id; // what the path ends with, of those that end so
	enum api_ask ask;
	const char *timeout;
};

struct api_answer api_route_error(unsigned int status, const char *format, ...)
{
	struct api_answer answer = { .status = status };
	char text[600];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	answer.body = json_pack("{s:s}", "error", text);
	if (!answer.body) // what is quoted was no UTF-8
		answer.body = json_pack("{s:s}", "error", "the request is wrong");
	return answer;
}

static struct api_answer answer_of(enum api_result result, const struct error *e)
{
	switch (result) {
	case API_DONE:
		return (struct api_answer){ .status = MHD_HTTP_NO_CONTENT };
	case API_WRONG:
		return api_route_error(MHD_HTTP_BAD_REQUEST, "%s", e->text);
	case API_NOT_FOUND:
		return api_route_error(MHD_HTTP_NOT_FOUND, "%s", e->text);
	case API_CONFLICT:
		return api_route_error(MHD_HTTP_CONFLICT, "%s", e->text);
	case API_TIMEOUT:
		return api_route_error(MHD_HTTP_GATEWAY_TIMEOUT, "%s", e->text);
	case API_PENDING:
		return (struct api_answer){ .status = 0 };
	case API_FAILED:
		break;
	}
	return api_route_error(MHD_HTTP_INTERNAL_SERVER_ERROR, "%s", e->text);
}

static struct api_answer answer_with(json_t *body)
{
	if (!body)
		return api_route_error(MHD_HTTP_INTERNAL_SERVER_ERROR, "no memory");
	return (struct api_answer){ .status = MHD_HTTP_OK, .body = body };
}

static void get_info(const struct request *r, struct api_answer *ret_answer)
{
	*ret_answer = answer_with(r->ops->info(r->arg));
}

static void get_metrics(const struct request *r, struct api_answer *ret_answer)
{
	*ret_answer = answer_with(r->ops->metrics(r->arg));
}

// NULL: the answer says why.
static json_t *parse(const struct request *r, struct api_answer *ret_answer)
{
	json_error_t wrong;
	json_t *body = json_loadb(r->body, r->size, JSON_REJECT_DUPLICATES, &wrong);

	if (!body)
		*ret_answer = api_route_error(MHD_HTTP_BAD_REQUEST,
			"not JSON: line %d, column %d: %s", wrong.line, wrong.column, wrong.text);
	return body;
}

static void put_config(const struct request *r, struct api_answer *ret_answer)
{
	struct error e = { "" };
	json_t *config = parse(r, ret_answer);
	enum api_result result;

	if (!config)
		return;
	result = r->ops->configure(r->arg, config, &e);
	json_decref(config);
	*ret_answer = answer_of(result, &e);
}

static bool check_id(const struct request *r, struct api_answer *ret_answer)
{
	if (fds_is_name(r->id))
		return true;
	*ret_answer = api_route_error(MHD_HTTP_BAD_REQUEST,
		"a name has 1 to %d letters, digits, dots, dashes and underscores", FDS_NAME - 1);
	return false;
}

static void plug(const struct request *r, enum api_kind kind, struct api_answer *ret_answer)
{
	struct error e = { "" };
	json_t *words = check_id(r, ret_answer) ? parse(r, ret_answer) : NULL;
	enum api_result result;

	if (!words)
		return;
	result = r->ops->plug(r->arg, kind, r->id, words, &e);
	json_decref(words);
	*ret_answer = answer_of(result, &e);
}

bool api_route_patience(const char *timeout, uint64_t *ret_ms)
{
	unsigned long seconds;
	char *end;

	if (!timeout) {
		*ret_ms = PATIENCE_MS;
		return true;
	}
	seconds = strtoul(timeout, &end, 10);
	// strtoul takes spaces and signs too
	if (*timeout < '0' || *timeout > '9' || *end || seconds > PATIENCE_MOST)
		return false;
	*ret_ms = seconds * 1000;
	return true;
}

static void unplug(const struct request *r, enum api_kind kind, struct api_answer *ret_answer)
{
	struct error e = { "" };
	uint64_t ms;

	if (!check_id(r, ret_answer))
		return;
	if (!api_route_patience(r->timeout, &ms))
		*ret_answer = api_route_error(MHD_HTTP_BAD_REQUEST,
			"timeout: 0 to %d are allowed, in seconds", PATIENCE_MOST);
	else
		*ret_answer = answer_of(r->ops->unplug(r->arg, kind, r->id, r->ask, &e), &e);
}

static void limit(const struct request *r, enum api_kind kind, struct api_answer *ret_answer)
{
	struct error e = { "" };
	json_t *limits = check_id(r, ret_answer) ? parse(r, ret_answer) : NULL;
	enum api_result result;

	if (!limits)
		return;
	result = r->ops->limit(r->arg, kind, r->id, limits, &e);
	json_decref(limits);
	*ret_answer = answer_of(result, &e);
}

static void patch_disk(const struct request *r, struct api_answer *ret_answer)
{
	limit(r, API_DISK, ret_answer);
}

static void patch_nic(const struct request *r, struct api_answer *ret_answer)
{
	limit(r, API_NIC, ret_answer);
}

static void put_disk(const struct request *r, struct api_answer *ret_answer)
{
	plug(r, API_DISK, ret_answer);
}

static void put_nic(const struct request *r, struct api_answer *ret_answer)
{
	plug(r, API_NIC, ret_answer);
}

static void delete_disk(const struct request *r, struct api_answer *ret_answer)
{
	unplug(r, API_DISK, ret_answer);
}

static void delete_nic(const struct request *r, struct api_answer *ret_answer)
{
	unplug(r, API_NIC, ret_answer);
}

static struct api_answer command(
	const struct request *r, enum api_result (*op)(void *arg, struct error *e))
{
	struct error e = { "" };

	if (r->size)
		return api_route_error(MHD_HTTP_BAD_REQUEST, "no body is wanted");
	return answer_of(op(r->arg, &e), &e);
}

static void put_boot(const struct request *r, struct api_answer *ret_answer)
{
	*ret_answer = command(r, r->ops->boot);
}

static void put_pause(const struct request *r, struct api_answer *ret_answer)
{
	*ret_answer = command(r, r->ops->pause);
}

static void put_resume(const struct request *r, struct api_answer *ret_answer)
{
	*ret_answer = command(r, r->ops->resume);
}

static void put_shutdown(const struct request *r, struct api_answer *ret_answer)
{
	*ret_answer = command(r, r->ops->shutdown);
}

static void put_kill(const struct request *r, struct api_answer *ret_answer)
{
	*ret_answer = command(r, r->ops->kill);
}

// A path that ends with a slash is followed by an id.
static const struct route {
	const char *path, *method, *allow;
	void (*answer)(const struct request *r, struct api_answer *ret_answer);
} ROUTES[] = {
	{ "/v1/info", MHD_HTTP_METHOD_GET, "GET", get_info },
	{ "/v1/metrics", MHD_HTTP_METHOD_GET, "GET", get_metrics },
	{ "/v1/config", MHD_HTTP_METHOD_PUT, "PUT", put_config },
	{ "/v1/boot", MHD_HTTP_METHOD_PUT, "PUT", put_boot },
	{ "/v1/pause", MHD_HTTP_METHOD_PUT, "PUT", put_pause },
	{ "/v1/resume", MHD_HTTP_METHOD_PUT, "PUT", put_resume },
	{ "/v1/shutdown", MHD_HTTP_METHOD_PUT, "PUT", put_shutdown },
	{ "/v1/kill", MHD_HTTP_METHOD_PUT, "PUT", put_kill },
	{ "/v1/disks/", MHD_HTTP_METHOD_PUT, "PUT, PATCH, DELETE", put_disk },
	{ "/v1/disks/", MHD_HTTP_METHOD_PATCH, "PUT, PATCH, DELETE", patch_disk },
	{ "/v1/disks/", MHD_HTTP_METHOD_DELETE, "PUT, PATCH, DELETE", delete_disk },
	{ "/v1/nics/", MHD_HTTP_METHOD_PUT, "PUT, PATCH, DELETE", put_nic },
	{ "/v1/nics/", MHD_HTTP_METHOD_PATCH, "PUT, PATCH, DELETE", patch_nic },
	{ "/v1/nics/", MHD_HTTP_METHOD_DELETE, "PUT, PATCH, DELETE", delete_nic },
};

static bool matches(const struct route *route, const char *path, const char **ret_id)
{
	const size_t size = strlen(route->path);

	if (route->path[size - 1] != '/')
		return strcmp(route->path, path) == 0;
	*ret_id = path + size;
	return strncmp(route->path, path, size) == 0 && path[size] && !strchr(path + size, '/');
}

struct api_answer api_route_answer(
	const struct api_ops *ops, void *arg, const struct api_request *request)
{
	struct request r = { ops, arg, request->body ? request->body : "", request->size, NULL,
		request->ask, request->timeout };
	const struct route *route = NULL;
	const char *allow = NULL;
	struct api_answer answer;

	for (size_t i = 0; i < sizeof(ROUTES) / sizeof(ROUTES[0]) && !route; i++) {
		if (!matches(&ROUTES[i], request->path, &r.id))
			continue;
		allow = ROUTES[i].allow;
		if (strcmp(ROUTES[i].method, request->method) == 0)
			route = &ROUTES[i];
	}
	if (!allow)
		return api_route_error(
			MHD_HTTP_NOT_FOUND, "%.200s: there is no such path", request->path);
	if (!route) {
		answer = api_route_error(MHD_HTTP_METHOD_NOT_ALLOWED,
			"%.16s is not for %.200s; allowed: %s", request->method, request->path,
			allow);
		answer.allow = allow;
		return answer;
	}
	if (request->too_large && strcmp(request->method, MHD_HTTP_METHOD_DELETE) != 0 &&
		strcmp(request->method, MHD_HTTP_METHOD_GET) != 0)
		return api_route_error(MHD_HTTP_CONTENT_TOO_LARGE,
			"the body is too large: %d bytes are allowed", API_BODY_SIZE);
	route->answer(&r, &answer);
	return answer;
}
