// SPDX-License-Identifier: BSD-3-Clause
// The HTTP API over its real socket and loop, with a daemon of this file's own behind it: routing,
// status codes, bodies up to the limit, and that stopping comes after the answer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/sockios.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "control/daemon.h"

// The daemon as this test plays it: notes what it was asked, answers as told.
struct daemon {
	struct loop *loop;
	char dir[64];
	struct api *api;
	int result; // of the next call
	char file[64], name[64], head[32];
	size_t size;
	enum daemon_kind kind;
	unsigned n_stops;
	unsigned busy_s; // how long an apply takes
	unsigned n_pieces, n_closed; // of the stream
	ssize_t piece_error; // what follows its last piece
	unsigned n_rounds, rounds_seen; // of the loop; when the last piece was given
	unsigned n_at_once, most_at_once; // pieces in one round of the loop
	struct loop_source *ticker;
	int late; // a connection that asks while the apply is at work
};

struct client {
	struct daemon *d;
	int fd;
	const char *out;
	size_t out_size, out_done;
	char *in;
	size_t in_size;
	struct loop_source *source;
};

enum { PIECES = 100, PIECE_SIZE = 1000 };

static struct daemon fake;
static const char late[] = "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n";

static json_t *answer(int result)
{
	return result == 0 ? json_pack("{s:i}", "generation", 7)
			   : json_pack("{s:[s]}", "errors", "because");
}

int daemon_apply(struct daemon *d, const char *file, const char *yaml, size_t size, json_t **ret)
{
	snprintf(d->file, sizeof(d->file), "%s", file);
	snprintf(d->head, sizeof(d->head), "%.*s", size > 31 ? 31 : (int)size, yaml);
	d->size = size;
	if (d->busy_s)
		sleep(d->busy_s);
	if (d->late > 0)
		assert_true(send(d->late, late, sizeof(late) - 1, MSG_NOSIGNAL) > 0);
	*ret = answer(d->result);
	return d->result;
}

int daemon_diff(struct daemon *d, const char *file, const char *yaml, size_t size, json_t **ret)
{
	return daemon_apply(d, file, yaml, size, ret);
}

int daemon_get_config(
	struct daemon *d, const char **ret_file, const char **ret_yaml, size_t *ret_size)
{
	*ret_file = "site.yaml";
	*ret_yaml = "version: 1\n";
	*ret_size = 11;
	return d->result;
}

int daemon_kind_from_name(const char *name, enum daemon_kind *ret_kind)
{
	static const char *const names[] = { "tenants", "networks", "ports", "leases", "sessions",
		"drops", "uplinks", "instances", "images", "volumes" };

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return (*ret_kind = (enum daemon_kind)i, 0);
	return -ENOENT;
}

int daemon_list(struct daemon *d, enum daemon_kind kind, json_t **ret)
{
	d->kind = kind;
	snprintf(d->name, sizeof(d->name), "(all)");
	*ret = answer(d->result);
	return d->result;
}

// A list of sessions in pieces.
int daemon_stream_open(struct daemon *d, enum daemon_kind kind, const char *name,
	struct daemon_stream **ret_stream, json_t **ret)
{
	if (kind != DAEMON_SESSIONS)
		return -EOPNOTSUPP;
	*ret = d->result < 0 ? answer(d->result) : NULL;
	d->n_pieces = 0;
	*ret_stream = (struct daemon_stream *)d;
	return d->result;
}

ssize_t daemon_stream_read(struct daemon_stream *s, char *buf, size_t size)
{
	struct daemon *d = (struct daemon *)s;

	if (d->n_pieces == PIECES)
		return d->piece_error;
	d->n_pieces++;
	d->n_at_once = d->n_rounds == d->rounds_seen ? d->n_at_once + 1 : 1;
	d->most_at_once = d->n_at_once > d->most_at_once ? d->n_at_once : d->most_at_once;
	d->rounds_seen = d->n_rounds;
	memset(buf, 'p', PIECE_SIZE < size ? PIECE_SIZE : size);
	return PIECE_SIZE < size ? PIECE_SIZE : (ssize_t)size;
}

void daemon_stream_close(struct daemon_stream *s)
{
	((struct daemon *)s)->n_closed++;
}

