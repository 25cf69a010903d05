// SPDX-License-Identifier: BSD-3-Clause
// insulad's HTTP/JSON API on RUN_DIR/insulad.sock: makes the socket, runs libmicrohttpd from
// insulad's event loop (its epoll fd and its timeout are sources there; no thread), collects bodies
// up to a limit, finds the endpoint. Whoever may connect may do everything, so the socket is root's
// alone.
#include "control/api_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/log.h"

enum {
	MAX_CONNECTIONS = 32,
	BACKLOG = 1024, // waiting for one of these
	MAX_TRIES = 50, // to find nobody behind a socket that is there, 10 ms each
	// A connection whose request is not whole keeps others out: it is closed soon. Then the
	// work and the client may take their time.
	IDLE_SECONDS = 2,
	ANSWER_SECONDS = 600,
	BODY_PIECE = 1024,
};

#define SECOND_NS UINT64_C(1000000000)

struct api {
	struct daemon *daemon;
	struct MHD_Daemon *http;
	struct loop_source *source, *timer;
	struct sockaddr_un address;
	int fd;
	struct {
		struct MHD_Connection *connection; // NULL: none
		uint64_t idle_ns; // since when there is no whole request; 0: there is one
	} open[MAX_CONNECTIONS];
	bool closed; // a connection, in this round
	bool stop; // an accepted POST /v1/stop has been answered
};

static const struct route {
	const char *method, *path;
	api_handler handler;
} routes[] = {
	{ MHD_HTTP_METHOD_GET, "/v1/status", api_get_status },
	{ MHD_HTTP_METHOD_GET, "/v1/config", api_get_config },
	{ MHD_HTTP_METHOD_PUT, "/v1/config", api_put_config },
	{ MHD_HTTP_METHOD_POST, "/v1/diff", api_post_diff },
	{ MHD_HTTP_METHOD_POST, "/v1/stop", api_post_stop },
};

enum shape {
	ALL, // /v1/KIND
	ONE, // /v1/KIND/NAME
	ACTION, // /v1/KIND/NAME/ACTION
	CONSOLE, // /v1/instances/TENANT/NAME/console
};

// Beside the GET of all kinds, and of one thing of them.
static const struct kind_route {
	enum daemon_kind kind;
	enum shape shape;
	const char *method;
	api_handler handler;
} kind_routes[] = {
	{ DAEMON_INSTANCES, ALL, MHD_HTTP_METHOD_POST, api_post_instance },
	{ DAEMON_INSTANCES, ONE, MHD_HTTP_METHOD_DELETE, api_delete_instance },
	{ DAEMON_INSTANCES, ACTION, MHD_HTTP_METHOD_POST, api_post_instance },
	{ DAEMON_INSTANCES, CONSOLE, MHD_HTTP_METHOD_GET, api_get_console },
	{ DAEMON_IMAGES, ALL, MHD_HTTP_METHOD_POST, api_post_image },
	{ DAEMON_IMAGES, ONE, MHD_HTTP_METHOD_DELETE, api_delete_image },
	{ DAEMON_VOLUMES, ALL, MHD_HTTP_METHOD_POST, api_post_volume },
	{ DAEMON_VOLUMES, ONE, MHD_HTTP_METHOD_DELETE, api_delete_volume },
	{ DAEMON_VOLUMES, ACTION, MHD_HTTP_METHOD_POST, api_post_volume },
};

// What a path has.
struct found {
	api_handler handler; // NULL: not for this method
	char allow[64]; // the methods it is for, as in the header Allow; "" = there is no such path
};

static int listen_on(struct api *api);
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *data, size_t *size, void **state);
static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
	enum MHD_RequestTerminationCode why);
static void on_connection(void *arg, struct MHD_Connection *connection, void **state,
	enum MHD_ConnectionNotificationCode code);
static void on_timer(void *arg);
static void on_events(void *arg, uint32_t events);
static void on_http_log(void *arg, const char *format, va_list ap)
	__attribute__((format(printf, 2, 0)));

