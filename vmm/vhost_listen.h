// SPDX-License-Identifier: BSD-3-Clause
// A vhost-user front end at whose socket back ends (the switch) connect. They may die and come back
// at any moment and for any time: the guest keeps its rings, and each new back end takes them up
// where the used ring says that the last one was. Only for devices that may lose what a back end
// had taken: network cards.
#pragma once
#include "vmm/vhost_user.h"

// Listens at `path`, which is unlinked first if nobody listens there. device, n_rings,
// rings_a_queue, features_mine, protocol_wanted, mtu: set before.
int vhost_listen_init(struct vhost_user *v, struct machine *m, const char *path, struct error *e);
// Nobody can connect until vhost_listen_adopt. device and so on: set before.
void vhost_listen_init_spare(struct vhost_user *v, struct machine *m);
// Listens at a socket that somebody else has bound, which is this one's then, unless it does not
// listen or would block. name: of it, for sentences.
int vhost_listen_adopt(struct vhost_user *v, int listener, const char *name, struct error *e);
// Nobody is connected, and nobody listens any more. Stopped.
void vhost_listen_end(struct vhost_user *v);
// Waits up to `ms` until a back end is connected. True if one is; `features` is known then.
bool vhost_listen_wait(struct vhost_user *v, int ms);
void vhost_listen_free(struct vhost_user *v);
