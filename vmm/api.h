// SPDX-License-Identifier: BSD-3-Clause
// The machine's HTTP/JSON API on a unix socket, which is its user's alone; openapi.yaml says what
// it takes and answers. api.c: socket and libmicrohttpd, run by the device thread's loop without a
// thread of its own; api_route.c: what a request asks for, without HTTP. All on the device thread.
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vmm/error.h"
#include "vmm/loop.h"

enum { API_BODY_SIZE = 64 << 10, API_CONNECTIONS = 8 };

// Each with the sentence that it answers.
enum api_result {
	API_DONE,
	API_WRONG, // what was asked for cannot be had: 400
	API_NOT_FOUND, // 404
	API_CONFLICT, // not in this state: 409
	API_FAILED, // the host's or our fault: 500
	API_TIMEOUT, // the guest has not done its part: 504
	API_PENDING, // not yet: asked again when api_poke is called, and at the end of its time
};

enum api_kind { API_DISK, API_NIC };

// Whether it is asked for the first time, and whether it may be asked again.
enum api_ask { API_FIRST, API_AGAIN, API_LAST };

// What the machine does. arg: api_start's.
struct api_ops {
	// config: an object, or what else the body was.
	enum api_result (*configure)(void *arg, json_t *config, struct error *e);
	enum api_result (*boot)(void *arg, struct error *e);
	enum api_result (*pause)(void *arg, struct error *e);
	enum api_result (*resume)(void *arg, struct error *e);
	enum api_result (*shutdown)(void *arg, struct error *e);
	enum api_result (*kill)(void *arg, struct error *e);
	// words: an object; id is one that may be.
	enum api_result (*plug)(
		void *arg, enum api_kind kind, const char *id, json_t *words, struct error *e);
	// Done when the guest has let go of it. API_LAST is not answered by API_PENDING.
	enum api_result (*unplug)(
		void *arg, enum api_kind kind, const char *id, enum api_ask ask, struct error *e);
	// limits: what the body was.
	enum api_result (*limit)(
		void *arg, enum api_kind kind, const char *id, json_t *limits, struct error *e);
	json_t *(*info)(void *arg); // NULL: no memory
	json_t *(*metrics)(void *arg);
	// A request's answer is out, or nobody waits for it any more.
	void (*answered)(void *arg);
};

struct api;

// Listens at `path` and serves from `loop`. Before the machine is confined, on its one thread.
int api_start(struct api **ret_api, const char *path, struct loop *loop, const struct api_ops *ops,
	void *arg, struct error *e);
// Not from within an op. Connections end; the path stays if it cannot be seen any more.
void api_stop(struct api *api);

// Asks again for what is pending. On the device thread, not from within an op.
void api_poke(struct api *api);

// A request, without HTTP. body: `size` bytes, of PUT or PATCH. too_large: it had more than
// API_BODY_SIZE, and is not there.
struct api_request {
	const char *method, *path, *body;
	size_t size;
	bool too_large;
	enum api_ask ask;
	const char *timeout; // of ?timeout=; NULL: there is none
};

// What api_route_answer says: a status of HTTP, and a body or NULL. allow: of 405, else NULL.
struct api_answer {
	unsigned int status; // 0: pending
	json_t *body;
	const char *allow;
};

struct api_answer api_route_answer(
	const struct api_ops *ops, void *arg, const struct api_request *request);
// How long a request with that timeout may be pending. False: it is no number of seconds, or one
// that is not allowed.
bool api_route_patience(const char *timeout, uint64_t *ret_ms);
// {"error": the sentence}
struct api_answer api_route_error(unsigned int status, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
