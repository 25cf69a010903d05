// SPDX-License-Identifier: BSD-3-Clause
// One stream between a port of the guest's and a unix socket of the host's (Virtual I/O Device 1.2,
// 5.10.6): its states, credit and buffer. Not the queues, which are virtio_vsock.c's; all of it
// under that device's lock. Nothing here waits.
#pragma once
#include <linux/virtio_vsock.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vmm/loop.h"

enum {
	VSOCK_BUFFER = 65536, // bytes of the guest's that may wait for a slow reader
	VSOCK_PAYLOAD = 65536, // of one packet to the guest
	VSOCK_LINE = 24, // "CONNECT PORT\n" and one more
};

enum vsock_state {
	VSOCK_FREE,
	VSOCK_NAMING, // a program of the host's has not said which port it wants
	VSOCK_ASKING, // the guest is asked for it
	VSOCK_OPEN,
	VSOCK_DRAINING, // the guest has closed it: what it said before goes out
	VSOCK_CLOSING, // the host's end is closed: the guest is told, and has to agree
};

// Packets that the guest is to be sent.
enum {
	VSOCK_OWES_RST = 1,
	VSOCK_OWES_REQUEST = 2,
	VSOCK_OWES_RESPONSE = 4,
	VSOCK_OWES_SHUTDOWN = 8,
	VSOCK_OWES_CREDIT = 16,
};

struct vsock_connection {
	struct loop *loop; // constant
	enum vsock_state state;
	struct loop_source source; // fd: the host's end, -1: closed; constant: ready, arg
	bool watched; // the loop has it
	uint32_t events; // that it waits for
	uint32_t host_port, guest_port;
	unsigned int owes;
	bool readable; // there may be something to read
	bool ended; // the host sends no more
	bool deaf; // the host takes no more: what comes is dropped
	uint32_t shut; // VIRTIO_VSOCK_SHUTDOWN_* that the guest has been told, or is owed
	uint32_t guest_shut; // and has told
	// All modulo 2^32 (5.10.6.3): bytes sent to the guest, and what it says of its buffer;
	// bytes of the guest's taken, passed on, and how far it was told that they are.
	uint32_t sent, guest_size, guest_forwarded;
	uint32_t received, forwarded, told;
	uint8_t *buffer; // a ring of VSOCK_BUFFER: n_buffer bytes from `at` on
	uint32_t at, n_buffer;
	char line[VSOCK_LINE];
	unsigned int n_line;
};

// A free one is the host's end fd (taken, non-blocking) from now on. -errno: it is closed.
int vsock_begin(struct vsock_connection *c, enum vsock_state state, int fd);
// Free, without a word to the guest.
void vsock_drop(struct vsock_connection *c);
// The same, but the guest is told by RST; the connection is free once that is out.
void vsock_reset(struct vsock_connection *c);
// A packet of the guest's, not REQUEST, with h->len bytes at data.
void vsock_take(struct vsock_connection *c, const struct virtio_vsock_hdr *h, const uint8_t *data);
// True if vsock_next may have something.
bool vsock_waits(const struct vsock_connection *c);
// The next packet to the guest: op, len (<= most) and flags of h, and data. False: none.
bool vsock_next(struct vsock_connection *c, struct virtio_vsock_hdr *h, uint8_t *data, size_t most);
// The host's end: what epoll says.
void vsock_event(struct vsock_connection *c, uint32_t events);
// A port that the line "CONNECT PORT\n" names. False: it is no such line.
bool vsock_parse_line(const char *line, uint32_t *ret_port);
