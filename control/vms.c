// SPDX-License-Identifier: BSD-3-Clause
// All machines; see vms.h. Called by daemon*.c, apply.c and foresee.c.
#include "control/vms.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "control/log.h"
#include "control/process.h"
#include "control/vm.h"
#include "control/vm_files.h"

enum { KILLED_MS = 2000 };

#define VM_DIR_MODE 0711 // the switch goes through it to its sockets

static struct vm *find(const struct vms *all, uint32_t id)
{
	struct vm *vm = all->first;

	while (vm && vm->id != id)
		vm = vm->next;
	return vm;
}

static struct vm *find_name(const struct vms *all, const char *name)
{
	struct vm *vm = all->first;

	while (vm && (!vm->desired || strcmp(vm->name, name) != 0))
		vm = vm->next;
	return vm;
}

// --- those that an earlier insulad left ---

static bool read_about(const char *dir, char name[DESIRED_NAME_SIZE], unsigned *ret_timeout_s)
{
	char path[160];
	bool good;

	snprintf(path, sizeof(path), "%s/about", dir);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	_Static_assert(DESIRED_NAME_SIZE == 96, "in the format");
	good = fscanf(f, "%95s %u", name, ret_timeout_s) == 2;
	fclose(f);
	return good;
}

// Who served its disk may have died without an insulad to see it.
static void look_for_storage(struct vm *vm)
{
	char *argv[VM_SPEC_WORDS];
	bool own = false;

	vm_spec_arguments(&vm->started_with, argv);
	for (char **word = argv; *word; word++)
		own = own || vm_spec_is_own_disk(*word);
	if (!own || !vm->disk.overlay || vm_storage_is_there(vm))
		return;
	snprintf(vm->storage.trouble, sizeof(vm->storage.trouble), "nobody serves its disk");
	process_signal(vm->proc.pidfd, SIGKILL);
}

// 0 also when nothing runs there.
static int adopt(struct vms *all, uint32_t id, char *err, size_t err_size)
{
	char dir[128], name[DESIRED_NAME_SIZE];
	unsigned timeout_s = 30;
	struct vm_proc proc = { .pidfd = -1 };
	struct vm *vm;
	int r, found;

	vm_path(dir, sizeof(dir), all->d->run.path, id, "");
	if (!read_about(dir, name, &timeout_s))
		snprintf(name, sizeof(name), "%u", id);
	found = vm_proc_adopt(&proc, dir, err, err_size);
	if (found < 0 && found != -ESRCH) // the start says so again, as long as it is so
		log_error("instance %s: %s", name, err);
	vm = vm_new(all, id, name);
	r = vm ? vm_open(vm, err, err_size) : log_reason(-ENOMEM, err, err_size, "out of memory");
	if (r < 0) {
		vm_proc_leave(&proc);
		return -EIO;
	}
	vm->stop_timeout_s = timeout_s;
	vm->proc = proc;
	vm_recall_want(vm);
	vm_disk_find(all->d, name, &vm->disk);
	if (vm_storage_adopt(vm, err, err_size) < 0)
		log_error("instance %s: its disk: %s", name, err);
	vm_path(dir, sizeof(dir), all->d->run.path, id, "spec");
	vm_spec_read(&vm->started_with, dir); // else it looks changed, and is restarted
	vm_plug_begin(vm, false);
	if (found == 0) {
		log_info("instance %s (pid %d) runs on", vm->name, proc.pid);
		vm_watch(vm);
		look_for_storage(vm);
	}
	return 0;
}

static int adopt_all(struct vms *all, char *err, size_t err_size)
{
	char path[128];
	struct dirent *e;
	int r = 0;

	snprintf(path, sizeof(path), "%s/vm", all->d->run.path);
	if (mkdir(path, VM_DIR_MODE) < 0 && errno != EEXIST)
		return log_reason(-errno, err, err_size, "cannot make %s: %m", path);
	if (chmod(path, VM_DIR_MODE) < 0)
		return log_reason(-errno, err, err_size, "%s: %m", path);
	DIR *dir = opendir(path);
	if (!dir)
		return log_reason(-errno, err, err_size, "%s: %m", path);
	while (r == 0 && (e = readdir(dir)) != NULL) {
		char *end;
		unsigned long id = strtoul(e->d_name, &end, 10);

		if (!*end && id > 0 && id <= DESIRED_MAX_INSTANCES)
			r = adopt(all, (uint32_t)id, err, err_size);
	}
	closedir(dir);
	return r;
}

