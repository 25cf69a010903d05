// SPDX-License-Identifier: BSD-3-Clause
// The disk that a machine has of its image: STATE_DIR/disks/SALT-ID-SHA256.raw, which shares the
// image's blocks where the file system can, else .qcow2, an overlay. Made when the machine is
// started for the first time, and noted in the store then (`disk:TENANT/INSTANCE`); it goes when
// the file no longer has the instance, or gives it no image. What is not noted is no disk of ours:
// a lost state loses none. Main thread only.
#pragma once

#include <stdbool.h>
#include "control/desired.h"

struct daemon;

enum { VM_DISK_PATH_SIZE = 400 };

struct vm_disk {
	bool overlay; // qcow2, over the image's
	char image[IMAGE_HASH_SIZE]; // what it was made of
	char path[VM_DISK_PATH_SIZE];
};

// The one that is noted. 0 or -ENOENT.
int vm_disk_find(struct daemon *d, const char *instance, struct vm_disk *ret);
// The same, or a new one if there is none yet. 0, or -errno with a sentence in err: the noted one
// is not there, or was made of another image.
int vm_disk_get(struct daemon *d, const struct desired_instance *in, struct vm_disk *ret, char *err,
	size_t err_size);
// Could vm_disk_get do with what is there now? 0, or -errno with a sentence in err.
int vm_disk_check(struct daemon *d, const struct desired_instance *in, char *err, size_t err_size);
// Removes those of instances that daemon.desired has not, or without an image. Who has one open
// keeps it until then.
void vm_disk_sweep(struct daemon *d);
// Adds the names of instances whose disk needs the image's, also when no file says so.
void vm_disk_users(struct daemon *d, const char *image, json_t *names);
