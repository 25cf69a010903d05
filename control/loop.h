// SPDX-License-Identifier: BSD-3-Clause
// insulad's event loop: one epoll, one thread. Callbacks run one after another; a callback may add
// and remove any source, its own too.
#pragma once

#include <stdint.h>

struct loop;
struct loop_source;

// events: EPOLLIN, EPOLLOUT, … as epoll gave them.
typedef void (*loop_io_fn)(void *arg, uint32_t events);
typedef void (*loop_timer_fn)(void *arg);

int loop_new(struct loop **ret_loop);
void loop_free(
	struct loop *l); // frees the sources left; their fds stay open (timers' own are closed)

// Watches fd, level-triggered. The fd stays the caller's and must outlive the source. 0 or -errno.
int loop_add(struct loop *l, int fd, uint32_t events, loop_io_fn fn, void *arg,
	struct loop_source **ret_source);
// Waits for these events from now on, 0 = for none; after EPOLLONESHOT, again.
void loop_rearm(struct loop *l, struct loop_source *source, uint32_t events);
// A timer, disarmed. It fires once per arming. 0 or -errno.
int loop_add_timer(struct loop *l, loop_timer_fn fn, void *arg, struct loop_source **ret_source);
// Arms it to fire after delay_ns from now (0 = at once); replaces an earlier arming.
void loop_timer_arm(struct loop_source *timer, uint64_t delay_ns);
void loop_timer_disarm(struct loop_source *timer);
void loop_remove(struct loop *l, struct loop_source *source); // NULL is fine

// Runs until loop_quit, which may have been before. 0 or -errno.
int loop_run(struct loop *l);
void loop_quit(struct loop *l);

uint64_t loop_now_ns(void); // CLOCK_BOOTTIME
