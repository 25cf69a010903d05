// SPDX-License-Identifier: BSD-3-Clause
// An empty qcow2 file: all of it is read from what it lies over, which it does not name; who opens
// it says so (qemu-storage-daemon's "backing"). docs/interop/qcow2.txt of QEMU. Pure.
#pragma once

#include <stdint.h>

#define QCOW2_OVERLAY_MAX (UINT64_C(1) << 44) // 16 TiB: its tables are a few MiB at most

// Makes `path`, for its owner alone, and syncs it; a file that is there is replaced. disk_bytes: a
// multiple of 512. 0, -EFBIG (beyond the maximum) or -errno.
int qcow2_overlay_make(const char *path, uint64_t disk_bytes);
