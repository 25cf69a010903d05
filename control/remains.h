// SPDX-License-Identifier: BSD-3-Clause
// What Insula has on this host and has to take back: taps, the nat uplink's table and sysctls,
// interfaces' old MTU and flags. All is noted in RUN_DIR/host.db before it is made, so that it is
// known for ours after any crash and after a loss of the state. Main thread only.
#pragma once

#include "control/daemon_internal.h"

struct tap_note {
	char port[128];
	int ifindex; // 0 = not known
	struct mac mac;
};

// Inside a transaction of the store: the port's tap, if it has one, is ours from now on.
int remains_note_tap(struct store *s, const struct port *p);
// Was the tap that `spec` names made by us, whatever the state says? For which port, in ret_note.
bool remains_has_tap(struct store *s, const struct port_spec *spec, struct tap_note *ret_note);
// Takes back what no port uses. What cannot be taken back is logged.
void remains_sweep(struct store *s, const struct ports *ports);
// Takes back everything; the ports have just let go of theirs. Where they did not, because nobody
// knew of them, taps that were moved to another namespace are looked for. 0, or -errno with a
// sentence in err if table `ip insula` or forwarding stays on; it is noted still.
int remains_take_back_all(struct store *s, const struct ports *ports, char *err, size_t err_size);
// Does what is noted wait for the next apply that succeeds, because the state was lost?
bool remains_wait(struct store *s);
// At start, when the ports are as the state has them: takes back what a killed apply left behind,
// or had begun to make. Without its state, what no port uses may be what the next apply names: it
// stays.
void remains_after_start(struct store *s, struct ports *ports);