int daemon_show(struct daemon *d, enum daemon_kind kind, const char *name, json_t **ret)
{
	d->kind = kind;
	snprintf(d->name, sizeof(d->name), "%s", name);
	*ret = answer(d->result);
	return d->result;
}

int daemon_status(struct daemon *d, json_t **ret)
{
	*ret = d->result == -ENOMEM ? NULL : answer(d->result);
	return d->result;
}

void daemon_request_stop(struct daemon *d)
{
	d->n_stops++;
	api_stop(d->api); // as hard as it may come
	d->api = NULL;
}

struct loop *daemon_loop(struct daemon *d)
{
	return d->loop;
}

const char *daemon_run_dir(const struct daemon *d)
{
	return d->dir;
}

static void client_done(struct client *c)
{
	loop_remove(c->d->loop, c->source);
	close(c->fd);
	c->fd = -1;
	loop_quit(c->d->loop);
}

static void on_client(void *arg, uint32_t events)
{
	struct client *c = arg;
	ssize_t n;

	if ((events & EPOLLOUT) != 0 && c->out_done < c->out_size) {
		n = send(c->fd, c->out + c->out_done, c->out_size - c->out_done, MSG_NOSIGNAL);
		if (n > 0)
			c->out_done += (size_t)n;
		else if (errno != EAGAIN)
			c->out_done = c->out_size; // the server wants no more; its answer comes
		if (c->out_done == c->out_size) {
			loop_remove(c->d->loop, c->source);
			assert_int_equal(
				loop_add(c->d->loop, c->fd, EPOLLIN, on_client, c, &c->source), 0);
		}
		return;
	}
	c->in = realloc(c->in, c->in_size + 65537);
	assert_non_null(c->in);
	n = recv(c->fd, c->in + c->in_size, 65536, 0);
	if (n > 0)
		c->in_size += (size_t)n;
	c->in[c->in_size] = '\0';
	if (n == 0 || (n < 0 && errno != EAGAIN))
		client_done(c);
}

