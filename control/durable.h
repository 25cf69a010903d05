// SPDX-License-Identifier: BSD-3-Clause
// Small files that a crash or a power loss leaves as they were or as they are to be: written
// beside, synced, renamed. Pure functions of the file system; they return 0 or -errno.
#pragma once

#include <stddef.h>
#include <sys/types.h>

#define DURABLE_BEGUN ".new" // how the name of an unfinished file ends

// The whole file; free() it; there is a zero behind it. -ENOENT; -EFBIG: more than max bytes.
int durable_read(const char *path, size_t max, char **ret_text, size_t *ret_size);
// Makes or replaces it. 0: it is on the disk, and so is its name.
int durable_write(const char *path, const void *data, size_t size, mode_t mode);
// fsync(2) of a file or folder.
int durable_sync(const char *path);
// Of the folder that the path is in.
int durable_sync_parent(const char *path);
// Removes what durable_write has left in a folder when it was killed.
void durable_sweep(const char *folder);
