// SPDX-License-Identifier: BSD-3-Clause
// Volumes that a running machine gets and gives up; see vm.h. A step at a time: what it has, asked
// of itself, then one volume out or in, then again. So an insulad that is killed in between leaves
// nothing that the next one would not see. The file is opened here, as the machine can open none,
// and handed over by a datagram (vmm/fds.h). Main thread.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "control/durable.h"
#include "control/log.h"
#include "control/vm.h"

#define AGAIN_NS 5000000000ull

enum {
	LET_GO_S = 10, // the guest has so long
	ANSWER_MS = 5000,
	GIVEN_MAX = 1 << 20,
	MANY = 2 * VM_CHANGES_MAX,
};

// --- what it has ---

// One id a line, written before it is handed over: nobody is believed to have more than that, or
// one machine could keep others from their volumes. What of it is there, it says itself.
static void given_path(const struct vm *vm, char *path, size_t size)
{
	snprintf(path, size, "%s/given", vm->dir);
}

static void recall_given(struct vm *vm)
{
	char path[160], *text, *rest, *id;
	size_t size;

	given_path(vm, path, sizeof(path));
	if (durable_read(path, GIVEN_MAX, &text, &size) < 0)
		return;
	for (rest = text; (id = strsep(&rest, "\n")) != NULL;)
		json_object_set_new(vm->plug.given, id, json_true());
	free(text);
}

static int note_given(struct vm *vm, const char *id)
{
	char path[160];
	int r = 0;

	if (json_object_get(vm->plug.given, id))
		return 0;
	given_path(vm, path, sizeof(path));
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || dprintf(fd, "%s\n", id) < 0)
		r = -errno;
	if (fd >= 0)
		close(fd);
	return r == 0 && json_object_set_new(vm->plug.given, id, json_true()) < 0 ? -ENOMEM : r;
}

void vm_plug_begin(struct vm *vm, bool is_new)
{
	char path[160];

	vm_plug_end(vm);
	vm_spec_copy(&vm->plug.has, &vm->started_with);
	vm->plug.given = json_object();
	given_path(vm, path, sizeof(path));
	if (is_new)
		unlink(path);
	else
		recall_given(vm);
}

void vm_plug_end(struct vm *vm)
{
	vm_spec_clear(&vm->plug.has);
	json_decref(vm->plug.devices);
	json_decref(vm->plug.given);
	vm->plug = (struct vm_plug){ 0 };
}

int vm_plug_take(struct vm *vm, const json_t *info)
{
	json_t *devices = json_array(), *device;
	struct vm_spec now;
	size_t i;

	json_array_foreach(json_object_get(info, "devices"), i, device) {
		const char *id = json_string_value(json_object_get(device, "id"));
		if (id && (!strchr(id, '.') || json_object_get(vm->plug.given, id)))
			json_array_append(devices, device);
	}
	int r = vm_changes_now(&now, &vm->started_with, devices, vm->all->d->state_dir);
	if (r < 0) {
		json_decref(devices);
		return r;
	}
	vm_spec_clear(&vm->plug.has);
	vm->plug.has = now;
	json_decref(vm->plug.devices);
	vm->plug.devices = devices;
	vm->plug.known = true;
	return 0;
}

void vm_plug_find(const struct vm *vm, const struct vm_spec *desired, struct vm_changes *ret)
{
	vm_changes_find(ret, &vm->started_with, &vm->plug.has, desired, vm->all->d->state_dir);
	if (vm->plug.rather_restart && ret->kind != VM_CHANGE_NONE)
		ret->kind = VM_CHANGE_OTHER;
}

// --- what is done ---

static void wait_a_while(struct vm *vm)
{
	vm->plug.after_ns = loop_now_ns() + AGAIN_NS;
	vm_arm(vm, AGAIN_NS);
}

static void trouble(struct vm *vm, const char *text)
{
	if (strcmp(text, vm->plug.trouble) != 0)
		log_error("instance %s: %s", vm->name, text);
	snprintf(vm->plug.trouble, sizeof(vm->plug.trouble), "%s", text);
	wait_a_while(vm);
}

static void fail(struct vm *vm, const char *why)
{
	const struct vm_volume *v = &vm->plug.volume;
	char text[sizeof(vm->plug.trouble)];

	snprintf(text, sizeof(text), "volume %s is not %s: %.180s; `insula instance restart %s` %s",
		v->name, vm->plug.is_in ? "plugged in" : "unplugged", why, vm->name,
		vm->plug.is_in ? "gives it the volume" : "takes it from it");
	trouble(vm, text);
}

