// SPDX-License-Identifier: BSD-3-Clause
// Port kind vhost-user, the far end's coming and going: librte_vhost's callbacks become the port's
// `up`, `offloads`, enabled vrings and wake-ups. Runs on librte_vhost's event thread (also its
// reconnect thread for new_connection, and the control thread inside rte_vhost_driver_unregister);
// librte_vhost never runs two callbacks of one port at a time. Lock rules: vhost_port.h.

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "vswitch/vhost_port.h"

enum {
	CONNECTIONS_MAX = 4, // of one server port: half-open ones must not eat the shared tables
	CONNECTS_PER_S = 20, // faster ones wait, see throttle()
	CONNECT_PAUSE_NS = 20 * 1000 * 1000,
	IO_TIMEOUT_US = 100 * 1000,
	CLOSED_FDS_MAX = 128,
};

// librte_vhost hands callbacks a device number and nothing else. A device's slot is written when
// its connection begins and cleared when it ends; `enabled` collects its vrings until it attaches.
static struct {
	_Atomic(struct vhost_port *) vp;
	_Atomic uint32_t enabled;
} devices[RTE_MAX_VHOST_DEVICE];

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vhost_port *registry;

int vhost_events_add(struct vhost_port *vp)
{
	int r = 0;

	pthread_mutex_lock(&registry_lock);
	for (struct vhost_port *o = registry; o != NULL; o = o->next)
		if (strcmp(o->path, vp->path) == 0)
			r = -EEXIST;
	if (r == 0) {
		vp->next = registry;
		registry = vp;
	}
	pthread_mutex_unlock(&registry_lock);
	return r;
}

bool vhost_events_remove(struct vhost_port *vp)
{
	bool last;

	pthread_mutex_lock(&registry_lock);
	for (struct vhost_port **o = &registry; *o != NULL; o = &(*o)->next)
		if (*o == vp) {
			*o = vp->next;
			break;
		}
	last = registry == NULL;
	pthread_mutex_unlock(&registry_lock);

	// rte_vhost_driver_unregister ends connections without destroy_connection.
	for (int vid = 0; vid < RTE_MAX_VHOST_DEVICE; vid++)
		if (atomic_load(&devices[vid].vp) == vp) {
			vhost_memory_forget(vid);
			atomic_store(&devices[vid].vp, NULL);
		}
	return last;
}

struct vhost_port *vhost_events_port(int vid)
{
	return vid >= 0 && vid < RTE_MAX_VHOST_DEVICE ? atomic_load(&devices[vid].vp) : NULL;
}

static void drop_kick(struct vhost_queue *q)
{
	if (q->kick_fd < 0)
		return;
	// Removed by hand: the VMM shares the open file, so closing alone would leave it in the
	// set.
	epoll_ctl(q->epoll_fd, EPOLL_CTL_DEL, q->kick_fd, NULL);
	close(q->kick_fd);
	q->kick_fd = -1;
}

static void take_kick(struct vhost_port *vp, int vid, unsigned queue)
{
	struct vhost_queue *q = &vp->queues[queue];
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	struct rte_vhost_vring vring;

	drop_kick(q);
	if (rte_vhost_get_vhost_vring(vid, (uint16_t)(2 * queue + 1), &vring) != 0 ||
		vring.kickfd < 0)
		return;
	q->kick_fd = fcntl(vring.kickfd, F_DUPFD_CLOEXEC, 3);
	if (q->kick_fd >= 0 && epoll_ctl(q->epoll_fd, EPOLL_CTL_ADD, q->kick_fd, &ev) != 0) {
		close(q->kick_fd); // not pollable: this guest's packets wait for the next wake-up
		q->kick_fd = -1;
	}
}

static void wake(struct vhost_queue *q)
{
	uint64_t one = 1;

	// Released before the write that makes the fd readable: who wakes up sees the flag.
	atomic_store_explicit(&q->woken, 1, memory_order_release);
	(void)!write(q->wake_fd, &one, sizeof(one)); // non-blocking; full means readable already
}

// Workers learn of it at once: after an attach each queue wants one look, whoever missed a kick.
static void update_up(struct vhost_port *vp)
{
	bool up = vp->vid >= 0 && atomic_load(&vp->enabled) != 0 && atomic_load(&vp->broken) == 0;

	atomic_store(&vp->port->up, up);
	if (up && atomic_load(&vp->broken) != 0) // a worker said so meanwhile
		atomic_store(&vp->port->up, 0);
	for (unsigned q = 0; q < vp->port->n_queues; q++)
		wake(&vp->queues[q]);
}

static void detach(struct vhost_port *vp)
{
	struct port *p = vp->port;

	vhost_rings_take(vp); // waits until no worker is inside
	atomic_store(&vp->enabled, 0);
	atomic_store(&vp->broken, 0);
	vp->vid = -1;
	atomic_store(&p->offloads, 0);
	for (unsigned q = 0; q < p->n_queues; q++)
		drop_kick(&vp->queues[q]);
	update_up(vp);
}

