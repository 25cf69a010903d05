// SPDX-License-Identifier: BSD-3-Clause
// What a vhost-user back end is told of memory and rings. Called by vhost_user.c.
#pragma once
#include "vmm/vhost_user.h"

#define VHOST_PROTOCOL_MQ (1ull << 0)
#define VHOST_PROTOCOL_REPLY_ACK (1ull << 3)
#define VHOST_PROTOCOL_NET_MTU (1ull << 4)
#define VHOST_PROTOCOL_BACKEND_REQ (1ull << 5)
#define VHOST_PROTOCOL_CONFIG (1ull << 9)
#define VHOST_PROTOCOL_MEM_SLOTS (1ull << 15)

// -EFAULT if a ring that the guest has enabled is not in its memory.
int vhost_rings_check(const struct vhost_user *v);
int vhost_rings_give(struct vhost_user *v);
// Everything that was available is used; the rings are the back end's.
bool vhost_rings_idle(const struct vhost_user *v);
int vhost_rings_take(struct vhost_user *v);
// Tells v->enabled[ring].
int vhost_rings_enable(struct vhost_user *v, uint16_t ring);
