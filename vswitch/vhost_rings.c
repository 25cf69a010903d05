// SPDX-License-Identifier: BSD-3-Clause
// Port kind vhost-user, its rings between librte_vhost and the workers. While a ring is with the
// workers its index lives in struct virtq, else in librte_vhost, which answers GET_VRING_BASE from
// it and puts it right by used->idx when a ring starts anew. Runs on librte_vhost's event thread
// and, at the end of a port, on the control thread. Lock rules: vhost_port.h.

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>
#include "vswitch/vhost_port.h"

static struct vhost_vring *vring_of(struct vhost_port *vp, unsigned vring)
{
	struct vhost_queue *q = &vp->queues[vring / 2];

	return vring & 1 ? &q->rx : &q->tx;
}

// A worker holds the lock for one burst; only when the kernel took its core away is it longer.
static void lock_patiently(rte_spinlock_t *lock)
{
	for (unsigned spins = 0; !rte_spinlock_trylock(lock); spins++) {
		if (spins < 1000)
			rte_pause();
		else
			sched_yield();
	}
}

void vhost_rings_take_one(struct vhost_port *vp, unsigned vring)
{
	struct vhost_vring *r = vring_of(vp, vring);
	bool was_on;

	lock_patiently(&r->lock);
	was_on = r->on;
	r->on = false;
	rte_spinlock_unlock(&r->lock);
	if (!was_on)
		return;
	rte_vhost_set_vring_base(vp->vid, (uint16_t)vring, r->q.next, r->q.next);
	if (r->q.call_fd >= 0)
		close(r->q.call_fd);
}

void vhost_rings_take(struct vhost_port *vp)
{
	for (unsigned i = 0; i < 2U * vp->port->n_queues; i++)
		vhost_rings_take_one(vp, i);
}

static void give(struct vhost_port *vp, unsigned vring, const struct virtq_memory *memory)
{
	struct vhost_vring *r = vring_of(vp, vring);
	struct rte_vhost_vring v;
	struct virtq_setup setup = { .memory = memory,
		.call_fd = -1,
		.in_port = (uint16_t)vp->port->id,
		.in_queue = (uint16_t)(vring / 2) };
	uint16_t last_used;
	uint32_t bit = 1U << vring;

	if (r->on || !(atomic_load(&vp->enabled) & bit) || atomic_load(&vp->broken) & bit ||
		rte_vhost_get_vhost_vring(vp->vid, (uint16_t)vring, &v) != 0 ||
		rte_vhost_get_vring_base(vp->vid, (uint16_t)vring, &setup.next, &last_used) != 0 ||
		rte_vhost_get_negotiated_features(vp->vid, &setup.features) != 0)
		return;
	setup.desc = v.desc;
	setup.avail = v.avail;
	setup.used = v.used;
	setup.size = v.size;
	if (v.callfd >= 0)
		setup.call_fd = fcntl(v.callfd, F_DUPFD_CLOEXEC, 3);

	lock_patiently(&r->lock);
	r->on = virtq_start(&r->q, &setup) == 0;
	rte_spinlock_unlock(&r->lock);
	if (!r->on && setup.call_fd >= 0)
		close(setup.call_fd);
}

void vhost_rings_give_one(struct vhost_port *vp, unsigned vring)
{
	const struct virtq_memory *memory = vhost_memory(vp->vid);

	if (memory != NULL)
		give(vp, vring, memory);
}

void vhost_rings_give(struct vhost_port *vp)
{
	for (unsigned i = 0; i < 2U * vp->port->n_queues; i++)
		vhost_rings_give_one(vp, i);
}
