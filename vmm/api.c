// SPDX-License-Identifier: BSD-3-Clause
// See api.h. libmicrohttpd is run when its epoll fd is readable and when its time is up: both are
// sources of the loop. Its calls are among the device thread's (confine_calls.c).
#include "vmm/api.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "vmm/listen.h"

enum { BACKLOG = 64, IDLE_SECONDS = 10 };
static const uint64_t NEVER = UINT64_MAX;

struct api {
	struct loop *loop;
	const char *path;
	const struct api_ops *ops;
	void *arg;
	struct MHD_Daemon *http;
	struct loop_source events, timer;
	bool closed; // a connection, in this round
	struct request *pending; // those that are asked again
};

struct request {
	struct request *next; // of api->pending
	struct MHD_Connection *connection;
	bool pending, suspended;
	uint64_t until_ms; // how long it may be pending
	char *body; // API_BODY_SIZE bytes; NULL: there is none yet
	size_t size;
	bool too_large;
};

static void arm(struct api *api, const struct itimerspec *when)
{
	timerfd_settime(api->timer.fd, 0, when, NULL);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

// Those whose time is up, or all.
static void wake_pending(struct api *api, bool all)
{
	for (struct request *r = api->pending; r; r = r->next)
		if (r->suspended && (all || now_ms() >= r->until_ms)) {
			r->suspended = false;
			MHD_resume_connection(r->connection);
		}
}

static uint64_t pending_left(const struct api *api)
{
	const uint64_t now = now_ms();
	uint64_t least = NEVER;

	for (const struct request *r = api->pending; r; r = r->next) {
		const uint64_t left = r->until_ms > now ? r->until_ms - now : 0;

		if (r->suspended && left < least)
			least = left;
	}
	return least;
}

static void serve(struct api *api)
{
	MHD_UNSIGNED_LONG_LONG ms = 0, left;
	struct itimerspec when = { 0 };

	api->closed = false;
	wake_pending(api, false);
	MHD_run(api->http);
	// At its limit libmicrohttpd stops to listen, and begins again in the round after the one
	// in which a connection ended; no event would bring that round.
	if (!api->closed && MHD_get_timeout(api->http, &ms) != MHD_YES)
		ms = NEVER;
	left = pending_left(api);
	if (left < ms)
		ms = left;
	if (ms == NEVER) {
		arm(api, &when);
		return;
	}
	when.it_value.tv_sec = (time_t)(ms / 1000);
	when.it_value.tv_nsec = (long)(ms % 1000) * 1000000 + 1; // none would be never
	arm(api, &when);
}

static void on_events(void *arg, uint32_t events)
{
	serve(arg);
}

static void on_timer(void *arg, uint32_t events)
{
	struct api *api = arg;
	uint64_t count;

	if (read(api->timer.fd, &count, sizeof(count)) == sizeof(count))
		serve(api);
}

static enum MHD_Result reply(struct MHD_Connection *connection, struct api_answer *answer)
{
	char *text = answer->body ? json_dumps(answer->body, JSON_COMPACT) : NULL;
	struct MHD_Response *response;
	enum MHD_Result result;

	if (!text && answer->status != MHD_HTTP_NO_CONTENT)
		answer->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
	json_decref(answer->body);
	response = MHD_create_response_from_buffer(
		text ? strlen(text) : 0, text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return MHD_NO;
	}
	if (text)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	if (answer->allow)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, answer->allow);
	result = MHD_queue_response(connection, answer->status, response);
	MHD_destroy_response(response);
	return result;
}

static void take_body(struct request *r, const char *data, size_t size)
{
	if (!r->body)
		r->body = malloc(API_BODY_SIZE);
	if (!r->body || size > API_BODY_SIZE - r->size) {
		r->too_large = true;
		return;
	}
	memcpy(r->body + r->size, data, size);
	r->size += size;
}

// What is there without a value is an empty one.
static const char *timeout_of(struct MHD_Connection *connection)
{
	const char *text = NULL;

	if (MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, "timeout",
		    strlen("timeout"), &text, NULL) != MHD_YES)
		return NULL;
	return text ? text : "";
}

static enum MHD_Result suspend(
	struct api *api, struct MHD_Connection *connection, struct request *r)
{
	uint64_t ms = 0;

	if (!r->pending) {
		api_route_patience(timeout_of(connection), &ms); // good, or it had been refused
		r->pending = true;
		r->until_ms = now_ms() + ms;
		r->connection = connection;
		r->next = api->pending;
		api->pending = r;
	}
	r->suspended = true;
	MHD_suspend_connection(connection);
	return MHD_YES;
}