// Sends bytes, returns all that came until the server closed; free it.
static char *talk(const char *out, size_t size)
{
	struct client c = { .d = &fake, .out = out, .out_size = size };
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	snprintf(to.sun_path, sizeof(to.sun_path), "%s/insulad.sock", fake.dir);
	c.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(c.fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(
		loop_add(fake.loop, c.fd, EPOLLIN | EPOLLOUT, on_client, &c, &c.source), 0);
	assert_int_equal(loop_run(fake.loop), 0);
	assert_non_null(c.in);
	return c.in;
}

static void ask(const char *request, const char *headers, const char *body, unsigned status,
	const char *expected)
{
	char *out, *in, line[32];
	int n;

	n = asprintf(&out,
		"%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n%s",
		request, headers, strlen(body), body);
	assert_true(n > 0);
	in = talk(out, (size_t)n);
	snprintf(line, sizeof(line), "HTTP/1.1 %u ", status);
	if (strncmp(in, line, strlen(line)) != 0)
		fail_msg("%s: expected %s, got %s", request, line, in);
	if (strstr(in, expected) == NULL)
		fail_msg("%s: expected %s in %s", request, expected, in);
	free(in);
	free(out);
}

static int start(void **state)
{
	fake = (struct daemon){ .dir = "/tmp/insula-api-XXXXXX" };
	if (mkdtemp(fake.dir) == NULL || loop_new(&fake.loop) < 0)
		return -1;
	return api_start(&fake, &fake.api);
}

static int stop(void **state)
{
	int r;

	api_stop(fake.api);
	loop_free(fake.loop);
	r = rmdir(fake.dir); // fails if the socket was left
	return r;
}

static void socket_is_private(void **state)
{
	char path[100];
	struct stat st;
	struct api *second;

	snprintf(path, sizeof(path), "%s/insulad.sock", fake.dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(api_start(&fake, &second), -EADDRINUSE); // the first one keeps its socket
	ask("GET /v1/status", "", "", 200, "{\"generation\":7}");
}

static void replaces_stale_socket(void **state)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd;

	api_stop(fake.api);
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/insulad.sock", fake.dir);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	close(fd);
	assert_int_equal(api_start(&fake, &fake.api), 0);
	ask("GET /v1/status", "", "", 200, "{\"generation\":7}");
}

static void config(void **state)
{
	ask("PUT /v1/config", "X-Insula-File: site.yaml\r\n", "version: 1\n", 200,
		"\"generation\"");
	assert_string_equal(fake.file, "site.yaml");
	assert_string_equal(fake.head, "version: 1\n");
	assert_int_equal(fake.size, 11);
	ask("PUT /v1/config", "", "", 200, "\"generation\"");
	assert_string_equal(fake.file, "config");
	assert_int_equal(fake.size, 0);
	ask("GET /v1/config", "", "", 200, "\r\n\r\nversion: 1\n");
	ask("GET /v1/config", "", "", 200, "X-Insula-File: site.yaml");
	fake.result = -EINVAL;
	ask("POST /v1/diff", "", "x", 422, "{\"errors\":[\"because\"]}");
	fake.result = -EIO;
	ask("PUT /v1/config", "", "x", 500, "{\"errors\":[\"because\"]}");
	fake.result = -ENOENT;
	ask("GET /v1/config", "", "", 404, "nothing has been applied yet");
}

static void lists(void **state)
{
	ask("GET /v1/ports", "", "", 200, "\"generation\"");
	assert_int_equal(fake.kind, DAEMON_PORTS);
	assert_string_equal(fake.name, "(all)");
	ask("GET /v1/ports/red/web.eth0", "", "", 200, "\"generation\"");
	assert_string_equal(fake.name, "red/web.eth0");
	ask("GET /v1/tenants/a%2Fb%20c", "", "", 200, "\"generation\"");
	assert_string_equal(fake.name, "a/b c");
	fake.result = -ENOENT;
	ask("GET /v1/tenants/", "", "", 404, "because");
	assert_string_equal(fake.name, ""); // asked for by name, not listed
	ask("GET /v1/tenants/green", "", "", 404, "because");
	fake.result = -ENOMEM;
	ask("GET /v1/status", "", "", 500, "Cannot allocate memory");
}

static void on_tick(void *arg)
{
	fake.n_rounds++;
	loop_timer_arm(fake.ticker, 0);
}

// A stream's end, once all of it was given to the client, is the connection's or, after an error,
// the connection ends without it.
static void streams(void **state)
{
	static const char get[] =
		"GET /v1/sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

	assert_int_equal(loop_add_timer(fake.loop, on_tick, NULL, &fake.ticker), 0);
	loop_timer_arm(fake.ticker, 0);
	for (int error = 0; error >= -EIO; error -= EIO) {
		char *in;
		size_t n = 0;

		fake.piece_error = error;
		in = talk(get, sizeof(get) - 1);
		assert_memory_equal(in, "HTTP/1.1 200 ", 13);
		for (const char *p = strstr(in, "\r\n\r\n"); *p; p++)
			n += *p == 'p';
		assert_int_equal(n, PIECES * PIECE_SIZE);
		assert_int_equal(strcmp(in + strlen(in) - 5, "0\r\n\r\n") == 0, error == 0);
		free(in);
	}
	assert_in_range(fake.most_at_once, 1, 2); // the next is made ready while one is sent
	assert_int_equal(fake.n_closed, 2);
	loop_remove(fake.loop, fake.ticker);
	fake.result = -EIO;
	ask("GET /v1/sessions", "", "", 500, "{\"errors\":[\"because\"]}");
	assert_int_equal(fake.n_closed, 2);
}

// 405 with these methods, in its text and in the header.
static void not_allowed(const char *method, const char *path, const char *methods)
{
	char request[100], text[200];

	snprintf(request, sizeof(request), "%s %s", method, path);
	snprintf(text, sizeof(text), "[\"%s is not for %s; %s\"]", method, path, methods);
	ask(request, "", "{}", 405, text);
	snprintf(text, sizeof(text), "\r\nAllow: %s\r\n", methods);
	ask(request, "", "{}", 405, text);
}

static void wrong_requests(void **state)
{
	ask("GET /v2/ports", "", "", 404, "no such path: /v2/ports; /v1/status");
	ask("GET /v1/portsandmore", "", "", 404, "no such path");
	ask("GET /", "", "", 404, "no such path");
	ask("GET /%ff%fe", "", "", 404, "{\"errors\":[\"no such thing\"]}");
	not_allowed("DELETE", "/v1/config", "GET, HEAD, PUT");
	not_allowed("POST", "/v1/ports", "GET, HEAD");
	not_allowed("GET", "/v1/stop", "POST");
	not_allowed("DELETE", "/v1/images", "GET, HEAD, POST");
	not_allowed("POST", "/v1/images/a", "GET, HEAD, DELETE");
	not_allowed("POST", "/v1/instances/a/b", "GET, HEAD, DELETE");
	not_allowed("GET", "/v1/instances/a/b/start", "POST");
	not_allowed("POST", "/v1/instances/a/b/console", "GET, HEAD");
	not_allowed("POST", "/v1/volumes/a", "GET, HEAD, DELETE");
	not_allowed("DELETE", "/v1/volumes/a/attach", "POST");
	assert_int_equal(fake.n_stops, 0);
	free(talk("nonsense\r\n\r\n", 12)); // closes, whatever it says
	ask("GET /v1/status", "", "", 200, "\"generation\"");
}

// A body of n bytes with a length in the header or, if chunked, without.
static char *put_large(size_t n, bool chunked)
{
	char *out = malloc(n + 300), *in;
	int head;

	assert_non_null(out);
	if (chunked)
		head = sprintf(out,
			"PUT /v1/config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
			"Transfer-Encoding: chunked\r\n\r\n%zx\r\n",
			n);
	else
		head = sprintf(out,
			"PUT /v1/config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
			"Content-Length: %zu\r\n\r\n",
			n);
	memset(out + head, 'y', n);
	if (chunked)
		memcpy(out + head + n, "\r\n0\r\n\r\n", 8);
	in = talk(out, (size_t)head + n + (chunked ? 7 : 0));
	free(out);
	return in;
}

// A length that says too much is refused before the body is sent.
static void refuses_early(void **state)
{
	static const char head[] = "PUT /v1/config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
				   "Content-Length: 16777217\r\n\r\n";
	char *in = talk(head, sizeof(head) - 1);

	assert_memory_equal(in, "HTTP/1.1 413 ", 13);
	free(in);
}

static void large_bodies(void **state)
{
	for (int chunked = 0; chunked <= 1; chunked++) {
		char *in = put_large(16 << 20, chunked);

		assert_memory_equal(in, "HTTP/1.1 200 ", 13);
		assert_int_equal(fake.size, 16 << 20);
		fake.size = 1;
		free(in);
		in = put_large((16 << 20) + 1, chunked);
		assert_memory_equal(in, "HTTP/1.1 413 ", 13);
		assert_non_null(strstr(in, "at most 16777216 bytes"));
		assert_int_equal(fake.size, 1);
		free(in);
	}
}

// More connections than are served at once, each stuck at another point of its request: they are
// closed soon, and who really asks is answered.
static void idle_connections(void **state)
{
	static const char *const words[] = { "", "GET /v1/st",
		"PUT /v1/config HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
		"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n" }; // and kept alive
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct timespec begin, end;
	int fds[40];

	snprintf(to.sun_path, sizeof(to.sun_path), "%s/insulad.sock", fake.dir);
	for (int i = 0; i < 40; i++) {
		const char *w = words[i % 4];
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&to, sizeof(to)), 0);
		assert_int_equal(send(fds[i], w, strlen(w), MSG_NOSIGNAL), strlen(w));
	}
	clock_gettime(CLOCK_MONOTONIC, &begin);
	ask("GET /v1/status", "", "", 200, "{\"generation\":7}");
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_in_range(end.tv_sec - begin.tv_sec, 0, 10);
	for (int i = 0; i < 40; i++)
		close(fds[i]);
}

