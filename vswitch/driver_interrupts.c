// SPDX-License-Identifier: BSD-3-Clause
// Waits for DPDK's interrupt thread, see driver_interrupts.h. The linker leads every driver's
// rte_intr_callback_unregister() through here (--wrap in meson.build). Called by port_ethdev.c,
// control thread.
#include "vswitch/driver_interrupts.h"

#include <errno.h>
#include <semaphore.h>
#include <time.h>
#include <rte_alarm.h>
#include <rte_interrupts.h>
#include "vswitch/control.h"

enum {
	AT_MOST_S = 1, // nothing that it runs waits
};

int __real_rte_intr_callback_unregister(
	const struct rte_intr_handle *handle, rte_intr_callback_fn call, void *arg);
int __wrap_rte_intr_callback_unregister(
	const struct rte_intr_handle *handle, rte_intr_callback_fn call, void *arg);

// Drivers take no notice when it stays registered because it runs just now, and free what it works
// on. virtio_user's runs all the time while an answer lies in its socket that nobody waits for.
int __wrap_rte_intr_callback_unregister(
	const struct rte_intr_handle *handle, rte_intr_callback_fn call, void *arg)
{
	uint64_t end = control_now_ns(CLOCK_MONOTONIC) + AT_MOST_S * UINT64_C(1000000000);
	int r;

	do
		r = __real_rte_intr_callback_unregister(handle, call, arg);
	while (r == -EAGAIN && !rte_thread_is_intr() && control_now_ns(CLOCK_MONOTONIC) < end);
	return r;
}

static void reached(void *arg)
{
	sem_post(arg);
}

// Alarms run in the order of their times, on the thread that runs interrupts: behind the first
// nothing is under way that was, behind the second what that may have set has run.
void driver_interrupts_settle(void)
{
	struct timespec end;
	sem_t done;

	sem_init(&done, 0, 0);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += AT_MOST_S;
	for (unsigned i = 0; i < 2 && rte_eal_alarm_set(1, reached, &done) == 0; i++)
		while (sem_timedwait(&done, &end) != 0)
			if (errno == ETIMEDOUT)
				break;
	rte_eal_alarm_cancel(reached, &done);
	sem_destroy(&done);
}
