// SPDX-License-Identifier: BSD-3-Clause
// The device thread waits for events: descriptors that become readable. A function of a source runs
// on the thread that runs loop_run; sources are added and removed by any thread.
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct loop_source {
	int fd; // not owned
	// events: EPOLLIN, EPOLLHUP, EPOLLERR as they came
	void (*ready)(void *arg, uint32_t events);
	void *arg;
};

struct loop {
	int epoll;
	int stop; // eventfd
};

int loop_init(struct loop *l);
void loop_free(struct loop *l);
// The source must live, and not be changed, until loop_remove. events: EPOLLIN, EPOLLOUT, EPOLLET.
int loop_add(struct loop *l, struct loop_source *s, uint32_t events);
int loop_modify(struct loop *l, struct loop_source *s, uint32_t events);
// On the loop's thread: it is not called any more once this returns.
void loop_remove(struct loop *l, struct loop_source *s);
// Until loop_stop. Returns 0 or what epoll_wait answers.
int loop_run(struct loop *l);
// From any thread or signal handler.
void loop_stop(struct loop *l);
