// SPDX-License-Identifier: BSD-3-Clause
// Log lines of insulad, see log.h. Main thread only.
#include "control/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "control/loop.h"

enum { LOG_KEEP = 8 << 20 };

// systemd names the stream it gave; a child started with its log in a file has the name too.
static bool is_journal(const struct stat *st)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t dev, ino;

	return stream && sscanf(stream, "%ju:%ju", &dev, &ino) == 2 && dev == st->st_dev &&
	       ino == st->st_ino;
}

static bool copy_to(const char *path)
{
	int from = open("/proc/self/fd/2", O_RDONLY | O_CLOEXEC);
	int to = from < 0 ? -1
			  : open(path,
				    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW |
					    O_NONBLOCK,
				    0600); // a FIFO of that name must not be waited for
	ssize_t n = -1;

	if (to >= 0)
		do
			n = sendfile(to, from, NULL, LOG_KEEP);
		while (n > 0);
	if (to >= 0)
		close(to);
	if (from >= 0)
		close(from);
	return n == 0;
}

// A file that has grown long goes to FILE.1, and is emptied in place: who else has it open (a
// switch started by an older insulad) writes on. Who writes without O_APPEND would go on behind the
// hole: such a file is left alone.
static void rotate(const struct stat *st)
{
	char path[PATH_MAX + 2];
	ssize_t n;

	if (!S_ISREG(st->st_mode) || st->st_size <= LOG_KEEP ||
		!(fcntl(STDERR_FILENO, F_GETFL) & O_APPEND))
		return;
	n = readlink("/proc/self/fd/2", path, PATH_MAX);
	if (n <= 0 || n >= PATH_MAX)
		return;
	memcpy(path + n, ".1", 3);
	if (st->st_nlink > 0 && !copy_to(path) && errno != ENOSPC)
		return;
	if (ftruncate(STDERR_FILENO, 0) < 0)
		return; // it grows on
}

void log_of(int level, const char *program, const char *line)
{
	static const char *const words[] = { "error", "error", "error", "error", "warning", "info",
		"info", "info" };
	char when[32];
	struct stat st;
	struct tm tm;
	time_t now = time(NULL);

	if (fstat(STDERR_FILENO, &st) < 0)
		return;
	if (isatty(STDERR_FILENO)) {
		dprintf(STDERR_FILENO, "%s: %s\n", program, line);
	} else if (is_journal(&st)) {
		dprintf(STDERR_FILENO, "<%d>%s: %s\n", level, program, line);
	} else {
		rotate(&st);
		gmtime_r(&now, &tm);
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
		dprintf(STDERR_FILENO, "%s %s %s: %s\n", when, words[level & 7], program, line);
	}
}

void log_line(int level, const char *fmt, ...)
{
	char line[1280]; // a port's every reason, and the device it has instead
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	log_of(level, "insulad", line);
}

bool log_limit_pass(struct log_limit *l, unsigned burst)
{
	uint64_t now = loop_now_ns();

	if (l->window_ns == 0 || now - l->window_ns > 10000000000u) {
		l->window_ns = now;
		l->n = 0;
	}
	return l->n++ < burst;
}

int log_reason(int r, char *err, unsigned long err_size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, err_size, fmt, ap);
	va_end(ap);
	return r;
}
