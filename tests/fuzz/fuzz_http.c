// SPDX-License-Identifier: BSD-3-Clause
// Requests to insulad as libmicrohttpd hands them over, without its sockets: the MHD_ functions
// that api*.c calls are this file's own, and MHD_run plays one request. Behind it are the real
// lists and their lookup by name, over a desired state of two tenants; applying is played. Every
// request has one answer with a status of the API; JSON can be read back; a body arrives as it was
// sent; only POST /v1/stop stops. Input: eight bytes that choose (method, result of the daemon,
// headers, how the body is cut), then as many bytes of path and headers as they say, the rest is
// the body.
#include "tests/fuzz/fuzz.h"
#include "tests/unit/desired_fixture.h"

#include <errno.h>
#include <microhttpd.h>
#include <sys/eventfd.h>
#include "control/daemon_internal.h"
#include "control/tap_care.h"

enum { PREFIX_SIZE = 8, BIG_PIECE = 1 << 20, API_LIMIT = 16 << 20 };

static const char yaml[] =
	"version: 1\n"
	"uplinks:\n"
	"  - {name: internet, mode: nat}\n"
	"tenants:\n"
	"  - name: red\n"
	"    networks:\n"
	"      - {name: lan, vlan: 10, subnet: 10.0.0.0/24, gateway: 10.0.0.1, snat: internet}\n"
	"    instances:\n"
	"      - {name: web, nics: [{network: lan, netns: web, address: 10.0.0.11}]}\n"
	"  - name: blue\n"
	"    networks:\n"
	"      - {name: lan, vlan: 20, subnet: 10.0.0.0/24, gateway: 10.0.0.1}\n";

static const char stored_yaml[] = "version: 1\n";

// The request, and what became of it.
static struct request {
	const char *method;
	char *url, *length, *file; // NULL: no such header
	const uint8_t *body;
	size_t size, piece;
	unsigned n_big; // pieces of BIG_PIECE after the body
	int result; // of the daemon

	unsigned n_answers, status, n_stops, n_applied;
	bool json;
	char *answer;
	size_t answer_size;
} rq;

static struct daemon daemon_;
static struct ports no_ports;

static MHD_AccessHandlerCallback on_request;
static MHD_RequestCompletedCallback on_completed;
static MHD_NotifyConnectionCallback on_connection;
static void *arg_request, *arg_completed, *arg_connection;

struct MHD_Daemon {
	union MHD_DaemonInfo info;
};

struct MHD_Response {
	char *data;
	size_t size;
	bool json;
};

