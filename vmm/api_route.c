// SPDX-License-Identifier: BSD-3-Clause
// See api.h. Requests are their sender's word: paths and bodies are checked here, what they say of
// the machine in the ops.
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "vmm/api.h"

struct request {
	const struct api_ops *ops;
	void *arg;
	const char *body;
	size_t size;
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

static void put_config(const struct request *r, struct api_answer *ret_answer)
{
	struct error e = { "" };
	json_error_t wrong;
	json_t *config = json_loadb(r->body, r->size, JSON_REJECT_DUPLICATES, &wrong);
	enum api_result result;

	if (!config) {
		*ret_answer = api_route_error(MHD_HTTP_BAD_REQUEST,
			"not JSON: line %d, column %d: %s", wrong.line, wrong.column, wrong.text);
		return;
	}
	result = r->ops->configure(r->arg, config, &e);
	json_decref(config);
	*ret_answer = answer_of(result, &e);
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

static const struct route {
	const char *path, *method;
	void (*answer)(const struct request *r, struct api_answer *ret_answer);
} ROUTES[] = {
	{ "/v1/info", MHD_HTTP_METHOD_GET, get_info },
	{ "/v1/metrics", MHD_HTTP_METHOD_GET, get_metrics },
	{ "/v1/config", MHD_HTTP_METHOD_PUT, put_config },
	{ "/v1/boot", MHD_HTTP_METHOD_PUT, put_boot },
	{ "/v1/pause", MHD_HTTP_METHOD_PUT, put_pause },
	{ "/v1/resume", MHD_HTTP_METHOD_PUT, put_resume },
	{ "/v1/shutdown", MHD_HTTP_METHOD_PUT, put_shutdown },
	{ "/v1/kill", MHD_HTTP_METHOD_PUT, put_kill },
};

static const struct route *find(const char *path)
{
	for (size_t i = 0; i < sizeof(ROUTES) / sizeof(ROUTES[0]); i++)
		if (strcmp(ROUTES[i].path, path) == 0)
			return &ROUTES[i];
	return NULL;
}

struct api_answer api_route_answer(const struct api_ops *ops, void *arg, const char *method,
	const char *path, const char *body, size_t size, bool too_large)
{
	const struct request request = { ops, arg, body ? body : "", size };
	const struct route *route = find(path);
	struct api_answer answer;

	if (!route)
		return api_route_error(MHD_HTTP_NOT_FOUND, "%.200s: there is no such path", path);
	if (strcmp(route->method, method) != 0) {
		answer = api_route_error(MHD_HTTP_METHOD_NOT_ALLOWED, "%.16s is not for %s; %s is",
			method, path, route->method);
		answer.allow = route->method;
		return answer;
	}
	if (too_large && strcmp(method, MHD_HTTP_METHOD_PUT) == 0)
		return api_route_error(MHD_HTTP_CONTENT_TOO_LARGE,
			"the body is too large: %d bytes are allowed", API_BODY_SIZE);
	route->answer(&request, &answer);
	return answer;
}
