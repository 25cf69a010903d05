// SPDX-License-Identifier: BSD-3-Clause
// See images.h. Called by daemon*.c.
#include "control/images.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "control/image_job.h"
#include "control/log.h"

enum { MAX_IMPORTS = 4, MAX_FAILED = 16, MAX_PATH = 1024 };

// An import under way, or one that failed.
struct import {
	struct import *next;
	struct image_job *job; // NULL: it has failed
	char name[IMAGE_NAME_SIZE];
	char why[1200];
};

struct images {
	struct loop *loop;
	struct image_store store;
	images_used_fn used;
	void *arg;
	struct import *first; // the newest
};

int images_new(struct loop *loop, const char *state_dir, images_used_fn used, void *arg,
	struct images **ret_images, char *err, size_t err_size)
{
	struct images *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return log_reason(-ENOMEM, err, err_size, "out of memory");
	*all = (struct images){ .loop = loop, .used = used, .arg = arg };
	r = image_store_open(&all->store, state_dir, err, err_size);
	if (r < 0) {
		free(all);
		return r;
	}
	*ret_images = all;
	return 0;
}

static struct import *find(const struct images *all, const char *name)
{
	struct import *i = all->first;

	while (i && strcmp(i->name, name) != 0)
		i = i->next;
	return i;
}

static void forget(struct images *all, struct import *gone)
{
	for (struct import **p = &all->first; *p; p = &(*p)->next)
		if (*p == gone) {
			*p = gone->next;
			break;
		}
	image_job_free(gone->job);
	free(gone);
}

void images_free(struct images *all)
{
	if (!all)
		return;
	while (all->first)
		forget(all, all->first);
	free(all);
}

const struct image_store *images_store(const struct images *all)
{
	return &all->store;
}

// --- imports ---

static void end(void *arg, struct image_job *job, const struct image *image, const char *why)
{
	struct images *all = arg;
	struct import *i = all->first;
	char text[200];
	int r;

	while (i->job != job)
		i = i->next;
	if (image) {
		r = image_store_add(&all->store, image);
		if (r == 0) {
			log_info("image %s: imported, %llu bytes, SHA-256 %s", image->name,
				(unsigned long long)image->bytes, image->disk);
			forget(all, i);
			return;
		}
		snprintf(text, sizeof(text), "it cannot be stored: %s", strerror(-r));
		why = text;
	}
	log_error("image %s: %s", i->name, why);
	snprintf(i->why, sizeof(i->why), "%s", why);
	image_job_free(job);
	i->job = NULL;
}

static const char *text_of(const json_t *definition, const char *key)
{
	return json_string_value(json_object_get(definition, key));
}

static bool is_path(const char *text)
{
	return text[0] == '/' && strlen(text) < MAX_PATH;
}

static int read_sha256(const char *text, char to[IMAGE_HASH_SIZE])
{
	size_t n = strlen(text);

	if (n != IMAGE_HASH_SIZE - 1 || strspn(text, "0123456789abcdefABCDEF") != n)
		return -EINVAL;
	for (size_t i = 0; i <= n; i++)
		to[i] = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] + 'a' - 'A' : text[i]);
	return 0;
}

static int check_keys(const json_t *definition, char *err, size_t err_size)
{
	static const char *const known[] = { "name", "path", "format", "sha256", "kernel", "initrd",
		"cmdline" };
	void *it = json_object_iter((json_t *)(uintptr_t)definition);

	for (; it; it = json_object_iter_next((json_t *)(uintptr_t)definition, it)) {
		unsigned i = 0, n = sizeof(known) / sizeof(known[0]);

		while (i < n && strcmp(known[i], json_object_iter_key(it)) != 0)
			i++;
		if (i == n || !json_is_string(json_object_iter_value(it)))
			return log_reason(-EINVAL, err, err_size,
				"%.100s is no key of an image, or no text; allowed: name, path, "
				"format, "
				"sha256, kernel, initrd, cmdline",
				json_object_iter_key(it));
	}
	return 0;
}

