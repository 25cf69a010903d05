// SPDX-License-Identifier: BSD-3-Clause
// How long a DPDK driver waits for who is behind a socket that it connects: the virtio_user driver
// asks, and waits for the answer on the control thread for as long as it takes.
#pragma once

#include <stdbool.h>

// Whatever connect() gives on this thread while it is on has an end to each wait, for good.
void driver_patience(bool on);
