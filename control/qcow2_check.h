// SPDX-License-Identifier: BSD-3-Clause
// Is all of a qcow2 file there, and does QEMU open it? A guest would read what is not there as
// zeroes. What its refcounts and snapshots are is not looked at: a guest has them in its own disk,
// too. Called by image_copy.c in the child of an import.
#pragma once

#include <stdint.h>
#include "control/qcow2.h"

// fd: file_size bytes, which begin with h. NULL, or what is wrong, to follow the file's name. Reads
// its tables, each once: not more than file_size bytes. Of the last cluster a part may be missing,
// as QEMU has it.
const char *qcow2_check(int fd, uint64_t file_size, const struct qcow2_header *h);
