// SPDX-License-Identifier: BSD-3-Clause
// See vhost_rings.h. Ring layout: Virtual I/O Device 1.2, 2.7.
#include "vmm/vhost_rings.h"

#include <errno.h>
#include <linux/vhost_types.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { PROTOCOL_FEATURES_BIT = 30, DESCRIPTOR = 16, USED_ELEMENT = 8 };

struct region {
	uint64_t guest, size, user, offset;
};

struct mem_table {
	uint32_t n, padding;
	struct region regions[GUEST_MEMORY_REGIONS];
};

struct mem_slot {
	uint64_t padding;
	struct region region;
};

static void *ring_part(const struct vhost_user *v, uint64_t address, uint64_t size)
{
	return guest_memory_at(v->device->memory, address, size);
}

static bool is_mapped(const struct vhost_user *v, const struct virtio_queue *q)
{
	return q->descriptors % 16 == 0 && q->available % 2 == 0 && q->used % 4 == 0 &&
	       ring_part(v, q->descriptors, (uint64_t)q->size * DESCRIPTOR) &&
	       ring_part(v, q->available, 6 + 2ull * q->size) &&
	       ring_part(v, q->used, 6 + (uint64_t)USED_ELEMENT * q->size);
}

int vhost_rings_check(const struct vhost_user *v)
{
	for (uint16_t i = 0; i < v->n_rings; i++)
		if (v->device->queues[i].enabled && !is_mapped(v, &v->device->queues[i]))
			return -EFAULT;
	return 0;
}

static struct region region_of(const struct guest_region *r)
{
	return (struct region){ r->address, r->size, (uintptr_t)r->host, 0 };
}

static int give_memory_by_slots(struct vhost_user *v)
{
	const struct guest_memory *m = v->device->memory;
	uint64_t slots;
	int err = vhost_ask(v->connection.fd, VHOST_GET_MAX_MEM_SLOTS, NULL, &slots, sizeof(slots));

	if (err == 0 && slots < m->n_regions)
		return -EOPNOTSUPP;
	for (unsigned int i = 0; err == 0 && i < m->n_regions; i++) {
		struct mem_slot slot = { .region = region_of(&m->regions[i]) };

		err = vhost_user_tell(
			v, VHOST_ADD_MEM_REG, &slot, sizeof(slot), &m->regions[i].fd, 1);
	}
	return err;
}

static int give_memory(struct vhost_user *v)
{
	const struct guest_memory *m = v->device->memory;
	struct mem_table table = { .n = m->n_regions };
	int fds[GUEST_MEMORY_REGIONS];

	if (v->protocol & VHOST_PROTOCOL_MEM_SLOTS)
		return give_memory_by_slots(v);
	for (unsigned int i = 0; i < m->n_regions; i++) {
		table.regions[i] = region_of(&m->regions[i]);
		fds[i] = m->regions[i].fd;
	}
	return vhost_user_tell(v, VHOST_SET_MEM_TABLE, &table,
		8 + m->n_regions * sizeof(table.regions[0]), fds, m->n_regions);
}

// Where a back end begins: what is used is done. A new guest's rings are all zero.
static uint16_t base_of(const struct vhost_user *v, const struct virtio_queue *q)
{
	_Atomic uint16_t *index = (_Atomic uint16_t *)ring_part(v, q->used + 2, 2);

	return atomic_load_explicit(index, memory_order_acquire);
}

static uint16_t available_of(const struct vhost_user *v, const struct virtio_queue *q)
{
	_Atomic uint16_t *index = (_Atomic uint16_t *)ring_part(v, q->available + 2, 2);

	return atomic_load_explicit(index, memory_order_acquire);
}

static int give_ring(struct vhost_user *v, uint16_t i)
{
	const struct virtio_queue *q = &v->device->queues[i];
	const struct vhost_vring_state size = { i, q->size }, base = { i, base_of(v, q) };
	const struct vhost_vring_addr address = { .index = i,
		.desc_user_addr = (uintptr_t)ring_part(v, q->descriptors, 1),
		.used_user_addr = (uintptr_t)ring_part(v, q->used, 1),
		.avail_user_addr = (uintptr_t)ring_part(v, q->available, 1) };
	const uint64_t index = i;
	int fd = v->connection.fd;
	int err = vhost_send(fd, VHOST_SET_VRING_NUM, &size, sizeof(size), NULL, 0);

	if (err == 0)
		err = vhost_send(fd, VHOST_SET_VRING_BASE, &base, sizeof(base), NULL, 0);
	if (err == 0)
		err = vhost_user_tell(v, VHOST_SET_VRING_ADDR, &address, sizeof(address), NULL, 0);
	if (err == 0)
		err = vhost_send(fd, VHOST_SET_VRING_CALL, &index, sizeof(index), &q->call, 1);
	if (err == 0)
		err = vhost_send(fd, VHOST_SET_VRING_KICK, &index, sizeof(index), &q->kick, 1);
	return err < 0 ? err : vhost_rings_enable(v, i);
}

// What the last back end was told, or was about to tell, may be lost: both sides look once.
static void wake_both(const struct virtio_queue *q)
{
	const uint64_t one = 1;

	if (write(q->kick, &one, sizeof(one)) < 0 || write(q->call, &one, sizeof(one)) < 0)
		return; // full: it is signalled already
}

int vhost_rings_give(struct vhost_user *v)
{
	const struct virtio_device *d = v->device;
	uint64_t features =
		(d->features & v->features) | (v->features & 1ull << PROTOCOL_FEATURES_BIT);
	const uint64_t mtu = v->mtu;
	int err = vhost_send(
		v->connection.fd, VHOST_SET_FEATURES, &features, sizeof(features), NULL, 0);

	if (err == 0 && v->mtu && v->protocol & VHOST_PROTOCOL_NET_MTU)
		err = vhost_user_tell(v, VHOST_NET_SET_MTU, &mtu, sizeof(mtu), NULL, 0);
	if (err == 0 && !v->has_memory) {
		err = give_memory(v);
		v->has_memory = err == 0;
	}
	for (uint16_t i = 0; err == 0 && i < v->n_rings; i++)
		if (d->queues[i].enabled)
			err = give_ring(v, i);
	for (uint16_t i = 0; err == 0 && i < v->n_rings; i++)
		if (d->queues[i].enabled)
			wake_both(&d->queues[i]);
	return err;
}

bool vhost_rings_idle(const struct vhost_user *v)
{
	for (uint16_t i = 0; i < v->n_rings; i++) {
		const struct virtio_queue *q = &v->device->queues[i];

		if (q->enabled && base_of(v, q) != available_of(v, q))
			return false;
	}
	return true;
}

int vhost_rings_take(struct vhost_user *v)
{
	int err = 0;

	for (uint16_t i = 0; err == 0 && i < v->n_rings; i++) {
		struct vhost_vring_state state = { .index = i };

		if (v->device->queues[i].enabled)
			err = vhost_ask(v->connection.fd, VHOST_GET_VRING_BASE, &state, &state,
				sizeof(state));
	}
	return err;
}

int vhost_rings_enable(struct vhost_user *v, uint16_t ring)
{
	const struct vhost_vring_state state = { ring, v->enabled[ring] };

	if (!(v->features >> PROTOCOL_FEATURES_BIT & 1)) // they are on from the start
		return 0;
	return vhost_send(v->connection.fd, VHOST_SET_VRING_ENABLE, &state, sizeof(state), NULL, 0);
}
