// SPDX-License-Identifier: BSD-3-Clause
// One machine: its folder, its start, and what it is told while it runs; see vm.h. How it ends is
// in vm_end.c. Main thread.
#include "control/vm.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>
#include "control/log.h"
#include "control/process.h"
#include "control/vm_files.h"
#include "control/vm_seed.h"

#define WANT_NOTE "vm:"
#define PREPARE_NS 30000000000ull
#define AGAIN_NS 1000000000ull

enum {
	ASK_AGAIN_NS = 20000000, // whether its guest runs
	ANSWER_MS = 5000,
};

static const char *const want_words[VM_WANT_COUNT] = { "started", "stopped", "paused" };

// --- what is wanted of it, durable ---

static int store_want(const struct vm *vm, const char *why)
{
	char key[DESIRED_NAME_SIZE + 8], value[sizeof(vm->trouble) + 16];

	snprintf(key, sizeof(key), WANT_NOTE "%s", vm->name);
	snprintf(value, sizeof(value), "%s %s", want_words[vm->want], why);
	return vm->want == VM_STARTED ? store_forget_note(vm->all->d->store, key)
				      : store_set_note(vm->all->d->store, key, value);
}

static void note_not_stored(struct vm *vm)
{
	static const char *const next[VM_WANT_COUNT] = { "leave it as it was wanted before",
		"start it again", "let it go on" };
	char text[sizeof(vm->not_stored)];

	snprintf(text, sizeof(text),
		"that it is to be %s is not stored: %.200s; the next start of insulad would %s; it "
		"is tried again every second",
		want_words[vm->want], store_error(vm->all->d->store), next[vm->want]);
	if (strcmp(text, vm->not_stored) != 0)
		log_error("instance %s: %s", vm->name, text);
	memcpy(vm->not_stored, text, sizeof(text));
	loop_timer_arm(vm->all->retry, AGAIN_NS);
}

void vm_set_want(struct vm *vm, enum vm_want want, const char *why)
{
	snprintf(vm->want_why, sizeof(vm->want_why), "%s", why);
	vm->want = want;
	vm->not_stored[0] = 0;
	if (store_want(vm, why) < 0)
		note_not_stored(vm);
}

void vm_store_again(struct vm *vm)
{
	if (!vm->not_stored[0])
		return;
	if (store_want(vm, vm->want_why) < 0) {
		note_not_stored(vm);
		return;
	}
	vm->not_stored[0] = 0;
	log_info("instance %s: that it is to be %s is stored", vm->name, want_words[vm->want]);
}

static void on_want(void *arg, const char *key, const char *value)
{
	struct vm *vm = arg;

	if (strcmp(key + strlen(WANT_NOTE), vm->name) != 0) // red/web2 also begins with red/web
		return;
	for (int i = 0; i < VM_WANT_COUNT; i++) {
		size_t n = strlen(want_words[i]);

		if (strncmp(value, want_words[i], n) != 0 || value[n] != ' ')
			continue;
		vm->want = (enum vm_want)i;
		snprintf(vm->trouble, sizeof(vm->trouble), "%s", value + n + 1);
	}
}

void vm_recall_want(struct vm *vm)
{
	char key[DESIRED_NAME_SIZE + 8];

	snprintf(key, sizeof(key), WANT_NOTE "%s", vm->name);
	store_each_note(vm->all->d->store, key, on_want, vm);
}

// --- coming and going of the object ---

static void on_timer(void *arg);

// Names it for who finds its folder without the state: NAME, and the seconds to stop it.
static void write_about(const struct vm *vm)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/about", vm->dir);
	FILE *f = fopen(path, "we");
	if (!f)
		return;
	fprintf(f, "%s %u\n", vm->name, vm->stop_timeout_s);
	fclose(f);
}

