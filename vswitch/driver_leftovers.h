// SPDX-License-Identifier: BSD-3-Clause
// What a DPDK driver leaves behind of a device that it refuses: 22.11's virtio_user forgets its
// connection, two eventfds per ring and its interrupt handle. Per thread.
#pragma once

#include <stdbool.h>

// From here to the end sockets, eventfds and interrupt handles that this thread makes are noted,
// and forgotten when it closes them. At the end those left are closed, if asked for.
void driver_leftovers_watch(void);
void driver_leftovers_end(bool clear);
