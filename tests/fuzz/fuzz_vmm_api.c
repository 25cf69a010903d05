// SPDX-License-Identifier: BSD-3-Clause
// Requests to insula-vmm's API behind HTTP: method, path and body to what the machine is asked to
// do, with the real reading of configurations and a machine that is played. Every request has one
// answer of openapi.yaml's statuses, with an error if it is one and JSON that can be written; an op
// is called only by its own path and method, at most once; what a configuration becomes is within
// its limits, and nothing of it is left. Input: a byte for the method, one for what the ops answer,
// one for the path's length, the path and,
// behind a question mark, its timeout, the body.
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/api.h"
#include "vmm/fds.h"
#include "vmm/options.h"

enum { PREFIX = 3 };

static struct {
	enum api_result result;
	unsigned int n_calls;
	const char *called;
	const char *path; // of the request
	enum api_ask ask;
	const char *timeout;
} played;

static enum api_result play(const char *path, struct error *e)
{
	played.n_calls++;
	played.called = path;
	snprintf(e->text, sizeof(e->text), "because");
	return played.result;
}

static void check_options(const struct options *o)
{
	CHECK(o->config.boot.kernel);
	CHECK(o->config.cpus >= 1 && o->config.cpus <= MACHINE_CPUS);
	CHECK(o->config.memory_size >= 2 << 20 && o->config.memory_size % (2 << 20) == 0);
	CHECK(!o->api && o->n_nets <= OPTIONS_NETS && o->n_disks <= OPTIONS_DISKS);
	for (unsigned int i = 0; i < o->n_nets; i++) {
		const struct virtio_net_options *n = &o->nets[i];

		CHECK(!n->vhost_user != !n->tap);
		CHECK(n->pairs >= 1 && n->pairs <= VIRTIO_NET_PAIRS && !(n->mac[0] & 1));
	}
	for (unsigned int i = 0; i < o->n_disks; i++)
		CHECK(o->disks[i].queues >= 1 && o->disks[i].queues <= VIRTIO_BLK_QUEUES);
}

static enum api_result configure(void *arg, json_t *config, struct error *e)
{
	struct options o;

	play("/v1/config", e);
	e->text[0] = 0;
	if (options_from_json(&o, config, e) < 0) {
		CHECK(e->text[0]);
		return API_WRONG;
	}
	check_options(&o);
	options_free(&o);
	snprintf(e->text, sizeof(e->text), "because");
	return played.result;
}

static enum api_result boot(void *arg, struct error *e)
{
	return play("/v1/boot", e);
}

static enum api_result pause_(void *arg, struct error *e)
{
	return play("/v1/pause", e);
}

static enum api_result resume(void *arg, struct error *e)
{
	return play("/v1/resume", e);
}

static enum api_result shutdown_(void *arg, struct error *e)
{
	return play("/v1/shutdown", e);
}

static enum api_result kill_(void *arg, struct error *e)
{
	return play("/v1/kill", e);
}

static enum api_result plug(
	void *arg, enum api_kind kind, const char *id, json_t *words, struct error *e)
{
	char path[64];
	char *text;

	CHECK(fds_is_name(id));
	snprintf(path, sizeof(path), "/v1/%s/%s", kind == API_DISK ? "disks" : "nics", id);
	play(path, e);
	CHECK(strcmp(played.path, path) == 0);
	played.called = played.path;
	text = options_words(id, words, e);
	if (!text)
		return API_WRONG;
	if (kind == API_DISK)
		virtio_blk_parse(&(struct virtio_blk_options){ 0 }, text, e);
	else
		virtio_net_parse(&(struct virtio_net_options){ 0 }, text, e);
	free(text);
	return played.result;
}

static enum api_result unplug(
	void *arg, enum api_kind kind, const char *id, enum api_ask ask, struct error *e)
{
	uint64_t ms = UINT64_MAX;

	CHECK(api_route_patience(played.timeout, &ms) && ms <= 600000);
	CHECK(fds_is_name(id) && ask == played.ask);
	play(played.path, e);
	return played.result == API_FAILED && ask != API_LAST ? API_PENDING : played.result;
}