struct vm *vm_new(struct vms *all, uint32_t id, const char *name)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return NULL;
	vm->all = all;
	vm->id = id;
	vm->proc.pidfd = -1;
	vm_storage_init(vm);
	vm->stop_timeout_s = 30;
	snprintf(vm->name, sizeof(vm->name), "%s", name);
	vm_path(vm->dir, sizeof(vm->dir), all->d->run.path, id, "");
	vm->dir[strlen(vm->dir) - 1] = 0;
	vm->next = all->first;
	all->first = vm;
	return vm;
}

static void let_go(struct vm *vm)
{
	loop_remove(vm->all->d->loop, vm->timer);
	vm_console_free(vm->console, NULL);
	vm_log_free(vm->log);
	vm->timer = NULL;
	vm->console = NULL;
	vm->log = NULL;
}

int vm_open(struct vm *vm, char *err, size_t err_size)
{
	struct vms *all = vm->all;
	int r = mkdir(vm->dir, 0700) < 0 && errno != EEXIST ? -errno : 0;

	if (r < 0)
		return log_reason(r, err, err_size, "%s: %s", vm->dir, strerror(-r));
	r = vm_console_new(all->d->loop, vm->dir, &vm->console, err, err_size);
	if (r < 0)
		return r;
	r = vm_log_new(all->logs, vm->dir, vm->name, &vm->log);
	if (r == 0)
		r = loop_add_timer(all->d->loop, on_timer, vm, &vm->timer);
	if (r == 0)
		return 0;
	let_go(vm);
	return log_reason(r, err, err_size, "%s: %s", vm->dir, strerror(-r));
}

void vm_free(struct vm *vm)
{
	struct vms *all = vm->all;

	for (struct vm **p = &all->first; *p; p = &(*p)->next)
		if (*p == vm) {
			*p = vm->next;
			break;
		}
	vm_api_cancel(vm->call);
	loop_remove(all->d->loop, vm->ended);
	vm_proc_leave(&vm->proc);
	vm_storage_leave(vm);
	let_go(vm);
	vm_spec_clear(&vm->spec);
	vm_spec_clear(&vm->started_with);
	vm_plug_end(vm);
	free(vm->user_data);
	free(vm);
}

// Those that the words name: "vhost-user=PATH,...".
static void remove_sockets(const struct vm_spec *s)
{
	static const char key[] = "vhost-user=";
	char *argv[VM_SPEC_WORDS], path[128];

	vm_spec_arguments(s, argv);
	for (char **word = argv; *word; word++)
		if (strncmp(*word, key, strlen(key)) == 0) {
			const char *from = *word + strlen(key);

			snprintf(path, sizeof(path), "%.*s", (int)strcspn(from, ","), from);
			unlink(path);
		}
}

// It is no longer desired, and off.
static void forget(struct vm *vm)
{
	struct dirent *e;
	DIR *dir;

	if (vm->console) {
		vm_console_free(vm->console, "\r\n[the instance is deleted]\r\n");
		vm->console = NULL;
	}
	dir = opendir(vm->dir);
	while (dir && (e = readdir(dir)) != NULL)
		unlinkat(dirfd(dir), e->d_name, 0); // not "." and ".."
	if (dir)
		closedir(dir);
	remove_sockets(&vm->started_with);
	vm_storage_forget(vm);
	cgroup_remove(&vm->all->cgroups, vm->id);
	if (rmdir(vm->dir) < 0 && errno != ENOENT)
		log_warning("instance %s: %s: %m", vm->name, vm->dir);
	vm_set_want(vm, VM_STARTED, "");
	vm_free(vm);
}

// --- what it is told ---

void vm_ask_long(struct vm *vm, const struct vm_question *q, vm_api_fn fn)
{
	char socket[160];
	int r;

	vm_api_cancel(vm->call);
	vm->call = NULL;
	snprintf(socket, sizeof(socket), "%s/api.sock", vm->dir);
	r = vm_api_ask(vm->all->d->loop, socket, q, fn, vm, &vm->call);
	if (r < 0)
		fn(vm, r, NULL);
}

void vm_ask(struct vm *vm, const char *method, const char *path, vm_api_fn fn)
{
	const struct vm_question q = { .method = method, .path = path, .timeout_ms = ANSWER_MS };

	vm_ask_long(vm, &q, fn);
}

