// SPDX-License-Identifier: BSD-3-Clause
// Volumes: raw, sparse files STATE_DIR/volumes/NAME.raw, disks of their own that instances have in
// turn. There is nothing to remember beside them: a name is the file's, a size its length; whose
// one is, says the file applied last. Functions return 0, or -errno with a sentence in err.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VOLUME_NAME_SIZE = 32, VOLUME_PATH_SIZE = 400, VOLUME_MAX_MIB = 16 << 20 };

void volume_path(const char *state_dir, const char *name, char path[VOLUME_PATH_SIZE]);
// The name of the volume that this path is of. False: it is of none.
bool volume_of_path(const char *state_dir, const char *path, char ret_name[VOLUME_NAME_SIZE]);
// Removes what a crash has left of a volume that was being made.
void volumes_sweep(const char *state_dir);
// All zeroes, and takes no space before it is written to. -EEXIST; -EINVAL: no such name or size.
int volume_create(
	const char *state_dir, const char *name, uint64_t mib, char *err, size_t err_size);
// -ENOENT; err may be NULL.
int volume_stat(const char *state_dir, const char *name, uint64_t *ret_bytes,
	uint64_t *ret_allocated, char *err, size_t err_size);
// Makes it larger. -EINVAL: it would become smaller, and lose what is there.
int volume_grow(const char *state_dir, const char *name, uint64_t mib, char *err, size_t err_size);
int volume_delete(const char *state_dir, const char *name, char *err, size_t err_size);
// Each name, in order; fn may not change them. Nothing if there is no folder yet.
void volumes_each(const char *state_dir, void (*fn)(void *arg, const char *name), void *arg);
