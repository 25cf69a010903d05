// SPDX-License-Identifier: BSD-3-Clause
// See vm_changes.h.
#include "control/vm_changes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/model_value.h"

enum { WORD_SIZE = VOLUME_PATH_SIZE + 64 };

static const char kinds[] = "wrWR"; // readonly is 1, direct is 2

// --- names ---

bool vm_changes_id(const struct vm_volume *v, char ret_id[VM_CHANGES_ID_SIZE])
{
	if (v->n_queues != 1 || strlen(v->name) + 2 >= VM_CHANGES_ID_SIZE)
		return false;
	snprintf(ret_id, VM_CHANGES_ID_SIZE, "%.29s.%c", v->name,
		kinds[(v->readonly ? 1 : 0) + (v->direct ? 2 : 0)]);
	return true;
}

// No device that a machine was started with has a dot in its name.
static bool read_id(const char *id, struct vm_volume *ret)
{
	const char *dot = strrchr(id, '.'), *kind = dot && dot[1] ? strchr(kinds, dot[1]) : NULL;

	*ret = (struct vm_volume){ .n_queues = 1 };
	if (!kind || dot[2] || dot - id >= VOLUME_NAME_SIZE)
		return false;
	memcpy(ret->name, id, (size_t)(dot - id));
	ret->readonly = (kind - kinds) & 1;
	ret->direct = (kind - kinds) & 2;
	return !value_name(ret->name, VOLUME_NAME_SIZE);
}

// A disk's word; false: it is no volume.
static bool read_word(const char *word, const char *state_dir, struct vm_volume *ret)
{
	char folder[VOLUME_PATH_SIZE];
	const char *end = strstr(word, ".raw,");
	size_t n = (size_t)snprintf(folder, sizeof(folder), "file=%s/volumes/", state_dir);

	*ret = (struct vm_volume){ .n_queues = 1 };
	if (strncmp(word, folder, n) != 0 || !end || end - word - n >= VOLUME_NAME_SIZE)
		return false;
	memcpy(ret->name, word + n, (size_t)(end - word) - n);
	ret->readonly = strstr(end, ",readonly") != NULL;
	ret->direct = strstr(end, ",direct") != NULL;
	word = strstr(end, ",queues=");
	if (word)
		ret->n_queues = (unsigned)strtoul(word + strlen(",queues="), NULL, 10);
	return !value_name(ret->name, VOLUME_NAME_SIZE);
}

static void write_word(const struct vm_volume *v, const char *state_dir, char word[WORD_SIZE])
{
	char path[VOLUME_PATH_SIZE];

	volume_path(state_dir, v->name, path);
	snprintf(word, WORD_SIZE, VM_SPEC_DISK, path, v->readonly ? ",readonly" : "",
		v->direct ? ",direct" : "", v->n_queues);
}

static bool is_equal(const struct vm_volume *a, const struct vm_volume *b)
{
	return strcmp(a->name, b->name) == 0 && a->readonly == b->readonly &&
	       a->direct == b->direct && a->n_queues == b->n_queues;
}

static bool has_device(const json_t *devices, const char *id)
{
	const json_t *device;
	size_t i;

	json_array_foreach(devices, i, device) {
		const char *other = json_string_value(json_object_get(device, "id"));
		if (other && strcmp(other, id) == 0)
			return true;
	}
	return false;
}

// --- a command line's parts ---

struct parts {
	char *argv[VM_SPEC_WORDS];
	unsigned n_others; // neither volumes nor slots
	const char *others[VM_SPEC_WORDS];
	unsigned n_volumes;
	struct vm_volume volumes[VM_SPEC_WORDS];
	unsigned disks[VM_SPEC_WORDS]; // the volumes' numbers among the disks
	unsigned n_slots;
};

static void take_apart(const struct vm_spec *s, const char *state_dir, struct parts *ret)
{
	unsigned n_disks = 0;

	*ret = (struct parts){ 0 };
	if (s->text)
		vm_spec_arguments(s, ret->argv);
	for (char **w = ret->argv; *w; w++) {
		bool is_disk = strcmp(*w, "--disk") == 0 && w[1];

		if (strcmp(*w, "--hotplug") == 0 && w[1]) {
			ret->n_slots = (unsigned)strtoul(*++w, NULL, 10);
		} else if (is_disk && read_word(w[1], state_dir, &ret->volumes[ret->n_volumes])) {
			ret->disks[ret->n_volumes++] = n_disks;
			w++;
		} else {
			ret->others[ret->n_others++] = *w;
		}
		n_disks += is_disk;
	}
}

static bool has_same_others(const struct parts *a, const struct parts *b)
{
	if (a->n_others != b->n_others)
		return false;
	for (unsigned i = 0; i < a->n_others; i++)
		if (strcmp(a->others[i], b->others[i]) != 0)
			return false;
	return true;
}

static const struct vm_volume *find_volume(const struct parts *p, const char *name)
{
	for (unsigned i = 0; i < p->n_volumes; i++)
		if (strcmp(p->volumes[i].name, name) == 0)
			return &p->volumes[i];
	return NULL;
}

static unsigned n_single(const struct parts *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->n_volumes; i++)
		n += p->volumes[i].n_queues == 1;
	return n;
}