static void forget(struct api *api, struct request *r)
{
	for (struct request **at = &api->pending; *at; at = &(*at)->next)
		if (*at == r) {
			*at = r->next;
			return;
		}
}

// Once with the headers, then for each piece of the body, then once more. What is announced as too
// large is answered before it comes.
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *data, size_t *size, void **state)
{
	struct api *api = arg;
	struct request *r = *state;
	struct api_answer answer;
	const char *length;

	if (r && *size > 0) {
		take_body(r, data, *size);
		*size = 0;
		return MHD_YES;
	}
	if (!r) {
		r = calloc(1, sizeof(*r));
		*state = r;
		if (!r)
			return MHD_NO;
		length = MHD_lookup_connection_value(
			connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
		r->too_large = length && strtoull(length, NULL, 10) > API_BODY_SIZE;
		if (!r->too_large)
			return MHD_YES;
	}
	answer = api_route_answer(api->ops, api->arg,
		&(struct api_request){ .method = method,
			.path = url,
			.body = r->body,
			.size = r->size,
			.too_large = r->too_large,
			.timeout = timeout_of(connection),
			.ask = !r->pending              ? API_FIRST
			       : now_ms() < r->until_ms ? API_AGAIN
							: API_LAST });
	return answer.status ? reply(connection, &answer) : suspend(api, connection, r);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
	enum MHD_RequestTerminationCode why)
{
	struct api *api = arg;
	struct request *r = *state;

	if (!r)
		return;
	forget(api, r);
	free(r->body);
	free(r);
	*state = NULL;
	api->ops->answered(api->arg);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **state,
	enum MHD_ConnectionNotificationCode code)
{
	struct api *api = arg;

	api->closed = api->closed || code == MHD_CONNECTION_NOTIFY_CLOSED;
}

// Clients that go away in the middle are no news.
static void on_log(void *arg, const char *format, va_list ap)
{
}

static int watch(struct api *api)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(api->http, MHD_DAEMON_INFO_EPOLL_FD);
	int err;

	if (!info)
		return -EIO;
	api->events = (struct loop_source){ .fd = info->epoll_fd, .ready = on_events, .arg = api };
	api->timer = (struct loop_source){ .fd = timerfd_create(
						   CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
		.ready = on_timer,
		.arg = api };
	if (api->timer.fd < 0)
		return -errno;
	err = loop_add(api->loop, &api->timer, EPOLLIN);
	if (err == 0)
		err = loop_add(api->loop, &api->events, EPOLLIN);
	if (err < 0)
		close(api->timer.fd);
	return err;
}

static int start(struct api *api)
{
	int fd = listen_at(api->path, SOCK_STREAM, BACKLOG, true), err;

	if (fd < 0)
		return fd;
	json_object_seed(0); // reads a file, once
	api->http = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME |
					     MHD_USE_SUPPRESS_DATE_NO_CLOCK,
		0, NULL, NULL, on_request, api, MHD_OPTION_EXTERNAL_LOGGER, on_log, api,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, api,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, api, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned int)API_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned int)IDLE_SECONDS, MHD_OPTION_END);
	if (!api->http) {
		err = -EIO;
		close(fd);
		goto unlink;
	}
	err = watch(api); // the socket is libmicrohttpd's now
	if (err == 0)
		return 0;
	MHD_stop_daemon(api->http);
unlink:
	unlink(api->path);
	return err;
}

int api_start(struct api **ret_api, const char *path, struct loop *loop, const struct api_ops *ops,
	void *arg, struct error *e)
{
	struct api *api = calloc(1, sizeof(*api));
	int err;

	if (!api)
		return error_set(e, ENOMEM, "--api %s: no memory", path);
	*api = (struct api){ .loop = loop, .path = path, .ops = ops, .arg = arg };
	err = start(api);
	if (err < 0) {
		free(api);
		return error_set(e, -err, "--api %s: %s", path, strerror(-err));
	}
	*ret_api = api;
	return 0;
}

void api_poke(struct api *api)
{
	wake_pending(api, true);
	serve(api);
}

void api_stop(struct api *api)
{
	wake_pending(api, true); // nobody may wait
	loop_remove(api->loop, &api->events);
	loop_remove(api->loop, &api->timer);
	MHD_stop_daemon(api->http);
	close(api->timer.fd);
	unlink(api->path);
	free(api);
}
