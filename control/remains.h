// SPDX-License-Identifier: BSD-3-Clause
// What Insula has on this host and has to take back: taps, the nat uplink's table and sysctls,
// interfaces' old MTU and flags. All is noted in RUN_DIR/host.db before it is made, so that it is
// known for ours after any crash and after a loss of the state. Main thread only.
#pragma once

#include "control/daemon_internal.h"

// Inside a transaction of the store: the port's tap, if it has one, is ours from now on.
int remains_note_tap(struct store *s, const struct port *p);
// Was the tap that `spec` names made by us, whatever the state says? For which port, in ret_port.
bool remains_has_tap(struct store *s, const struct port_spec *spec, char ret_port[128]);
// Takes back what no port uses; ports NULL: everything. What cannot be taken back is logged.
void remains_sweep(struct store *s, const struct ports *ports);
// At start, when the ports are as the state has them: takes back what a killed apply left behind,
// or had begun to make. Without its state, what no port uses may be what the next apply names: it
// stays.
void remains_after_start(struct store *s, const struct ports *ports);
