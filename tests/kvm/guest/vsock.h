// SPDX-License-Identifier: BSD-3-Clause
// A virtio-vsock device (virtio 1.2, 5.10): packets out and in, one connection's credit.
#pragma once

#include <stdbool.h>
#include <linux/virtio_vsock.h>
#include "virtq.h"

enum { VSOCK_N_BUFFERS = 16, VSOCK_DATA = 4096, VSOCK_ROOM = 65536, VSOCK_HOST = 2 };

struct vsock_packet {
	struct virtio_vsock_hdr header;
	uint8_t data[VSOCK_DATA];
};

struct vsock {
	struct virtio device;
	struct virtq receive, transmit;
	uint64_t cid;
	struct vsock_packet *in[VSOCK_N_BUFFERS], *out;
	// the connection's
	uint32_t port, peer_port;
	uint32_t sent, peer_room, peer_forwarded, received;
};

// *v is zero, or was opened before.
int vsock_open(struct vsock *v);
// Of the connection: op, flags, and v->out's first `size` bytes of data. False: the device did not
// take it.
bool vsock_send(struct vsock *v, uint16_t op, uint32_t flags, uint32_t size);
// Any header; waits until the device has taken it, at most until then.
bool vsock_send_raw(
	struct vsock *v, const struct virtio_vsock_hdr *h, uint32_t size, uint64_t until_ns);
// The next packet, NULL when it is too late; it is given back by vsock_end.
struct vsock_packet *vsock_wait(struct vsock *v, uint64_t until_ns);
void vsock_end(struct vsock *v, struct vsock_packet *p);
// How many bytes the peer has room for.
uint32_t vsock_credit(const struct vsock *v);