static void quit(void *arg)
{
	loop_quit(fake.loop);
}

// Runs the loop until at least n of them have been read by the server.
static void wait_until_read(const int *fds, int n_fds, int n)
{
	struct loop_source *timer;
	int n_read = 0;

	assert_int_equal(loop_add_timer(fake.loop, quit, NULL, &timer), 0);
	while (n_read < n) {
		loop_timer_arm(timer, 1000000);
		assert_int_equal(loop_run(fake.loop), 0);
		n_read = 0;
		for (int i = 0; i < n_fds; i++) {
			int waiting;

			assert_int_equal(ioctl(fds[i], SIOCOUTQ, &waiting), 0);
			n_read += waiting == 0;
		}
	}
	loop_remove(fake.loop, timer);
}

// Connections that end all at once while there are as many as are served: libmicrohttpd does not
// listen then, and has to begin again.
static void end_at_the_limit(void **state)
{
	static const char put[] = "PUT /v1/config HTTP/1.1\r\nHost: x\r\n"
				  "Content-Length: 10000000\r\n\r\nversion: 1";
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fds[34];

	snprintf(to.sun_path, sizeof(to.sun_path), "%s/insulad.sock", fake.dir);
	alarm(20); // it would wait for ever
	for (int i = 0; i < 34; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&to, sizeof(to)), 0);
		assert_true(send(fds[i], put, sizeof(put) - 1, MSG_NOSIGNAL) > 0);
	}
	wait_until_read(fds, 34, 32);
	for (int i = 0; i < 34; i++)
		close(fds[i]);
	ask("GET /v1/status", "", "", 200, "{\"generation\":7}");
	alarm(0);
}