static uint32_t offloads_of(int vid)
{
	uint64_t features = 0;
	uint32_t offloads = 0;

	if (rte_vhost_get_negotiated_features(vid, &features) != 0)
		return 0;
	if (features & (1ULL << VIRTIO_NET_F_GUEST_CSUM))
		offloads |= PORT_OFFLOAD_CSUM;
	if (features & (1ULL << VIRTIO_NET_F_GUEST_TSO4))
		offloads |= PORT_OFFLOAD_TSO4;
	if (features & (1ULL << VIRTIO_NET_F_GUEST_TSO6))
		offloads |= PORT_OFFLOAD_TSO6;
	// virtio 1.1, 5.1.3.1: TSO needs CSUM. A peer that negotiated otherwise gets neither.
	return offloads & PORT_OFFLOAD_CSUM ? offloads : 0;
}

static int new_device(int vid)
{
	struct vhost_port *vp = vhost_events_port(vid);

	if (vp == NULL)
		return -1;
	// The newest ready device wins: a front end killed and back at once must not wait for its
	// ghost.
	if (vp->vid >= 0 && vp->vid != vid)
		detach(vp);

	atomic_store(&vp->port->offloads, offloads_of(vid));
	atomic_store(&vp->enabled, atomic_load(&devices[vid].enabled));
	for (unsigned q = 0; q < vp->port->n_queues; q++)
		take_kick(vp, vid, q);
	vp->vid = vid;
	atomic_store(&vp->torn, vhost_memory_torn(vid));
	vhost_rings_give(vp);
	update_up(vp);
	return 0;
}

static void destroy_device(int vid)
{
	struct vhost_port *vp = vhost_events_port(vid);

	if (vp != NULL && vp->vid == vid)
		detach(vp);
}

static int vring_state_changed(int vid, uint16_t vring, int enable)
{
	struct vhost_port *vp = vhost_events_port(vid);
	uint32_t bit;

	if (vp == NULL || vring >= 2 * vp->port->n_queues)
		return 0;
	bit = 1U << vring;
	if (enable)
		atomic_fetch_or(&devices[vid].enabled, bit);
	else
		atomic_fetch_and(&devices[vid].enabled, ~bit);
	if (vp->vid != vid)
		return 0;

	vhost_rings_take_one(vp, vring);
	if (enable) {
		atomic_fetch_or(&vp->enabled, bit);
		vhost_rings_give_one(vp, vring);
	} else {
		atomic_fetch_and(&vp->enabled, ~bit);
	}
	if (vring & 1) {
		if (enable)
			take_kick(vp, vid, vring / 2);
		else
			drop_kick(&vp->queues[vring / 2]);
	}
	update_up(vp);
	return 0;
}

// librte_vhost reads a message's payload blockingly on the one thread all ports share. Its fd is
// not shown to us, but every unix stream socket of this process is a vhost-user connection. A new
// fd is the lowest free one: behind a stretch of closed ones there is none.
static void set_timeouts(void)
{
	struct timeval timeout = { .tv_usec = IO_TIMEOUT_US };

	for (int fd = 3, n_closed = 0; n_closed < CLOSED_FDS_MAX; fd++) {
		int domain = 0, type = 0;
		socklen_t size = sizeof(int);

		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) {
			n_closed = errno == EBADF ? n_closed + 1 : 0;
			continue;
		}
		n_closed = 0;
		if (domain != AF_UNIX || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
			type != SOCK_STREAM)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	}
}

// A peer that accepts and hangs up at once would make librte_vhost reconnect without a pause. The
// pause is the other ports' too, which is why it is short.
static void throttle(struct vhost_port *vp)
{
	struct timespec now, pause = { .tv_nsec = CONNECT_PAUSE_NS };
	uint64_t now_ns;

	clock_gettime(CLOCK_MONOTONIC, &now);
	now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	if (now_ns - vp->connect_window_ns > 1000000000) {
		vp->connect_window_ns = now_ns;
		vp->n_connects = 0;
	}
	if (++vp->n_connects > CONNECTS_PER_S)
		nanosleep(&pause, NULL);
}

static int new_connection(int vid)
{
	struct vhost_port *vp;
	char name[PATH_MAX];

	if (vid >= RTE_MAX_VHOST_DEVICE || rte_vhost_get_ifname(vid, name, sizeof(name)) != 0)
		return -1;
	if (vhost_parked(name))
		return -1;
	pthread_mutex_lock(&registry_lock);
	for (vp = registry; vp != NULL; vp = vp->next)
		if (strcmp(vp->path, name) == 0)
			break;
	pthread_mutex_unlock(&registry_lock);
	// Only a server may refuse: librte_vhost never retries a client that did.
	if (vp == NULL || (vp->is_server && vp->n_connections >= CONNECTIONS_MAX))
		return -1;

	if (!vp->is_server)
		throttle(vp);
	set_timeouts();
	vp->n_connections++;
	atomic_store(&devices[vid].enabled, 0);
	atomic_store(&devices[vid].vp, vp);
	vhost_filter_start(vid);
	return 0;
}

static void destroy_connection(int vid)
{
	struct vhost_port *vp = vhost_events_port(vid);

	if (vp == NULL)
		return;
	vp->n_connections--;
	vhost_memory_forget(vid);
	atomic_store(&devices[vid].vp, NULL);
}

const struct rte_vhost_device_ops vhost_device_ops = {
	.new_device = new_device,
	.destroy_device = destroy_device,
	.vring_state_changed = vring_state_changed,
	.new_connection = new_connection,
	.destroy_connection = destroy_connection,
};