// The texts stay the definition's.
static int read_source(
	const json_t *definition, struct image_source *ret, char *err, size_t err_size)
{
	const char *name = text_of(definition, "name"), *format = text_of(definition, "format");
	const char *sha256 = text_of(definition, "sha256"),
		   *cmdline = text_of(definition, "cmdline");
	const char *paths[3] = { text_of(definition, "path"), text_of(definition, "kernel"),
		text_of(definition, "initrd") };

	*ret = (struct image_source){ 0 };
	int r = check_keys(definition, err, err_size);
	if (r < 0)
		return r;
	if (!name || image_name_wrong(name))
		return log_reason(-EINVAL, err, err_size,
			"name \"%.40s\" %s; allowed: 1 to 31 letters, digits, '-' or '_'; a letter "
			"or "
			"digit first",
			name ? name : "", name ? image_name_wrong(name) : "is missing");
	if (format && !image_format_parse(format, &ret->format))
		return log_reason(
			-EINVAL, err, err_size, "format \"%.40s\"; allowed: raw or qcow2", format);
	if (!paths[0])
		return log_reason(-EINVAL, err, err_size, "path is missing");
	for (unsigned i = 0; i < 3; i++)
		if (paths[i] && !is_path(paths[i]))
			return log_reason(-EINVAL, err, err_size,
				"\"%.100s\" is no absolute path of at most %d characters", paths[i],
				MAX_PATH - 1);
	if (sha256 && read_sha256(sha256, ret->sha256) < 0)
		return log_reason(-EINVAL, err, err_size,
			"sha256 \"%.80s\"; allowed: 64 hexadecimal digits", sha256);
	if (cmdline && (strlen(cmdline) >= IMAGE_CMDLINE_SIZE || strpbrk(cmdline, "\r\n")))
		return log_reason(-EINVAL, err, err_size,
			"cmdline is no line of at most %d characters", IMAGE_CMDLINE_SIZE - 1);
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	snprintf(ret->cmdline, sizeof(ret->cmdline), "%s", cmdline ? cmdline : "");
	ret->disk = (char *)(uintptr_t)paths[0];
	ret->kernel = (char *)(uintptr_t)paths[1];
	ret->initrd = (char *)(uintptr_t)paths[2];
	return 0;
}

static int check_room(struct images *all, const char *name, char *err, size_t err_size)
{
	struct import *same = find(all, name), *oldest_failed = NULL;
	unsigned running = 0, failed = 0;
	struct image image;

	if ((same && same->job) || image_store_get(&all->store, name, &image) != -ENOENT)
		return log_reason(-EBUSY, err, err_size, "there is an image %s already", name);
	if (same)
		forget(all, same);
	for (struct import *i = all->first; i; i = i->next) {
		running += i->job != NULL;
		failed += i->job == NULL;
		oldest_failed = i->job ? oldest_failed : i;
	}
	if (failed >= MAX_FAILED)
		forget(all, oldest_failed);
	if (running >= MAX_IMPORTS)
		return log_reason(-EBUSY, err, err_size,
			"%u images are being imported; try again when one of them is done",
			running);
	return 0;
}

int images_import(struct images *all, const json_t *definition, char *err, size_t err_size)
{
	struct image_source source;
	int r = read_source(definition, &source, err, err_size);

	if (r == 0)
		r = check_room(all, source.name, err, err_size);
	if (r < 0)
		return r;
	struct import *i = calloc(1, sizeof(*i));
	if (!i)
		return log_reason(-ENOMEM, err, err_size, "out of memory");
	snprintf(i->name, sizeof(i->name), "%s", source.name);
	r = image_job_start(all->loop, &all->store, &source, end, all, &i->job);
	if (r < 0) {
		free(i);
		return log_reason(r, err, err_size, "cannot begin: %s", strerror(-r));
	}
	i->next = all->first;
	all->first = i;
	log_info("image %s: importing %s", source.name, source.disk);
	return 0;
}

// --- what there is ---

static void put_path(const struct image_store *s, const char *hash, char path[IMAGE_PATH_SIZE])
{
	if (hash[0])
		image_store_blob(s, hash, path);
}

