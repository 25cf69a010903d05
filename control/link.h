// SPDX-License-Identifier: BSD-3-Clause
// Network interfaces through libnl-route-3: look one up, set MAC, MTU, alias and up in one message,
// add an address. A link_socket speaks to the namespace the thread was in when it was opened.
#pragma once

#include <stdbool.h>
#include "vlan/wire.h"

struct nl_sock;

struct link_info {
	char name[16];
	int ifindex;
	unsigned flags; // IFF_*
	uint32_t mtu;
	struct mac mac;
	char alias[128];
	char kind[16]; // "tun", "veth", … or ""
};

// What to set; unset members leave things as they are.
struct link_change {
	const struct mac *mac;
	uint32_t mtu; // 0 = leave
	const char *alias; // NULL = leave
	const char *name; // NULL = leave; before it comes up
	bool up, down;
};

int link_socket_open(struct nl_sock **ret_socket);
void link_socket_close(struct nl_sock *s);

// 0, -ENODEV, or another -errno.
int link_get(struct nl_sock *s, const char *ifname, struct link_info *ret_info);
int link_get_by_index(struct nl_sock *s, int ifindex, struct link_info *ret_info);
// All of them: 0 or -errno.
int link_each(struct nl_sock *s, void (*fn)(void *arg, const struct link_info *info), void *arg);
int link_set(struct nl_sock *s, int ifindex, const struct link_change *change);
// Adds an IPv4 address; -EEXIST if it is there already.
int link_add_address(struct nl_sock *s, int ifindex, be32 address, unsigned prefix_len);

// The interface of our namespace that has this IPv4 address itself: 0, -ENOENT, or another -errno.
int link_find_address(struct nl_sock *s, be32 address, int *ret_ifindex);

// Deletes n interfaces at once: in one message by a group of their own, since each deletion by
// itself waits for the kernel's RCU (20 ms). Names that are not there are passed over. 0 or -errno.
int link_delete_many(struct nl_sock *s, const char *const *ifnames, unsigned n);
