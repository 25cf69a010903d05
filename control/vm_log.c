// SPDX-License-Identifier: BSD-3-Clause
// See vm_log.h. Called by vm.c and the loop.
#include "control/vm_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>
#include "control/desired.h"
#include "control/log.h"
#include "control/loop.h"

enum {
	LINE_SIZE = 400,
	MAX_SIZE = 64 << 10, // then the file begins anew, whatever more there is in it
	BURST = 20, // lines in 10 s: its guest may be what makes it speak
};

struct vm_logs {
	struct loop *loop;
	struct loop_source *source;
	int fd;
	struct vm_log *first;
};

struct vm_log {
	struct vm_logs *all;
	struct vm_log *next;
	int watch, fd;
	char name[DESIRED_NAME_SIZE + 12];
	size_t n; // bytes of a line that has not ended
	char line[LINE_SIZE], last[LINE_SIZE];
	char disk[LINE_SIZE]; // a line about a disk's error
	uint64_t disk_ns; // when it came
	struct log_limit limit;
};

static void end_line(struct vm_log *log)
{
	static const char prefix[] = "insula-vmm: ";
	const char *text = log->line;

	log->line[log->n] = 0;
	log->n = 0;
	if (strncmp(text, prefix, strlen(prefix)) == 0)
		text += strlen(prefix);
	if (!text[0])
		return;
	memmove(log->last, text, strlen(text) + 1);
	if (strncmp(log->last, "disk ", strlen("disk ")) == 0 && strstr(log->last, " failed: ")) {
		memcpy(log->disk, log->last, sizeof(log->disk));
		log->disk_ns = loop_now_ns();
	}
	if (log_limit_pass(&log->limit, BURST))
		log_of(4, log->name, log->last);
}

void vm_log_drain(struct vm_log *log)
{
	char text[1024];
	ssize_t n;

	for (size_t done = 0; done < MAX_SIZE && (n = read(log->fd, text, sizeof(text))) > 0;
		done += (size_t)n)
		for (ssize_t i = 0; i < n; i++) {
			if (text[i] == '\n' || log->n == LINE_SIZE - 1)
				end_line(log);
			if (text[i] != '\n')
				log->line[log->n++] =
					text[i] < ' ' || text[i] > '~' ? ' ' : text[i];
		}
	if (lseek(log->fd, 0, SEEK_CUR) >= MAX_SIZE && ftruncate(log->fd, 0) == 0)
		lseek(log->fd, 0, SEEK_SET);
}

static void on_readable(void *arg, uint32_t events)
{
	struct vm_logs *all = arg;
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(all->fd, buffer, sizeof(buffer));

	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *e = (const void *)(buffer + at);

		for (struct vm_log *log = all->first; log; log = log->next)
			if (log->watch == e->wd || e->mask & IN_Q_OVERFLOW)
				vm_log_drain(log);
		at += (ssize_t)(sizeof(*e) + e->len);
	}
}

int vm_logs_new(struct loop *loop, struct vm_logs **ret_logs)
{
	struct vm_logs *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return -ENOMEM;
	all->loop = loop;
	all->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	r = all->fd < 0 ? -errno : loop_add(loop, all->fd, EPOLLIN, on_readable, all, &all->source);
	if (r < 0) {
		vm_logs_free(all);
		return r;
	}
	*ret_logs = all;
	return 0;
}

void vm_logs_free(struct vm_logs *logs)
{
	if (!logs)
		return;
	loop_remove(logs->loop, logs->source);
	if (logs->fd >= 0)
		close(logs->fd);
	free(logs);
}

int vm_log_new(struct vm_logs *logs, const char *dir, const char *name, struct vm_log **ret_log)
{
	struct vm_log *log = calloc(1, sizeof(*log));
	char path[160];

	if (!log)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/log", dir);
	snprintf(log->name, sizeof(log->name), "insula-vmm %s", name);
	log->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log->fd < 0) {
		free(log);
		return -errno;
	}
	log->all = logs;
	log->watch = inotify_add_watch(logs->fd, path, IN_MODIFY);
	log->next = logs->first;
	logs->first = log;
	*ret_log = log;
	return 0;
}

void vm_log_free(struct vm_log *log)
{
	if (!log)
		return;
	for (struct vm_log **p = &log->all->first; *p; p = &(*p)->next)
		if (*p == log) {
			*p = log->next;
			break;
		}
	if (log->watch >= 0)
		inotify_rm_watch(log->all->fd, log->watch);
	close(log->fd);
	free(log);
}

const char *vm_log_last(const struct vm_log *log)
{
	return log->last;
}

// It says so once a minute at most, as long as there are more.
const char *vm_log_disk(const struct vm_log *log)
{
	static const uint64_t LATELY_NS = 600000000000;

	return log && loop_now_ns() - log->disk_ns < LATELY_NS ? log->disk : "";
}

void vm_log_clear(struct vm_log *log)
{
	log->n = 0;
	log->last[0] = 0;
	log->disk[0] = 0;
	if (ftruncate(log->fd, 0) == 0)
		lseek(log->fd, 0, SEEK_SET);
}
