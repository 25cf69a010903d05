// SPDX-License-Identifier: BSD-3-Clause
// See image_store.h. Called by images.c, main thread.
#include "control/image_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "control/durable.h"
#include "control/log.h"
#include "control/model_value.h"

#define TEMPORARY "tmp-"
#define SUFFIX ".json"

static const char *const parts[] = { "disk", "kernel", "initrd" };

enum { N_PARTS = sizeof(parts) / sizeof(parts[0]), MAX_META = 16 << 10 };

// --- names ---

const char *image_format_name(enum image_format format)
{
	static const char *const names[IMAGE_FORMAT_COUNT] = { "raw", "qcow2" };

	return names[format];
}

bool image_format_parse(const char *word, enum image_format *ret_format)
{
	for (int i = 0; i < IMAGE_FORMAT_COUNT; i++)
		if (strcmp(image_format_name((enum image_format)i), word) == 0) {
			*ret_format = (enum image_format)i;
			return true;
		}
	return false;
}

const char *image_name_wrong(const char *name)
{
	return value_name(name, IMAGE_NAME_SIZE);
}

static bool is_hash(const char *text)
{
	return strlen(text) == IMAGE_HASH_SIZE - 1 &&
	       strspn(text, "0123456789abcdef") == IMAGE_HASH_SIZE - 1;
}

void image_store_blob(const struct image_store *s, const char *hash, char path[IMAGE_PATH_SIZE])
{
	snprintf(path, IMAGE_PATH_SIZE, "%s/blobs/%s", s->path, hash);
}

void image_store_temporary(
	const struct image_store *s, const char *name, const char *what, char path[IMAGE_PATH_SIZE])
{
	snprintf(path, IMAGE_PATH_SIZE, "%s/blobs/" TEMPORARY "%s.%s", s->path, name, what);
}

static void meta_path(const struct image_store *s, const char *name, char path[IMAGE_PATH_SIZE])
{
	snprintf(path, IMAGE_PATH_SIZE, "%s/%s" SUFFIX, s->path, name);
}

// --- what an image is made of ---

static bool take_text(const json_t *o, const char *key, char *to, size_t size)
{
	const char *text = json_string_value(json_object_get(o, key));

	if (text && strlen(text) >= size)
		return false;
	snprintf(to, size, "%s", text ? text : "");
	return true;
}

static bool take_hash(const json_t *o, const char *key, bool required, char to[IMAGE_HASH_SIZE])
{
	return take_text(o, key, to, IMAGE_HASH_SIZE) && ((!to[0] && !required) || is_hash(to));
}

static bool take_number(const json_t *o, const char *key, uint64_t *ret)
{
	const json_t *v = json_object_get(o, key);

	*ret = (uint64_t)json_integer_value(v);
	return json_is_integer(v) && json_integer_value(v) >= 0;
}

int image_store_get(const struct image_store *s, const char *name, struct image *ret_image)
{
	char path[IMAGE_PATH_SIZE], format[16], own[IMAGE_NAME_SIZE];
	struct image image = { 0 };
	uint64_t created = 0;
	size_t size;
	char *text;

	if (image_name_wrong(name))
		return -ENOENT;
	meta_path(s, name, path);
	int r = durable_read(path, MAX_META, &text, &size);
	if (r < 0)
		return r;
	json_t *o = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	free(text);
	bool good = json_is_object(o) && take_text(o, "name", own, sizeof(own)) &&
		    strcmp(own, name) == 0 && take_text(o, "format", format, sizeof(format)) &&
		    image_format_parse(format, &image.format) &&
		    take_hash(o, "sha256", true, image.disk) &&
		    take_hash(o, "kernel", false, image.kernel) &&
		    take_hash(o, "initrd", false, image.initrd) &&
		    take_text(o, "cmdline", image.cmdline, sizeof(image.cmdline)) &&
		    take_number(o, "bytes", &image.bytes) &&
		    take_number(o, "disk_bytes", &image.disk_bytes) &&
		    take_number(o, "created", &created);
	json_decref(o);
	if (!good)
		return -EBADMSG;
	snprintf(image.name, sizeof(image.name), "%s", name);
	image.created = (int64_t)created;
	*ret_image = image;
	return 0;
}

static char *meta_of(const struct image *image)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "name", image->name, "format",
		image_format_name(image->format), "sha256", image->disk, "bytes",
		(json_int_t)image->bytes, "disk_bytes", (json_int_t)image->disk_bytes, "created",
		(json_int_t)image->created);

	if (o && image->kernel[0])
		json_object_set_new(o, "kernel", json_string(image->kernel));
	if (o && image->initrd[0])
		json_object_set_new(o, "initrd", json_string(image->initrd));
	if (o && image->cmdline[0])
		json_object_set_new(o, "cmdline", json_string(image->cmdline));
	char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
	json_decref(o);
	return text;
}

