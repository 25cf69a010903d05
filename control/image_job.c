// SPDX-License-Identifier: BSD-3-Clause
// See image_job.h. Called by images.c.
#include "control/image_job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "control/image_copy.h"

enum { LINE_SIZE = 1200, TELL_BYTES = 16 << 20 };

struct image_job {
	struct loop *loop;
	const struct image_store *store;
	struct image image; // as it becomes
	image_job_fn fn;
	void *arg;
	pid_t pid;
	int pipe;
	struct loop_source *readable;
	char line[LINE_SIZE]; // what came of the next one
	size_t used;
	uint64_t done, total;
	bool complete;
	char why[LINE_SIZE];
};

// --- the child ---

struct teller {
	FILE *out;
	uint64_t before, total, told; // of the files before this one; of all
};

static void tell(void *arg, uint64_t done, uint64_t total)
{
	struct teller *t = arg;

	if (done < total && t->before + done - t->told < TELL_BYTES)
		return;
	t->told = t->before + done;
	fprintf(t->out, "at %llu %llu\n", (unsigned long long)t->told,
		(unsigned long long)(t->before + total));
	fflush(t->out);
}

static int copy_one(const struct image_store *store, const struct image_source *s, const char *what,
	const char *from, struct teller *t, struct image_copied *ret, char *err, size_t err_size)
{
	char to[IMAGE_PATH_SIZE];

	if (!from)
		return 0;
	image_store_temporary(store, s->name, what, to);
	int r = image_copy(from, to, tell, t, ret, err, err_size);
	if (r < 0)
		return r;
	t->before += ret->bytes;
	fprintf(t->out, "has %s %s %llu\n", what, ret->sha256, (unsigned long long)ret->bytes);
	return 0;
}

static int copy_kernel(const struct image_store *store, const struct image_source *s,
	struct teller *t, char *err, size_t err_size)
{
	struct image_copied copied;
	char path[IMAGE_PATH_SIZE], wrong[256];
	int r = copy_one(store, s, "kernel", s->kernel, t, &copied, err, err_size);

	if (r < 0 || !s->kernel)
		return r;
	image_store_temporary(store, s->name, "kernel", path);
	r = image_check_kernel(path, wrong, sizeof(wrong));
	if (r < 0)
		snprintf(err, err_size, "%.300s %s", s->kernel, wrong);
	return r;
}

static int copy_all(const struct image_store *store, const struct image_source *s, struct teller *t,
	char *err, size_t err_size)
{
	struct image_copied copied;
	char path[IMAGE_PATH_SIZE];
	uint64_t disk_bytes = 0;
	int r = copy_one(store, s, "disk", s->disk, t, &copied, err, err_size);

	if (r < 0)
		return r;
	if (s->sha256[0] && strcmp(s->sha256, copied.sha256) != 0) {
		snprintf(err, err_size, "%.300s: its SHA-256 is %s, not %s", s->disk, copied.sha256,
			s->sha256);
		return -EBADMSG;
	}
	image_store_temporary(store, s->name, "disk", path);
	char wrong[256];
	r = image_check(path, s->format, &disk_bytes, wrong, sizeof(wrong));
	if (r < 0) {
		snprintf(err, err_size, "%.300s %s", s->disk, wrong);
		return r;
	}
	fprintf(t->out, "size %llu\n", (unsigned long long)disk_bytes);
	r = copy_kernel(store, s, t, err, err_size);
	return r < 0 ? r : copy_one(store, s, "initrd", s->initrd, t, &copied, err, err_size);
}

static void child(
	const struct image_store *store, const struct image_source *s, int fd, pid_t parent)
{
	char err[LINE_SIZE - 100] = "";

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || dup2(fd, 3) < 0)
		_exit(1);
	close_range(4, ~0u, 0); // insulad's locks, sockets and devices
	struct teller t = { .out = fdopen(3, "w") };
	if (!t.out)
		_exit(1);
	if (copy_all(store, s, &t, err, sizeof(err)) < 0)
		fprintf(t.out, "why %s\n", err);
	else
		fprintf(t.out, "done\n");
	fflush(t.out);
	_exit(0);
}

