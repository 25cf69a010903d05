// SPDX-License-Identifier: BSD-3-Clause
// What separates a machine that runs from what is desired: nothing, volumes that can be plugged in
// and unplugged while it runs, or more, for which it has to be started anew. By command lines
// (vm_spec.h), and by what the machine itself says that it has (GET /v1/info); no note is kept, so
// none can be wrong. Pure. Used by vm.c, vm_plug.c and vms.c.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include "control/vm_spec.h"
#include "control/volumes.h"

enum {
	VM_CHANGES_ID_SIZE = 32, // insula-vmm's
	VM_CHANGES_MAX = 16, // a machine's disks
};

enum vm_change_kind {
	VM_CHANGE_NONE,
	VM_CHANGE_PLUG, // ins and outs can be had while it runs
	VM_CHANGE_NO_SLOT, // likewise, if it had been started with more slots
	VM_CHANGE_NO_PLUG, // a volume is of another kind than what can be plugged in
	VM_CHANGE_OTHER,
	VM_CHANGE_KIND_COUNT
};

struct vm_volume {
	char name[VOLUME_NAME_SIZE];
	bool readonly, direct;
	unsigned n_queues;
};

struct vm_changes {
	enum vm_change_kind kind;
	unsigned n_in, n_out;
	struct vm_volume in[VM_CHANGES_MAX], out[VM_CHANGES_MAX];
};

// From what it has to what it should have; started: with which words its process began.
void vm_changes_find(struct vm_changes *ret, const struct vm_spec *started,
	const struct vm_spec *has, const struct vm_spec *desired, const char *state_dir);

// The words of a machine with these devices, which began with `started`. 0 or -ENOMEM.
int vm_changes_now(struct vm_spec *ret_spec, const struct vm_spec *started, const json_t *devices,
	const char *state_dir);

// As `started`, but with the volumes of `desired`. 0 or -ENOMEM.
int vm_changes_keep(struct vm_spec *ret_spec, const struct vm_spec *started,
	const struct vm_spec *desired, const char *state_dir);

// What a volume that is plugged in is called: "NAME.w", or .r (readonly), .W, .R (direct).
// False: it cannot be plugged in, as its name is too long for one, or it has several queues.
bool vm_changes_id(const struct vm_volume *v, char ret_id[VM_CHANGES_ID_SIZE]);
// What it is called in a machine that has it: that, or "disk1" and so on. False: it has it not.
bool vm_changes_device(const struct vm_volume *v, const struct vm_spec *started,
	const json_t *devices, const char *state_dir, char ret_id[VM_CHANGES_ID_SIZE]);
