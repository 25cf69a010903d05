// SPDX-License-Identifier: BSD-3-Clause
// What happens to the interfaces of insulad's own network namespace, told by the kernel (libmnl).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include "control/loop.h"

struct linkwatch;

struct linkwatch_handler {
	// An interface appeared or changed (gone = false) or was deleted.
	void (*link)(void *arg, const char *ifname, bool gone, bool running);
	void (*lost)(void *arg); // events were lost: look at everything
	void *arg;
};

int linkwatch_new(
	struct loop *l, const struct linkwatch_handler *handler, struct linkwatch **ret_watch);
void linkwatch_free(struct linkwatch *w);
// Calls handler->link for what a datagram of the kernel (aligned to 4) says; whatever it cannot be
// is passed over. For tests: the watch does it with what it receives.
void linkwatch_read(const void *messages, size_t size, const struct linkwatch_handler *handler);
