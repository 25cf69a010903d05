// SPDX-License-Identifier: BSD-3-Clause
// The event loop of insulad, see loop.h. Main thread only. Timers are timerfds: there are few of
// them.
#include "control/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct loop_source {
	struct loop_source *next;
	int fd;
	bool timer, dead;
	loop_io_fn io;
	loop_timer_fn fire;
	void *arg;
};

struct loop {
	int epoll;
	bool quit, has_dead;
	struct loop_source *sources;
};

int loop_new(struct loop **ret_loop)
{
	struct loop *l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll < 0) {
		int r = -errno;
		free(l);
		return r;
	}
	*ret_loop = l;
	return 0;
}

static void source_free(struct loop_source *s)
{
	if (s->timer)
		close(s->fd);
	free(s);
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	while (l->sources) {
		struct loop_source *s = l->sources;
		l->sources = s->next;
		source_free(s);
	}
	close(l->epoll);
	free(l);
}

static int source_new(struct loop *l, int fd, uint32_t events, struct loop_source **ret_source)
{
	struct loop_source *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->fd = fd;
	struct epoll_event ev = { .events = events, .data.ptr = s };
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int r = -errno;
		free(s);
		return r;
	}
	s->next = l->sources;
	l->sources = s;
	*ret_source = s;
	return 0;
}

int loop_add(struct loop *l, int fd, uint32_t events, loop_io_fn fn, void *arg,
	struct loop_source **ret_source)
{
	struct loop_source *s;
	int r = source_new(l, fd, events, &s);
	if (r < 0)
		return r;
	s->io = fn;
	s->arg = arg;
	*ret_source = s;
	return 0;
}

void loop_rearm(struct loop *l, struct loop_source *source, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = source };

	epoll_ctl(l->epoll, EPOLL_CTL_MOD, source->fd, &ev);
}

int loop_add_timer(struct loop *l, loop_timer_fn fn, void *arg, struct loop_source **ret_source)
{
	struct loop_source *s;
	int fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = source_new(l, fd, EPOLLIN, &s);
	if (r < 0) {
		close(fd);
		return r;
	}
	s->timer = true;
	s->fire = fn;
	s->arg = arg;
	*ret_source = s;
	return 0;
}

void loop_timer_arm(struct loop_source *timer, uint64_t delay_ns)
{
	if (delay_ns == 0)
		delay_ns = 1; // zero would disarm
	struct itimerspec it = { .it_value = { .tv_sec = (time_t)(delay_ns / 1000000000u),
					 .tv_nsec = (long)(delay_ns % 1000000000u) } };
	timerfd_settime(timer->fd, 0, &it, NULL);
}

void loop_timer_disarm(struct loop_source *timer)
{
	struct itimerspec it = { 0 };
	timerfd_settime(timer->fd, 0, &it, NULL);
}

// The memory stays until the end of the round: an event of it may be waiting in the same batch.
void loop_remove(struct loop *l, struct loop_source *source)
{
	if (!source)
		return;
	epoll_ctl(l->epoll, EPOLL_CTL_DEL, source->fd, NULL);
	source->dead = true;
	l->has_dead = true;
}

static void sweep(struct loop *l)
{
	for (struct loop_source **p = &l->sources; *p;) {
		struct loop_source *s = *p;
		if (!s->dead) {
			p = &s->next;
			continue;
		}
		*p = s->next;
		source_free(s);
	}
	l->has_dead = false;
}

int loop_run(struct loop *l)
{
	struct epoll_event ev[32];

	while (!l->quit) {
		int n = epoll_wait(l->epoll, ev, 32, -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++) {
			struct loop_source *s = ev[i].data.ptr;
			if (s->dead)
				continue;
			if (s->timer) {
				uint64_t expirations;
				if (read(s->fd, &expirations, sizeof(expirations)) > 0)
					s->fire(s->arg);
			} else {
				s->io(s->arg, ev[i].events);
			}
		}
		if (l->has_dead)
			sweep(l);
	}
	l->quit = false;
	return 0;
}

void loop_quit(struct loop *l)
{
	l->quit = true;
}

uint64_t loop_now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
