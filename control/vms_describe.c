// SPDX-License-Identifier: BSD-3-Clause
// What is told of the machines; see vms.h. Called by describe.c's callers, main thread.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/vm.h"

static struct vm *find(const struct vms *all, uint32_t id)
{
	struct vm *vm = all->first;

	while (vm && vm->id != id)
		vm = vm->next;
	return vm;
}

static void put_process(const struct vm *vm, json_t *o)
{
	uint64_t s = (loop_now_ns() - vm->proc.started_ns) / 1000000000u;

	json_object_set_new(o, "pid", json_integer(vm->proc.pid));
	json_object_set_new(o, "uptime_s", json_integer((json_int_t)s));
}

void vms_disk_holders(const struct vms *all, const char *path, json_t *to)
{
	for (const struct vm *vm = all->first; vm; vm = vm->next)
		if (vms_is_leaving(vm, path))
			json_array_append_new(to, json_string(vm->name));
}

void vms_disk_advise(
	const struct vms *all, const char *path, const char *act, char *text, size_t size)
{
	snprintf(text, size, "%s", act);
	for (const struct vm *vm = all->first; vm; vm = vm->next)
		if (vms_has_disk(vm, path)) {
			if (vm->phase == VM_STOPPING)
				snprintf(text, size,
					"it is being shut down, which takes no longer than its "
					"stop_timeout of %u s",
					vm->stop_timeout_s);
			return;
		}
}

// It waits for a disk of which another machine may never let go. One that just has not done so
// yet, is asked to, or is about to end is no trouble.
static bool waits_for(const struct vm *vm, const char *path, char *text, size_t size)
{
	const struct vm *other = vms_elsewhere(vm, path);
	char name[VOLUME_NAME_SIZE];

	if (!other || vms_has_disk(vm, path) || other->phase == VM_STOPPING ||
		!(other->plug.trouble[0] || other->is_paused))
		return false;
	bool is_volume = volume_of_path(vm->all->d->state_dir, path, name);
	snprintf(text, size,
		"it waits for %s %.160s, of which instance %s has not let go; `insula instance "
		"restart %s` takes it from that",
		is_volume ? "volume" : "disk", is_volume ? name : path, other->name, other->name);
	return true;
}

static void put_waits(const struct vm *vm, json_t *o)
{
	char *argv[VM_SPEC_WORDS], path[VMS_PATH_SIZE], text[500];

	if (!vm->desired || vm->want == VM_STOPPED || !vm->spec.text)
		return;
	vm_spec_arguments(&vm->spec, argv);
	for (char **word = argv; *word; word++)
		if (vms_next_disk(*word, path) && waits_for(vm, path, text, sizeof(text))) {
			json_object_set_new(o, "trouble", json_string(text));
			return;
		}
}

void vms_describe(struct vms *all, const struct desired_instance *in, json_t *o)
{
	static const char *const wants[VM_WANT_COUNT] = { "started", "stopped", "paused" };
	const struct vm *vm = in->id ? find(all, in->id) : NULL;
	char path[448];

	if (!vm) {
		json_object_set_new(o, "state", json_string(in->id ? "failed" : "external"));
		return;
	}
	json_object_set_new(o, "state", json_string(vm_state(vm)));
	json_object_set_new(o, "wanted", json_string(wants[vm->want]));
	if (vm->not_stored[0])
		json_object_set_new(o, "not_stored", json_string(vm->not_stored));
	if (vm_has_process(vm))
		put_process(vm, o);
	json_object_set_new(o, "restarts", json_integer(vm->restarts));
	if (vm->phase == VM_WAITING) {
		uint64_t now = loop_now_ns();
		json_object_set_new(o, "next_try_ms",
			json_integer(vm->next_try_ns > now
					     ? (json_int_t)((vm->next_try_ns - now) / 1000000)
					     : 0));
	}
	if (vm->trouble[0])
		json_object_set_new(o, "trouble", json_string(vm->trouble));
	else if (vm->plug.trouble[0])
		json_object_set_new(o, "trouble", json_string(vm->plug.trouble));
	else if (vm->last_failure[0])
		json_object_set_new(o, "last_failure", json_string(vm->last_failure));
	if (!json_object_get(o, "trouble"))
		put_waits(vm, o);
	vm_plug_describe(vm, o);
	// who waits for volumes takes a trouble for theirs
	if (!json_object_get(o, "trouble") && !json_object_get(o, "plugging") &&
		!json_object_get(o, "unplugging") && vm_log_disk(vm->log)[0])
		json_object_set_new(o, "trouble", json_string(vm_log_disk(vm->log)));
	cgroup_path(&all->cgroups, vm->id, path, sizeof(path));
	if (path[0] && vm_has_process(vm))
		json_object_set_new(o, "cgroup", json_string(path));
	snprintf(path, sizeof(path), "%s/console.sock", vm->dir);
	json_object_set_new(o, "console", json_string(path));
	json_object_set_new(o, "terminals", json_integer(vm_console_n_clients(vm->console)));
}

json_t *vms_console_text(struct vms *all, const struct desired_instance *in, unsigned lines)
{
	const struct vm *vm = in->id ? find(all, in->id) : NULL;
	struct vm_ring *ring = vm ? vm_console_ring(vm->console) : NULL;
	char *text = malloc(VM_RING_SIZE + 1);
	size_t used = 0, n = 0;

	if (!ring || !text) {
		free(text);
		return json_string("");
	}
	uint64_t at = vm_ring_tail(ring, lines, VM_RING_SIZE);
	do {
		const char *bytes = vm_ring_from(ring, &at, &n);
		for (size_t i = 0; i < n && used < VM_RING_SIZE; i++)
			if (bytes[i] != '\r')
				text[used++] =
					(bytes[i] < ' ' && bytes[i] != '\n' && bytes[i] != '\t') ||
							bytes[i] > '~'
						? '?'
						: bytes[i];
		at += n;
	} while (n > 0);
	json_t *result = json_stringn(text, used);
	free(text);
	return result;
}

unsigned vms_running(const struct vms *all)
{
	unsigned n = 0;

	for (const struct vm *vm = all->first; vm; vm = vm->next)
		n += vm->phase == VM_RUNNING;
	return n;
}

void vms_warn(struct vms *all, json_t *warnings)
{
	for (const struct vm *vm = all->first; vm; vm = vm->next) {
		if (vm->desired && vm->not_stored[0])
			json_array_append_new(warnings,
				json_sprintf("instance %s: %s", vm->name, vm->not_stored));
		if (vm->desired && (vm->trouble[0] || vm->plug.trouble[0]))
			json_array_append_new(
				warnings, json_sprintf("instance %s: %s", vm->name,
						  vm->trouble[0] ? vm->trouble : vm->plug.trouble));
	}
}