int api_start(struct daemon *d, struct api **ret_api)
{
	struct api *api = calloc(1, sizeof(*api));
	const union MHD_DaemonInfo *info;
	int r;

	if (api == NULL)
		return -ENOMEM;
	api->daemon = d;
	r = listen_on(api);
	if (r < 0)
		goto free_api;
	api->http = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request,
		api, MHD_OPTION_EXTERNAL_LOGGER, on_http_log, api, MHD_OPTION_LISTEN_SOCKET,
		api->fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, api,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, api, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)ANSWER_SECONDS,
		MHD_OPTION_END);
	if (api->http == NULL) {
		log_error("the HTTP server on %s does not start", api->address.sun_path);
		close(api->fd);
		r = -EIO;
		goto unlink_socket;
	}
	// From here on the listening socket is the HTTP server's, which closes it.
	info = MHD_get_daemon_info(api->http, MHD_DAEMON_INFO_EPOLL_FD);
	r = info != NULL ? loop_add_timer(daemon_loop(d), on_timer, api, &api->timer) : -EIO;
	if (r < 0)
		goto stop_http;
	r = loop_add(daemon_loop(d), info->epoll_fd, EPOLLIN, on_events, api, &api->source);
	if (r < 0)
		goto remove_timer;
	*ret_api = api;
	return 0;
remove_timer:
	loop_remove(daemon_loop(d), api->timer);
stop_http:
	MHD_stop_daemon(api->http);
unlink_socket:
	unlink(api->address.sun_path);
free_api:
	free(api);
	return r;
}

void api_stop(struct api *api)
{
	if (api == NULL)
		return;
	loop_remove(daemon_loop(api->daemon), api->source);
	loop_remove(daemon_loop(api->daemon), api->timer);
	MHD_stop_daemon(api->http);
	unlink(api->address.sun_path);
	free(api);
}

