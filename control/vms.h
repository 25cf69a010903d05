// SPDX-License-Identifier: BSD-3-Clause
// The machines (instances of kind vm) that insulad runs, one insula-vmm each: started, watched,
// started again by policy, stopped by the power button. insulad may die and be replaced; they go
// on. All of it is done in the background: a call says what is wanted and returns. Main thread
// only.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include "control/desired.h"

struct daemon;
struct vms;

// What is wanted of a machine; in the state's file, where a missing word means started.
enum vm_want { VM_STARTED, VM_STOPPED, VM_PAUSED, VM_WANT_COUNT };

// Finds the machines that an earlier insulad left running.
int vms_new(struct daemon *d, struct vms **ret_vms, char *err, size_t err_size);
// Lets go of all that run.
void vms_free(struct vms *all);

// Can all be started, as far as is known before? 0, or -errno with a sentence in err, and its line.
int vms_check(
	struct daemon *d, const struct desired *desired, int *ret_line, char *err, size_t err_size);
// The desired state has changed: starts, restarts and ends what that says.
void vms_on_apply(struct vms *all);
// What is desired is not understood: what runs is left as it is.
void vms_hold(struct vms *all);
// What a change to this does to the machine that runs, in words: volumes plugged in and unplugged,
// or a restart. "" = nothing.
void vms_foresee(struct vms *all, const struct desired *desired, const struct desired_instance *in,
	char *text, size_t size);
// Can a volume be plugged into it, if it runs? 0, or -EBUSY with a sentence in err.
int vms_check_plug(
	const struct vms *all, uint32_t id, const char *volume, char *err, size_t err_size);
// As long as it is on, nothing is plugged in or unplugged: a change is a restart.
void vms_rather_restart(struct vms *all, uint32_t id, bool on);

// Ends all, each in its time; then calls done. Once.
void vms_stop_all(struct vms *all, void (*done)(void *arg), void *arg);
// At once, and waits for it.
void vms_kill_all(struct vms *all);

enum vm_action { VM_START, VM_STOP, VM_KILL, VM_RESTART, VM_PAUSE, VM_RESUME, VM_ACTION_COUNT };

// 0, or -errno with a sentence in err: -ENOENT, -EBUSY (not in this state). It is done also where
// it cannot be stored, which is told of the machine (`not_stored`), and tried again.
int vms_do(struct vms *all, const char *name, enum vm_action action, char *err, size_t err_size);

// Does a machine have this file open? Then its name.
bool vms_disk_user(const struct vms *all, const char *path, char ret_name[DESIRED_NAME_SIZE]);
// What to do about one that has it open, in words: to wait, if it is being shut down; else `act`.
void vms_disk_advise(
	const struct vms *all, const char *path, const char *act, char *text, size_t size);
// Names of those that have it open still, but are not to have it any more: to `to`, an array.
void vms_disk_holders(const struct vms *all, const char *path, json_t *to);

// What list and show tell of it; into o. Nothing for instances that others run.
void vms_describe(struct vms *all, const struct desired_instance *in, json_t *o);
// The last lines of its console, as text made printable.
json_t *vms_console_text(struct vms *all, const struct desired_instance *in, unsigned lines);
// For status.
unsigned vms_running(const struct vms *all);
void vms_warn(struct vms *all, json_t *warnings);
