// SPDX-License-Identifier: BSD-3-Clause
// What happens to the interfaces of insulad's own network namespace, told by the kernel (libmnl).
#pragma once

#include <stdbool.h>
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