// 0, or -errno as connect(2): -EAGAIN is a queue that is full.
static int try_connect(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = fd < 0 ? -errno : 0;

	if (r == 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		r = -errno;
	if (fd >= 0)
		close(fd);
	return r;
}

// A socket left by a killed insulad is replaced; one that answers is another insulad's. A killed
// one lets go of its socket and its lock in any order: a moment is waited.
static int remove_stale(const struct sockaddr_un *address)
{
	int r;

	for (unsigned n = 0; (r = try_connect(address)) == 0 || r == -EAGAIN; n++) {
		if (n == MAX_TRIES) {
			log_error("%s answers: another insulad runs there", address->sun_path);
			return -EADDRINUSE;
		}
		usleep(10000);
	}
	if (unlink(address->sun_path) == 0 || errno == ENOENT)
		return 0;
	r = -errno;
	log_error("%s cannot be removed: %s", address->sun_path, strerror(-r));
	return r;
}

static int listen_on(struct api *api)
{
	const char *dir = daemon_run_dir(api->daemon);
	mode_t mask;
	int r, n;

	api->address.sun_family = AF_UNIX;
	n = snprintf(api->address.sun_path, sizeof(api->address.sun_path), "%s/insulad.sock", dir);
	if (n < 0 || (size_t)n >= sizeof(api->address.sun_path)) {
		log_error("run directory %s: its name is too long for a socket in it", dir);
		return -ENAMETOOLONG;
	}
	r = remove_stale(&api->address);
	if (r < 0)
		return r;
	api->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (api->fd < 0)
		return -errno;
	mask = umask(0177); // 0600 from its first moment; this process has one thread
	r = bind(api->fd, (const struct sockaddr *)&api->address, sizeof(api->address));
	r = r < 0 ? -errno : 0;
	umask(mask);
	if (r == 0 && listen(api->fd, BACKLOG) < 0)
		r = -errno;
	if (r < 0) {
		log_error("%s: %s", api->address.sun_path, strerror(-r));
		close(api->fd);
	}
	return r;
}

// Hangs up on who has been idle too long; gives the ns until the next one is. Between the rounds of
// libmicrohttpd: within one, a connection that is in the list may have ended, and must not be
// touched. While it was at work since `begin` nobody was listened to, and nobody idle.
static uint64_t end_idle(struct api *api, uint64_t begin)
{
	uint64_t now = loop_now_ns(), next = UINT64_MAX;

	for (int i = 0; i < MAX_CONNECTIONS; i++) {
		uint64_t *idle = &api->open[i].idle_ns, left;
		const union MHD_ConnectionInfo *info;

		if (api->open[i].connection == NULL || *idle == 0)
			continue;
		if (now - begin > SECOND_NS / 2)
			*idle = now;
		left = now - *idle < IDLE_SECONDS * SECOND_NS
			       ? IDLE_SECONDS * SECOND_NS - (now - *idle)
			       : SECOND_NS; // its end is being read
		info = MHD_get_connection_info(
			api->open[i].connection, MHD_CONNECTION_INFO_CONNECTION_FD);
		if (now - *idle >= IDLE_SECONDS * SECOND_NS && info != NULL)
			shutdown(info->connect_fd, SHUT_RDWR);
		next = left < next ? left : next;
	}
	return next;
}

static void serve(struct api *api)
{
	uint64_t begin = loop_now_ns(), next;
	MHD_UNSIGNED_LONG_LONG ms;

	api->closed = false;
	MHD_run(api->http);
	next = end_idle(api, begin);
	if (MHD_get_timeout(api->http, &ms) == MHD_YES && (uint64_t)ms * 1000000 < next)
		next = (uint64_t)ms * 1000000;
	// At its limit libmicrohttpd stops to listen, and begins again in the round after the one
	// in which a connection ended; no event would bring that round.
	if (api->closed)
		loop_timer_arm(api->timer, 0);
	else if (next != UINT64_MAX)
		loop_timer_arm(api->timer, next);
	else
		loop_timer_disarm(api->timer);
	if (api->stop) {
		api->stop = false;
		log_info("stop was asked for: stopping everything");
		daemon_request_stop(api->daemon); // may end in api_stop: the last thing done here
	}
}

static void on_events(void *arg, uint32_t events)
{
	serve(arg);
}

static void on_timer(void *arg)
{
	serve(arg);
}

// Clients that go away in the middle are no news.
static void on_http_log(void *arg, const char *format, va_list ap)
{
}

// Tried twice: a moment without memory must not turn into a failure what has been done already.
static char *dump(const json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);

	return text != NULL ? text : json_dumps(object, JSON_COMPACT);
}

// Takes the text.
static struct MHD_Response *response_of(char *text)
{
	struct MHD_Response *response = NULL;

	for (int i = 0; i < 2 && response == NULL; i++)
		response =
			MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	if (response == NULL)
		free(text);
	return response;
}

enum MHD_Result api_queue(struct api_request *r, unsigned status, struct MHD_Response *response)
{
	enum MHD_Result result;

	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	result = MHD_queue_response(r->connection, status, response);
	MHD_destroy_response(response);
	return result;
}

// allow: for the header of that name; NULL = none.
static enum MHD_Result reply_with(
	struct api_request *r, unsigned status, json_t *object, const char *allow)
{
	struct MHD_Response *response;
	char *text = object != NULL ? dump(object) : NULL;

	json_decref(object);
	if (text == NULL) {
		status = MHD_HTTP_INTERNAL_SERVER_ERROR;
		text = strdup("{\"errors\":[\"insulad ran out of memory\"]}");
		if (text == NULL)
			return MHD_NO;
	}
	response = response_of(text);
	if (response != NULL && allow != NULL)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
	return response != NULL ? api_queue(r, status, response) : MHD_NO;
}

enum MHD_Result api_reply(struct api_request *r, unsigned status, json_t *object)
{
	return reply_with(r, status, object, NULL);
}

static json_t *error_of(const char *text)
{
	json_t *word = json_string(text);

	if (word == NULL) // what the client sent and we quote is no UTF-8
		word = json_string("no such thing");
	return json_pack("{s:[o]}", "errors", word);
}

