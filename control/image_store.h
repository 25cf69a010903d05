// SPDX-License-Identifier: BSD-3-Clause
// Images on disk: STATE_DIR/images, root's alone. A file's content is kept once, in blobs/SHA256,
// and never written again; NAME.json beside it says what an image is made of. It needs no database:
// what is there is what the folder says, also when insula.db is lost. Whatever moment a crash
// comes at, an image is whole or not there. One writer (insulad's main thread); image_copy.c makes
// the temporary files that become blobs. Functions return 0 or -errno.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	IMAGE_NAME_SIZE = 32,
	IMAGE_HASH_SIZE = 65, // SHA-256 in hexadecimal, and its zero
	IMAGE_CMDLINE_SIZE = 2048,
	IMAGE_PATH_SIZE = 400,
};

enum image_format { IMAGE_RAW, IMAGE_QCOW2, IMAGE_FORMAT_COUNT };

struct image {
	char name[IMAGE_NAME_SIZE];
	enum image_format format; // as its importer said: never found out from the content
	char disk[IMAGE_HASH_SIZE];
	char kernel[IMAGE_HASH_SIZE], initrd[IMAGE_HASH_SIZE]; // "" = it has none
	char cmdline[IMAGE_CMDLINE_SIZE]; // "" = none
	uint64_t bytes; // of the disk's file
	uint64_t disk_bytes; // as a guest sees it
	int64_t created; // CLOCK_REALTIME, seconds
};

struct image_store {
	char path[256]; // STATE_DIR/images
};

// Makes the folders; removes what a crash has left: temporary files, and blobs that no image names.
// An image that cannot be read keeps all blobs.
int image_store_open(struct image_store *s, const char *state_dir, char *err, size_t err_size);

const char *image_format_name(enum image_format format);
bool image_format_parse(const char *word, enum image_format *ret_format);
// NULL, or why it is no name.
const char *image_name_wrong(const char *name);

// -ENOENT; -EBADMSG: it is there, and cannot be understood.
int image_store_get(const struct image_store *s, const char *name, struct image *ret_image);
// Each name, in order; fn may not change the store.
int image_store_each(
	const struct image_store *s, void (*fn)(void *arg, const char *name), void *arg);

// The path of a blob, and of a temporary file of an import: `what` is "disk", "kernel", "initrd".
void image_store_blob(const struct image_store *s, const char *hash, char path[IMAGE_PATH_SIZE]);
void image_store_temporary(const struct image_store *s, const char *name, const char *what,
	char path[IMAGE_PATH_SIZE]);

// The temporary files of an import, complete and on the disk, become the image: durable when this
// returns 0. -EEXIST: there is one of this name.
int image_store_add(const struct image_store *s, const struct image *image);
// And the blobs that no other image names. Who has one open keeps it. -ENOENT.
int image_store_remove(const struct image_store *s, const char *name);
// Temporary files of an import that failed.
void image_store_forget(const struct image_store *s, const char *name);
