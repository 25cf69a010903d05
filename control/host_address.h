// SPDX-License-Identifier: BSD-3-Clause
// An uplink whose address is the host's own: two would answer for it, and the host loses its
// connections. Refused by apply.c, foretold by foresee.c, and told by daemon_status.c when the
// host took the address later. Main thread.
#pragma once

#include "control/desired.h"

// Is it so? Then with a sentence in text.
bool host_address_taken(const struct desired_port *p, char *text, size_t size);
