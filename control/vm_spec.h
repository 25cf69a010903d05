// SPDX-License-Identifier: BSD-3-Clause
// A desired VM as insula-vmm's command line. Pure, but for its file. Used by vms.c and plans.
#pragma once

#include <stdbool.h>
#include "control/desired.h"

enum {
	VM_SPEC_WORDS = 80,
	VM_SPEC_SLOTS = 4, // that it has beyond what it is started with, for volumes
};

// A disk's word: path, ",readonly" or "", ",direct" or "", queues.
#define VM_SPEC_DISK "file=%s%s%s,queues=%u"

// The words one behind the other, each with its NUL: as /proc/PID/cmdline has them.
struct vm_spec {
	char *text; // NULL: none yet
	size_t size;
};

// 0 or -ENOMEM; vm_spec_clear either way.
int vm_spec_make(struct vm_spec *ret_spec, const struct desired *d,
	const struct desired_instance *in, const char *run_dir);
void vm_spec_clear(struct vm_spec *s);
// 0 or -ENOMEM: nothing is copied.
int vm_spec_copy(struct vm_spec *ret_spec, const struct vm_spec *from);
bool vm_spec_equal(const struct vm_spec *a, const struct vm_spec *b);
// To and from a file, for who comes after this insulad: /proc/PID/cmdline will not do, as the
// process takes its words apart in place. 0 or -errno.
int vm_spec_write(const struct vm_spec *s, const char *path);
int vm_spec_read(struct vm_spec *ret_spec, const char *path);
// The words, NULL-terminated; they point into the spec.
void vm_spec_arguments(const struct vm_spec *s, char *ret_argv[VM_SPEC_WORDS]);

// Is this word the place of its own disk, which is known only when it is started?
bool vm_spec_is_own_disk(const char *word);
// Are there such users here? Read once, before the first machine: later there may be no fd left to
// read it with, and a machine would be taken for another one. 0 or -errno.
int vm_spec_learn_users(void);
// The user and group that a machine's processes are; 0: there is no such user here.
uint32_t vm_spec_user(uint32_t id);

// RUN_DIR/vm/ID/NAME
void vm_path(char *ret_path, size_t size, const char *run_dir, uint32_t id, const char *name);
