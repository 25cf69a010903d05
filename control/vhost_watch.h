// SPDX-License-Identifier: BSD-3-Clause
// Lets the switch's user into the sockets of vhost-user front ends that listen. Main thread only.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct daemon;
struct port;
struct vhost_watch;

int vhost_watch_new(struct daemon *d, struct vhost_watch **ret_watch);
void vhost_watch_free(struct vhost_watch *w);
// The switch has this port. Of other kinds, and where the switch listens itself: nothing is done.
void vhost_watch_port(struct vhost_watch *w, const struct port *p);
// What keeps the switch's user from the port's socket, with the command that mends it; false:
// nothing does, or an ACL has to be asked.
bool vhost_watch_blocked(
	const struct vhost_watch *w, const struct port *p, char *text, size_t size);