static const char *reason(int status, const json_t *body)
{
	const char *why = json_string_value(json_object_get(body, "error"));

	return status < 0 ? strerror(-status) : why ? why : "it does not say why";
}

static void on_done(void *arg, int status, const json_t *body)
{
	struct vm *vm = arg;

	vm->call = NULL;
	if (status == 204) {
		log_info("instance %s: volume %s is %s", vm->name, vm->plug.volume.name,
			vm->plug.is_in ? "plugged in" : "unplugged");
		vm->plug.trouble[0] = 0;
		// A guest that lets go of all that it is given is given the next one later.
		if (++vm->plug.n_done > MANY)
			wait_a_while(vm);
		vm_step(vm);
	} else if (status == 504) {
		fail(vm, "the guest has not let go of it in time, and is asked again");
	} else {
		fail(vm, reason(status, body));
	}
}

static void on_info(void *arg, int status, const json_t *body)
{
	struct vm *vm = arg;
	char text[200];

	vm->call = NULL;
	int r = status == 200 ? vm_plug_take(vm, body) : status < 0 ? status : -EPROTO;
	if (r < 0) {
		snprintf(text, sizeof(text), "it does not say which volumes it has: %s",
			strerror(-r));
		trouble(vm, text);
		return;
	}
	vms_step_all(vm->all); // others may have waited for its disks
}

// Which waits for nobody: a machine that reads nothing gets nothing.
static int send_fd(const char *path, const char *name, int fd)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec iov = { (char *)(uintptr_t)name, strlen(name) };
	struct msghdr m = { .msg_name = &a,
		.msg_namelen = sizeof(a),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int r = 0, s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (s < 0)
		return -errno;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	if (strlen(path) >= sizeof(a.sun_path))
		r = -ENAMETOOLONG;
	else
		memcpy(a.sun_path, path, strlen(path));
	if (r == 0 && sendmsg(s, &m, MSG_NOSIGNAL) < 0)
		r = -errno;
	close(s);
	return r;
}