// --- insulad ---

static void take_hash(struct image_job *job, const char *words)
{
	char what[16], hash[IMAGE_HASH_SIZE];
	unsigned long long bytes;

	if (sscanf(words, "%15s %64s %llu", what, hash, &bytes) != 3)
		return;
	if (strcmp(what, "disk") == 0) {
		memcpy(job->image.disk, hash, sizeof(hash));
		job->image.bytes = bytes;
	} else if (strcmp(what, "kernel") == 0) {
		memcpy(job->image.kernel, hash, sizeof(hash));
	} else {
		memcpy(job->image.initrd, hash, sizeof(hash));
	}
}

static void take_line(struct image_job *job, const char *line)
{
	unsigned long long a, b;

	if (sscanf(line, "at %llu %llu", &a, &b) == 2) {
		job->done = a;
		job->total = b;
	} else if (sscanf(line, "size %llu", &a) == 1) {
		job->image.disk_bytes = a;
	} else if (strncmp(line, "has ", 4) == 0) {
		take_hash(job, line + 4);
	} else if (strncmp(line, "why ", 4) == 0) {
		snprintf(job->why, sizeof(job->why), "%s", line + 4);
	} else if (strcmp(line, "done") == 0) {
		job->complete = true;
	}
}

static void reap(struct image_job *job)
{
	int status;

	while (job->pid > 0 && waitpid(job->pid, &status, 0) < 0 && errno == EINTR)
		;
	job->pid = 0;
}

static void end(struct image_job *job)
{
	loop_remove(job->loop, job->readable);
	job->readable = NULL;
	reap(job);
	if (job->complete) {
		job->image.created = (int64_t)time(NULL);
		job->fn(job->arg, job, &job->image, NULL);
		return;
	}
	image_store_forget(job->store, job->image.name);
	job->fn(job->arg, job, NULL,
		job->why[0] ? job->why : "the process that copies it was killed");
}

static void on_pipe(void *arg, uint32_t events)
{
	struct image_job *job = arg;
	char bytes[4096];
	ssize_t n = read(job->pipe, bytes, sizeof(bytes));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] != '\n') {
			if (job->used < sizeof(job->line) - 1)
				job->line[job->used++] = bytes[i];
			continue;
		}
		job->line[job->used] = 0;
		job->used = 0;
		take_line(job, job->line);
	}
	if (n <= 0)
		end(job);
}

int image_job_start(struct loop *loop, const struct image_store *store,
	const struct image_source *source, image_job_fn fn, void *arg, struct image_job **ret_job)
{
	struct image_job *job = calloc(1, sizeof(*job));
	int ends[2], r;

	if (!job)
		return -ENOMEM;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
		free(job);
		return -errno;
	}
	fcntl(ends[1], F_SETFL, 0); // the child waits
	*job = (struct image_job){
		.loop = loop, .store = store, .fn = fn, .arg = arg, .pipe = ends[0]
	};
	snprintf(job->image.name, sizeof(job->image.name), "%s", source->name);
	snprintf(job->image.cmdline, sizeof(job->image.cmdline), "%s", source->cmdline);
	job->image.format = source->format;
	pid_t parent = getpid();
	job->pid = fork();
	if (job->pid == 0)
		child(store, source, ends[1], parent);
	r = job->pid < 0 ? -errno
			 : loop_add(loop, job->pipe, EPOLLIN, on_pipe, job, &job->readable);
	close(ends[1]);
	if (r < 0) {
		image_job_free(job);
		return r;
	}
	*ret_job = job;
	return 0;
}

void image_job_free(struct image_job *job)
{
	if (!job)
		return;
	loop_remove(job->loop, job->readable);
	if (job->pid > 0) {
		kill(job->pid, SIGKILL);
		reap(job);
		image_store_forget(job->store, job->image.name);
	}
	close(job->pipe);
	free(job);
}

const char *image_job_name(const struct image_job *job)
{
	return job->image.name;
}

void image_job_progress(const struct image_job *job, uint64_t *ret_done, uint64_t *ret_total)
{
	*ret_done = job->done;
	*ret_total = job->total;
}
