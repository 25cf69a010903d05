// SPDX-License-Identifier: BSD-3-Clause
// Waits for DPDK's interrupt thread, see driver_interrupts.h. Called by port_ethdev.c, control
// thread.
#include "vswitch/driver_interrupts.h"

#include <errno.h>
#include <semaphore.h>
#include <time.h>
#include <rte_alarm.h>

enum {
	AT_MOST_S = 1, // nothing that it runs waits
};

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
