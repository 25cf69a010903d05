// SPDX-License-Identifier: BSD-3-Clause
// A worker: one thread that runs packets to completion over the queues given to it. Everything here
// is written by the worker itself unless a field says otherwise.
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include "vswitch/port.h"

struct switch_;
struct policy;
struct watch;

enum {
	WORKER_SLOTS = 16384, // queues one worker can serve
	WORKER_RING = 1024,
	WORKER_EVENTS = 64,
	// Loops without a packet before a worker with polled queues arms notifications and sleeps.
	WORKER_IDLE_LOOPS = 64,
	// Mode poll: how long a quiet epoll is left alone beside queues that are polled.
	WORKER_ASK_NS = 10000,
};

struct worker_slot {
	struct port *_Atomic port; // control writes; the worker reads with acquire
	uint16_t queue; // control writes before port
	uint32_t epoch; // of the port when its event fd was last registered; worker
};

struct worker_polled { // published by control with release, freed after a grace period
	uint32_t n;
	uint16_t slots[];
};

struct worker {
	struct switch_ *sw; // immutable
	unsigned index; // immutable
	pthread_t thread; // control
	int epoll_fd, wake_fd; // immutable; control adds and removes fds of the epoll
	_Atomic bool stop; // control writes
	_Atomic bool sleeping; // the worker writes, control reads before it wakes
	struct worker_slot *slots; // WORKER_SLOTS
	struct worker_polled
		*_Atomic polled; // control publishes: queues without a level-triggered fd
	struct rte_mempool *small, *big;
	struct rte_ring *to_control, *from_control; // struct worker_message
	struct epoll_event ready[WORKER_EVENTS]; // what a wake-up told, for the round after it
	int n_ready;
	bool asked_ready; // something was ready when epoll was asked last
	uint64_t asked_ns; // when that was
	uint64_t now_ns; // CLOCK_MONOTONIC when this round began
	uint64_t ring_full; // messages to control that found no room
	_Atomic uint64_t rounds; // begun; the control thread sees by it that the worker goes on
	uint64_t busy_rounds;
	uint64_t drops[DROP_COUNT]; // those without a port; ports count their own
	uint32_t idle_loops;
	uint64_t announced; // of switch.announce
	struct watch *watch; // replay's; NULL in a live worker
};

int worker_new(struct switch_ *sw, unsigned index, struct worker **ret_worker);
void worker_free(struct worker *w);
int worker_start(struct worker *w);
void worker_stop(struct worker *w); // and waits for its thread
void worker_wake(struct worker *w);

// Control: gives a queue to the worker / takes it away (the caller then waits for a grace period).
int worker_add_queue(struct worker *w, struct port *p, uint16_t queue);
void worker_del_port(struct worker *w, struct port *p);

// One round over all queues: receives, runs the pipeline, sends. Returns packets received. The
// thread calls it for ever; replay and tests call it with their own time.
unsigned worker_round(struct worker *w, uint64_t now_ns);

// Frees the packet and counts the reason at the port it came in on.
void worker_drop(struct worker *w, struct rte_mbuf *m, enum drop_reason reason);
// Who wants to hear of every drop: replay, which runs workers in its own thread.
struct watch {
	void (*drop)(struct watch *watch, struct rte_mbuf *m, enum drop_reason reason);
};
// A frame made by the switch, to leave on `port` as it is in segment `segment` (index, or
// POLICY_NO_SEGMENT for uplinks) of `policy`, which is the one the segment's index was taken from;
// -ENOBUFS. It passes vlan egress and tx only. trace: of the packet that asked for it, 0 = none
// did.
int worker_emit(struct worker *w, const struct policy *policy, uint32_t port, uint32_t segment,
	uint32_t trace, const void *frame, size_t size);