void vm_arm(struct vm *vm, uint64_t ns)
{
	loop_timer_arm(vm->timer, ns);
}

// A guest that was asked to is, or it is told.
static void on_paused_or_not(void *arg, int status, const json_t *body)
{
	struct vm *vm = arg;

	vm->call = NULL;
	if (status == 204) {
		vm->is_paused = !vm->is_paused;
		log_info("instance %s %s", vm->name, vm->is_paused ? "is paused" : "goes on");
		vm->trouble[0] = 0;
	} else {
		snprintf(vm->trouble, sizeof(vm->trouble), "it does not %s: %s",
			vm->is_paused ? "go on" : "pause",
			status < 0 ? strerror(-status)
				   : json_string_value(json_object_get(body, "error")));
		log_error("instance %s: %s", vm->name, vm->trouble);
		return;
	}
	vm_step(vm);
}

static void on_info(void *arg, int status, const json_t *body)
{
	struct vm *vm = arg;
	const char *state = json_string_value(json_object_get(body, "state"));

	vm->call = NULL;
	if (vm->phase != VM_STARTING)
		return;
	if (status != 200 || !state || strcmp(state, "created") == 0) {
		vm_arm(vm, ASK_AGAIN_NS);
		return;
	}
	vm->phase = VM_RUNNING;
	vm->trouble[0] = 0;
	vm_plug_take(vm, body);
	vm->is_paused = strcmp(state, "paused") == 0;
	log_info("instance %s (pid %d) %s", vm->name, vm->proc.pid,
		vm->is_paused ? "is paused" : "runs");
	vm_step(vm);
}

static void prepare_more(struct vm *vm);

static void on_timer(void *arg)
{
	struct vm *vm = arg;

	switch (vm->phase) {
	case VM_PREPARING:
		prepare_more(vm);
		return;
	case VM_STARTING:
		vm_ask(vm, "GET", "/v1/info", on_info);
		return;
	case VM_STOPPING:
		vm_on_timer_stopping(vm);
		return;
	case VM_WAITING:
		vm->phase = VM_OFF;
		vm_step(vm);
		return;
	case VM_RUNNING:
		vm_step(vm);
		return;
	case VM_OFF:
	case VM_PHASE_COUNT:
		return;
	}
}

// --- its start ---

bool vm_has_process(const struct vm *vm)
{
	return vm->proc.pidfd >= 0;
}

void vm_watch(struct vm *vm)
{
	int r = loop_add(vm->all->d->loop, vm->proc.pidfd, EPOLLIN, vm_on_end, vm, &vm->ended);

	if (r < 0)
		log_error("instance %s: epoll: %s", vm->name, strerror(-r));
	vm->phase = VM_STARTING;
	vm_arm(vm, 0);
}

// For cloud-init, which takes a guest for another one where the id is another.
static int write_seed(const struct vm *vm)
{
	char name[VM_SEED_NAME_SIZE], path[160], id[64], host[POLICY_NAME_SIZE];

	if (!vm->user_data)
		return 0;
	vm_seed_name(vm->user_data, name);
	snprintf(path, sizeof(path), "%s/%s", vm->dir, name);
	snprintf(id, sizeof(id), "insula-%08x-%u", store_salt(vm->all->d->store), vm->id);
	snprintf(host, sizeof(host), "%s", strchr(vm->name, '/') + 1);
	for (char *p = host; *p; p++)
		if (*p == '_') // which no host name has (RFC 952)
			*p = '-';
	return vm_seed_write(path, host, id, vm->user_data);
}

// In the words of insula-vmm's --disk.
static void own_disk(const struct vm *vm, char *words, size_t size)
{
	char path[160];

	vm_storage_socket(vm, path, sizeof(path));
	if (vm->disk.overlay)
		snprintf(words, size, "vhost-user=%s", path);
	else
		snprintf(words, size, "file=%s", vm->disk.path);
}

