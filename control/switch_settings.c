// SPDX-License-Identifier: BSD-3-Clause
// The settings of the process insula-switch, see switch_settings.h. Called by switch_proc.c,
// switch_link.c, apply.c, foresee.c and the model's reader; main thread.
#include "control/switch_settings.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "control/log.h"
#include "control/proto.h"

#define HUGEPAGES_2M "/sys/kernel/mm/hugepages/hugepages-2048kB/"

void switch_settings_fill(struct switch_settings *s)
{
	if (s->workers == 0)
		s->workers = 1;
	if (s->sessions == 0)
		s->sessions = 131072;
	if (s->sessions_per_tenant == 0)
		s->sessions_per_tenant = s->sessions / 8;
	if (s->sessions_per_port == 0)
		s->sessions_per_port = (s->sessions_per_tenant + 1) / 2;
	if (s->device_queues == 0)
		s->device_queues = PROTO_DEVICE_QUEUES * s->workers;
}

void switch_settings_make_room(
	struct switch_settings *s, uint32_t device_queues, const struct switch_settings *running)
{
	uint32_t step = PROTO_DEVICE_QUEUES * s->workers;

	if (device_queues > s->device_queues)
		s->device_queues = (device_queues + step - 1) / step * step;
	if (running && running->workers == s->workers && running->device_queues > s->device_queues)
		s->device_queues = running->device_queues;
}

bool switch_settings_equal(const struct switch_settings *a, const struct switch_settings *b)
{
	return a->workers == b->workers && a->poll == b->poll && a->sessions == b->sessions &&
	       a->sessions_per_tenant == b->sessions_per_tenant &&
	       a->sessions_per_port == b->sessions_per_port && a->hugepages == b->hugepages &&
	       a->device_queues == b->device_queues;
}

void switch_settings_sessions(const struct switch_settings *s, char *buf, size_t size)
{
	snprintf(buf, size, "%" PRIu32 ",%" PRIu32 ",%" PRIu32, s->sessions, s->sessions_per_tenant,
		s->sessions_per_port);
}

// Copies a word behind those that are in buf already.
static char *put(char buf[SWITCH_SETTINGS_SIZE], size_t *used, const char *word)
{
	char *at = buf + *used;

	*used += (size_t)snprintf(at, SWITCH_SETTINGS_SIZE - *used, "%s", word) + 1;
	return at;
}

void switch_settings_arguments(const struct switch_settings *s, char buf[SWITCH_SETTINGS_SIZE],
	char *ret_words[SWITCH_SETTINGS_WORDS])
{
	char workers[16], sessions[48], queues[16];
	size_t used = 0;
	unsigned n = 0;

	snprintf(workers, sizeof(workers), "%" PRIu32, s->workers);
	switch_settings_sessions(s, sessions, sizeof(sessions));
	ret_words[n++] = put(buf, &used, "--workers");
	ret_words[n++] = put(buf, &used, workers);
	ret_words[n++] = put(buf, &used, "--sessions");
	ret_words[n++] = put(buf, &used, sessions);
	snprintf(queues, sizeof(queues), "%" PRIu32, s->device_queues);
	ret_words[n++] = put(buf, &used, "--device-queues");
	ret_words[n++] = put(buf, &used, queues);
	if (s->poll)
		ret_words[n++] = put(buf, &used, "--poll");
	if (s->hugepages == SWITCH_HUGEPAGES_2M) {
		ret_words[n++] = put(buf, &used, "--hugepages");
		ret_words[n++] = put(buf, &used, "2M");
	}
	ret_words[n] = NULL;
}

static void take(struct switch_settings *s, const char *word, const char *value)
{
	if (strcmp(word, "--poll") == 0)
		s->poll = true;
	else if (strcmp(word, "--hugepages") == 0)
		s->hugepages = SWITCH_HUGEPAGES_2M;
	else if (strcmp(word, "--workers") == 0)
		s->workers = (uint32_t)strtoul(value, NULL, 10);
	else if (strcmp(word, "--device-queues") == 0)
		s->device_queues = (uint32_t)strtoul(value, NULL, 10);
	else if (strcmp(word, "--sessions") == 0)
		(void)sscanf(value, "%" SCNu32 ",%" SCNu32 ",%" SCNu32, &s->sessions,
			&s->sessions_per_tenant, &s->sessions_per_port);
}