static int hand_over(struct vm *vm, const struct vm_volume *v, const char *id)
{
	char path[VOLUME_PATH_SIZE], socket[160];
	int r, fd;

	volume_path(vm->all->d->state_dir, v->name, path);
	fd = open(path, (v->readonly ? O_RDONLY : O_RDWR) | (v->direct ? O_DIRECT : 0) | O_CLOEXEC |
				O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	snprintf(socket, sizeof(socket), "%s/api.sock.fds", vm->dir);
	r = note_given(vm, id);
	if (r == 0)
		r = send_fd(socket, id, fd);
	close(fd);
	return r;
}

static void plug(struct vm *vm, const struct vm_volume *v)
{
	char id[VM_CHANGES_ID_SIZE], path[80], body[160];
	const struct vm_question q = {
		.method = "PUT", .path = path, .body = body, .timeout_ms = ANSWER_MS
	};

	vm->plug.volume = *v;
	vm->plug.is_in = true;
	vm->plug.known = false;
	int r = vm_changes_id(v, id) ? hand_over(vm, v, id) : -EINVAL;
	if (r < 0) {
		fail(vm, strerror(-r));
		return;
	}
	snprintf(path, sizeof(path), "/v1/disks/%s", id);
	snprintf(body, sizeof(body), "{\"file\":\"%s\",\"readonly\":%s,\"direct\":%s}", id,
		v->readonly ? "true" : "false", v->direct ? "true" : "false");
	vm_ask_long(vm, &q, on_done);
}

static void unplug(struct vm *vm, const struct vm_volume *v)
{
	char id[VM_CHANGES_ID_SIZE], path[80];
	const struct vm_question q = {
		.method = "DELETE", .path = path, .timeout_ms = LET_GO_S * 1000 + ANSWER_MS
	};

	vm->plug.volume = *v;
	vm->plug.is_in = false;
	vm->plug.known = false;
	if (!vm_changes_device(v, &vm->started_with, vm->plug.devices, vm->all->d->state_dir, id)) {
		fail(vm, "it does not say what it calls it");
		return;
	}
	snprintf(path, sizeof(path), "/v1/disks/%s?timeout=%d", id, LET_GO_S);
	vm_ask_long(vm, &q, on_done);
}

// One that another machine has still comes when that has let go of it.
static const struct vm_volume *next_in(const struct vm *vm, const struct vm_changes *c)
{
	char path[VOLUME_PATH_SIZE];

	for (unsigned i = 0; i < c->n_in; i++) {
		volume_path(vm->all->d->state_dir, c->in[i].name, path);
		if (!vms_elsewhere(vm, path))
			return &c->in[i];
	}
	return NULL;
}

void vm_plug_step(struct vm *vm)
{
	const struct vm_volume *in;
	struct vm_changes c;

	if (vm->call || loop_now_ns() < vm->plug.after_ns)
		return;
	vm_plug_find(vm, &vm->spec, &c);
	in = next_in(vm, &c);
	if (!vm->plug.known)
		vm_ask(vm, "GET", "/v1/info", on_info);
	else if (c.n_out)
		unplug(vm, &c.out[0]);
	else if (in)
		plug(vm, in);
	else if (!c.n_in)
		vm->plug.trouble[0] = 0;
}

// --- what is told of it ---

static void put_names(json_t *o, const char *key, const struct vm_volume *v, unsigned n)
{
	json_t *names = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(names, json_string(v[i].name));
	if (n)
		json_object_set(o, key, names);
	json_decref(names);
}

void vm_plug_describe(const struct vm *vm, json_t *o)
{
	struct vm_changes c;

	if (!vm->desired || (vm->phase != VM_STARTING && vm->phase != VM_RUNNING))
		return;
	vm_plug_find(vm, &vm->spec, &c);
	if (c.kind != VM_CHANGE_PLUG)
		return;
	put_names(o, "plugging", c.in, c.n_in);
	put_names(o, "unplugging", c.out, c.n_out);
}

static void name_all(char *text, size_t size, const struct vm_volume *v, unsigned n, bool is_in)
{
	for (unsigned i = 0; i < n; i++) {
		size_t used = strlen(text);
		snprintf(text + used, size - used, "%svolume %s is %s", used ? ", " : "", v[i].name,
			is_in ? "plugged in" : "unplugged");
	}
}

void vm_plug_foresee(const struct vm *vm, const struct vm_spec *desired, char *text, size_t size)
{
	static const char anew[] = "its guest is shut down and started anew";
	struct vm_changes c;

	text[0] = 0;
	vm_plug_find(vm, desired, &c);
	switch (c.kind) {
	case VM_CHANGE_NONE:
	case VM_CHANGE_KIND_COUNT:
		return;
	case VM_CHANGE_PLUG:
		name_all(text, size, c.out, c.n_out, false);
		name_all(text, size, c.in, c.n_in, true);
		size_t used = strlen(text);
		snprintf(text + used, size - used, "%s",
			vm->is_paused ? " when it goes on" : " while it runs");
		return;
	case VM_CHANGE_NO_SLOT:
		snprintf(text, size, "%s: it has no slot left to plug a volume in", anew);
		return;
	case VM_CHANGE_NO_PLUG:
		snprintf(text, size, "%s: such a volume cannot be plugged in", anew);
		return;
	case VM_CHANGE_OTHER:
		snprintf(text, size, "%s", anew);
		return;
	}
}

static int with_volume(struct vm_spec *ret, const struct vm *vm, const struct vm_volume *v)
{
	FILE *f = open_memstream(&ret->text, &ret->size);
	char path[VOLUME_PATH_SIZE];

	if (!f)
		return -ENOMEM;
	volume_path(vm->all->d->state_dir, v->name, path);
	fwrite(vm->spec.text, 1, vm->spec.size, f);
	fwrite("--disk", 1, sizeof("--disk"), f);
	fprintf(f, VM_SPEC_DISK "%c", path, "", "", v->n_queues, 0);
	return fclose(f) == 0 ? 0 : -ENOMEM;
}

int vm_plug_check(const struct vm *vm, const char *volume, char *err, size_t err_size)
{
	struct vm_volume v = { .n_queues = 1 };
	struct vm_spec with = { 0 };
	struct vm_changes c = { .kind = VM_CHANGE_OTHER };

	snprintf(v.name, sizeof(v.name), "%s", volume);
	if (vm->spec.text && with_volume(&with, vm, &v) == 0)
		vm_plug_find(vm, &with, &c);
	vm_spec_clear(&with);
	if (c.kind == VM_CHANGE_NO_SLOT)
		return log_reason(-EBUSY, err, err_size,
			"instance %s runs, and has no slot left to plug volume %s in: detach "
			"another one, stop the instance, or let it be shut down and started anew "
			"by --force",
			vm->name, volume);
	if (c.kind == VM_CHANGE_NO_PLUG)
		return log_reason(-EBUSY, err, err_size,
			"instance %s runs, and volume %s cannot be plugged in, whose name has more "
			"than %d characters: stop the instance, or let it be shut down and started "
			"anew by --force",
			vm->name, volume, VM_CHANGES_ID_SIZE - 3);
	return 0;
}
