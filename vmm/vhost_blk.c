// SPDX-License-Identifier: BSD-3-Clause
// See vhost_blk.h. Nobody knows what a back end that died had answered without having flushed it,
// nor, with requests answered out of order, which are left: so no other one takes the rings up. The
// guest is told that it has to reset the disk.
#include "vmm/vhost_blk.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "vmm/listen.h"
#include "vmm/vhost_rings.h"
#include "vmm/virtq.h"

#define BIT(n) (1ull << (n))

enum {
	// what all back ends have
	SPACE = offsetof(struct virtio_blk_config, max_secure_erase_sectors),
	NAP_NS = 1000000,
	NAPS = 1000,
};

static const uint64_t FEATURES =
	VIRTQ_FEATURES | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_BLK_F_SEG_MAX) |
	BIT(VIRTIO_BLK_F_GEOMETRY) | BIT(VIRTIO_BLK_F_RO) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
	BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_CONFIG_WCE) |
	BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES);
static const uint64_t PROTOCOL = VHOST_PROTOCOL_MQ | VHOST_PROTOCOL_REPLY_ACK |
				 VHOST_PROTOCOL_BACKEND_REQ | VHOST_PROTOCOL_CONFIG |
				 VHOST_PROTOCOL_MEM_SLOTS;

// "Virtio device config space"
struct config_payload {
	uint32_t offset, size, flags;
	uint8_t region[SPACE];
};

static struct virtio_blk *blk_of(struct virtio_device *d)
{
	return (struct virtio_blk *)d; // its first member
}

static int ask_space(struct virtio_blk *b)
{
	struct config_payload c = { .size = SPACE };
	int err = vhost_ask(b->vhost.connection.fd, VHOST_GET_CONFIG, &c, &c, sizeof(c));

	if (err < 0)
		return err;
	memcpy(&b->space, c.region, SPACE);
	b->space.num_queues = b->options.queues;
	if (!b->space.seg_max || b->space.seg_max > VIRTIO_BLK_QUEUE_SIZE - 2)
		b->space.seg_max = VIRTIO_BLK_QUEUE_SIZE - 2;
	return 0;
}

static void config_read(struct virtio_device *d, uint32_t offset, void *data, uint32_t size)
{
	memcpy(data, (const uint8_t *)&blk_of(d)->space + offset, size);
}

// 5.2.5.2: the cache's mode is all that a driver may change.
static void config_write(struct virtio_device *d, uint32_t offset, const void *data, uint32_t size)
{
	struct virtio_blk *b = blk_of(d);
	struct config_payload c = { .offset = offset, .size = 1 };
	int err;

	if (offset != offsetof(struct virtio_blk_config, wce) || size != 1 ||
		!virtio_has(d, VIRTIO_BLK_F_CONFIG_WCE) || b->vhost.connection.fd < 0)
		return;
	c.region[0] = b->space.wce = *(const uint8_t *)data & 1;
	err = vhost_user_tell(&b->vhost, VHOST_SET_CONFIG, &c,
		offsetof(struct config_payload, region) + 1, NULL, 0);
	if (err < 0)
		vhost_user_lose(&b->vhost, 0, err);
}

static int start(struct virtio_device *d)
{
	struct vhost_user *v = &blk_of(d)->vhost;
	int err = v->connection.fd < 0 ? -ENOTCONN : vhost_user_start(v);

	if (err == 0 && !v->given)
		err = -ENOTCONN; // it went away while it was given the rings
	v->started = err == 0;
	return err;
}

// What the back end has taken it answers into the guest's memory, which is to be something else
// after a reset; and qemu-storage-daemon gives up if it has something to answer once it has no
// ring. So it is waited for, though not for ever.
static void stop(struct virtio_device *d)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };
	struct vhost_user *v = &blk_of(d)->vhost;

	for (unsigned int i = 0; i < NAPS && v->given && !vhost_rings_idle(v); i++)
		nanosleep(&nap, NULL);
	vhost_user_stop(v);
}

static const struct virtio_ops OPS = {
	.name = "disk",
	.type = VIRTIO_ID_BLOCK,
	.config_size = SPACE,
	.config_read = config_read,
	.config_write = config_write,
	.start = start,
	.stop = stop,
};

static void lost(struct vhost_user *v, uint64_t missing, int err)
{
	if (err == -EPIPE || err == -ECONNRESET)
		err = 0;
	if (missing)
		machine_notice(v->machine,
			"disk %s: its back end lacks features %#llx that the guest uses", v->path,
			(unsigned long long)missing);
	else
		machine_notice(v->machine,
			"disk %s: its back end %s%s: nothing is read or written any more, nor "
			"lost that was flushed; once it is back, start the machine again",
			v->path, err ? "is of no use: " : "has gone", err ? strerror(-err) : "");
	if (v->device->started)
		v->device->broken(v->device);
}

