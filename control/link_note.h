// SPDX-License-Identifier: BSD-3-Clause
// How the interfaces of packet sockets were before we touched them, noted in host.db to be put back
// after any crash. "host:link:#INDEX", since names are exchanged while we do not look; in the value
// the name, for who has it next. Former versions' keys have the name. Main thread only.
#pragma once

#include "control/packet_socket.h"
#include "control/store.h"

#define LINK_NOTE STORE_HOST "link:"

enum {
	LINK_NOTE_KEY_SIZE = 32,
};

struct ports;

void link_note_key(int ifindex, char ret_key[LINK_NOTE_KEY_SIZE]);
// Notes an interface as it is now, unless it was noted before. A former one that had its name gets
// back what it had, unless one of the ports uses it. 0 or -errno.
int link_note_take(struct store *s, const struct ports *ports, const struct packet_link *link);
// Puts an interface back as it was, if that is noted; what fails the next sweep tries again.
void link_note_restore(struct store *s, int ifindex, const char *ifname);