enum MHD_Result api_reply_error(struct api_request *r, unsigned status, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	return api_reply(r, status, error_of(text));
}

// RFC 9110 15.5.6: with the methods that the path is for.
static enum MHD_Result reply_not_allowed(
	struct api_request *r, const char *method, const char *url, const char *allow)
{
	char text[512];

	snprintf(text, sizeof(text), "%.16s is not for %.200s; %s", method, url, allow);
	return reply_with(r, MHD_HTTP_METHOD_NOT_ALLOWED, error_of(text), allow);
}

enum MHD_Result api_reply_result(struct api_request *r, int result, json_t *object)
{
	unsigned status = result == 0            ? MHD_HTTP_OK
			  : result == -EINVAL    ? MHD_HTTP_UNPROCESSABLE_CONTENT
			  : result == -ENOENT    ? MHD_HTTP_NOT_FOUND
			  : result == -EBUSY     ? MHD_HTTP_CONFLICT
			  : result == -ETIMEDOUT ? MHD_HTTP_GATEWAY_TIMEOUT
						 : MHD_HTTP_INTERNAL_SERVER_ERROR;

	if (object == NULL && result == -ENOENT) // a name that is no UTF-8 cannot be quoted
		return api_reply_error(r, status, "no such thing");
	if (object == NULL)
		return api_reply_error(r, MHD_HTTP_INTERNAL_SERVER_ERROR, "%s", strerror(-result));
	return api_reply(r, status, object);
}

// GET /v1/KIND[/NAME]: -ENOENT if the path is none of these. *ret_name: NULL = all; who asks for
// the one with an empty name does not want all.
static int find_kind(const char *url, enum daemon_kind *ret_kind, const char **ret_name)
{
	char word[32];
	size_t n;

	if (strncmp(url, "/v1/", 4) != 0)
		return -ENOENT;
	n = strcspn(url + 4, "/");
	if (n >= sizeof(word))
		return -ENOENT;
	memcpy(word, url + 4, n);
	word[n] = '\0';
	*ret_name = url[4 + n] == '/' ? url + 4 + n + 1 : NULL;
	return daemon_kind_from_name(word, ret_kind);
}

// An instance's name has a slash of its own.
static enum shape shape_of(enum daemon_kind kind, const char *name)
{
	const char *action = name != NULL ? strchr(name, '/') : NULL;

	if (name == NULL)
		return ALL;
	if (kind == DAEMON_INSTANCES && api_is_console(name))
		return CONSOLE;
	if (kind == DAEMON_INSTANCES && action != NULL)
		action = strchr(action + 1, '/');
	return action != NULL && (kind == DAEMON_INSTANCES || kind == DAEMON_VOLUMES) ? ACTION
										      : ONE;
}

// A way of the path's. HEAD is GET; libmicrohttpd leaves the body out.
static void consider(struct found *f, const char *wanted, const char *method, api_handler handler)
{
	size_t used = strlen(f->allow);
	bool get = strcmp(method, MHD_HTTP_METHOD_GET) == 0;

	snprintf(f->allow + used, sizeof(f->allow) - used, "%s%s%s", used > 0 ? ", " : "", method,
		get ? ", " MHD_HTTP_METHOD_HEAD : "");
	if (strcmp(method, wanted) == 0 || (get && strcmp(wanted, MHD_HTTP_METHOD_HEAD) == 0))
		f->handler = handler;
}

static struct found find_route(struct api_request *r, const char *method, const char *url)
{
	struct found f = { 0 };
	enum shape shape;

	r->name = NULL;
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
		if (strcmp(routes[i].path, url) == 0)
			consider(&f, method, routes[i].method, routes[i].handler);
	if (f.allow[0] != '\0' || find_kind(url, &r->kind, &r->name) < 0)
		return f;
	shape = shape_of(r->kind, r->name);
	if (shape == ALL || shape == ONE)
		consider(&f, method, MHD_HTTP_METHOD_GET, api_get_kind);
	for (size_t i = 0; i < sizeof(kind_routes) / sizeof(kind_routes[0]); i++)
		if (kind_routes[i].kind == r->kind && kind_routes[i].shape == shape)
			consider(&f, method, kind_routes[i].method, kind_routes[i].handler);
	return f;
}

