// SPDX-License-Identifier: BSD-3-Clause
// Whether the workers go on, see progress.h: insulad replaces a switch with one that does not.
// Looks are counted and not time: a switch that was stopped, or a machine that slept, missed them
// too.
#include "vswitch/progress.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include "vswitch/control.h"

enum {
	WAKE_S = 2, // a busy worker needs no waking, and an idle one costs half a wake-up a second
	SYNC_NS = 1500000000, // insulad waits for 2 s
	SPIN_NS = 200000, // a waiting worker needs some tens of µs
};

static uint64_t rounds_of(const struct worker *w)
{
	return atomic_load_explicit(&w->rounds, memory_order_relaxed);
}

uint32_t progress_look(struct progress *p, struct switch_ *sw, unsigned *ret_worker)
{
	uint32_t longest = 0;

	*ret_worker = 0;
	for (unsigned i = 0; i < sw->n_workers; i++) {
		uint64_t rounds = rounds_of(sw->workers[i]);

		p->still_s[i] = rounds == p->rounds[i] ? p->still_s[i] + 1 : 0;
		p->rounds[i] = rounds;
		if (p->still_s[i] >= WAKE_S)
			worker_wake(sw->workers[i]);
		if (p->still_s[i] > longest) {
			longest = p->still_s[i];
			*ret_worker = i;
		}
	}
	return longest;
}

int progress_sync(struct switch_ *sw, unsigned *ret_worker)
{
	uint64_t rounds[WORKER_MAX], begun = control_now_ns(CLOCK_MONOTONIC), waited = 0;

	for (unsigned i = 0; i < sw->n_workers; i++) {
		rounds[i] = rounds_of(sw->workers[i]);
		worker_wake(sw->workers[i]);
	}
	for (unsigned i = 0; i < sw->n_workers; i++) {
		while (rounds_of(sw->workers[i]) == rounds[i]) {
			if (waited > SYNC_NS) {
				*ret_worker = i;
				return -ETIMEDOUT;
			}
			if (waited < SPIN_NS)
				sched_yield();
			else
				poll(NULL, 0, 1);
			waited = control_now_ns(CLOCK_MONOTONIC) - begun;
		}
	}
	return 0;
}
