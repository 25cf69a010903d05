// SPDX-License-Identifier: BSD-3-Clause
// `insula instance console`: this terminal becomes the instance's serial port, until Ctrl-]. The
// bytes go through a unix socket of insulad's; when insulad is replaced, to its successor's.
#include "control/cli.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum {
	ESCAPE = 0x1d, // Ctrl-]
	RECONNECT_S = 10,
	POLL_MS = 100,
};

enum outcome { DETACHED, LOST, REFUSED, FAILED };

static bool write_all(int fd, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, bytes, n);

		if (done < 0 && errno != EINTR)
			return false;
		bytes += done > 0 ? done : 0;
		n -= done > 0 ? (size_t)done : 0;
	}
	return true;
}

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return -errno;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

// The line of JSON that a connection begins with; false: there was none.
static bool read_head(int fd, json_t **ret_head)
{
	char line[256];
	size_t n = 0;

	while (n < sizeof(line) && read(fd, line + n, 1) == 1)
		if (line[n++] == '\n') {
			*ret_head = json_loadb(line, n, 0, NULL);
			return *ret_head != NULL;
		}
	return false;
}

// True: the terminal is to be let go of.
static bool give(int fd, const char *bytes, size_t n, bool terminal, bool *ret_lost)
{
	const char *escape = terminal ? memchr(bytes, ESCAPE, n) : NULL;
	size_t until = escape != NULL ? (size_t)(escape - bytes) : n;

	*ret_lost = until > 0 && send(fd, bytes, until, MSG_NOSIGNAL) < 0;
	return escape != NULL;
}

static enum outcome carry(int fd, bool terminal)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
		{ .fd = STDIN_FILENO, .events = POLLIN } };
	char bytes[4096];

	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return FAILED;
		if (p[0].revents) {
			ssize_t n = read(fd, bytes, sizeof(bytes));

			if (n <= 0)
				return LOST;
			if (!write_all(STDOUT_FILENO, bytes, (size_t)n))
				return FAILED;
		}
		if (p[1].revents) {
			ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));
			bool lost = false;

			if (n <= 0 || give(fd, bytes, (size_t)n, terminal, &lost))
				return DETACHED;
			if (lost)
				return LOST;
		}
	}
}

static void greet(const char *name, json_int_t others, bool terminal)
{
	if (!terminal)
		return;
	fprintf(stderr, "[%s; Ctrl-] detaches", name);
	if (others > 0)
		fprintf(stderr, "; %d other%s attached, who see and type the same", (int)others,
			others == 1 ? " is" : "s are");
	fprintf(stderr, "]\r\n");
}

static enum outcome attach(const char *path, const char *name, bool terminal)
{
	int fd = connect_to(path);
	enum outcome result = REFUSED;
	json_t *head = NULL;
	const char *error;

	if (fd < 0)
		return LOST;
	if (!read_head(fd, &head)) {
		close(fd);
		return LOST;
	}
	error = json_string_value(json_object_get(head, "error"));
	if (error != NULL) {
		fprintf(stderr, "insula: %s: %s\r\n", name, error);
	} else {
		greet(name, json_integer_value(json_object_get(head, "others")), terminal);
		result = carry(fd, terminal);
	}
	json_decref(head);
	close(fd);
	return result;
}

// insulad has gone, or the instance: as long as the socket's place is there, its successor comes.
static bool wait_for_successor(const char *path, bool terminal)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000 };

	if (terminal)
		fprintf(stderr, "\r\n[insulad went away; waiting for it]\r\n");
	for (int i = 0; i < RECONNECT_S * 1000 / POLL_MS; i++) {
		int fd = connect_to(path);

		if (fd >= 0) {
			close(fd);
			return true;
		}
		if (fd == -ENOENT) // it was deleted, or all was stopped
			return false;
		nanosleep(&pause, NULL);
	}
	return false;
}

// What it says is old, and nobody takes what is typed: to be known before. A terminal may wait for
// it to be started; what comes from elsewhere was meant for who is not there.
static bool is_there(const char *name, const char *state)
{
	if (strcmp(state, "stopped") != 0 && strcmp(state, "failed") != 0)
		return true;
	if (isatty(STDIN_FILENO)) {
		fprintf(stderr, "[%s is %s: this is what it said last, until it is started]\n",
			name, state);
		return true;
	}
	cli_error("%s is %s: `insula instance start %s` starts it; `insula instance console --log "
		  "%s` prints what it said last",
		name, state, name, name);
	return false;
}

static bool make_raw(struct termios *ret_before)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, ret_before) < 0)
		return false;
	raw = *ret_before;
	cfmakeraw(&raw);
	return tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static int run_console(const char *path, const char *name)
{
	struct termios before;
	bool terminal = make_raw(&before);
	enum outcome end;

	do
		end = attach(path, name, terminal);
	while (end == LOST && wait_for_successor(path, terminal));
	if (terminal) {
		tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
		fprintf(stderr, "\n");
	}
	if (end == LOST)
		cli_error("the console of %s has gone", name);
	else if (end == FAILED)
		cli_error("%s: %s", name, strerror(errno));
	return end == DETACHED ? CLI_OK : CLI_FAILED;
}

static int print_log(const struct cli *c, const char *name)
{
	struct cli_reply r;

	if (!cli_instance_ask(c, "GET", name, "console", &r))
		return CLI_FAILED;
	if (c->output != CLI_TABLE)
		cli_print_object(c, r.json);
	else
		fputs(json_string_value(json_object_get(r.json, "text")), stdout);
	cli_reply_free(&r);
	return CLI_OK;
}

int cli_instance_console(const struct cli *c, int n_args, char *const *args)
{
	const char *path, *state;
	struct cli_reply r;
	int result = CLI_FAILED;

	if (c->log)
		return print_log(c, args[0]);
	if (!cli_instance_ask(c, "GET", args[0], "", &r))
		return CLI_FAILED;
	path = json_string_value(json_object_get(r.json, "console"));
	state = json_string_value(json_object_get(r.json, "state"));
	if (path == NULL)
		cli_error("%s is of kind external: whoever runs it has its console", args[0]);
	else if (is_there(args[0], state != NULL ? state : ""))
		result = run_console(path, args[0]);
	cli_reply_free(&r);
	return result;
}
