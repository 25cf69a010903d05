// SPDX-License-Identifier: BSD-3-Clause
// See vm_api.h. Called by vm.c and the loop.
#include "control/vm_api.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "control/loop.h"

enum { ANSWER_SIZE = 64 << 10 };

struct vm_call {
	struct loop *loop;
	struct loop_source *source, *timer;
	int fd;
	vm_api_fn fn;
	void *arg;
	size_t n;
	char answer[ANSWER_SIZE + 1];
};

void vm_api_cancel(struct vm_call *call)
{
	if (!call)
		return;
	loop_remove(call->loop, call->source);
	loop_remove(call->loop, call->timer);
	close(call->fd);
	free(call);
}

static void end(struct vm_call *call, int status, const char *text, size_t size)
{
	json_t *body = size ? json_loadb(text, size, 0, NULL) : NULL;
	vm_api_fn fn = call->fn;
	void *arg = call->arg;

	vm_api_cancel(call);
	fn(arg, status, body);
	json_decref(body);
}

// RFC 9112: the status line, the header's fields, an empty line, and the body, whose size is told
// or ends with the connection. 0: more is to come.
static int is_whole(
	const struct vm_call *call, const char **ret_body, size_t *ret_size, bool closed)
{
	const char *body = strstr(call->answer, "\r\n\r\n");
	int status = 0;
	size_t size = 0, there;
	bool told = false;

	if (!body || sscanf(call->answer, "HTTP/%*1[1].%*1[01] %3d", &status) != 1 || status < 200)
		return closed || body ? -EPROTO : 0;
	body += 4;
	there = call->n - (size_t)(body - call->answer);
	for (const char *line = call->answer; line < body - 4; line = strstr(line, "\r\n") + 2)
		if (strncasecmp(line, "Content-Length:", 15) == 0) {
			size = strtoul(line + 15, NULL, 10);
			told = true;
		}
	if (told && there < size)
		return closed ? -EPROTO : 0;
	if (!told && !closed)
		return 0;
	*ret_body = body;
	*ret_size = told ? size : there;
	return status;
}

static void on_readable(void *arg, uint32_t events)
{
	struct vm_call *call = arg;
	ssize_t n = recv(call->fd, call->answer + call->n, ANSWER_SIZE - call->n, MSG_DONTWAIT);
	const char *body = NULL;
	size_t size = 0;
	int status;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		end(call, -errno, NULL, 0);
		return;
	}
	call->n += (size_t)n;
	call->answer[call->n] = 0;
	status = is_whole(call, &body, &size, n == 0);
	if (status == 0 && call->n == ANSWER_SIZE)
		status = -EMSGSIZE;
	if (status != 0)
		end(call, status, body, size);
}

static void on_timeout(void *arg)
{
	end(arg, -ETIMEDOUT, NULL, 0);
}

// A request fits the socket's buffer: a local connection is there, or refused, at once.
static int send_request(struct vm_call *call, const char *socket, const struct vm_question *q)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *body = q->body ? q->body : "";
	char text[600];
	int n = snprintf(text, sizeof(text),
		"%s %s HTTP/1.1\r\nHost: vmm\r\nConnection: close\r\nContent-Length: "
		"%zu\r\n\r\n%s",
		q->method, q->path, strlen(body), body);

	if (strlen(socket) >= sizeof(a.sun_path) || n >= (int)sizeof(text))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, socket, strlen(socket));
	if (connect(call->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	return send(call->fd, text, (size_t)n, MSG_NOSIGNAL) == n ? 0 : -EPIPE;
}

int vm_api_ask(struct loop *loop, const char *path_of_socket, const struct vm_question *q,
	vm_api_fn fn, void *arg, struct vm_call **ret_call)
{
	struct vm_call *call = calloc(1, sizeof(*call));
	int r;

	if (!call)
		return -ENOMEM;
	call->loop = loop;
	call->fn = fn;
	call->arg = arg;
	call->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = call->fd < 0 ? -errno : send_request(call, path_of_socket, q);
	if (r == 0)
		r = loop_add_timer(loop, on_timeout, call, &call->timer);
	if (r == 0)
		r = loop_add(loop, call->fd, EPOLLIN, on_readable, call, &call->source);
	if (r < 0) {
		vm_api_cancel(call);
		return r;
	}
	loop_timer_arm(call->timer, (uint64_t)q->timeout_ms * 1000000);
	*ret_call = call;
	return 0;
}