static void on_retry(void *arg)
{
	struct vms *all = arg;

	for (struct vm *vm = all->first; vm; vm = vm->next)
		vm_store_again(vm);
	vms_step_all(all);
}

int vms_new(struct daemon *d, struct vms **ret_vms, char *err, size_t err_size)
{
	struct vms *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return log_reason(-ENOMEM, err, err_size, "out of memory");
	all->d = d;
	all->held = true; // until it is known what is desired
	cgroups_open(&all->cgroups, d->run.path);
	r = vm_spec_learn_users();
	if (r < 0)
		log_reason(r, err, err_size, "/proc/self/uid_map: %s", strerror(-r));
	if (r == 0) {
		r = vm_logs_new(d->loop, &all->logs);
		if (r < 0)
			log_reason(r, err, err_size, "inotify: %s", strerror(-r));
	}
	if (r == 0) {
		r = loop_add_timer(d->loop, on_retry, all, &all->retry);
		if (r < 0)
			log_reason(r, err, err_size, "timer: %s", strerror(-r));
	}
	if (r == 0)
		r = adopt_all(all, err, err_size);
	if (r < 0) {
		vms_free(all);
		return r;
	}
	*ret_vms = all;
	return 0;
}

void vms_free(struct vms *all)
{
	if (!all)
		return;
	while (all->first)
		vm_free(all->first);
	loop_remove(all->d->loop, all->retry);
	vm_logs_free(all->logs);
	free(all);
}

// --- disks that go from one machine to another ---

const char *vms_next_disk(const char *word, char path[VMS_PATH_SIZE])
{
	static const char key[] = "file=";

	if (strncmp(word, key, strlen(key)) != 0)
		return NULL;
	snprintf(path, VMS_PATH_SIZE, "%.*s", (int)strcspn(word + strlen(key), ","),
		word + strlen(key));
	return path;
}

static bool has_disk(const struct vm_spec *s, const char *path)
{
	char *argv[VM_SPEC_WORDS], other[VMS_PATH_SIZE];

	vm_spec_arguments(s, argv);
	for (char **word = argv; *word; word++)
		if (vms_next_disk(*word, other) && strcmp(other, path) == 0)
			return true;
	return false;
}

bool vms_has_disk(const struct vm *vm, const char *path)
{
	return vm_has_process(vm) && has_disk(&vm->plug.has, path);
}

bool vms_is_leaving(const struct vm *vm, const char *path)
{
	return vms_has_disk(vm, path) && (!vm->desired || !has_disk(&vm->spec, path));
}

const struct vm *vms_elsewhere(const struct vm *vm, const char *path)
{
	for (const struct vm *other = vm->all->first; other; other = other->next)
		if (other != vm && vms_is_leaving(other, path))
			return other;
	return NULL;
}

bool vms_disk_is_busy(const struct vm *vm)
{
	char *argv[VM_SPEC_WORDS], path[VMS_PATH_SIZE];

	vm_spec_arguments(&vm->spec, argv);
	for (char **word = argv; *word; word++)
		if (vms_next_disk(*word, path) && vms_elsewhere(vm, path))
			return true;
	return false;
}

bool vms_disk_user(const struct vms *all, const char *path, char ret_name[DESIRED_NAME_SIZE])
{
	for (const struct vm *vm = all->first; vm; vm = vm->next)
		if (vm_has_process(vm) &&
			(has_disk(&vm->plug.has, path) || has_disk(&vm->spec, path))) {
			memcpy(ret_name, vm->name, DESIRED_NAME_SIZE);
			return true;
		}
	return false;
}

// --- what is desired ---

// What it lacks by now blocks no change to others.
static bool is_known(
	struct vms *all, const struct desired *desired, const struct desired_instance *in)
{
	struct vm *vm = find(all, in->id);
	struct vm_spec spec;
	bool known = vm && vm->desired && vm_spec_make(&spec, desired, in, all->d->run.path) == 0;

	if (!known)
		return false;
	known = vm_spec_equal(&spec, &vm->spec);
	vm_spec_clear(&spec);
	return known;
}

