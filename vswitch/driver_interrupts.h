// SPDX-License-Identifier: BSD-3-Clause
// DPDK's interrupt thread, and what drivers have it do later.
#pragma once

// Once a stopped device's driver has no business with that thread any more: what is under way there
// has ended, and so have the alarms that it set (virtio_user sets one when its far end hangs up,
// and closing the device does not cancel it). Control thread.
void driver_interrupts_settle(void);
