// SPDX-License-Identifier: BSD-3-Clause
// A disk whose requests another process serves by vhost-user (QEMU, docs/interop/vhost-user.rst;
// Virtual I/O Device 1.2, 5.2): qemu-storage-daemon, for formats that are not raw. It listens, we
// connect. Called by virtio_blk.c.
#pragma once
#include "vmm/virtio_blk.h"

// Connects, learns what disk it is and plugs it in. b: with options.
int vhost_blk_init(struct virtio_blk *b, struct machine *m, struct error *e);
void vhost_blk_free(struct virtio_blk *b);