struct MHD_Connection {
	int unused;
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
// --- libmicrohttpd ---

struct MHD_Daemon *MHD_start_daemon(unsigned int flags, uint16_t port, MHD_AcceptPolicyCallback apc,
	void *apc_cls, MHD_AccessHandlerCallback dh, void *dh_cls, ...)
{
	static struct MHD_Daemon http;
	va_list ap;
	int option;

	on_request = dh;
	arg_request = dh_cls;
	va_start(ap, dh_cls);
	while ((option = va_arg(ap, int)) != MHD_OPTION_END) {
		if (option == MHD_OPTION_NOTIFY_COMPLETED) {
			on_completed = va_arg(ap, MHD_RequestCompletedCallback);
			arg_completed = va_arg(ap, void *);
		} else if (option == MHD_OPTION_NOTIFY_CONNECTION) {
			on_connection = va_arg(ap, MHD_NotifyConnectionCallback);
			arg_connection = va_arg(ap, void *);
		} else if (option == MHD_OPTION_EXTERNAL_LOGGER) {
			va_arg(ap, void *);
			va_arg(ap, void *);
		} else {
			va_arg(ap, int);
		}
	}
	va_end(ap);
	http.info.epoll_fd = eventfd(1, EFD_CLOEXEC); // always readable
	return &http;
}

void MHD_stop_daemon(struct MHD_Daemon *http)
{
	close(http->info.epoll_fd);
}

const union MHD_DaemonInfo *MHD_get_daemon_info(
	struct MHD_Daemon *http, enum MHD_DaemonInfoType what, ...)
{
	return &http->info;
}

enum MHD_Result MHD_get_timeout(struct MHD_Daemon *http, MHD_UNSIGNED_LONG_LONG *ms)
{
	loop_quit(daemon_.loop);
	return MHD_NO;
}

const char *MHD_lookup_connection_value(
	struct MHD_Connection *c, enum MHD_ValueKind kind, const char *key)
{
	return strcmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0 ? rq.length : rq.file;
}

enum MHD_Result MHD_set_connection_option(
	struct MHD_Connection *c, enum MHD_CONNECTION_OPTION option, ...)
{
	return MHD_YES;
}

struct MHD_Response *MHD_create_response_from_buffer(
	size_t size, void *buffer, enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *r = calloc(1, sizeof(*r));

	r->size = size;
	r->data = mode == MHD_RESPMEM_MUST_FREE ? buffer : malloc(size + 1);
	if (mode != MHD_RESPMEM_MUST_FREE)
		memcpy(r->data, buffer, size);
	return r;
}

// The whole of it at once, in pieces of any size.
struct MHD_Response *MHD_create_response_from_callback(uint64_t size, size_t piece,
	MHD_ContentReaderCallback read, void *arg, MHD_ContentReaderFreeCallback end)
{
	struct MHD_Response *r = calloc(1, sizeof(*r));
	ssize_t n;

	do {
		r->data = realloc(r->data, r->size + 1000);
		n = read(arg, r->size, r->data + r->size, 1 + (size_t)rq.piece);
		CHECK(n != 0 && n <= 1 + (ssize_t)rq.piece);
		r->size += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	CHECK(n == MHD_CONTENT_READER_END_OF_STREAM);
	end(arg);
	return r;
}

enum MHD_Result MHD_add_response_header(
	struct MHD_Response *r, const char *header, const char *content)
{
	if (strcmp(header, MHD_HTTP_HEADER_CONTENT_TYPE) == 0)
		r->json = strcmp(content, "application/json") == 0;
	return strpbrk(content, "\r\n") ? MHD_NO : MHD_YES;
}

enum MHD_Result MHD_queue_response(
	struct MHD_Connection *c, unsigned int status, struct MHD_Response *r)
{
	rq.n_answers++;
	rq.status = status;
	rq.json = r->json;
	rq.answer = malloc(r->size + 1);
	memcpy(rq.answer, r->data, r->size);
	rq.answer_size = r->size;
	return MHD_YES;
}

void MHD_destroy_response(struct MHD_Response *r)
{
	free(r->data);
	free(r);
}

// A piece of the body in a block of its own size.
static bool hand_over(struct MHD_Connection *c, const uint8_t *p, size_t n, void **state)
{
	char *copy = malloc(n);
	size_t left = n;

	memcpy(copy, p, n);
	enum MHD_Result r = on_request(
		arg_request, c, rq.url, rq.method, MHD_HTTP_VERSION_1_1, copy, &left, state);
	free(copy);
	CHECK(r == MHD_YES && left == 0);
	return rq.n_answers == 0;
}

enum MHD_Result MHD_run(struct MHD_Daemon *http)
{
	static const uint8_t big[BIG_PIECE];
	static struct MHD_Connection c;
	void *state = NULL, *no = NULL;
	size_t none = 0;
	bool more;

	if (rq.n_answers) // the round that follows one in which a connection ended
		return MHD_YES;
	on_connection(arg_connection, &c, &no, MHD_CONNECTION_NOTIFY_STARTED);
	CHECK(on_request(arg_request, &c, rq.url, rq.method, MHD_HTTP_VERSION_1_1, NULL, &none,
		      &state) == MHD_YES);
	more = rq.n_answers == 0;
	for (size_t at = 0; more && at < rq.size; at += rq.piece)
		more = hand_over(&c, rq.body + at,
			rq.size - at < rq.piece ? rq.size - at : rq.piece, &state);
	for (unsigned i = 0; more && i < rq.n_big; i++)
		more = hand_over(&c, big, BIG_PIECE, &state);
	if (more)
		CHECK(on_request(arg_request, &c, rq.url, rq.method, MHD_HTTP_VERSION_1_1, NULL,
			      &none, &state) == MHD_YES);
	on_completed(arg_completed, &c, &state, MHD_REQUEST_TERMINATED_COMPLETED_OK);
	CHECK(state == NULL);
	on_connection(arg_connection, &c, &no, MHD_CONNECTION_NOTIFY_CLOSED);
	return MHD_YES;
}

// --- insulad ---

static json_t *played(void)
{
	return rq.result == 0 ? json_pack("{s:i}", "generation", 7)
			      : json_pack("{s:[s]}", "errors", "because");
}

int daemon_apply(struct daemon *d, const char *file, const char *text, size_t size, json_t **ret)
{
	CHECK(strcmp(file, rq.file && rq.file[0] && strlen(rq.file) < 1024 ? rq.file : "config") ==
		0);
	CHECK(size == rq.size + (size_t)rq.n_big * BIG_PIECE && size <= API_LIMIT);
	CHECK(memcmp(text, rq.body, rq.size) == 0);
	rq.n_applied++;
	*ret = played();
	return rq.result;
}

int daemon_diff(struct daemon *d, const char *file, const char *text, size_t size, json_t **ret)
{
	return daemon_apply(d, file, text, size, ret);
}

int daemon_get_config(
	struct daemon *d, const char **ret_file, const char **ret_yaml, size_t *ret_size)
{
	*ret_file = rq.file ? rq.file : "site.yaml";
	*ret_yaml = stored_yaml;
	*ret_size = sizeof(stored_yaml) - 1;
	return rq.result;
}

int daemon_status(struct daemon *d, json_t **ret)
{
	*ret = rq.result == -ENOMEM ? NULL : played();
	return rq.result;
}

void daemon_request_stop(struct daemon *d)
{
	rq.n_stops++;
}

struct loop *daemon_loop(struct daemon *d)
{
	return d->loop;
}

const char *daemon_run_dir(const struct daemon *d)
{
	return d->run.path;
}

json_t *leases_next(struct leases *l, struct lease_cursor *c)
{
	static const char *const tenants[] = { "red", "blue" };

	return c->n_configured < 2 ? json_pack("{s:s, s:s}", "address", "10.0.0.11", "tenant",
					     tenants[c->n_configured++])
				   : NULL;
}

void tap_care_check(struct daemon *d)
{
}

int switch_sessions(struct switch_client *c, uint32_t from,
	struct proto_session_entry ret_page[SWITCH_SESSIONS_PAGE], unsigned *ret_n,
	uint32_t *ret_next, char *err, size_t err_size)
{
	ret_page[0] = (struct proto_session_entry){ .id = from, .proto = IPPROTO_TCP };
	*ret_n = 1;
	*ret_next = from < 5 ? from + 1 : 0;
	snprintf(err, err_size, "the switch does not answer");
	return rq.result;
}

int switch_drops(struct switch_client *c, uint32_t id,
	void (*fn)(void *arg, const char *name, uint64_t count), void *arg, char *err,
	size_t err_size)
{
	fn(arg, "parse_too_short", id);
	snprintf(err, err_size, "the switch does not answer");
	return rq.result;
}

// There is no switch: neither is called.
int switch_stats(struct switch_client *c, void (*fn)(void *arg, const struct proto_stats_entry *e),
	void *arg, char *err, size_t err_size)
{
	return -ENOTCONN;
}

int switch_port_list(struct switch_client *c,
	void (*fn)(void *arg, const struct proto_port_entry *e), void *arg, char *err,
	size_t err_size)
{
	return -ENOTCONN;
}

// --- the target ---

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[sizeof(fixture_dir) + 32];
	int r;

	fixture_setup(NULL);
	daemon_.desired = fixture_desired(yaml);
	daemon_.ports = &no_ports;
	snprintf(daemon_.run.path, sizeof(daemon_.run.path), "%s", fixture_dir);
	if (loop_new(&daemon_.loop) < 0)
		return -1;
	r = api_start(&daemon_, &daemon_.api);
	snprintf(path, sizeof(path), "%s/insulad.sock", fixture_dir);
	unlink(path);
	fixture_teardown(NULL);
	return r;
}

// The next n bytes (fewer at the end) as a string.
static char *take(const uint8_t **data, size_t *size, size_t n)
{
	char *s;

	n = n < *size ? n : *size;
	s = malloc(n + 1);
	memcpy(s, *data, n);
	s[n] = '\0';
	*data += n;
	*size -= n;
	return s;
}

static void choose(const uint8_t *data, size_t size)
{
	static const char *const methods[] = { "GET", "PUT", "POST", "HEAD", "DELETE", "get", "" };
	static const int results[] = { 0, -EINVAL, -ENOENT, -EIO, -ENOMEM };
	const uint8_t *p = data;

	rq = (struct request){ .method = methods[p[0] % 7], .result = results[p[1] % 5] };
	data += PREFIX_SIZE;
	size -= PREFIX_SIZE;
	rq.url = take(&data, &size, p[2]);
	rq.length = p[3] & 0x80 ? take(&data, &size, p[3] & 0x7f) : NULL;
	rq.file = p[4] & 0x80 ? take(&data, &size, p[4] & 0x7f ? p[4] & 0x7f : 1100) : NULL;
	rq.n_big = p[6] == 0xb1 ? p[7] % 18 : 0;
	rq.piece = p[5] + 1u;
	rq.body = data;
	rq.size = size;
}

static void check_answer(void)
{
	static const unsigned statuses[] = { 200, 404, 405, 413, 422, 500 };
	json_t *o, *errors, *text;
	unsigned i = 0;
	size_t k;

	CHECK(rq.n_answers == 1);
	while (i < 6 && statuses[i] != rq.status)
		i++;
	CHECK(i < 6);
	CHECK(rq.status != 500 || rq.result < 0);
	CHECK(rq.n_applied == 0 || strcmp(rq.url, "/v1/config") == 0 ||
		strcmp(rq.url, "/v1/diff") == 0);
	if (!rq.json) {
		CHECK(rq.answer_size == sizeof(stored_yaml) - 1);
		return;
	}
	o = json_loadb(rq.answer, rq.answer_size, JSON_REJECT_DUPLICATES, NULL);
	CHECK(json_is_object(o));
	errors = json_object_get(o, "errors");
	CHECK((rq.status == 200) == (errors == NULL));
	CHECK(rq.status == 200 || json_array_size(errors) > 0);
	json_array_foreach(errors, k, text)
		CHECK(json_is_string(text));
	json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < PREFIX_SIZE)
		return 0;
	choose(data, size);
	loop_run(daemon_.loop);
	check_answer();
	CHECK(rq.n_stops == (rq.status == 200 && strcmp(rq.method, "POST") == 0 &&
				    strcmp(rq.url, "/v1/stop") == 0));
	free(rq.answer);
	free(rq.url);
	free(rq.length);
	free(rq.file);
	return 0;
}