bool vm_changes_device(const struct vm_volume *v, const struct vm_spec *started,
	const json_t *devices, const char *state_dir, char ret_id[VM_CHANGES_ID_SIZE])
{
	struct parts began;

	if (vm_changes_id(v, ret_id) && has_device(devices, ret_id))
		return true;
	take_apart(started, state_dir, &began);
	for (unsigned i = 0; i < began.n_volumes; i++) {
		if (!is_equal(&began.volumes[i], v))
			continue;
		snprintf(ret_id, VM_CHANGES_ID_SIZE, "disk%u", began.disks[i]);
		return has_device(devices, ret_id);
	}
	return false;
}

// --- what it has ---

static void put_pair(FILE *f, const char *option, const char *word)
{
	fwrite(option, 1, strlen(option) + 1, f);
	fwrite(word, 1, strlen(word) + 1, f);
}

static void put_plugged(FILE *f, const json_t *devices, const char *state_dir)
{
	const json_t *device;
	struct vm_volume v;
	char word[WORD_SIZE];
	size_t i;

	json_array_foreach(devices, i, device) {
		const char *id = json_string_value(json_object_get(device, "id"));
		if (!id || i >= VM_CHANGES_MAX * 2 || !read_id(id, &v))
			continue;
		write_word(&v, state_dir, word);
		put_pair(f, "--disk", word);
	}
}

static int end(FILE *f, struct vm_spec *s)
{
	bool failed = ferror(f);

	if (fclose(f) == 0 && !failed)
		return 0;
	vm_spec_clear(s);
	return -ENOMEM;
}

// All words but those of volumes for which there is no such device.
static void put_rest(FILE *f, const struct parts *began, const json_t *devices)
{
	unsigned n_disks = 0, n = 0;
	char id[VM_CHANGES_ID_SIZE];

	for (char *const *w = began->argv; *w; w++) {
		bool is_disk = strcmp(*w, "--disk") == 0 && w[1];
		bool is_volume = is_disk && n < began->n_volumes && began->disks[n] == n_disks;

		snprintf(id, sizeof(id), "disk%u", n_disks);
		n_disks += is_disk;
		n += is_volume;
		if (is_volume && !has_device(devices, id))
			w++;
		else
			fwrite(*w, 1, strlen(*w) + 1, f);
	}
}

int vm_changes_now(struct vm_spec *ret_spec, const struct vm_spec *started, const json_t *devices,
	const char *state_dir)
{
	struct parts began;

	*ret_spec = (struct vm_spec){ 0 };
	FILE *f = open_memstream(&ret_spec->text, &ret_spec->size);
	if (!f)
		return -ENOMEM;
	take_apart(started, state_dir, &began);
	put_rest(f, &began, devices);
	put_plugged(f, devices, state_dir);
	return end(f, ret_spec);
}

int vm_changes_keep(struct vm_spec *ret_spec, const struct vm_spec *started,
	const struct vm_spec *desired, const char *state_dir)
{
	struct parts began, will;
	char word[WORD_SIZE];

	*ret_spec = (struct vm_spec){ 0 };
	FILE *f = open_memstream(&ret_spec->text, &ret_spec->size);
	if (!f)
		return -ENOMEM;
	take_apart(started, state_dir, &began);
	take_apart(desired, state_dir, &will);
	put_rest(f, &began, NULL);
	for (unsigned i = 0; i < will.n_volumes; i++) {
		write_word(&will.volumes[i], state_dir, word);
		put_pair(f, "--disk", word);
	}
	return end(f, ret_spec);
}

// --- the difference ---

// What is in `from` and not in `to`. False: there are more than a machine has.
static bool find_missing(
	const struct parts *from, const struct parts *to, struct vm_volume *ret, unsigned *ret_n)
{
	for (unsigned i = 0; i < from->n_volumes; i++) {
		if (find_volume(to, from->volumes[i].name))
			continue;
		if (*ret_n == VM_CHANGES_MAX)
			return false;
		ret[(*ret_n)++] = from->volumes[i];
	}
	return true;
}

static bool can_be_plugged(const struct vm_changes *c)
{
	char id[VM_CHANGES_ID_SIZE];

	for (unsigned i = 0; i < c->n_in; i++)
		if (!vm_changes_id(&c->in[i], id))
			return false;
	return true;
}

// One that changes would have to be unplugged, and is another disk for the guest.
static bool one_changes(const struct parts *from, const struct parts *to)
{
	for (unsigned i = 0; i < from->n_volumes; i++) {
		const struct vm_volume *v = find_volume(to, from->volumes[i].name);
		if (v && !is_equal(v, &from->volumes[i]))
			return true;
	}
	return false;
}

void vm_changes_find(struct vm_changes *ret, const struct vm_spec *started,
	const struct vm_spec *has, const struct vm_spec *desired, const char *state_dir)
{
	struct parts began, is, will;

	*ret = (struct vm_changes){ .kind = VM_CHANGE_OTHER };
	take_apart(started, state_dir, &began);
	take_apart(has, state_dir, &is);
	take_apart(desired, state_dir, &will);
	if (!has_same_others(&is, &will) || !find_missing(&will, &is, ret->in, &ret->n_in) ||
		!find_missing(&is, &will, ret->out, &ret->n_out))
		return;
	// A disk that it was started with leaves a slot to another one with as many queues.
	if (one_changes(&is, &will) || !can_be_plugged(ret))
		ret->kind = VM_CHANGE_NO_PLUG;
	else if (ret->n_in && n_single(&will) > n_single(&began) + began.n_slots)
		ret->kind = VM_CHANGE_NO_SLOT;
	else
		ret->kind = ret->n_in || ret->n_out ? VM_CHANGE_PLUG : VM_CHANGE_NONE;
}
