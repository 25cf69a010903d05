// SPDX-License-Identifier: BSD-3-Clause
// Do the workers go on? Control thread only; a worker's part is its count of rounds.
#pragma once

#include "vswitch/port.h"

struct switch_;

struct progress { // of each worker, since the last look
	uint64_t rounds[WORKER_MAX];
	uint32_t still_s[WORKER_MAX];
};

// Once a second: for how many looks the worker that has stood still for the longest has begun no
// round. One that sleeps is woken at the second: only a hanging worker gets far beyond that.
uint32_t progress_look(struct progress *p, struct switch_ *sw, unsigned *ret_worker);

// Wakes every worker and waits until each has begun a round: all of them go by the policy in force.
// 0, or -ETIMEDOUT with the worker that has not.
int progress_sync(struct switch_ *sw, unsigned *ret_worker);
