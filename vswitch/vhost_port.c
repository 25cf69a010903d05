// SPDX-License-Identifier: BSD-3-Clause
// Port kind vhost-user: a guest's virtio-net queues, over librte_vhost. rx, tx, arm and disarm run
// on workers; create and destroy on the control thread; the far end comes and goes in
// vhost_events.c.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <rte_log.h>
#include "vswitch/vhost_port.h"

enum {
	DRAIN_EVERY = 16, // disarms after which a queue's epoll set is emptied for good measure
};

// What librte_vhost would offer and virtq.h does not speak: packed rings, UFO (refused by parse),
// the dirty log.
#define FEATURES_OFF \
	(1ULL << VIRTIO_F_RING_PACKED | 1ULL << VIRTIO_NET_F_HOST_UFO | \
		1ULL << VIRTIO_NET_F_GUEST_UFO | 1ULL << VHOST_F_LOG_ALL)
#define PROTOCOL_FEATURES \
	(1ULL << VHOST_USER_PROTOCOL_F_MQ | 1ULL << VHOST_USER_PROTOCOL_F_REPLY_ACK | \
		1ULL << VHOST_USER_PROTOCOL_F_NET_MTU | 1ULL << VHOST_USER_PROTOCOL_F_STATUS)

// The queue stands still until the guest resets it (GET_VRING_BASE) or its front end comes anew.
static void report_fault(struct worker *w, struct port *p, unsigned vring)
{
	struct vhost_port *vp = p->priv;

	if (atomic_fetch_or(&vp->broken, 1U << vring) & 1U << vring)
		return;
	p->counters[worker_index(w)]->drops[DROP_PARSE_VIRTQ]++;
	atomic_store(&p->up, 0);
}

// After a burst: may the ring go on?
static bool is_good(const struct vhost_port *vp, struct virtq *q)
{
	if (unlikely(atomic_load_explicit(&vp->torn, memory_order_relaxed)))
		q->fault = VIRTQ_FAULT_MEMORY;
	return likely(q->fault == VIRTQ_FAULT_NONE);
}

// ---- receive and transmit

static uint16_t vhost_rx(struct worker *w, struct port *p, uint16_t queue,
	struct rte_mbuf **ret_pkts, uint16_t n, uint64_t now_ns)
{
	struct vhost_port *vp = p->priv;
	struct vhost_vring *ring = &vp->queues[queue].rx;
	uint16_t n_got = 0;

	if (!rte_spinlock_trylock(&ring->lock)) // the far end is leaving
		return 0;
	if (likely(ring->on)) {
		n_got = virtq_rx(&ring->q, worker_small_pool(w), ret_pkts, n,
			p->counters[worker_index(w)]->drops);
		if (unlikely(!is_good(vp, &ring->q)))
			report_fault(w, p, 2U * queue + 1);
	}
	rte_spinlock_unlock(&ring->lock);
	return n_got;
}

// A guest may enable fewer queues than the port has.
static unsigned tx_queue(const struct vhost_port *vp, unsigned queue)
{
	uint32_t tx = atomic_load_explicit(&vp->enabled, memory_order_relaxed) & 0x55555555;

	if (tx & 1U << 2 * queue || tx == 0)
		return queue;
	for (unsigned skip = queue % (unsigned)__builtin_popcount(tx); skip > 0; skip--)
		tx &= tx - 1;
	return (unsigned)__builtin_ctz(tx) / 2;
}

static uint16_t vhost_tx(struct worker *w, struct port *p, uint16_t queue, struct rte_mbuf **pkts,
	uint16_t n, struct port_sent *sent)
{
	struct vhost_port *vp = p->priv;
	unsigned q = tx_queue(vp, queue);
	struct vhost_vring *ring = &vp->queues[q].tx;
	uint16_t n_sent = 0;

	// Another worker holds it for at most a burst.
	rte_spinlock_lock(&ring->lock);
	if (likely(ring->on)) {
		n_sent = virtq_tx(&ring->q, pkts, n, &sent->bytes);
		if (unlikely(!is_good(vp, &ring->q)))
			report_fault(w, p, 2 * q);
	} else if (!atomic_load_explicit(&p->up, memory_order_relaxed)) {
		sent->why = DROP_TX_NO_PORT;
	}
	rte_spinlock_unlock(&ring->lock);
	rte_pktmbuf_free_bulk(pkts, n); // copied or refused: ours no more
	return n_sent;
}

