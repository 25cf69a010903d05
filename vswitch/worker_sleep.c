// SPDX-License-Identifier: BSD-3-Clause
// Adaptive sleeping: after some empty rounds a worker arms notifications and waits in epoll, so
// that an idle switch costs next to nothing and the first packet wakes it in tens of microseconds.
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "dhcp/arp.h"
#include "vswitch/switch.h"
#include "vswitch/worker_sleep.h"

enum { TICK_MS = 1000 }; // worker 0 runs neighbour timers

static struct port *slot_port(struct worker *w, uint32_t slot)
{
	return atomic_load_explicit(&w->slots[slot].port, memory_order_acquire);
}

// A port's event fds may be replaced when its far end comes and goes: register what is there now.
// Closed ones have left the epoll by themselves.
static void follow_epochs(struct worker *w, const struct worker_polled *polled)
{
	for (uint32_t i = 0; i < polled->n; i++) {
		struct worker_slot *slot = &w->slots[polled->slots[i]];
		struct port *p = slot_port(w, polled->slots[i]);
		struct epoll_event ev = { .events = EPOLLIN, .data.u32 = polled->slots[i] };
		uint32_t epoch;
		int fd;

		if (!p)
			continue;
		// acquire: the fds are read after the epoch that announced them
		epoch = atomic_load_explicit(&p->epoch, memory_order_acquire);
		if (epoch == slot->epoch)
			continue;
		slot->epoch = epoch;
		fd = p->ops->event_fd(p, slot->queue);
		if (fd >= 0 && epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 &&
			errno == EEXIST)
			epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, fd, &ev);
	}
}

static bool arm(struct worker *w, const struct worker_polled *polled, uint32_t *ret_armed)
{
	for (*ret_armed = 0; *ret_armed < polled->n; ++*ret_armed) {
		uint32_t slot = polled->slots[*ret_armed];
		struct port *p = slot_port(w, slot);

		if (p && (!p->ops->arm || !p->ops->arm(p, w->slots[slot].queue)))
			return false;
	}
	return true;
}

static void disarm(struct worker *w, const struct worker_polled *polled, uint32_t armed)
{
	for (uint32_t i = 0; i < armed; i++) {
		uint32_t slot = polled->slots[i];
		struct port *p = slot_port(w, slot);

		if (p && p->ops->disarm)
			p->ops->disarm(p, w->slots[slot].queue);
	}
}

void worker_sleep(struct worker *w)
{
	struct worker_polled *polled = atomic_load_explicit(&w->polled, memory_order_acquire);
	uint32_t armed;
	bool quiet;

	follow_epochs(w, polled);
	quiet = arm(w, polled, &armed);
	if (quiet && rte_ring_empty(w->from_control)) {
		// seq_cst on both sides: either control sees us asleep and writes wake_fd, or we
		// see its message before we sleep.
		atomic_store(&w->sleeping, true);
		if (rte_ring_empty(w->from_control)) {
			rte_rcu_qsbr_thread_offline(w->sw->qsbr, w->index);
			w->n_ready = epoll_wait(
				w->epoll_fd, w->ready, WORKER_EVENTS, w->index == 0 ? TICK_MS : -1);
			rte_rcu_qsbr_thread_online(w->sw->qsbr, w->index);
		}
		atomic_store(&w->sleeping, false);
		// control may have replaced the list while we were offline
		polled = atomic_load_explicit(&w->polled, memory_order_acquire);
		armed = polled->n;
	}
	disarm(w, polled, armed);
	w->idle_loops = 0;
}

bool worker_event(struct worker *w, uint32_t slot)
{
	struct port *p;
	uint64_t count;

	if (slot == UINT32_MAX) {
		if (read(w->wake_fd, &count, sizeof(count)) < 0)
			return false;
		return false;
	}
	p = slot_port(w, slot);
	if (!p)
		return false;
	if (p->ops->arm) { // its queue is polled anyway; the kind knows how to quiet its fd
		p->ops->disarm(p, w->slots[slot].queue);
		return false;
	}
	return true;
}

static void announce(struct worker *w, const struct burst *b)
{
	for (uint32_t i = 0; i < b->policy->n_ports; i++) {
		const struct policy_port *p = b->policy->ports[i].p;
		uint8_t frame[ARP_FRAME_SIZE];

		if (p->mode != POLICY_PORT_UPLINK)
			continue;
		arp_build_announce(&p->mac, p->address, frame);
		worker_emit(w, b->policy, p->id, POLICY_NO_SEGMENT, 0, frame, sizeof(frame));
	}
}

void worker_announce(struct worker *w, const struct burst *b)
{
	uint64_t wanted = atomic_load_explicit(&w->sw->announce, memory_order_acquire);

	if (wanted == w->announced)
		return;
	w->announced = wanted;
	announce(w, b);
}

static int register_queue(struct worker *w, struct port *p, uint16_t queue, uint32_t slot)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = slot };
	int fd = p->ops->event_fd ? p->ops->event_fd(p, queue) : -1;

	if (fd < 0)
		return 0;
	if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	return 0;
}

// Queues that must be polled, or armed before sleep: all but those with a level-triggered fd.
static bool is_polled(const struct port *p, uint16_t queue)
{
	return p->ops->arm || !p->ops->event_fd ||
	       p->ops->event_fd((struct port *)(uintptr_t)p, queue) < 0;
}

static int publish_polled(struct worker *w)
{
	struct worker_polled *old = w->polled, *fresh;
	uint32_t n = 0;

	fresh = malloc(sizeof(*fresh) + WORKER_SLOTS * sizeof(fresh->slots[0]));
	if (!fresh)
		return -ENOMEM;
	for (uint16_t i = 0; i < WORKER_SLOTS; i++) {
		struct port *p = w->slots[i].port;

		if (p && is_polled(p, w->slots[i].queue))
			fresh->slots[n++] = i;
	}
	fresh->n = n;
	if (n == 0 && old->n == 0) {
		free(fresh);
		return 0;
	}
	// release: the list is complete before the worker sees it
	atomic_store_explicit(&w->polled, fresh, memory_order_release);
	worker_wake(w);
	switch_retire(w->sw, old, free);
	return 0;
}

int worker_add_queue(struct worker *w, struct port *p, uint16_t queue)
{
	int r;

	for (uint32_t i = 0; i < WORKER_SLOTS; i++) {
		struct worker_slot *slot = &w->slots[i];

		if (slot->port)
			continue;
		slot->queue = queue;
		slot->epoch = UINT32_MAX;
		// release: queue before port
		atomic_store_explicit(&slot->port, p, memory_order_release);
		r = register_queue(w, p, queue, i);
		if (r == 0 && is_polled(p, queue))
			r = publish_polled(w);
		if (r < 0)
			atomic_store_explicit(&slot->port, NULL, memory_order_release);
		return r;
	}
	return -ENOSPC;
}

void worker_del_port(struct worker *w, struct port *p)
{
	bool polled = false;

	for (uint32_t i = 0; i < WORKER_SLOTS; i++) {
		int fd;

		if (w->slots[i].port != p)
			continue;
		polled = polled || is_polled(p, w->slots[i].queue);
		fd = p->ops->event_fd ? p->ops->event_fd(p, w->slots[i].queue) : -1;
		if (fd >= 0)
			epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		atomic_store_explicit(&w->slots[i].port, NULL, memory_order_release);
	}
	if (polled)
		publish_polled(w);
}
