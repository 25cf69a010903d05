// SPDX-License-Identifier: BSD-3-Clause
// What the replay driver needs of a pcap port beyond the ops: when its next frame is due.
#pragma once

#include "vswitch/port.h"

// The timestamp of the next frame to receive, in ns since 1970; false if there is none left.
bool port_pcap_next(const struct port *p, uint64_t *ret_ns);