int image_store_each(
	const struct image_store *s, void (*fn)(void *arg, const char *name), void *arg)
{
	struct dirent **all;
	int n_all = scandir(s->path, &all, NULL, alphasort);

	if (n_all < 0)
		return -errno;
	for (int i = 0; i < n_all; i++) {
		char name[IMAGE_NAME_SIZE];
		const char *file = all[i]->d_name;
		size_t n = strlen(file), end = strlen(SUFFIX);

		if (n > end && n - end < sizeof(name) && strcmp(file + n - end, SUFFIX) == 0) {
			snprintf(name, sizeof(name), "%.*s", (int)(n - end), file);
			if (!image_name_wrong(name))
				fn(arg, name);
		}
		free(all[i]);
	}
	free(all);
	return 0;
}

// --- which blobs are somebody's ---

struct wanted {
	const struct image_store *s;
	const char *hash;
	bool found;
};

static void look_for(void *arg, const char *name)
{
	struct wanted *w = arg;
	struct image image;

	w->found = w->found || image_store_get(w->s, name, &image) < 0 ||
		   strcmp(image.disk, w->hash) == 0 || strcmp(image.kernel, w->hash) == 0 ||
		   strcmp(image.initrd, w->hash) == 0;
}

// Also while an image cannot be read: it may be its.
static bool is_wanted(const struct image_store *s, const char *hash)
{
	struct wanted w = { .s = s, .hash = hash };

	return image_store_each(s, look_for, &w) < 0 || w.found;
}

static void sweep(const struct image_store *s)
{
	char path[sizeof(s->path) + 16];
	struct dirent *e;

	snprintf(path, sizeof(path), "%s/blobs", s->path);
	DIR *dir = opendir(path);
	while (dir && (e = readdir(dir)) != NULL)
		if (strncmp(e->d_name, TEMPORARY, strlen(TEMPORARY)) == 0 ||
			(is_hash(e->d_name) && !is_wanted(s, e->d_name)))
			unlinkat(dirfd(dir), e->d_name, 0);
	if (dir)
		closedir(dir);
}

int image_store_open(struct image_store *s, const char *state_dir, char *err, size_t err_size)
{
	char path[sizeof(s->path) + 16];
	int n = snprintf(s->path, sizeof(s->path), "%s/images", state_dir);

	if (n < 0 || (size_t)n >= sizeof(s->path))
		return log_reason(
			-ENAMETOOLONG, err, err_size, "%s: its name is too long", state_dir);
	snprintf(path, sizeof(path), "%s/blobs", s->path);
	if ((mkdir(s->path, 0700) < 0 && errno != EEXIST) ||
		(mkdir(path, 0700) < 0 && errno != EEXIST))
		return log_reason(-errno, err, err_size, "cannot make %s: %m", path);
	durable_sweep(s->path);
	sweep(s);
	return 0;
}

// --- one more, one less ---

static const char *hash_of(const struct image *image, unsigned part)
{
	return part == 0 ? image->disk : part == 1 ? image->kernel : image->initrd;
}

// The same content is there already, or it is this.
static int keep(const struct image_store *s, const struct image *image, unsigned part)
{
	char from[IMAGE_PATH_SIZE], to[IMAGE_PATH_SIZE];

	image_store_temporary(s, image->name, parts[part], from);
	image_store_blob(s, hash_of(image, part), to);
	if (access(to, F_OK) == 0)
		return unlink(from) < 0 ? -errno : 0;
	return rename(from, to) < 0 ? -errno : 0;
}

static void drop(const struct image_store *s, const struct image *image)
{
	char path[IMAGE_PATH_SIZE];

	for (unsigned i = 0; i < N_PARTS; i++)
		if (hash_of(image, i)[0] && !is_wanted(s, hash_of(image, i))) {
			image_store_blob(s, hash_of(image, i), path);
			unlink(path);
		}
}

int image_store_add(const struct image_store *s, const struct image *image)
{
	char path[IMAGE_PATH_SIZE], blobs[sizeof(s->path) + 16];
	char *meta = NULL;
	int r = 0;

	meta_path(s, image->name, path);
	if (access(path, F_OK) == 0)
		return -EEXIST;
	for (unsigned i = 0; r == 0 && i < N_PARTS; i++)
		if (hash_of(image, i)[0])
			r = keep(s, image, i);
	snprintf(blobs, sizeof(blobs), "%s/blobs", s->path);
	if (r == 0)
		r = durable_sync(blobs);
	if (r == 0) {
		meta = meta_of(image);
		r = meta ? durable_write(path, meta, strlen(meta), 0600) : -ENOMEM;
	}
	free(meta);
	if (r < 0) {
		unlink(path);
		image_store_forget(s, image->name);
		drop(s, image);
	}
	return r;
}

int image_store_remove(const struct image_store *s, const char *name)
{
	char path[IMAGE_PATH_SIZE];
	struct image image = { 0 };
	int r = image_store_get(s, name, &image);

	if (r < 0 && r != -EBADMSG) // one that is damaged can go, too
		return r;
	meta_path(s, name, path);
	if (unlink(path) < 0)
		return -errno;
	r = durable_sync(s->path);
	drop(s, &image);
	return r;
}

void image_store_forget(const struct image_store *s, const char *name)
{
	char path[IMAGE_PATH_SIZE];

	for (unsigned i = 0; i < N_PARTS; i++) {
		image_store_temporary(s, name, parts[i], path);
		unlink(path);
	}
}
