// SPDX-License-Identifier: BSD-3-Clause
// The front end of a vhost-user device: gives a guest's rings to another process over a socket.
// Who connects differs: a switch connects to us (vhost_listen.h), we connect to who serves a disk
// (vhost_blk.h). Called with the machine's lock held, but for init and free.
#pragma once
#include <stdbool.h>
#include "vmm/machine.h"
#include "vmm/vhost_message.h"
#include "vmm/virtio.h"

struct vhost_user {
	struct machine *machine;
	struct virtio_device *device;
	const char *path; // of the socket
	uint16_t n_rings; // the device's first queues are the back end's
	uint16_t rings_a_queue; // as the back end counts them: 2 for a network card's pairs
	uint64_t
		// virtio features that the device does itself, whatever the back end says
		features_mine;
	uint64_t protocol_wanted; // VHOST_PROTOCOL_*, of vhost_rings.h
	uint16_t mtu; // told to the back end; 0: not
	// The connection is of no more use, and is closed after it. missing: virtio features of the
	// guest's that the back end lacks; err: else -errno, 0 if it was closed.
	void (*lost)(struct vhost_user *v, uint64_t missing, int err);
	struct loop_source listener, connection; // fd -1: none
	bool bound; // the path is our doing
	bool started; // the guest's driver is ready
	bool given; // the back end has the rings
	bool has_memory; // the back end has the guest's
	bool refused_told;
	bool enabled[VIRTIO_QUEUES];
	uint64_t features, protocol; // what the back end can
};

// Takes `fd` for the connection, and learns what is at its other end. The caller's to close if this
// fails; what fails is what vhost_message.h says, or -EOPNOTSUPP: it serves too few queues.
int vhost_user_adopt(struct vhost_user *v, int fd);
// The rings to the back end, if there is one and the driver is ready.
void vhost_user_give(struct vhost_user *v);
void vhost_user_disconnect(struct vhost_user *v);
// Calls `lost` and disconnects.
void vhost_user_lose(struct vhost_user *v, uint64_t missing, int err);
// vhost_send_acknowledged to a back end that can, else vhost_send.
int vhost_user_tell(struct vhost_user *v, enum vhost_request request, const void *payload,
	size_t size, const int *fds, unsigned int n_fds);
// The device's rings are ready: to the back end with them, now or when there is one.
int vhost_user_start(struct vhost_user *v);
// Takes them back: the back end touches them no more.
void vhost_user_stop(struct vhost_user *v);
// A ring that is not enabled stays untouched.
void vhost_user_enable(struct vhost_user *v, uint16_t ring, bool on);
