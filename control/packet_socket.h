// SPDX-License-Identifier: BSD-3-Clause
// AF_PACKET sockets on a kernel interface, ready for the switch: bound, with virtio-net headers,
// auxiliary data (the VLAN tag the kernel took off), without our own frames, promiscuous,
// non-blocking.
#pragma once

#include <stddef.h>
#include "control/link.h"
#include "control/proto.h"

// Brings the interface up (with MTU when mtu != 0) and opens n_queues sockets, in a fanout group
// when more than one. *ret_before = how the interface was, for packet_socket_restore.
// 0, or -errno with a sentence in err and nothing changed or left open.
int packet_socket_open(const char *ifname, uint32_t mtu, unsigned n_queues, uint16_t fanout_id,
	int ret_fds[PROTO_MAX_QUEUES], char *err, size_t err_size);

// The interface is not there: -ENODEV with the sentence packet_socket_open would say. Else 0.
int packet_socket_check(const char *ifname, char *err, size_t err_size);

// How an interface is: what must be put back one day. 0 or -ENODEV, …
int packet_socket_state(const char *ifname, uint32_t *ret_mtu, bool *ret_up);
// Puts MTU and up/down back; an interface that is gone is fine. 0 or -errno.
int packet_socket_restore(const char *ifname, uint32_t mtu, bool up);
