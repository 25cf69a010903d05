// SPDX-License-Identifier: BSD-3-Clause
// Persistent multi-queue taps with virtio-net headers (IFF_VNET_HDR), in insulad's or a named
// network namespace. A tap carries an alias "insula PORT", by which it is known again after a
// crash.
#pragma once

#include <stdbool.h>
#include "control/proto.h"

struct tap_params {
	const char *netns; // "" = own
	const char *ifname;
	const char *port; // the port's name, for the alias
	struct mac mac; // of the device: the guest's
	uint32_t mtu;
	unsigned n_queues;
	bool down; // leaves it down
	bool adopt; // a tap of ours with this name may be there already
	bool host_nat; // the host's end of uplink mode nat
	const char *former; // the port it then may have belonged to; NULL = this one only
	int ifindex; // that it then had, by which it is known under another name; 0 = not known
};

// Makes (or adopts) the tap and fills fds[n_have..n_queues) with new queues; fds below n_have are
// its queues already open. Sets MAC, MTU, alias, offloads and up. It goes with its last fd until
// tap_set_persistent. One that is adopted keeps the name that others gave it; with queues open, a
// tap that was renamed or moved by others is left alone: -ENODEV. 0 and whether the device was made
// just now, or -errno with a sentence in err; fds beyond n_have are closed then.
int tap_open(const struct tap_params *p, int fds[PROTO_MAX_QUEUES], unsigned n_have, bool *ret_made,
	char *err, size_t err_size);

// Would tap_open fail, as far as can be seen without making anything? Its namespace is not there,
// or the name somebody else's: -errno with the sentence that tap_open would say. Else 0.
int tap_check(const struct tap_params *p, char *err, size_t err_size);

// The device gets its name and comes up; it must be down.
int tap_rename(const char *netns, const char *from, const char *to, char *err, size_t err_size);
// The name of the device behind the queue.
int tap_name(int fd, char ret_ifname[16]);
int tap_mac(int fd, struct mac *ret_mac);
int tap_set_persistent(int fd, bool on);
// The index of the device behind the queue, in its namespace; 0 if it is not there any more, or
// cannot be told.
int tap_index(int fd, const char *netns);
// Deletes the tap of that name, or else of that index, if it is the port's by its alias and, if
// those are known, by its MAC or index. -ENODEV: there is none.
int tap_delete(const char *netns, const char *ifname, int ifindex, const struct mac *mac,
	const char *port);
// Deletes, in our own and every named namespace, the taps with an alias and the MAC of ours that
// are strays there: others moved them.
typedef bool tap_is_stray(void *arg, const char *netns, const char *port, const struct mac *mac);
void tap_delete_strays(tap_is_stray *is_stray, void *arg);

// What has become of a tap since it was made in network namespace `netns` ("" = our own).
struct tap_sight {
	bool homeless; // that name leads elsewhere now, or nowhere
	bool moved; // it is not in the namespace it was made in
	bool up; // as it was set; true if that cannot be seen
	char ifname[16]; // now
};

// 0, -EBADFD if the device was deleted, or another -errno if nothing can be said.
int tap_look(int fd, const char *netns, struct tap_sight *ret_sight);

// Is it not where it was made or not called `ifname`, and yet there? Says so, with the commands
// that mend it.
bool tap_is_odd(const struct tap_sight *sight, const char *netns, const char *ifname,
	char *ret_text, size_t size);

// Does the device behind this queue still exist?
bool tap_alive(int fd);
