// SPDX-License-Identifier: BSD-3-Clause
// See loop.h.
#include "vmm/loop.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

int loop_init(struct loop *l)
{
	struct epoll_event stop = { .events = EPOLLIN };
	int err;

	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll < 0)
		return -errno;
	l->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->stop < 0) {
		err = -errno;
		goto fail_epoll;
	}
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->stop, &stop) == 0)
		return 0;
	err = -errno;
	close(l->stop);
fail_epoll:
	close(l->epoll);
	return err;
}

void loop_free(struct loop *l)
{
	close(l->stop);
	close(l->epoll);
}

static int control(struct loop *l, struct loop_source *s, int op, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = s };

	return epoll_ctl(l->epoll, op, s->fd, &event) < 0 ? -errno : 0;
}

int loop_add(struct loop *l, struct loop_source *s, uint32_t events)
{
	return control(l, s, EPOLL_CTL_ADD, events);
}

int loop_modify(struct loop *l, struct loop_source *s, uint32_t events)
{
	return control(l, s, EPOLL_CTL_MOD, events);
}

void loop_remove(struct loop *l, struct loop_source *s)
{
	control(l, s, EPOLL_CTL_DEL, 0);
}

int loop_run(struct loop *l)
{
	for (;;) {
		struct epoll_event
			event; // one: an event must not outlive the removal of its source
		int n = epoll_wait(l->epoll, &event, 1, -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 1)
			continue;
		struct loop_source *s = event.data.ptr;

		if (!s)
			return 0;
		s->ready(s->arg, event.events);
	}
}

void loop_stop(struct loop *l)
{
	const uint64_t one = 1;

	if (write(l->stop, &one, sizeof(one)) < 0)
		return; // full: it is signalled already
}
