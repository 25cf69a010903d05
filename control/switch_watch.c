// SPDX-License-Identifier: BSD-3-Clause
// Notices a switch that hangs, and ends it; switch_link.c starts the next. It tells once a second
// that its control thread goes on and how long a worker has not. What is counted are our own ticks,
// not time: an insulad that was stopped, or a machine that slept, accuses nobody. Main thread only.
#include <stdio.h>
#include "control/daemon_internal.h"
#include "control/log.h"

enum {
	TICK_MS = 1000,
	HANGS_S = 10, // beside 20 busy loops on two cores it answers within 0.4 s
	SEEMS_TO_HANG_S = 4, // worth telling; a sleeping worker is woken at 2
};

int switch_watch_new(struct daemon *d)
{
	int r = loop_add_timer(d->loop, switch_watch_on_timer, d, &d->watch.timer);

	if (r == 0)
		loop_timer_arm(d->watch.timer, TICK_MS * 1000000ull);
	return r;
}

static void end(struct daemon *d, const char *why)
{
	log_error("insula-switch (pid %d) hangs: %s; ending it", d->proc.pid, why);
	switch_watch_reset(d);
	switch_proc_kill(&d->proc); // the pidfd wakes us, also when it takes its time to die
}

void switch_watch_on_timer(void *arg)
{
	struct daemon *d = arg;

	loop_timer_arm(d->watch.timer, TICK_MS * 1000000ull);
	if (!d->client) // switch_link.c tries to speak with it, and judges
		switch_watch_reset(d);
	else if (++d->watch.silent_s > HANGS_S)
		end(d, "its control thread has not been heard of for 10 s");
}

void switch_watch_on_alive(struct daemon *d, const struct proto_alive_event *e)
{
	char why[96];

	d->watch.silent_s = 0;
	d->watch.worker = e->worker;
	d->watch.still_s = e->still_s;
	if (e->still_s < HANGS_S)
		return;
	snprintf(
		why, sizeof(why), "worker %u has made no progress for %u s", e->worker, e->still_s);
	end(d, why);
}

bool switch_watch_suspects(const struct daemon *d, char *why, size_t size)
{
	if (d->watch.still_s >= SEEMS_TO_HANG_S)
		snprintf(why, size,
			"worker %u has made no progress for %u s; after %d s the switch is "
			"replaced",
			d->watch.worker, d->watch.still_s, HANGS_S);
	else if (d->watch.silent_s >= SEEMS_TO_HANG_S)
		snprintf(why, size,
			"its control thread has not been heard of for %u s; after %d s the switch "
			"is replaced",
			d->watch.silent_s, HANGS_S);
	else
		return false;
	return true;
}

void switch_watch_reset(struct daemon *d)
{
	d->watch.silent_s = d->watch.still_s = 0;
}
