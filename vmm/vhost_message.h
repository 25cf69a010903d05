// SPDX-License-Identifier: BSD-3-Clause
// Messages of the vhost-user protocol (QEMU, docs/interop/vhost-user.rst), from the front end's
// side: sent whole, answered within a bounded time. Called with the machine's lock held.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum vhost_request {
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES = 2,
	VHOST_SET_OWNER = 3,
	VHOST_SET_MEM_TABLE = 5,
	VHOST_SET_VRING_NUM = 8,
	VHOST_SET_VRING_ADDR = 9,
	VHOST_SET_VRING_BASE = 10,
	VHOST_GET_VRING_BASE = 11,
	VHOST_SET_VRING_KICK = 12,
	VHOST_SET_VRING_CALL = 13,
	VHOST_GET_PROTOCOL_FEATURES = 15,
	VHOST_SET_PROTOCOL_FEATURES = 16,
	VHOST_GET_QUEUE_NUM = 17,
	VHOST_SET_VRING_ENABLE = 18,
	VHOST_NET_SET_MTU = 20,
	VHOST_SET_BACKEND_REQ_FD = 21,
	VHOST_GET_CONFIG = 24,
	VHOST_SET_CONFIG = 25,
	VHOST_GET_MAX_MEM_SLOTS = 36,
	VHOST_ADD_MEM_REG = 37,
};

// What a back end asks for, over a socket of its own.
enum vhost_backend_request { VHOST_BACKEND_CONFIG_CHANGE = 2 };

enum { VHOST_PAYLOAD = 512, VHOST_FDS = 8 };

// All of them: negative, -ETIMEDOUT, -EPIPE, -EPROTO or what the socket answers, mean that the
// connection is of no more use.

// size: of payload, at most VHOST_PAYLOAD. fds go with it, at most VHOST_FDS.
int vhost_send(int fd, enum vhost_request request, const void *payload, size_t size, const int *fds,
	unsigned int n_fds);
// The same, and waits until the back end says that it is done (REPLY_ACK): -EREMOTEIO if it says
// that it failed.
int vhost_send_acknowledged(int fd, enum vhost_request request, const void *payload, size_t size,
	const int *fds, unsigned int n_fds);
// Asks; the answer's payload has to be of `size` bytes. in: the question's payload of the same
// size.
int vhost_ask(int fd, enum vhost_request request, const void *in, void *ret_payload, size_t size);
// Takes a back end's request off its own socket, and answers that it is done if it wants to know.
int vhost_take_request(int fd, uint32_t *ret_request);