// ---- sleep

static int vhost_event_fd(struct port *p, uint16_t queue)
{
	return ((struct vhost_port *)p->priv)->queues[queue].epoll_fd;
}

// Forgets the edges seen so far. The fds themselves are not read.
static void drain(struct vhost_queue *q)
{
	struct epoll_event ev[2];

	q->n_quiet = 0;
	atomic_store_explicit(&q->woken, 0, memory_order_relaxed);
	(void)epoll_wait(q->epoll_fd, ev, 2, 0);
}

static bool vhost_arm(struct port *p, uint16_t queue)
{
	struct vhost_port *vp = p->priv;
	struct vhost_queue *q = &vp->queues[queue];
	bool quiet = true;

	if (!rte_spinlock_trylock(&q->rx.lock)) // coming or going; its wake-up follows
		return false;
	if (q->rx.on) {
		virtq_notify_on(&q->rx.q);
		quiet = !virtq_waiting(&q->rx.q);
		if (!quiet)
			virtq_notify_off(&q->rx.q);
	}
	rte_spinlock_unlock(&q->rx.lock);
	return quiet;
}

static void vhost_disarm(struct port *p, uint16_t queue)
{
	struct vhost_port *vp = p->priv;
	struct vhost_queue *q = &vp->queues[queue];
	bool kicked = atomic_load_explicit(&q->woken, memory_order_acquire);

	if (rte_spinlock_trylock(&q->rx.lock)) {
		if (q->rx.on) {
			virtq_notify_off(&q->rx.q);
			kicked |= virtq_waiting(&q->rx.q);
		}
		rte_spinlock_unlock(&q->rx.lock);
	}
	// A worker of a thousand quiet queues must not pay a system call for each: only those that
	// have something were kicked, and a stray kick costs a few wake-ups until the next drain.
	if (kicked || ++q->n_quiet >= DRAIN_EVERY)
		drain(q);
}

// ---- create and destroy

static void close_queues(struct vhost_port *vp, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct vhost_queue *q = &vp->queues[i];

		if (q->kick_fd >= 0)
			close(q->kick_fd);
		if (q->wake_fd >= 0)
			close(q->wake_fd);
		if (q->epoll_fd >= 0)
			close(q->epoll_fd);
	}
}

static int open_queues(struct vhost_port *vp, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct vhost_queue *q = &vp->queues[i];
		struct epoll_event ev = { .events = EPOLLIN | EPOLLET };

		rte_spinlock_init(&q->rx.lock);
		rte_spinlock_init(&q->tx.lock);
		q->kick_fd = -1;
		q->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		q->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (q->epoll_fd < 0 || q->wake_fd < 0 ||
			epoll_ctl(q->epoll_fd, EPOLL_CTL_ADD, q->wake_fd, &ev) != 0) {
			int r = -errno;

			close_queues(vp, i + 1);
			return r;
		}
	}
	return 0;
}

// A listening socket whose owner died leaves its name behind; one in use must not be taken away.
static int remove_stale_socket(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct stat st;
	int fd, r = 0;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	if (connect(fd, (const struct sockaddr *)&un, sizeof(un)) == 0 || errno != ECONNREFUSED)
		r = -EADDRINUSE;
	else if (unlink(path) != 0)
		r = -errno;
	close(fd);
	return r;
}

// A listening socket is open to whoever may enter its folder: front ends run as users of their own.
// The control thread alone makes files, so the mask is nobody else's for that moment.
static int start_listening(const struct vhost_port *vp)
{
	mode_t mask = umask(0);
	int r = rte_vhost_driver_start(vp->path);

	umask(mask);
	return r;
}

static int start_driver(struct vhost_port *vp)
{
	uint64_t flags = vp->is_server ? 0 : RTE_VHOST_USER_CLIENT;

	// What it logs, a guest can make it log, at any rate; `refused` and `up` tell what matters.
	rte_log_set_level_pattern("lib.vhost.*", RTE_LOG_CRIT);
	if (rte_vhost_driver_register(vp->path, flags) != 0)
		return -ENOMEM;
	if (rte_vhost_driver_disable_features(vp->path, FEATURES_OFF) != 0 ||
		rte_vhost_driver_set_protocol_features(vp->path, PROTOCOL_FEATURES) != 0 ||
		rte_vhost_driver_callback_register(vp->path, &vhost_device_ops) != 0 ||
		start_listening(vp) != 0) {
		rte_vhost_driver_unregister(vp->path);
		return -EIO;
	}
	return 0;
}