int images_resolve(const struct images *all, struct desired *desired)
{
	for (unsigned i = 0; i < desired->n_instances; i++) {
		struct desired_instance *in = &desired->instances[i];
		struct desired_image *image;

		if (!in->instance->image[0])
			continue;
		image = calloc(1, sizeof(*image));
		if (!image)
			return -ENOMEM;
		if (image_store_get(&all->store, in->instance->image, &image->about) < 0) {
			free(image);
			continue;
		}
		put_path(&all->store, image->about.disk, image->disk);
		put_path(&all->store, image->about.kernel, image->kernel);
		put_path(&all->store, image->about.initrd, image->initrd);
		in->image = image;
	}
	return 0;
}

static json_t *used_by(const struct images *all, const struct image *image)
{
	json_t *names = all->used ? all->used(all->arg, image) : NULL;

	return names ? names : json_array();
}

int images_delete(struct images *all, const char *name, char *err, size_t err_size)
{
	struct import *import = find(all, name);
	struct image image;
	int r;

	if (import) {
		forget(all, import);
		return 0;
	}
	r = image_store_get(&all->store, name, &image);
	if (r == -ENOENT)
		return log_reason(r, err, err_size, "there is no image '%.40s'", name);
	json_t *users = r == 0 ? used_by(all, &image) : json_array();
	size_t n = json_array_size(users);
	if (n > 0)
		r = log_reason(-EBUSY, err, err_size,
			"image %s is used by %s%s; `insula image show %s` tells by whom", name,
			json_string_value(json_array_get(users, 0)), n > 1 ? " and others" : "",
			name);
	json_decref(users);
	if (r == -EBUSY)
		return r;
	r = image_store_remove(&all->store, name);
	if (r < 0)
		return log_reason(r, err, err_size, "image %s: %s", name, strerror(-r));
	log_info("image %s: deleted", name);
	return 0;
}

static void put_text(json_t *o, const char *key, const char *text)
{
	if (text[0])
		json_object_set_new(o, key, json_string(text));
}

static void describe(const struct images *all, const struct image *image, json_t *o)
{
	char created[32];
	time_t t = (time_t)image->created;
	struct tm tm;

	put_text(o, "format", image_format_name(image->format));
	json_object_set_new(o, "bytes", json_integer((json_int_t)image->bytes));
	json_object_set_new(o, "disk_bytes", json_integer((json_int_t)image->disk_bytes));
	put_text(o, "sha256", image->disk);
	put_text(o, "kernel_sha256", image->kernel);
	put_text(o, "initrd_sha256", image->initrd);
	put_text(o, "cmdline", image->cmdline);
	strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
	put_text(o, "created", created);
	json_object_set_new(o, "used_by", used_by(all, image));
}

struct listing {
	const struct images *all;
	json_t *to;
};

static void list_one(void *arg, const char *name)
{
	struct listing *l = arg;
	struct image image;
	json_t *o = json_pack("{s:s}", "name", name);
	int r = image_store_get(&l->all->store, name, &image);

	put_text(o, "state", r == 0 ? "ready" : "failed");
	if (r == 0)
		describe(l->all, &image, o);
	else
		json_object_set_new(o, "trouble",
			json_sprintf("%s/%s.json %s; `insula image delete %s` removes it",
				l->all->store.path, name,
				r == -EBADMSG ? "is damaged" : strerror(-r), name));
	json_array_append_new(l->to, o);
}

void images_list(struct images *all, json_t *to)
{
	struct listing l = { .all = all, .to = to };

	image_store_each(&all->store, list_one, &l);
	for (const struct import *i = all->first; i; i = i->next) {
		json_t *o = json_pack(
			"{s:s, s:s}", "name", i->name, "state", i->job ? "importing" : "failed");

		if (i->job) {
			uint64_t done, total;

			image_job_progress(i->job, &done, &total);
			json_object_set_new(o, "done_bytes", json_integer((json_int_t)done));
			json_object_set_new(o, "total_bytes", json_integer((json_int_t)total));
		}
		put_text(o, "trouble", i->why);
		json_array_append_new(to, o);
	}
}
