// SPDX-License-Identifier: BSD-3-Clause
// A file copied into the store and hashed on the way; sharing its blocks where the file system can
// (FICLONE), else without its holes and zeroes. Takes as long as it takes: in the child of an
// import (image_job.c). Functions return 0, or -errno with a sentence in err.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include "control/image_store.h"

struct image_copied {
	char sha256[IMAGE_HASH_SIZE];
	uint64_t bytes;
};

typedef void (*image_progress_fn)(void *arg, uint64_t done, uint64_t total); // bytes of this file

// from: a regular file or a block device; to: new, and afterwards on the disk and read-only. On
// failure it is not there.
int image_copy(const char *from, const char *to, image_progress_fn progress, void *arg,
	struct image_copied *ret, char *err, size_t err_size);
// Shares the blocks of a file with a new one, which may be written to. -EOPNOTSUPP: this file
// system cannot; -EXDEV: the two lie on different ones.
int image_clone(const char *from, const char *to, unsigned mode);

// Is this a kernel, as far as its beginning tells (as vmm/boot.c begins to look at it)?
// -EINVAL: it is none.
int image_check_kernel(const char *path, char *err, size_t err_size);
// What a disk's file is as an image of this format, and nothing else: how large a disk a guest
// sees. -EINVAL: it is none, or one that would need another file.
int image_check(const char *path, enum image_format format, uint64_t *ret_disk_bytes, char *err,
	size_t err_size);
