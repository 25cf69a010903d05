// SPDX-License-Identifier: BSD-3-Clause
// See vm_disk.h. Called by vm.c, vms.c, daemon_images.c and foresee.c.
#include "control/vm_disk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "control/daemon_internal.h"
#include "control/durable.h"
#include "control/image_copy.h"
#include "control/log.h"
#include "control/qcow2_overlay.h"
#include "control/vm_spec.h"

#define NOTE "disk:"

enum { KEY_SIZE = DESIRED_NAME_SIZE + 8, FILE_SIZE = 128 };

// --- what is noted ---

// "SALT-ID-SHA256.raw" or ".qcow2"
static bool read_file_name(const struct daemon *d, const char *file, struct vm_disk *ret)
{
	const char *hash = strrchr(file, '-'), *dot = strrchr(file, '.');

	if (!hash || !dot || dot - hash != IMAGE_HASH_SIZE || strchr(file, '/'))
		return false;
	*ret = (struct vm_disk){ .overlay = strcmp(dot, ".qcow2") == 0 };
	memcpy(ret->image, hash + 1, IMAGE_HASH_SIZE - 1);
	snprintf(ret->path, sizeof(ret->path), "%s/disks/%s", d->state_dir, file);
	return true;
}

struct search {
	struct daemon *d;
	const char *key;
	struct vm_disk *ret;
	bool found;
};

static void on_note(void *arg, const char *key, const char *value)
{
	struct search *s = arg;

	if (strcmp(key, s->key) == 0) // red/web2 also begins with red/web
		s->found = read_file_name(s->d, value, s->ret);
}

int vm_disk_find(struct daemon *d, const char *instance, struct vm_disk *ret)
{
	char key[KEY_SIZE];
	struct search s = { .d = d, .key = key, .ret = ret };

	snprintf(key, sizeof(key), NOTE "%s", instance);
	store_each_note(d->store, key, on_note, &s);
	return s.found ? 0 : -ENOENT;
}

static void collect(void *arg, const char *key, const char *value)
{
	json_object_set_new(arg, key + strlen(NOTE), json_string(value));
}

void vm_disk_sweep(struct daemon *d)
{
	json_t *all = json_object(), *file;
	const char *name;
	struct vm_disk disk;
	char key[KEY_SIZE];

	store_each_note(d->store, NOTE, collect, all);
	json_object_foreach(all, name, file) {
		const struct desired_instance *in = desired_instance_by_name(d->desired, name);

		if (in && in->instance->image[0])
			continue;
		// The note goes last: else a crash leaves a disk that is nobody's.
		if (read_file_name(d, json_string_value(file), &disk) && unlink(disk.path) < 0 &&
			errno != ENOENT) {
			log_error(
				"instance %s: its disk cannot be removed: %s: %m", name, disk.path);
			continue;
		}
		log_info("instance %s: its disk is removed", name);
		snprintf(key, sizeof(key), NOTE "%s", name);
		store_forget_note(d->store, key);
	}
	json_decref(all);
}

void vm_disk_users(struct daemon *d, const char *image, json_t *names)
{
	json_t *all = json_object(), *file;
	const char *name;
	struct vm_disk disk;

	store_each_note(d->store, NOTE, collect, all);
	json_object_foreach(all, name, file)
		if (read_file_name(d, json_string_value(file), &disk) && disk.overlay &&
			strcmp(disk.image, image) == 0)
			json_array_append_new(names, json_string(name));
	json_decref(all);
}

// --- a new one ---

static int make_file(const struct daemon *d, const struct desired_instance *in, const char *begun,
	bool *ret_overlay)
{
	const struct image *image = &in->image->about;
	int r = image->format == IMAGE_RAW ? image_clone(in->image->disk, begun, 0600) : -EXDEV;

	*ret_overlay = r == -EOPNOTSUPP || r == -EXDEV;
	if (!*ret_overlay)
		return r;
	r = qcow2_overlay_make(begun, image->disk_bytes);
	uint32_t user = vm_spec_user(in->id);
	if (r == 0 && user && chown(begun, user, user) < 0)
		r = -errno;
	return r;
}

static int make(struct daemon *d, const struct desired_instance *in, struct vm_disk *ret, char *err,
	size_t err_size)
{
	char folder[sizeof(d->state_dir) + 8], begun[VM_DISK_PATH_SIZE], file[FILE_SIZE];
	char key[KEY_SIZE];
	bool overlay = false;

	snprintf(folder, sizeof(folder), "%s/disks", d->state_dir);
	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return log_reason(-errno, err, err_size, "%s: %m", folder);
	snprintf(begun, sizeof(begun), "%s/%u.new", folder, in->id);
	int r = make_file(d, in, begun, &overlay);
	snprintf(file, sizeof(file), "%08x-%u-%s.%s", store_salt(d->store), in->id,
		in->image->about.disk, overlay ? "qcow2" : "raw");
	if (r == 0 && !read_file_name(d, file, ret))
		r = -EINVAL;
	if (r == 0 && rename(begun, ret->path) < 0)
		r = -errno;
	if (r == 0)
		r = durable_sync(folder);
	if (r < 0) {
		unlink(begun);
		return log_reason(r, err, err_size, "its disk of image %s cannot be made in %s: %s",
			in->image->about.name, folder, strerror(-r));
	}
	snprintf(key, sizeof(key), NOTE "%s", in->name);
	if (store_set_note(d->store, key, file) < 0)
		return log_reason(-EIO, err, err_size, "state: %s", store_error(d->store));
	log_info("instance %s: its disk is made of image %s, %s", in->name, in->image->about.name,
		overlay ? "as an overlay" : "sharing its blocks");
	return 0;
}

// What is wrong with one that is there.
static int check(
	const struct desired_instance *in, const struct vm_disk *disk, char *err, size_t err_size)
{
	if (strcmp(disk->image, in->image->about.disk) != 0)
		return log_reason(-EEXIST, err, err_size,
			"its disk was made of another image than %s is; a file without the "
			"instance removes the disk, and the next one with it makes a new one",
			in->image->about.name);
	if (access(disk->path, F_OK) < 0)
		return log_reason(-errno, err, err_size, "its disk %s: %m", disk->path);
	return 0;
}

int vm_disk_check(struct daemon *d, const struct desired_instance *in, char *err, size_t err_size)
{
	struct vm_disk disk;

	if (!in->image)
		return log_reason(-ENOENT, err, err_size,
			"there is no image %s; `insula image list` shows them",
			in->instance->image);
	if (in->image->about.disk_bytes > QCOW2_OVERLAY_MAX)
		return log_reason(-EFBIG, err, err_size, "image %s is larger than 16 TiB",
			in->instance->image);
	return vm_disk_find(d, in->name, &disk) == 0 ? check(in, &disk, err, err_size) : 0;
}

int vm_disk_get(struct daemon *d, const struct desired_instance *in, struct vm_disk *ret, char *err,
	size_t err_size)
{
	int r = vm_disk_check(d, in, err, err_size);

	if (r < 0)
		return r;
	return vm_disk_find(d, in->name, ret) == 0 ? 0 : make(d, in, ret, err, err_size);
}
