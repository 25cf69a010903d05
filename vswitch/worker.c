// SPDX-License-Identifier: BSD-3-Clause
// A worker's life: rounds over its queues, the rings to and from control, quiescent states.
// Sleeping is in worker_sleep.c. Everything runs on the worker's thread unless its comment says
// control.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <rte_lcore.h>
#include "vswitch/message.h"
#include "vswitch/switch.h"
#include "vswitch/worker_sleep.h"

struct rte_mempool *worker_small_pool(struct worker *w)
{
	return w->small;
}

struct rte_mempool *worker_big_pool(struct worker *w)
{
	return w->big;
}

unsigned worker_index(const struct worker *w)
{
	return w->index;
}

static struct rte_mempool *pool_new(const char *kind, unsigned index, uint32_t n, uint32_t room)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "%s%u", kind, index);
	return rte_pktmbuf_pool_create(name, n, n > 512 ? 64 : 0,
		RTE_ALIGN(sizeof(struct packet), RTE_CACHE_LINE_SIZE),
		(uint16_t)RTE_MIN(room + PACKET_HEADROOM, (uint32_t)UINT16_MAX), SOCKET_ID_ANY);
}

static struct rte_ring *ring_new(const char *kind, unsigned index)
{
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "%s%u", kind, index);
	return rte_ring_create(name, WORKER_RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

int worker_new(struct switch_ *sw, unsigned index, struct worker **ret_worker)
{
	struct worker *w =
		aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN(sizeof(*w), RTE_CACHE_LINE_SIZE));
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = UINT32_MAX };

	if (!w)
		return -ENOMEM;
	memset(w, 0, sizeof(*w));
	w->sw = sw;
	w->index = index;
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->slots = calloc(WORKER_SLOTS, sizeof(*w->slots));
	w->polled = calloc(1, sizeof(struct worker_polled));
	w->small = pool_new("small", index, sw->cfg.n_small, PACKET_SMALL_ROOM);
	w->big = pool_new("big", index, sw->cfg.n_big, PACKET_BIG_ROOM);
	w->to_control = ring_new("up", index);
	w->from_control = ring_new("down", index);
	if (w->epoll_fd < 0 || w->wake_fd < 0 || !w->slots || !w->polled || !w->small || !w->big ||
		!w->to_control || !w->from_control ||
		epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->wake_fd, &ev) < 0) {
		worker_free(w);
		return -ENOMEM;
	}
	*ret_worker = w;
	return 0;
}

// With all ports gone nobody has a packet any more.
static void pools_free(struct worker *w)
{
	unsigned n_small = w->small ? rte_mempool_in_use_count(w->small) : 0;
	unsigned n_big = w->big ? rte_mempool_in_use_count(w->big) : 0;

	if (n_small + n_big > 0)
		fprintf(stderr, "insula-switch: worker %u: %u packet buffers were lost\n", w->index,
			n_small + n_big);
	rte_mempool_free(w->small);
	rte_mempool_free(w->big);
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	if (w->epoll_fd >= 0)
		close(w->epoll_fd);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	free(w->slots);
	free(w->polled);
	pools_free(w);
	rte_ring_free(w->to_control);
	rte_ring_free(w->from_control);
	free(w);
}

void worker_wake(struct worker *w)
{
	uint64_t one = 1;

	if (write(w->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		fprintf(stderr, "insula-switch: worker %u: wake: %s\n", w->index, strerror(errno));
}

void worker_drop(struct worker *w, struct rte_mbuf *m, enum drop_reason reason)
{
	struct port *p = switch_port(w->sw, packet_of(m)->in_port);

	if (w->watch)
		w->watch->drop(w->watch, m, reason);
	if (p)
		p->counters[w->index]->drops[reason]++;
	else
		w->drops[reason]++;
	rte_pktmbuf_free(m);
}

int worker_emit(struct worker *w, const struct policy *policy, uint32_t port, uint32_t segment,
	uint32_t trace, const void *frame, size_t size)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(w->small);
	struct burst b;
	struct packet *p;
	char *data;

	if (!m)
		return -ENOBUFS;
	data = rte_pktmbuf_append(m, (uint16_t)size);
	if (!data) {
		rte_pktmbuf_free(m);
		return -EMSGSIZE;
	}
	memcpy(data, frame, size);
	p = packet_of(m);
	*p = (struct packet){ .out_port = (uint16_t)port,
		.flags = PACKET_LOCAL,
		.segment = segment,
		.l3_off = ETH_HDR_SIZE,
		.session = SESSION_NONE,
		.nexthop = NEXTHOP_NONE,
		.trace = trace };
	burst_begin(&b, policy, w->now_ns);
	b.pkts[b.n++] = m;
	pipeline_run_tail(w, &b);
	return 0;
}

// What control wants sent: replies to parked DHCP requests.
static unsigned from_control(struct worker *w)
{
	struct worker_message *msg;
	unsigned n = 0;

	while (n < BURST_MAX && rte_ring_dequeue(w->from_control, (void **)&msg) == 0) {
		const struct policy *pol =
			atomic_load_explicit(&w->sw->policy, memory_order_acquire);
		const struct policy_prt *prt = policy_port(pol, msg->port);

		if (msg->kind == MESSAGE_EMIT && prt)
			worker_emit(w, pol, msg->port, prt->segment, 0, msg->emit.frame,
				msg->emit.size);
		rte_mempool_put(w->sw->messages, msg);
		n++;
	}
	return n;
}

static unsigned receive(struct worker *w, struct worker_slot *slot)
{
	// acquire: pairs with control's release in worker_add_queue: queue and port are complete
	struct port *p = atomic_load_explicit(&slot->port, memory_order_acquire);
	struct burst b;
	struct port_counters *c;
	uint64_t bytes = 0;
	uint16_t n;

	if (!p)
		return 0;
	n = p->ops->rx(w, p, slot->queue, b.pkts, BURST_MAX, w->now_ns);
	if (n == 0)
		return 0;
	c = p->counters[w->index];
	c->rx_packets += n;
	for (uint16_t i = 0; i < n; i++)
		bytes += b.pkts[i]->pkt_len;
	c->rx_bytes += bytes;
	// acquire: pairs with the release store that published the policy
	burst_begin(&b, atomic_load_explicit(&w->sw->policy, memory_order_acquire), w->now_ns);
	b.n = n;
	pipeline_run(w, &b);
	return n;
}

// An fd that failed for good (a tap somebody deleted) stays readable for ever; until control
// removes the port it must not keep the worker awake.
static void forget_dead(struct worker *w, const struct worker_slot *slot)
{
	struct port *p = atomic_load_explicit(&slot->port, memory_order_acquire);

	if (p && atomic_load_explicit(&p->dead, memory_order_relaxed))
		epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, p->ops->event_fd(p, slot->queue), NULL);
}

