// SPDX-License-Identifier: BSD-3-Clause
// AF_PACKET sockets on a kernel interface, ready for the switch: bound, with virtio-net headers,
// auxiliary data (the VLAN tag the kernel took off), without our own frames, promiscuous,
// non-blocking.
#pragma once

#include <net/if.h>
#include <stddef.h>
#include "control/link.h"
#include "control/proto.h"

// Brings the interface up (with MTU when mtu != 0) and opens n_queues sockets, in a fanout group
// when more than one.
// 0, or -errno with a sentence in err and nothing changed or left open.
int packet_socket_open(const char *ifname, uint32_t mtu, unsigned n_queues, uint16_t fanout_id,
	int ret_fds[PROTO_MAX_QUEUES], char *err, size_t err_size);

// The interface is not there: -ENODEV with the sentence packet_socket_open would say. Else 0.
int packet_socket_check(const char *ifname, char *err, size_t err_size);

// How an interface is: what must be put back one day.
struct packet_link {
	uint32_t mtu;
	bool up;
	int ifindex; // 0 = not known
	char name[IFNAMSIZ]; // when it was looked at; "" = not known
};

// 0 or -ENODEV, …
int packet_socket_state(const char *ifname, struct packet_link *ret_link);
// Puts MTU and up/down back, whatever name the interface has now; the name is for a link of unknown
// ifindex only. One that is gone is fine. 0 or -errno.
int packet_socket_restore(const char *ifname, const struct packet_link *link);
// As the notes in host.db hold it; those of former versions have no name, or no ifindex either.
void packet_link_print(const struct packet_link *link, char *text, size_t size);
bool packet_link_parse(const char *text, struct packet_link *ret_link);

// The interface of a packet socket. 0 or -errno, as below.
int packet_socket_ifindex(int fd, int *ret_ifindex);
// Whether the interface of a packet socket is set up, and hears somebody at the other end: then
// NULL, else what it is instead.
const char *packet_socket_why_down(int fd);
// The name that the interface of a packet socket has now. 0, -ENODEV when it was deleted or moved
// away, or another -errno.
int packet_socket_ifname(int fd, char ret_ifname[IFNAMSIZ]);