static int check_params(const struct port_params *params, char *err, size_t err_size)
{
	size_t path_max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

	if (params->n_queues == 0 || params->n_queues > PORT_MAX_QUEUES) {
		snprintf(err, err_size, "vhost-user takes 1 to %d queues", PORT_MAX_QUEUES);
		return -EINVAL;
	}
	if (params->arg[0] != '/' || strnlen(params->arg, sizeof(params->arg)) > path_max) {
		snprintf(err, err_size,
			"vhost-user wants the absolute path of a unix socket, at most %zu "
			"bytes long",
			path_max);
		return -EINVAL;
	}
	return 0;
}

// The folder for the switch's own socket: where it may make one.
static int open_park(const struct vhost_port *vp)
{
	const char *run_dir = getenv("RUNTIME_DIRECTORY"), *slash = strrchr(vp->path, '/');
	char folder[sizeof(vp->path)];

	if (run_dir != NULL)
		snprintf(folder, sizeof(folder), "%s/vhost", run_dir);
	else
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - vp->path), vp->path);
	return vhost_park_open(folder);
}

// Goes among the ports that connections are looked up in, takes over or waits at its socket.
static int start(struct vhost_port *vp, char *err, size_t err_size)
{
	int r = vhost_events_add(vp);

	if (r != 0) {
		snprintf(err, err_size, "another port has the socket %s", vp->path);
		return r;
	}
	if (vp->is_server) {
		r = remove_stale_socket(vp->path);
		if (r != 0) {
			snprintf(err, err_size, "cannot listen on %s: %s", vp->path, strerror(-r));
			goto remove;
		}
	}
	vhost_memory_catch();
	r = open_park(vp);
	if (r == 0)
		r = start_driver(vp);
	if (r != 0) {
		snprintf(err, err_size,
			"cannot start vhost-user on %s (is its folder there and writable?)",
			vp->path);
		goto remove;
	}
	return 0;

remove:
	if (vhost_events_remove(vp))
		vhost_park_close();
	return r;
}

static int vhost_create(
	struct port *p, const struct port_params *params, char *err, size_t err_size)
{
	struct vhost_port *vp;
	int r = check_params(params, err, err_size);

	if (r != 0)
		return r;
	vp = aligned_alloc(64, sizeof(*vp));
	if (vp == NULL) {
		snprintf(err, err_size, "out of memory");
		return -ENOMEM;
	}
	memset(vp, 0, sizeof(*vp));
	vp->port = p;
	vp->vid = -1;
	vp->is_server = params->flags & PROTO_PORT_VHOST_SERVER;
	snprintf(vp->path, sizeof(vp->path), "%s", params->arg);
	r = open_queues(vp, params->n_queues);
	if (r != 0) {
		snprintf(err, err_size, "no eventfd or epoll set: %s", strerror(-r));
		goto free_port;
	}
	// Callbacks may come before create returns.
	p->n_queues = (uint16_t)params->n_queues;
	p->priv = vp;
	r = start(vp, err, err_size);
	if (r != 0)
		goto close_queues;
	return 0;

close_queues:
	close_queues(vp, params->n_queues);
free_port:
	p->priv = NULL;
	free(vp);
	return r;
}

static void vhost_destroy(struct port *p)
{
	struct vhost_port *vp = p->priv;
	bool parked = vhost_park();

	// Ends the connection (destroy_device comes from in here), stops listening or reconnecting.
	rte_vhost_driver_unregister(vp->path);
	if (parked)
		vhost_unpark();
	if (vhost_events_remove(vp))
		vhost_park_close();
	close_queues(vp, p->n_queues);
	free(vp);
	p->priv = NULL;
}

static unsigned vhost_get_fds(struct port *p, int ret_fds[PORT_MAX_QUEUES])
{
	return 0; // the far end's are its own; a new switch reconnects by path
}

const struct port_ops port_vhost_ops = {
	.name = "vhost-user",
	.create = vhost_create,
	.destroy = vhost_destroy,
	.rx = vhost_rx,
	.tx = vhost_tx,
	.event_fd = vhost_event_fd,
	.arm = vhost_arm,
	.disarm = vhost_disarm,
	.get_fds = vhost_get_fds,
};
