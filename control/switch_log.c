// SPDX-License-Identifier: BSD-3-Clause
// The switch's words in insulad's log, see switch_log.h. Called by daemon_life.c, switch_link.c and
// the loop.
#include "control/switch_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>
#include "control/log.h"
#include "control/loop.h"

#define NAME "insula-switch"

enum {
	LINE_SIZE = 1000,
	PER_ROUND = 64 << 10, // as much as a FIFO holds: the loop has other things to do
};

struct switch_log {
	struct loop *loop;
	struct loop_source *source;
	int fd;
	size_t n; // bytes of a line that has not ended
	char line[LINE_SIZE];
};

static void end_line(struct switch_log *log)
{
	size_t name = strlen(NAME ": ");

	log->line[log->n] = 0;
	if (log->n)
		log_of(4, NAME,
			strncmp(log->line, NAME ": ", name) == 0 ? log->line + name : log->line);
	log->n = 0;
}

static void take(struct switch_log *log, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\n' || log->n == LINE_SIZE - 1)
			end_line(log);
		if (text[i] != '\n')
			log->line[log->n++] = (unsigned char)text[i] < ' ' ? ' ' : text[i];
	}
}

void switch_log_drain(struct switch_log *log)
{
	char text[4096];
	ssize_t n = 1;

	for (size_t done = 0; log && n > 0 && done < PER_ROUND; done += (size_t)n) {
		n = read(log->fd, text, sizeof(text));
		if (n > 0)
			take(log, text, (size_t)n);
	}
}

static void on_readable(void *arg, uint32_t events)
{
	switch_log_drain(arg);
}

// The FIFO's fd, or -errno.
static int open_fifo(const char *path, char *err, unsigned long err_size)
{
	struct stat st;
	int fd;

	if (mkfifo(path, 0600) < 0 && errno != EEXIST)
		return log_reason(-errno, err, err_size, "cannot make %s: %m", path);
	if (lstat(path, &st) == 0 && !S_ISFIFO(st.st_mode))
		return log_reason(-EEXIST, err, err_size,
			"%s is not a FIFO of insulad's; move it away with `mv %s %s.other`, and "
			"start",
			path, path, path);
	// For both directions, which POSIX leaves open and Linux has: there is always a reader.
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return log_reason(-errno, err, err_size, "cannot open %s: %m", path);
	return fd;
}

int switch_log_new(struct loop *loop, const char *run_dir, struct switch_log **ret_log, char *err,
	unsigned long err_size)
{
	struct switch_log *log = calloc(1, sizeof(*log));
	char path[128];
	int r;

	if (!log)
		return log_reason(-ENOMEM, err, err_size, "out of memory");
	log->loop = loop;
	snprintf(path, sizeof(path), "%s/switch.log", run_dir);
	r = log->fd = open_fifo(path, err, err_size);
	if (r >= 0) {
		r = loop_add(loop, log->fd, EPOLLIN, on_readable, log, &log->source);
		if (r < 0)
			log_reason(r, err, err_size, "epoll: %s", strerror(-r));
	}
	if (r < 0) {
		switch_log_free(log);
		return r;
	}
	*ret_log = log;
	return 0;
}

void switch_log_free(struct switch_log *log)
{
	if (!log)
		return;
	end_line(log);
	loop_remove(log->loop, log->source);
	if (log->fd >= 0)
		close(log->fd);
	free(log);
}

int switch_log_fd(const struct switch_log *log)
{
	return log->fd;
}