static enum api_result limit(
	void *arg, enum api_kind kind, const char *id, json_t *limits, struct error *e)
{
	CHECK(fds_is_name(id) && limits);
	return play(played.path, e);
}

static json_t *info(void *arg)
{
	struct error e;

	return play("/v1/info", &e) == API_FAILED ? NULL : json_object();
}

static json_t *metrics(void *arg)
{
	struct error e;

	return play("/v1/metrics", &e) == API_FAILED ? NULL : json_object();
}

static const struct api_ops OPS = { .configure = configure,
	.boot = boot,
	.pause = pause_,
	.resume = resume,
	.shutdown = shutdown_,
	.kill = kill_,
	.plug = plug,
	.unplug = unplug,
	.limit = limit,
	.info = info,
	.metrics = metrics };

static void check_answer(const struct api_answer *a, const char *path, const char *method)
{
	static const unsigned int STATUSES[] = { 200, 204, 400, 404, 405, 409, 413, 500, 504, 0 };
	char *text = a->body ? json_dumps(a->body, JSON_COMPACT) : NULL;
	unsigned int i = 0;

	while (i < sizeof(STATUSES) / sizeof(STATUSES[0]) && STATUSES[i] != a->status)
		i++;
	CHECK(i < sizeof(STATUSES) / sizeof(STATUSES[0]));
	CHECK((a->status == 204 || a->status == 0) == !text);
	CHECK((a->status == 405) == (a->allow != NULL));
	CHECK(a->status || strcmp(method, "DELETE") == 0);
	CHECK((a->status >= 400) == json_is_string(json_object_get(a->body, "error")));
	CHECK(played.n_calls <= 1);
	if (played.n_calls) {
		const bool get = strcmp(played.called, "/v1/info") == 0 ||
				 strcmp(played.called, "/v1/metrics") == 0;

		CHECK(strcmp(played.called, path) == 0);
		CHECK(strcmp(method, get ? "GET" : "PUT") == 0 ||
			((strcmp(method, "DELETE") == 0 || strcmp(method, "PATCH") == 0) &&
				(strncmp(path, "/v1/disks/", 10) == 0 ||
					strncmp(path, "/v1/nics/", 9) == 0)));
	} else {
		CHECK(a->status >= 400);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const METHODS[] = { "PUT", "GET", "POST", "DELETE", "HEAD", "put", "",
		"PATCH" };
	struct api_answer answer;
	const char *method;
	size_t path_size, body_size;
	bool too_large;
	char *path, *body, *timeout;

	if (size < PREFIX)
		return 0;
	method = METHODS[data[0] % 8];
	memset(&played, 0, sizeof(played));
	played.result = (enum api_result)(data[1] % (API_TIMEOUT + 1));
	too_large = data[1] == 255;
	path_size = data[2] < size - PREFIX ? data[2] : size - PREFIX;
	path = malloc(path_size + 1);
	memcpy(path, data + PREFIX, path_size);
	path[path_size] = 0;
	timeout = strchr(path, '?');
	if (timeout)
		*timeout++ = 0;
	played.timeout = timeout;
	body_size = too_large ? 0 : size - PREFIX - path_size;
	body = malloc(body_size); // of its own size: what reads beyond is seen
	if (body_size)
		memcpy(body, data + PREFIX + path_size, body_size);
	played.path = path;
	played.ask = (enum api_ask)(data[1] / 8 % (API_LAST + 1));
	answer = api_route_answer(&OPS, NULL,
		&(struct api_request){ .method = method,
			.path = path,
			.body = body_size ? body : NULL,
			.size = body_size,
			.too_large = too_large,
			.ask = played.ask,
			.timeout = played.timeout });
	check_answer(&answer, path, method);
	json_decref(answer.body);
	free(path);
	free(body);
	return 0;
}
