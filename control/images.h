// SPDX-License-Identifier: BSD-3-Clause
// The images behind the API: imported in the background by a child each, listed, deleted. Their
// store is image_store.h. Main thread only.
#pragma once

#include <jansson.h>
#include "control/desired.h"
#include "control/loop.h"

struct images;

// Whose is it? An array of names (of instances), which an image may not be taken from.
typedef json_t *(*images_used_fn)(void *arg, const struct image *image);

int images_new(struct loop *loop, const char *state_dir, images_used_fn used, void *arg,
	struct images **ret_images, char *err, size_t err_size);
// Imports under way end, and leave nothing.
void images_free(struct images *all);
const struct image_store *images_store(const struct images *all);

// Begins an import. definition: {"name", "path", and as one likes "format" ("raw", else "qcow2"),
// "sha256", "kernel", "initrd", "cmdline"}; paths are absolute. 0, or with a sentence in err:
// -EINVAL, -EBUSY (there is one, or too many at once), -errno.
int images_import(struct images *all, const json_t *definition, char *err, size_t err_size);
// Also ends an import, and forgets one that failed. -ENOENT; -EBUSY: it is used; -errno.
int images_delete(struct images *all, const char *name, char *err, size_t err_size);
// Looks up the images that instances name: of each that is there, desired_instance.image. 0 or
// -ENOMEM.
int images_resolve(const struct images *all, struct desired *desired);
// As flat objects. state: "ready", "importing" (with done_bytes, total_bytes), or "failed" (with
// trouble).
void images_list(struct images *all, json_t *to);