void switch_settings_of(pid_t pid, struct switch_settings *ret)
{
	char path[64], text[1024];
	struct switch_settings s = { 0 };
	ssize_t n = -1;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 2);
		close(fd);
	}
	if (n > 0) { // two, so that every word has one behind it
		memset(text + n, 0, 2);
		for (ssize_t i = 0; i < n; i += (ssize_t)strlen(text + i) + 1)
			take(&s, text + i, text + i + strlen(text + i) + 1);
	}
	switch_settings_fill(&s);
	*ret = s;
}

static uint64_t blocks_of(const char *run_dir, const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", run_dir, name);
	return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

// The tables grow as sessions come; there has to be room for them all the same. A table that
// becomes smaller gives its pages back first.
static int check_sessions(
	const struct switch_settings *s, const char *run_dir, char *err, size_t err_size)
{
	uint64_t need = PROTO_SESSION_FILE_HEADER + (uint64_t)s->sessions * PROTO_SESSION_SIZE +
			PROTO_MAPPING_FILE_SIZE;
	uint64_t have = blocks_of(run_dir, "sessions") + blocks_of(run_dir, "mappings"), free_bytes;
	struct statvfs fs;

	if (statvfs(run_dir, &fs) < 0)
		return log_reason(-errno, err, err_size, "%s: %m", run_dir);
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (fs.f_blocks == 0 || need <= have + free_bytes)
		return 0;
	return log_reason(-ENOSPC, err, err_size,
		"%" PRIu32 " sessions and SNAT's mappings need %llu KiB in %s, which has %llu KiB: "
		"take fewer, or `mount -o remount,size=%lluk %s`",
		s->sessions, (unsigned long long)need / 1024, run_dir,
		(unsigned long long)(have + free_bytes) / 1024,
		(unsigned long long)(fs.f_blocks * fs.f_frsize + need - have - free_bytes +
				     1048576) /
			1024,
		run_dir);
}

static uint64_t hugepages_in(const char *which)
{
	char path[128];
	unsigned long long n = 0;

	snprintf(path, sizeof(path), HUGEPAGES_2M "%s_hugepages", which);
	FILE *f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%llu", &n) != 1)
			n = 0;
		fclose(f);
	}
	return n;
}

// sysctl gives pages of the default size, which may be another.
static bool default_is_2m(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long kib = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Hugepagesize: %lu kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib == 2048;
}

static uint64_t hugepages_of(const struct switch_settings *s)
{
	return s && s->hugepages == SWITCH_HUGEPAGES_2M
		       ? (proto_switch_memory_mib(s->workers, s->device_queues) + 1) / 2
		       : 0;
}

static int check_hugepages(const struct switch_settings *s, const struct switch_settings *old,
	char *err, size_t err_size)
{
	uint64_t need = hugepages_of(s), n_free = hugepages_in("free"),
		 taken = hugepages_in("resv");
	uint64_t have = hugepages_of(old) + (n_free > taken ? n_free - taken : 0);
	unsigned long long all = hugepages_in("nr") + need - have;
	char command[128];

	if (need <= have)
		return 0;
	if (default_is_2m())
		snprintf(command, sizeof(command), "sysctl vm.nr_hugepages=%llu", all);
	else
		snprintf(command, sizeof(command), "echo %llu >" HUGEPAGES_2M "nr_hugepages", all);
	return log_reason(-ENOMEM, err, err_size,
		"the switch needs %llu hugepages of 2 MiB, and %llu are free: `%s`",
		(unsigned long long)need, (unsigned long long)have, command);
}

int switch_settings_check(const struct switch_settings *s, const struct switch_settings *old,
	const char *run_dir, char *err, size_t err_size)
{
	int r = check_sessions(s, run_dir, err, err_size);

	return r < 0 ? r : check_hugepages(s, old, err, err_size);
}