static int start_pinned(
	struct vm *vm, const char *disk, int in, int out, int cgroup, char *err, size_t err_size)
{
	const struct daemon *d = vm->all->d;
	const struct vm_owned own = { .state_dir = d->state_dir, .run_dir = d->run.path };
	struct vm_spec spec;
	int r = vm_files_pin(&vm->spec, desired_instance_by_name(d->desired, vm->name), &own, &spec,
		err, err_size);

	if (r == 0)
		r = vm_proc_start(&vm->proc, vm->dir, &spec, disk, in, out, cgroup, err, err_size);
	vm_spec_clear(&spec);
	return r;
}

static int start_process(struct vm *vm, char *err, size_t err_size)
{
	char path[160], disk[VM_DISK_PATH_SIZE + 32];
	int in, out, cgroup, r;

	snprintf(path, sizeof(path), "%s/spec", vm->dir);
	r = vm_spec_write(&vm->spec, path);
	if (r < 0)
		return log_reason(r, err, err_size, "%s: %s", path, strerror(-r));
	r = write_seed(vm);
	if (r < 0)
		return log_reason(r, err, err_size, "user data in %s: %s", vm->dir, strerror(-r));
	r = vm_console_fds(vm->console, &in, &out);
	if (r < 0)
		return log_reason(r, err, err_size, "console: %s", strerror(-r));
	vm->console_began = vm_ring_end(vm_console_ring(vm->console));
	vm_log_clear(vm->log);
	own_disk(vm, disk, sizeof(disk));
	cgroup = cgroup_get(&vm->all->cgroups, vm->id, &vm->limits, err, err_size);
	r = cgroup < 0 ? cgroup : start_pinned(vm, disk, in, out, cgroup, err, err_size);
	vm->oom_kills = cgroup_oom_kills(&vm->all->cgroups, vm->id);
	if (cgroup > 0)
		close(cgroup);
	close(in);
	close(out);
	return r;
}

static void launch(struct vm *vm)
{
	char why[400];

	vm_spec_clear(&vm->started_with);
	vm_plug_begin(vm, true);
	if (start_process(vm, why, sizeof(why)) < 0) {
		log_error("instance %s: %s", vm->name, why);
		vm_failed(vm, why);
		return;
	}
	vm_spec_copy(&vm->started_with, &vm->spec); // else it looks changed, and is restarted
	vm_spec_copy(&vm->plug.has, &vm->spec);
	vm->is_paused = false;
	vm_watch(vm);
}

// Its own disk, if it has one. 0; 1: it is going to be served; -errno.
static int prepare(struct vm *vm, char *err, size_t err_size)
{
	struct daemon *d = vm->all->d;
	const struct desired_instance *in = desired_instance_by_name(d->desired, vm->name);
	int r;

	if (!vm->has_own_disk || !in)
		return 0;
	r = vm_disk_get(d, in, &vm->disk, err, err_size);
	if (r < 0 || !vm->disk.overlay)
		return r;
	snprintf(vm->storage.image_path, sizeof(vm->storage.image_path), "%s", in->image->disk);
	vm->storage.image_is_qcow2 = in->image->about.format == IMAGE_QCOW2;
	r = vm_storage_start(vm, err, err_size);
	return r < 0 ? r : 1;
}

static void start(struct vm *vm)
{
	char why[400];
	int r;

	write_about(vm);
	r = prepare(vm, why, sizeof(why));
	if (r < 0) {
		log_error("instance %s: %s", vm->name, why);
		vm_failed(vm, why);
	} else if (r > 0) {
		vm->phase = VM_PREPARING;
		vm->prepare_until_ns = loop_now_ns() + PREPARE_NS;
		vm_arm(vm, ASK_AGAIN_NS);
	} else {
		launch(vm);
	}
}

static void prepare_more(struct vm *vm)
{
	if (vm->storage.ending) // it is not wanted any more
		return;
	if (vm_storage_is_ready(vm))
		launch(vm);
	else if (loop_now_ns() < vm->prepare_until_ns)
		vm_arm(vm, ASK_AGAIN_NS);
	else
		vm_failed(vm, "who serves its disk was not ready in time");
}