int vms_check(
	struct daemon *d, const struct desired *desired, int *ret_line, char *err, size_t err_size)
{
	const struct vm_owned own = { .state_dir = d->state_dir, .run_dir = d->run.path };
	char program[320];
	int r = 0;

	for (unsigned i = 0; r == 0 && i < desired->n_instances; i++) {
		const struct desired_instance *in = &desired->instances[i];
		char why[400];

		if (in->instance->kind != MODEL_INSTANCE_VM || is_known(d->vms, desired, in))
			continue;
		*ret_line = in->instance->line;
		r = in->instance->image[0] ? vm_disk_check(d, in, why, sizeof(why)) : 0;
		if (r == 0)
			r = vm_files_check(in, &own, why, sizeof(why));
		if (r == 0)
			r = process_find_program("INSULA_VMM", "insula-vmm", "vmm", program,
				sizeof(program), why, sizeof(why));
		if (r == 0 && access("/dev/kvm", R_OK | W_OK) < 0)
			r = log_reason(-errno, why, sizeof(why),
				"/dev/kvm: %m; `modprobe kvm-intel` or `modprobe kvm-amd` makes "
				"it, where "
				"the processor can");
		if (r < 0)
			log_reason(r, err, err_size, "instance %s: %s", in->name, why);
	}
	return r;
}

void vms_foresee(struct vms *all, const struct desired *desired, const struct desired_instance *in,
	char *text, size_t size)
{
	struct vm *vm = find(all, in->id);
	struct vm_spec spec;

	text[0] = 0;
	if (!in->id || !vm || !vm_has_process(vm) || vm->phase == VM_STOPPING)
		return;
	if (vm_spec_make(&spec, desired, in, all->d->run.path) == 0)
		vm_plug_foresee(vm, &spec, text, size);
	vm_spec_clear(&spec);
}

int vms_check_plug(
	const struct vms *all, uint32_t id, const char *volume, char *err, size_t err_size)
{
	const struct vm *vm = find(all, id);

	return vm && vm_has_process(vm) ? vm_plug_check(vm, volume, err, err_size) : 0;
}

void vms_rather_restart(struct vms *all, uint32_t id, bool on)
{
	struct vm *vm = find(all, id);

	if (vm)
		vm->plug.rather_restart = on;
}

// Its image is not there, which it needs no more than it has it: it runs on.
static void keep_running(const struct vm *vm, struct vm_spec *spec)
{
	struct vm_spec as_it_is;

	if (vm_changes_keep(&as_it_is, &vm->started_with, spec, vm->all->d->state_dir) < 0)
		return;
	vm_spec_clear(spec);
	*spec = as_it_is;
}

static void take_desired(
	struct vms *all, const struct desired *desired, const struct desired_instance *in)
{
	struct vm *vm = find(all, in->id);
	struct vm_spec spec;

	if (!vm) {
		vm = vm_new(all, in->id, in->name);
		if (!vm) {
			log_error("instance %s: out of memory", in->name);
			return;
		}
		vm_recall_want(vm);
	}
	if (vm_spec_make(&spec, desired, in, all->d->run.path) < 0) {
		log_error("instance %s: out of memory", in->name);
		spec = (struct vm_spec){ 0 };
	}
	// What failed may be what was changed.
	if (!vm_spec_equal(&spec, &vm->spec)) {
		vm->failures = 0;
		vm->plug.known = false;
		vm->plug.n_done = 0;
		vm->plug.after_ns = 0;
		vm->plug.trouble[0] = 0;
	}
	if (in->instance->image[0] && !in->image && vm_has_process(vm))
		keep_running(vm, &spec);
	vm_spec_clear(&vm->spec);
	vm->spec = spec;
	free(vm->user_data);
	vm->user_data = in->instance->user_data ? strdup(in->instance->user_data) : NULL;
	vm->restart = in->instance->restart;
	vm->stop_timeout_s = in->instance->stop_timeout_s;
	vm->limits = (struct cgroup_limits){ .cpus = in->instance->cpus,
		.memory_mib = in->instance->memory_mib };
	vm->has_own_disk = in->instance->image[0] != '\0';
	vm->desired = spec.text && !in->instance->user_data == !vm->user_data;
}

