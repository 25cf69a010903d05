// SPDX-License-Identifier: BSD-3-Clause
// A socket device (Virtual I/O Device 1.2, 5.10): ports of the guest's by unix sockets of the
// host's. The guest connects to port P of the host (CID 2): PATH_P is connected to. A program of
// the host's connects to PATH and writes "CONNECT P\n": it is connected to port P of the guest's,
// and told "OK Q\n" when that has accepted. A thread of its own does all of it, for it is the only
// one that may connect; registers are the machine's lock's as ever.
#pragma once
#include "vmm/loop_queue.h"
#include "vmm/machine.h"
#include "vmm/vsock_connection.h"

enum { VSOCK_RECEIVE, VSOCK_TRANSMIT, VSOCK_EVENT, VSOCK_QUEUES };
enum {
	VSOCK_EACH_WAY = 64, // connections that the guest began, and that the host did
	VSOCK_CONNECTIONS = 2 * VSOCK_EACH_WAY,
	VSOCK_REFUSALS = 64, // that wait for the guest to have room
};

struct virtio_vsock_options {
	uint32_t cid;
	const char *path; // NULL: there is no such device
};

struct virtio_vsock {
	struct virtio_device device;
	struct loop_queue queues[VSOCK_EVENT]; // the event queue has nothing to tell
	struct loop loop; // the thread's
	pthread_t thread;
	bool has_thread;
	uint32_t cid; // constant, as are the next three
	char *path;
	char *folder; // of the sockets: the only one that is there once the process is confined
	const char *name; // PATH in it
	// A connected socket, or -errno; by which tests have other sockets. Constant.
	int (*connect)(struct virtio_vsock *v, uint32_t port);

	pthread_mutex_t lock; // of all below; taken inside of queues' and the machine's
	bool running;
	struct loop_source listener;
	bool accepts; // the listener is waited for
	struct vsock_connection
		connections[VSOCK_CONNECTIONS]; // first the guest's, then the host's
	unsigned int turn; // whose it is to send
	uint32_t next_port; // of the host's, for what it begins
	unsigned int first_refusal, n_refusals;
	struct virtio_vsock_hdr refusals[VSOCK_REFUSALS];
	uint8_t payload[VSOCK_PAYLOAD];
};

// text: cid=N,socket=PATH; is changed, and has to live as long as the options.
int virtio_vsock_parse(struct virtio_vsock_options *ret_options, char *text, struct error *e);
// Listens at the path. The process' current folder has to be `folder` when the guest runs.
int virtio_vsock_init(struct virtio_vsock *v, struct machine *m,
	const struct virtio_vsock_options *o, struct error *e);
// Not before the machine was freed.
void virtio_vsock_free(struct virtio_vsock *v);