void vm_on_storage_end(struct vm *vm, bool unexpected)
{
	struct vms *all = vm->all;

	if (vm_has_process(vm)) { // with no disk, it is of no use
		if (unexpected)
			process_signal(vm->proc.pidfd, SIGKILL);
		return;
	}
	cgroup_remove(&all->cgroups, vm->id);
	if (vm->phase == VM_PREPARING) {
		loop_timer_disarm(vm->timer);
		if (unexpected)
			vm_failed(vm, vm->storage.trouble);
		else
			vm->phase = VM_OFF;
	}
	vm_step(vm);
	vms_look_done(all);
}

static bool should_run(const struct vm *vm)
{
	return vm->desired && !vm->all->ending && vm->want != VM_STOPPED;
}

// Before it has said what is plugged in, its volumes are none to judge by.
static bool is_outdated(const struct vm *vm)
{
	struct vm_changes c;

	if (!vm->desired)
		return false;
	vm_plug_find(vm, &vm->spec, &c);
	return c.kind == VM_CHANGE_OTHER ||
	       (vm->phase == VM_RUNNING &&
		       (c.kind == VM_CHANGE_NO_PLUG || c.kind == VM_CHANGE_NO_SLOT));
}

static void step_running(struct vm *vm)
{
	if (!should_run(vm) || vm->again || is_outdated(vm))
		vm_begin_stop(vm);
	else if (vm->phase == VM_RUNNING && (vm->want == VM_PAUSED) != vm->is_paused)
		vm_ask(vm, "PUT", vm->is_paused ? "/v1/resume" : "/v1/pause", on_paused_or_not);
	else if (vm->phase == VM_RUNNING && !vm->is_paused)
		vm_plug_step(vm);
}

// insulad may be short of fds, which others give back: it is tried again until it is so.
static bool open_now(struct vm *vm)
{
	char why[sizeof(vm->trouble)];

	if (vm_open(vm, why, sizeof(why)) == 0) {
		if (should_run(vm))
			vm->trouble[0] = 0;
		return true;
	}
	if (should_run(vm)) {
		if (strcmp(vm->trouble, why) != 0)
			log_error("instance %s: %s", vm->name, why);
		snprintf(vm->trouble, sizeof(vm->trouble), "%s", why);
	}
	loop_timer_arm(vm->all->retry, AGAIN_NS);
	return false;
}

void vm_step(struct vm *vm)
{
	if (vm->all->held || (vm->desired && !vm->console && !open_now(vm)))
		return;
	switch (vm->phase) {
	case VM_OFF:
	case VM_WAITING:
		if (vm_storage_is_there(vm)) { // it calls again
			vm_storage_end(vm);
		} else if (!vm->desired && !vm->all->ending) {
			forget(vm);
		} else if (!should_run(vm)) {
			vm->phase = VM_OFF;
			if (vm->timer)
				loop_timer_disarm(vm->timer);
		} else if (vm->phase == VM_OFF && !vms_disk_is_busy(vm)) {
			start(vm);
		}
		return;
	case VM_PREPARING:
		if (!should_run(vm))
			vm_storage_end(vm);
		return;
	case VM_STARTING:
	case VM_RUNNING:
		step_running(vm);
		return;
	case VM_STOPPING:
	case VM_PHASE_COUNT:
		return;
	}
}

const char *vm_state(const struct vm *vm)
{
	switch (vm->phase) {
	case VM_OFF:
		return vm->trouble[0] ? "failed" : "stopped";
	case VM_PREPARING:
	case VM_STARTING:
		return "starting";
	case VM_RUNNING:
		return vm->is_paused ? "paused" : "running";
	case VM_STOPPING:
		return "stopping";
	case VM_WAITING:
		return "restarting";
	case VM_PHASE_COUNT:
		break;
	}
	return "?";
}
