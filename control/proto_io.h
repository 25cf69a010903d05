// SPDX-License-Identifier: BSD-3-Clause
// One message of control/proto.h in or out of a SOCK_SEQPACKET socket, with its fds, and the checks
// that both ends make before they look at anything: header, size, fd count, terminated strings,
// list lengths. Libc only: insulad and insula-switch both link it. No state; any thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include "control/proto.h"

// A received message. Holds its fds until they are taken (set to -1) or proto_message_clear.
struct proto_message {
	union {
		struct proto_header h;
		struct proto_status status;
		uint64_t align;
		uint8_t bytes[PROTO_MAX_SIZE];
	};
	size_t size; // bytes received, = h.size
	int fds[PROTO_MAX_FDS]; // close-on-exec
	unsigned n_fds;
};

// Fills the header of a message whose whole size is `size`; the rest stays as it is.
void proto_header_init(struct proto_header *h, uint16_t type, uint32_t seq, size_t size);

// Fills a reply's status: h from the request, error (0 or -errno), text (NULL = "").
void proto_status_init(struct proto_status *s, const struct proto_header *request, size_t size,
	int error, const char *text);

// Sends one message whole. `msg` begins with its filled header. 0; -EAGAIN when a non-blocking
// socket is full; -EMSGSIZE, -EPIPE, … The fds stay the caller's.
int proto_send(int fd, const void *msg, const int *fds, unsigned n_fds);

// Receives one message and checks magic, version and size; m needs no initialisation. 0 (the
// caller clears m), -EAGAIN, -ECONNRESET at the end of the stream, -EBADMSG when malformed or
// truncated (no fd is kept then).
int proto_recv(int fd, struct proto_message *m);

// Closes the fds that were not taken.
void proto_message_clear(struct proto_message *m);

// Switch side: is this a well-formed request (type, exact size, number of fds, seq != 0, terminated
// strings)? 0 or -EBADMSG.
int proto_check_request(const struct proto_message *m);

// insulad's side: is this a well-formed reply to (type, seq)? A failed one (error != 0) may be
// only a proto_status. 0 or -EBADMSG.
int proto_check_reply(const struct proto_message *m, uint16_t type, uint32_t seq);

// insulad's side: is this a well-formed event? 0 or -EBADMSG.
int proto_check_event(const struct proto_message *m);
