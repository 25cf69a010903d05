// SPDX-License-Identifier: BSD-3-Clause
// What the port kinds made of file descriptors (tap, packet) share. Any worker, except where said.
#pragma once

#include "vswitch/port.h"

enum { PORT_FD_MAX_SEGS = 64 }; // of a packet they send: 64 KiB from a guest, in small mbufs

// Starts the metadata of a received frame: zeroed, with in_port and in_queue.
static inline struct packet *port_fd_rx_packet(
	const struct port *p, uint16_t queue, struct rte_mbuf *m)
{
	struct packet *pkt = packet_of(m);

	*pkt = (struct packet){ .in_port = (uint16_t)p->id, .in_queue = queue };
	return pkt;
}

// Sets the lengths of a frame of `size` bytes that was read into `small` and, where that was full,
// `big`. Returns whether `big` is part of it now.
bool port_fd_rx_lengths(struct rte_mbuf *small, struct rte_mbuf *big, uint32_t size);

// Counts a frame that the kind itself had to drop.
void port_fd_count_drop(struct worker *w, struct port *p, enum drop_reason reason);

// The fd failed for good: the port is neither up nor worth polling.
void port_fd_set_dead(struct port *p);

// port_ops.get_fds and the closing half of port_ops.destroy. Control thread.
unsigned port_fd_dup(struct port *p, int ret_fds[PORT_MAX_QUEUES]);
void port_fd_close(struct port *p);

// The checks both kinds begin with: a queue for each fd, non-blocking. 0 or -errno with err filled.
// Control thread.
int port_fd_check(const struct port_params *params, char *err, size_t err_size);
