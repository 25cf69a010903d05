// SPDX-License-Identifier: BSD-3-Clause
// The front end of a vhost-user device: gives a guest's rings to another process (the switch) over
// a socket. We listen, the back end connects, and may die and come back at any moment and for any
// time: the guest keeps its rings, and each new back end takes them up where the used ring says
// that the last one was. Called with the machine's lock held, but for init and free.
#pragma once
#include <stdbool.h>
#include "vmm/machine.h"
#include "vmm/virtio.h"

struct vhost_user {
	struct machine *machine;
	struct virtio_device *device;
	const char *path; // of the socket
	uint16_t n_rings; // the device's first queues are the back end's
	uint64_t
		// virtio features that the device does itself, whatever the back end says
		features_mine;
	uint16_t mtu; // told to the back end; 0: not
	struct loop_source listener, connection; // fd -1: none
	bool bound; // the path is our doing
	bool started; // the guest's driver is ready
	bool given; // the back end has the rings
	bool refused_told;
	bool enabled[VIRTIO_QUEUES];
	uint64_t features, protocol; // what the back end can
};

// Listens at `path`, which is unlinked first if nobody listens there. device, n_rings,
// features_mine, mtu: set before.
int vhost_user_init(struct vhost_user *v, struct machine *m, const char *path, struct error *e);
// Nobody can connect until vhost_user_adopt. machine, device and so on: set before.
void vhost_user_init_spare(struct vhost_user *v, struct machine *m);
// Listens at a socket that somebody else has bound, which is this one's then, unless it does not
// listen or would block. name: of it, for sentences.
int vhost_user_adopt(struct vhost_user *v, int listener, const char *name, struct error *e);
// Nobody is connected, and nobody listens any more. Stopped.
void vhost_user_end(struct vhost_user *v);
// Waits up to `ms` until a back end is connected. True if one is; `features` is known then.
bool vhost_user_wait(struct vhost_user *v, int ms);
void vhost_user_free(struct vhost_user *v);
// The device's rings are ready: to the back end with them, now or when there is one.
int vhost_user_start(struct vhost_user *v);
// Takes them back: the back end touches them no more.
void vhost_user_stop(struct vhost_user *v);
// A ring that is not enabled stays untouched.
void vhost_user_enable(struct vhost_user *v, uint16_t ring, bool on);
