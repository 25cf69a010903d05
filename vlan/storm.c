// SPDX-License-Identifier: BSD-3-Clause
// Token bucket for broadcast and multicast. Called by the guard stage on any worker, once per
// group-addressed packet of a port with a limit. No clock, no floating point, no lock.
#include "vlan/storm.h"

enum {
	SECOND_NS = 1000000000,
};

bool storm_admit(struct storm *s, uint32_t rate_pps, uint32_t burst, uint64_t now_ns)
{
	if (rate_pps == 0)
		return true;

	uint64_t interval = SECOND_NS / rate_pps;
	uint64_t depth = interval * (burst == 0 ? 1 : burst); // < 2^62
	// Relaxed throughout: the word carries its whole meaning and publishes nothing else.
	uint64_t seen = atomic_load_explicit(&s->full_ns, memory_order_relaxed);
	uint64_t next;
	bool admit;

	do {
		uint64_t full = seen > now_ns ? seen : now_ns;

		// Deeper than any bucket of this rate: rate or burst were lowered, or time began
		// anew. Start from an empty bucket rather than wait out the old one. The second
		// of slack keeps workers whose clocks differ by a burst from refilling it.
		if (full - now_ns > depth + SECOND_NS)
			full = now_ns + depth;
		admit = full - now_ns + interval <= depth;
		next = admit ? full + interval : full;
		if (next == seen)
			break; // refused: nothing to write
	} while (!atomic_compare_exchange_weak_explicit(
		&s->full_ns, &seen, next, memory_order_relaxed, memory_order_relaxed));
	return admit;
}
