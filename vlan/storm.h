// SPDX-License-Identifier: BSD-3-Clause
// Per-port limit on broadcast and multicast, in packets per second: a token bucket kept as the one
// instant at which it will be full again (the virtual scheduling form, ITU-T I.371 annex A).
// Integer arithmetic on caller-supplied time, so replays are deterministic. One word and a
// compare-and-swap, so the workers that poll a port's queues may share it.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

// Zero-initialised: a full bucket.
struct storm {
	_Atomic uint64_t full_ns; // when the bucket is full again; any worker writes
};

// rate_pps 0 means unlimited; burst in packets, 0 counts as 1. Returns whether one packet may pass
// at now_ns. Rate and burst may change from call to call. The packet interval is a whole number of
// nanoseconds: the true rate is above rate_pps by at most rate_pps / 1e9 of it.
bool storm_admit(struct storm *s, uint32_t rate_pps, uint32_t burst, uint64_t now_ns);
