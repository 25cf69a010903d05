// SPDX-License-Identifier: BSD-3-Clause
// How long a DPDK driver waits for who is behind a socket that it connects: the virtio_user driver
// asks, and waits for the answer on the control thread for as long as it takes. Per thread.
#pragma once

// From here to the end connect(), sendmsg() and recv() of this thread wait for `ms` altogether,
// then no more. What the driver sends once its time is up, or the far end has hung up, goes nowhere
// and it is not told: of some failures it leaves callbacks behind that outlive the device. The
// answer fails. A look whether the far end is there (MSG_DONTWAIT) finds it there: of a no the
// driver makes an alarm that outlives the device too, and the interrupt thread sees for itself.
// Past the end each wait on a socket that was connected so is bounded by a second.
void driver_patience_begin(unsigned ms);
// 0, -ETIMEDOUT: the time was up, or -ECONNRESET: the far end hung up; since begin.
int driver_patience_lost(void);
void driver_patience_end(void);
// All waits from now on, of any thread, are over when `ms` have passed: the process ends.
void driver_patience_last(unsigned ms);
