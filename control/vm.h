// SPDX-License-Identifier: BSD-3-Clause
// One machine and what it is doing; for vm.c, vm_end.c and vms.c only. Main thread.
#pragma once

#include "control/cgroup.h"
#include "control/daemon_internal.h"
#include "control/vm_api.h"
#include "control/vm_changes.h"
#include "control/vm_console.h"
#include "control/vm_disk.h"
#include "control/vm_log.h"
#include "control/vm_proc.h"
#include "control/vm_spec.h"
#include "control/vm_storage.h"
#include "control/vms.h"

enum vm_phase {
	VM_OFF,
	VM_PREPARING, // its disk is about to be served
	VM_STARTING, // the process is there, its guest not yet
	VM_RUNNING, // paused or not
	VM_STOPPING,
	VM_WAITING, // to be started again
	VM_PHASE_COUNT
};

struct vm_storage { // vm_storage.c
	struct vm_proc proc; // pidfd -1: none
	struct loop_source *ended, *timer;
	bool ending; // on purpose
	unsigned asked;
	char image_path[IMAGE_PATH_SIZE];
	bool image_is_qcow2;
	char trouble[400]; // how it ended on its own; "" = it did not
};

struct vm_plug { // vm_plug.c
	struct vm_spec has; // the words of what it is made of now
	json_t *devices; // as it told them
	json_t *given; // ids of all that it was ever handed
	bool known; // and nothing was done since
	struct vm_volume volume; // in or out
	bool is_in;
	unsigned n_done; // for what is desired
	uint64_t after_ns; // not before
	bool rather_restart;
	char trouble[400]; // how; "" = it did not
};

struct vm {
	struct vms *all;
	struct vm *next;
	uint32_t id;
	char name[DESIRED_NAME_SIZE], dir[128];
	bool desired; // else it goes
	struct vm_spec spec; // as desired
	char *user_data; // as desired, or NULL
	bool has_own_disk; // as desired
	struct vm_disk disk; // its own, as it was started with
	struct vm_storage storage;
	uint64_t prepare_until_ns; // PREPARING
	enum model_restart restart;
	uint32_t stop_timeout_s;
	struct cgroup_limits limits; // as desired
	enum vm_want want;
	char want_why[400], not_stored[400]; // why it is wanted; why not; "" = it is stored
	bool again; // stopped to be started

	enum vm_phase phase;
	struct vm_proc proc;
	struct vm_spec started_with;
	struct vm_plug plug;
	bool is_paused;
	struct loop_source *ended; // of proc.pidfd
	// PREPARING, STARTING: to ask again; RUNNING: to plug again; STOPPING: to kill; WAITING: to
	// start
	struct loop_source *timer;
	struct vm_call *call; // under way, one at a time
	struct vm_console *console; // NULL: it is not open
	uint64_t console_began; // where in its ring this process' part begins; 0 = not known
	struct vm_log *log;
	unsigned failures; // in a row
	unsigned oom_kills; // in its cgroup when it was started
	unsigned restarts; // by policy, since insulad began
	uint64_t next_try_ns; // WAITING
	char trouble[400]; // why it does not run; "" = none
	char last_failure[400]; // how it failed last, since insulad began
};

struct vms {
	struct daemon *d;
	struct vm *first;
	struct loop_source *retry; // to open those that could not be, and to store what is wanted
	struct vm_logs *logs;
	struct cgroups cgroups;
	bool held, ending;
	void (*done)(void *arg); // when ending, and all are off
	void *arg;
};

// vm.c
// NULL: out of memory. It is not open yet.
struct vm *vm_new(struct vms *all, uint32_t id, const char *name);
// What it needs of insulad, running or not: its folder, console, log and timer. All or -errno with
// a sentence in err.
int vm_open(struct vm *vm, char *err, size_t err_size);
void vm_free(struct vm *vm); // lets go of what runs
bool vm_has_process(const struct vm *vm);
// Brings it from how it is to what is wanted, a step at a time; may free it.
void vm_step(struct vm *vm);
void vm_watch(struct vm *vm); // a process that was just adopted
const char *vm_state(const struct vm *vm);
// From now on, and the store remembers it: as soon as it can, if its disk is full.
void vm_set_want(struct vm *vm, enum vm_want want, const char *why);
void vm_store_again(struct vm *vm); // what could not be
void vm_recall_want(struct vm *vm);
// Who served its disk is gone; unexpected: by itself.
void vm_on_storage_end(struct vm *vm, bool unexpected);
void vm_ask(struct vm *vm, const char *method, const char *path, vm_api_fn fn);
void vm_ask_long(struct vm *vm, const struct vm_question *q, vm_api_fn fn);
void vm_arm(struct vm *vm, uint64_t ns);

// vms.c
// Another process has one of its disks still: it is waited for.
bool vms_disk_is_busy(const struct vm *vm);
// Who that is; NULL: nobody has this one.
const struct vm *vms_elsewhere(const struct vm *vm, const char *path);
bool vms_has_disk(const struct vm *vm, const char *path); // its process, that is
bool vms_is_leaving(const struct vm *vm, const char *path); // it has, but is not to have it
enum { VMS_PATH_SIZE = 1024 };
// The path in a disk's word; NULL: the word is none of a disk's.
const char *vms_next_disk(const char *word, char path[VMS_PATH_SIZE]);
void vms_step_all(struct vms *all);
void vms_look_done(struct vms *all);

// vm_plug.c: volumes that come and go while it runs.
// A process, new or adopted: it has what `started_with` says, as far as is known.
void vm_plug_begin(struct vm *vm, bool is_new);
void vm_plug_end(struct vm *vm); // it has no process
int vm_plug_take(struct vm *vm, const json_t *info); // what it says that it has; 0 or -ENOMEM
void vm_plug_find(const struct vm *vm, const struct vm_spec *desired, struct vm_changes *ret);
// Does the next of what there is to do, if it runs and nothing is under way.
void vm_plug_step(struct vm *vm);
void vm_plug_describe(const struct vm *vm, json_t *o); // what it has yet to do; for vms_describe
// What that would do to it, in words; "" = nothing.
void vm_plug_foresee(const struct vm *vm, const struct vm_spec *desired, char *text, size_t size);
// Could it get this one beside those that it is to have? 0, or -EBUSY with a sentence in err.
int vm_plug_check(const struct vm *vm, const char *volume, char *err, size_t err_size);

// vm_end.c
void vm_begin_stop(struct vm *vm);
void vm_on_timer_stopping(struct vm *vm);
void vm_on_end(void *arg, uint32_t events);
// It could not be started, or has failed.
void vm_failed(struct vm *vm, const char *why);
