// SPDX-License-Identifier: BSD-3-Clause
// Sleeping and waking of a worker, and the event fds behind it. Worker's thread unless said.
#pragma once

#include "vswitch/pipeline.h"

// Arms every polled queue and sleeps until something happens. Returns at once when a queue has
// packets already, or cannot be slept on.
void worker_sleep(struct worker *w);
// An epoll event of slot `slot`: drains what is not a queue. Whether the slot has something to
// receive.
bool worker_event(struct worker *w, uint32_t slot);
// Announces uplink addresses by gratuitous ARP when control asked for it (worker 0).
void worker_announce(struct worker *w, const struct burst *b);