// A system call costs as much as some packets do: a polling worker asks in every round only while
// there is something to hear. An adaptive one asks each time: the idle rounds before it sleeps are
// counted, not timed.
static void ask(struct worker *w, const struct worker_polled *polled)
{
	if (w->n_ready != 0)
		return;
	if (w->sw->cfg.poll && polled->n != 0 && !w->asked_ready &&
		w->now_ns - w->asked_ns < WORKER_ASK_NS)
		return;
	w->n_ready = epoll_wait(w->epoll_fd, w->ready, WORKER_EVENTS, 0);
	w->asked_ready = w->n_ready > 0;
	w->asked_ns = w->now_ns;
}

static unsigned receive_ready(struct worker *w, const struct worker_polled *polled)
{
	unsigned n = 0;

	ask(w, polled);
	for (int i = 0; i < w->n_ready; i++) {
		uint32_t slot = w->ready[i].data.u32;
		unsigned got;

		if (!worker_event(w, slot))
			continue;
		got = receive(w, &w->slots[slot]);
		if (got == 0)
			forget_dead(w, &w->slots[slot]);
		n += got;
	}
	w->n_ready = 0;
	return n;
}

unsigned worker_round(struct worker *w, uint64_t now_ns)
{
	struct worker_polled *polled = atomic_load_explicit(&w->polled, memory_order_acquire);
	unsigned n;

	w->now_ns = now_ns;
	// relaxed, and not an atomic addition: nobody else writes
	atomic_store_explicit(&w->rounds,
		atomic_load_explicit(&w->rounds, memory_order_relaxed) + 1, memory_order_relaxed);
	n = from_control(w);
	n += receive_ready(w, polled);
	for (uint32_t i = 0; i < polled->n; i++)
		n += receive(w, &w->slots[polled->slots[i]]);
	if (w->index == 0) {
		struct burst b;

		burst_begin(&b, atomic_load_explicit(&w->sw->policy, memory_order_acquire), now_ns);
		neighbour_tick(w, &b);
		worker_announce(w, &b);
	}
	if (n)
		w->busy_rounds++;
	return n;
}

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

// Having nothing to arm, a worker of nothing but level-triggered fds loses nothing by waiting in
// epoll at once: what it would spin away, the stacks at both ends can use.
static uint32_t idle_loops_max(struct worker *w)
{
	return atomic_load_explicit(&w->polled, memory_order_acquire)->n ? WORKER_IDLE_LOOPS : 0;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct rte_rcu_qsbr *qsbr = w->sw->qsbr;
	char name[16];

	snprintf(name, sizeof(name), "worker-%u", w->index);
	pthread_setname_np(pthread_self(), name);
	if (rte_thread_register() < 0) // gives the mempools their per-thread cache
		fprintf(stderr, "insula-switch: worker %u runs without mempool cache\n", w->index);
	rte_rcu_qsbr_thread_register(qsbr, w->index);
	rte_rcu_qsbr_thread_online(qsbr, w->index);
	while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
		unsigned n = worker_round(w, clock_ns());

		rte_rcu_qsbr_quiescent(qsbr, w->index);
		if (n)
			w->idle_loops = 0;
		else if (!w->sw->cfg.poll && ++w->idle_loops > idle_loops_max(w))
			worker_sleep(w);
	}
	rte_rcu_qsbr_thread_offline(qsbr, w->index);
	rte_rcu_qsbr_thread_unregister(qsbr, w->index);
	rte_thread_unregister();
	return NULL;
}

int worker_start(struct worker *w)
{
	return -pthread_create(&w->thread, NULL, worker_main, w);
}

void worker_stop(struct worker *w)
{
	atomic_store_explicit(&w->stop, true, memory_order_relaxed);
	worker_wake(w);
	pthread_join(w->thread, NULL);
}