void vms_step_all(struct vms *all)
{
	for (struct vm *vm = all->first, *next; vm; vm = next) {
		next = vm->next;
		vm_step(vm);
	}
}

void vms_on_apply(struct vms *all)
{
	const struct desired *desired = all->d->desired;

	for (struct vm *vm = all->first; vm; vm = vm->next)
		vm->desired = false;
	for (unsigned i = 0; i < desired->n_instances; i++)
		if (desired->instances[i].instance->kind == MODEL_INSTANCE_VM)
			take_desired(all, desired, &desired->instances[i]);
	vm_disk_sweep(all->d);
	all->held = false;
	vms_step_all(all);
}

void vms_hold(struct vms *all)
{
	all->held = true;
}

// --- the end of all ---

void vms_look_done(struct vms *all)
{
	void (*done)(void *arg) = all->done;

	for (struct vm *vm = all->first; vm; vm = vm->next)
		if (vm_has_process(vm) || vm_storage_is_there(vm))
			return;
	all->done = NULL;
	if (done)
		done(all->arg);
}

void vms_stop_all(struct vms *all, void (*done)(void *arg), void *arg)
{
	all->ending = true;
	all->held = false;
	all->done = done;
	all->arg = arg;
	vms_step_all(all);
	vms_look_done(all);
}

void vms_kill_all(struct vms *all)
{
	for (struct vm *vm = all->first; vm; vm = vm->next) {
		if (vm_has_process(vm)) {
			process_signal(vm->proc.pidfd, SIGKILL);
			process_ends(vm->proc.pidfd, KILLED_MS);
		}
		if (vm_storage_is_there(vm))
			vm_storage_kill(vm);
	}
}

// --- one of them ---

static int do_start(struct vm *vm, char *err, size_t err_size)
{
	if (vm->phase == VM_RUNNING && vm->want == VM_PAUSED)
		return log_reason(-EBUSY, err, err_size,
			"instance %s is paused; `insula instance resume %s` lets it go on",
			vm->name, vm->name);
	vm->failures = 0;
	if (vm->phase == VM_WAITING)
		vm->phase = VM_OFF;
	if (vm->phase == VM_OFF)
		vm->trouble[0] = 0;
	vm_set_want(vm, VM_STARTED, "");
	return 0;
}

static int do_pause(struct vm *vm, bool pause, char *err, size_t err_size)
{
	if (!vm_has_process(vm) || vm->phase == VM_STOPPING)
		return log_reason(-EBUSY, err, err_size, "instance %s does not run", vm->name);
	vm_set_want(vm, pause ? VM_PAUSED : VM_STARTED, "");
	return 0;
}

static void do_stop(struct vm *vm, bool kill)
{
	vm_set_want(vm, VM_STOPPED, "");
	vm->trouble[0] = 0;
	if (kill && vm_has_process(vm)) {
		log_info("instance %s (pid %d): killing it", vm->name, vm->proc.pid);
		vm->phase = VM_STOPPING;
		process_signal(vm->proc.pidfd, SIGKILL);
	}
}

static int act(struct vm *vm, enum vm_action action, char *err, size_t err_size)
{
	switch (action) {
	case VM_RESTART:
		vm->again = vm_has_process(vm) && vm->phase != VM_STOPPING;
		if (!vm->again)
			return do_start(vm, err, err_size);
		vm_set_want(vm, VM_STARTED, "");
		return 0;
	case VM_START:
		return do_start(vm, err, err_size);
	case VM_STOP:
	case VM_KILL:
		do_stop(vm, action == VM_KILL);
		return 0;
	case VM_PAUSE:
		return do_pause(vm, true, err, err_size);
	case VM_RESUME:
		return do_pause(vm, false, err, err_size);
	case VM_ACTION_COUNT:
		break;
	}
	return -EINVAL;
}

int vms_do(struct vms *all, const char *name, enum vm_action action, char *err, size_t err_size)
{
	struct vm *vm = find_name(all, name);
	int r;

	if (!vm)
		return log_reason(
			-ENOENT, err, err_size, "there is no instance '%s' of kind vm", name);
	if (all->ending)
		return log_reason(-EBUSY, err, err_size, "Insula is stopping");
	r = act(vm, action, err, err_size);
	if (r == 0)
		vm_step(vm);
	return r;
}
