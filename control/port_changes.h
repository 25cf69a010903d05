// SPDX-License-Identifier: BSD-3-Clause
// Which ports an apply makes, makes otherwise and removes, and whose tap becomes whose. apply.c
// does it, foresee.c tells it. Main thread only.
#pragma once

#include "control/desired.h"
#include "control/ports.h"

// One port that is new or different.
struct port_change {
	const struct desired_port *desired;
	struct port *old; // same id, NULL = none
	struct port *donor; // had the same tap; may be `old`
	struct port *evicted; // its tap has the name and is not fit; may be `old`
	struct port *new; // owned until it is in daemon.ports
	bool was_broken; // `old` is, and the file leaves it where it is: it may stay so
	bool made;
};

struct port_changes {
	struct port_change *v;
	struct port **removed;
	unsigned n, n_removed;
	bool vhost_crowded; // removed vhost-user ports have to go first
};

// Compares the ports that are with those desired; `adopt`: a new one's device may be there already.
// 0 or -ENOMEM; port_changes_free either way.
int port_changes_find(const struct ports *ports, const struct desired *desired, const char *run_dir,
	unsigned workers, bool adopt, struct port_changes *ret_changes);
// As it is when they are made; NULL = there is none of that id.
const struct port *port_changes_to_be(
	const struct port_changes *c, const struct ports *ports, uint32_t id);
// The other uplink that has the host's nat, for which there is room once: the file's of mode nat
// wherever it stands, else the first that falls back to it. NULL = `p` may.
const char *port_changes_nat_user(const struct port_changes *c, const struct ports *ports,
	const struct desired *desired, const struct port *p);
// Has this port's device become another's?
bool port_changes_give(const struct port_changes *c, const struct port *p);
// Does this port, one of those removed, leave the switch before others are made? A DPDK device does
// when one of them may be: that may be the same one, and there is room for so many. So does a
// vhost-user port when there is no room for old and new ones at once, or one has its socket.
bool port_changes_make_way(const struct port_changes *c, const struct port *p);
// Is this port's device another's in it, or made otherwise?
bool port_changes_touch(const struct port_changes *c, const struct port *p);
// new_too: what was made as well, when it is nobody else's.
void port_changes_free(struct port_changes *c, bool new_too);
