// SPDX-License-Identifier: BSD-3-Clause
// The child of one import: copies and hashes the files, and tells how far it is through a pipe.
// insulad's loop goes on meanwhile; the child dies with it. Main thread only.
#pragma once

#include <sys/types.h>
#include "control/image_store.h"
#include "control/loop.h"

struct image_source {
	char name[IMAGE_NAME_SIZE];
	char *disk, *kernel, *initrd; // paths; kernel and initrd may be NULL
	char cmdline[IMAGE_CMDLINE_SIZE];
	enum image_format format;
	char sha256[IMAGE_HASH_SIZE]; // what the disk's has to be; "" = any
};

struct image_job;
// It has ended: with 0 and what it has made, whose temporary files are complete; else with why not.
// The job is freed by the callback, or later.
typedef void (*image_job_fn)(
	void *arg, struct image_job *job, const struct image *image, const char *why);

// Takes a copy of the source. 0 or -errno.
int image_job_start(struct loop *loop, const struct image_store *store,
	const struct image_source *source, image_job_fn fn, void *arg, struct image_job **ret_job);
// Ends it if it goes on, and removes what it has made.
void image_job_free(struct image_job *job);

const char *image_job_name(const struct image_job *job);
void image_job_progress(const struct image_job *job, uint64_t *ret_done, uint64_t *ret_total);