// The disk has another size, for example.
static void on_request(void *arg, uint32_t events)
{
	struct virtio_blk *b = arg;
	uint32_t request = 0;
	int err;

	pthread_mutex_lock(&b->vhost.machine->lock);
	err = vhost_take_request(b->requests.fd, &request);
	if (err == 0 && request == VHOST_BACKEND_CONFIG_CHANGE && b->vhost.connection.fd >= 0) {
		err = ask_space(b);
		if (err == 0 && b->device.started)
			b->device.config_changed(&b->device);
	}
	if (err < 0) {
		vhost_user_lose(&b->vhost, 0, err);
		loop_remove(&b->vhost.machine->loop, &b->requests);
	}
	pthread_mutex_unlock(&b->vhost.machine->lock);
}

// A socket for the back end's requests, whose other end is sent to it.
static int open_requests(struct virtio_blk *b)
{
	int pair[2], err;

	if (!(b->vhost.protocol & VHOST_PROTOCOL_BACKEND_REQ))
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	err = vhost_user_tell(&b->vhost, VHOST_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1);
	close(pair[1]);
	b->requests = (struct loop_source){ .fd = pair[0], .ready = on_request, .arg = b };
	if (err == 0)
		err = loop_add(&b->vhost.machine->loop, &b->requests, EPOLLIN);
	if (err == 0)
		return 0;
	close(pair[0]);
	b->requests.fd = -1;
	return err;
}

static int learn(struct virtio_blk *b, struct error *e)
{
	const struct vhost_user *v = &b->vhost;
	int err;

	if (!(v->protocol & VHOST_PROTOCOL_CONFIG) || !(v->features & BIT(VIRTIO_F_VERSION_1)))
		return error_set(e, ENOTSUP, "disk %s: its back end %s", b->options.vhost_user,
			v->features & BIT(VIRTIO_F_VERSION_1)
				? "does not tell the disk's size (VHOST_USER_PROTOCOL_F_CONFIG)"
				: "does not know virtio 1");
	err = ask_space(b);
	if (err == 0)
		err = open_requests(b);
	return err < 0 ? error_set(e, -err, "disk %s: its back end's configuration: %s",
				 b->options.vhost_user, strerror(-err))
		       : 0;
}

static int connect_back_end(struct virtio_blk *b, struct error *e)
{
	const char *path = b->options.vhost_user;
	int fd = connect_to(path, SOCK_STREAM), err;

	if (fd < 0)
		return error_set(e, -fd,
			"disk %s: %s; its back end is started first, for example: "
			"qemu-storage-daemon --blockdev node-name=d,driver=qcow2,"
			"file.driver=file,file.filename=FILE --export vhost-user-blk,id=d,"
			"node-name=d,writable=on,num-queues=%u,addr.type=unix,addr.path=%s",
			path, strerror(-fd), b->options.queues, path);
	err = vhost_user_adopt(&b->vhost, fd);
	if (err == 0)
		return 0;
	close(fd);
	return err == -EOPNOTSUPP
		       ? error_set(e, ENOTSUP,
				 "disk %s: its back end does not serve %u queues (num-queues)",
				 path, b->options.queues)
		       : error_set(e, -err, "disk %s: its back end: %s%s", path, strerror(-err),
				 err == -ETIMEDOUT ? "; does another machine use it?" : "");
}

static void init_device(struct virtio_blk *b)
{
	struct virtio_device *d = &b->device;

	d->ops = &OPS;
	d->n_queues = b->options.queues;
	for (uint16_t i = 0; i < d->n_queues; i++) {
		d->queues[i].size_max = VIRTIO_BLK_QUEUE_SIZE;
		b->vhost.enabled[i] = true;
	}
	d->offered = b->vhost.features & FEATURES;
	if (b->options.queues > 1)
		d->offered |= BIT(VIRTIO_BLK_F_MQ);
}

int vhost_blk_init(struct virtio_blk *b, struct machine *m, struct error *e)
{
	int err;

	b->requests.fd = -1;
	b->vhost = (struct vhost_user){ .machine = m,
		.device = &b->device,
		.path = b->options.vhost_user,
		.n_rings = b->options.queues,
		.rings_a_queue = 1,
		.features_mine = BIT(VIRTIO_BLK_F_MQ),
		.protocol_wanted = PROTOCOL,
		.lost = lost,
		.listener.fd = -1,
		.connection.fd = -1 };
	err = connect_back_end(b, e);
	if (err < 0)
		return err;
	err = learn(b, e);
	if (err == 0) {
		init_device(b);
		err = machine_add_device(m, &b->device);
		if (err == 0)
			return 0;
		error_set(e, -err, "disk %s: %s", b->options.vhost_user, strerror(-err));
	}
	vhost_blk_free(b);
	return err;
}

void vhost_blk_free(struct virtio_blk *b)
{
	vhost_user_disconnect(&b->vhost);
	if (b->requests.fd < 0)
		return;
	loop_remove(&b->vhost.machine->loop, &b->requests);
	close(b->requests.fd);
	b->requests.fd = -1;
}