static enum MHD_Result dispatch(struct api_request *r, const char *method, const char *url)
{
	struct found f = find_route(r, method, url);

	if (r->too_large)
		return api_reply_error(r, MHD_HTTP_CONTENT_TOO_LARGE,
			"the body is too large; allowed: at most %d bytes (16 MiB)", API_MAX_BODY);
	if (f.handler != NULL)
		return f.handler(r);
	if (f.allow[0] != '\0')
		return reply_not_allowed(r, method, url, f.allow);
	return api_reply_error(r, MHD_HTTP_NOT_FOUND,
		"no such path: %.200s; /v1/status, /v1/config, /v1/diff, /v1/stop, /v1/tenants, "
		"/v1/networks, /v1/ports, /v1/leases, /v1/sessions, /v1/drops, /v1/uplinks, "
		"/v1/instances, /v1/images, /v1/volumes",
		url);
}

static void take_body(struct api_request *r, const char *data, size_t size)
{
	size_t capacity = r->body != NULL ? (size_t)1 << (64 - __builtin_clzl(r->size)) : 0;
	char *p;

	if (r->too_large)
		return;
	if (size > API_MAX_BODY - r->size) {
		r->too_large = true;
		free(r->body);
		r->body = NULL;
		return;
	}
	// The buffer is always the next power of two above what it holds.
	if (r->size + size >= capacity) {
		p = realloc(r->body, (size_t)1 << (64 - __builtin_clzl(r->size + size)));
		if (p == NULL) {
			r->too_large = true;
			return;
		}
		r->body = p;
	}
	memcpy(r->body + r->size, data, size);
	r->size += size;
}

// As the connection is from now on: idle, or with a request to answer.
static void set_idle(struct api *api, const struct MHD_Connection *connection, bool idle)
{
	for (int i = 0; i < MAX_CONNECTIONS; i++)
		if (api->open[i].connection == connection)
			api->open[i].idle_ns = idle ? loop_now_ns() : 0;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **state,
	enum MHD_ConnectionNotificationCode code)
{
	struct api *api = arg;
	bool started = code == MHD_CONNECTION_NOTIFY_STARTED;

	api->closed = api->closed || !started;
	for (int i = 0; i < MAX_CONNECTIONS; i++)
		if (api->open[i].connection == (started ? NULL : connection)) {
			api->open[i].connection = started ? connection : NULL;
			api->open[i].idle_ns = loop_now_ns();
			return;
		}
}

// libmicrohttpd calls this once with the headers, then for each piece of the body, then once more.
// An answer may be given at the first call (the body is not read then) or at the last.
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *data, size_t *size, void **state)
{
	struct api *api = arg;
	struct api_request *r = *state;

	if (r == NULL) {
		const char *length = MHD_lookup_connection_value(
			connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

		r = calloc(1, sizeof(*r));
		if (r == NULL)
			return MHD_NO;
		r->daemon = api->daemon;
		r->connection = connection;
		*state = r;
		if (length != NULL && strtoull(length, NULL, 10) > API_MAX_BODY) {
			r->too_large = true;
			return dispatch(r, method, url);
		}
		return MHD_YES;
	}
	if (*size > 0) {
		if (*size >= BODY_PIECE) // who drips is idle
			set_idle(api, connection, true);
		take_body(r, data, *size);
		*size = 0;
		return MHD_YES;
	}
	set_idle(api, connection, false);
	return dispatch(r, method, url);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
	enum MHD_RequestTerminationCode why)
{
	struct api *api = arg;
	struct api_request *r = *state;

	if (r == NULL)
		return;
	api->stop = api->stop || r->stop;
	free(r->body);
	free(r);
	*state = NULL;
	set_idle(api, connection, true); // until the next one
}
