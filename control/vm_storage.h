// SPDX-License-Identifier: BSD-3-Clause
// The qemu-storage-daemon that serves a machine's overlay by vhost-user-blk: it is started before
// the machine and ends after it. A process of the machine's user, without capabilities, network or
// file names: it gets both files and the socket as open fds. It outlives insulad, as the machine
// does. RUN_DIR/vm/ID.disk is its folder. For vm*.c only; main thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct vm;

// The sockets' name, for the machine's command line.
void vm_storage_socket(const struct vm *vm, char *path, size_t size);
void vm_storage_init(struct vm *vm);
// Finds one that an earlier insulad left. -errno: with a sentence in err.
int vm_storage_adopt(struct vm *vm, char *err, size_t err_size);
// Of vm.disk. 0, or -errno with a sentence in err.
int vm_storage_start(struct vm *vm, char *err, size_t err_size);
bool vm_storage_is_there(const struct vm *vm);
// It serves.
bool vm_storage_is_ready(const struct vm *vm);
// Begins its end: all is written when it is gone, which vm_step is called for.
void vm_storage_end(struct vm *vm);
void vm_storage_kill(struct vm *vm); // at once, and waits for it
// Lets go of it, and, once it has ended, of its folder.
void vm_storage_leave(struct vm *vm);
void vm_storage_forget(struct vm *vm);