// The patience with idle connections ends with the request: its work takes as long as it takes.
// Nor does it count against who connected meanwhile.
static void slow_apply(void **state)
{
	static const char put[] = "PUT /v1/config HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n";
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	char in[1024] = "";
	int fds[2];

	snprintf(to.sun_path, sizeof(to.sun_path), "%s/insulad.sock", fake.dir);
	for (int i = 0; i < 2; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&to, sizeof(to)), 0);
	}
	assert_true(send(fds[0], put, sizeof(put) - 1, MSG_NOSIGNAL) > 0);
	ask("GET /v1/status", "", "", 200, "\"generation\""); // both are taken now
	fake.busy_s = 3;
	fake.late = fds[1];
	assert_int_equal(send(fds[0], "x", 1, MSG_NOSIGNAL), 1);
	ask("GET /v1/status", "", "", 200, "\"generation\"");
	ask("GET /v1/status", "", "", 200, "\"generation\"");
	for (int i = 0; i < 2; i++) {
		assert_true(recv(fds[i], in, sizeof(in) - 1, 0) > 0);
		assert_memory_equal(in, "HTTP/1.1 200 ", 13);
		close(fds[i]);
	}
}

// Connections that end in the round in which another's request takes long, some before it and some
// behind it: nothing of them may be touched any more.
static void ends_beside_slow_apply(void **state)
{
	static const char put[] = "PUT /v1/config HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n";
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	enum { N = 21, SLOW = N / 2 };
	int fds[N];

	snprintf(to.sun_path, sizeof(to.sun_path), "%s/insulad.sock", fake.dir);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++) {
			fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
			assert_int_equal(connect(fds[i], (struct sockaddr *)&to, sizeof(to)), 0);
			assert_true(send(fds[i], put, sizeof(put) - 1, MSG_NOSIGNAL) > 0);
		}
		wait_until_read(fds, N, N);
		fake.busy_s = 1;
		for (int i = 0; i < N; i++)
			if (i == SLOW)
				assert_int_equal(send(fds[i], "x", 1, MSG_NOSIGNAL), 1);
			else
				close(fds[i]);
		ask("GET /v1/status", "", "", 200, "\"generation\"");
		close(fds[SLOW]);
	}
	ask("GET /v1/status", "", "", 200, "\"generation\"");
}

static void stops_after_answer(void **state)
{
	ask("POST /v1/stop", "", "", 200, "{\"stopping\":true}");
	assert_int_equal(fake.n_stops, 1);
	assert_null(fake.api);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(socket_is_private, start, stop),
		cmocka_unit_test_setup_teardown(replaces_stale_socket, start, stop),
		cmocka_unit_test_setup_teardown(config, start, stop),
		cmocka_unit_test_setup_teardown(lists, start, stop),
		cmocka_unit_test_setup_teardown(streams, start, stop),
		cmocka_unit_test_setup_teardown(wrong_requests, start, stop),
		cmocka_unit_test_setup_teardown(refuses_early, start, stop),
		cmocka_unit_test_setup_teardown(large_bodies, start, stop),
		cmocka_unit_test_setup_teardown(idle_connections, start, stop),
		cmocka_unit_test_setup_teardown(end_at_the_limit, start, stop),
		cmocka_unit_test_setup_teardown(slow_apply, start, stop),
		cmocka_unit_test_setup_teardown(ends_beside_slow_apply, start, stop),
		cmocka_unit_test_setup_teardown(stops_after_answer, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
