// SPDX-License-Identifier: BSD-3-Clause
// insulad as a client of the machines' own API (HTTP/JSON on RUN_DIR/vm/ID/api.sock): one request a
// connection, without waiting for anybody. By hand: libcurl would map some thirty libraries into a
// daemon that has none of them. Main thread only.
#pragma once

#include <jansson.h>
#include <stdint.h>

struct loop;
struct vm_call;

// status: HTTP's, or -errno (-ETIMEDOUT). body: JSON, borrowed, or NULL.
typedef void (*vm_api_fn)(void *arg, int status, const json_t *body);

struct vm_question {
	const char *method, *path;
	const char *body; // JSON; NULL = none
	unsigned timeout_ms;
};

// Asks, and calls `fn` from the loop, once, unless it is cancelled; *ret_call is valid until then.
// -errno: nobody listens there, and `fn` is not called.
int vm_api_ask(struct loop *loop, const char *socket, const struct vm_question *q, vm_api_fn fn,
	void *arg, struct vm_call **ret_call);
void vm_api_cancel(struct vm_call *call); // NULL is fine
