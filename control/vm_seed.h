// SPDX-License-Identifier: BSD-3-Clause
// A machine's user data as cloud-init finds it (datasource NoCloud): an ISO 9660 file system
// labelled cidata with the files meta-data and user-data. Pure, but for the write.
#pragma once

#include <stddef.h>

enum { VM_SEED_NAME_SIZE = 32 };

// The image's file name, another one for each user data: what changes is a machine that changes.
void vm_seed_name(const char *user_data, char ret_name[VM_SEED_NAME_SIZE]);
// host: the guest's name. id: of the instance, for good; with other user data cloud-init takes it
// for another instance, and does it all once more. free() it; NULL: no memory.
char *vm_seed_make(const char *host, const char *id, const char *user_data, size_t *ret_size);
// 0 or -errno.
int vm_seed_write(const char *path, const char *host, const char *id, const char *user_data);
