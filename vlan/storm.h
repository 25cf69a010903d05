// SPDX-License-Identifier: BSD-3-Clause
// Per-port limit on broadcast and multicast: a token bucket in packets per second. Integer
// arithmetic on caller-supplied time, so replays are deterministic. Written by the port's worker.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct storm {
	uint64_t last_ns; // when tokens were last added
	uint64_t tokens_nanopkt; // packets available, in 1e-9 packets
};

// rate_pps 0 means unlimited; burst in packets. Returns whether one packet may pass at now_ns.
bool storm_admit(struct storm *s, uint32_t rate_pps, uint32_t burst, uint64_t now_ns);
