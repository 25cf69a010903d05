// SPDX-License-Identifier: BSD-3-Clause
// See virtio_net.h.
#include "vmm/virtio_net.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include "vmm/vhost_listen.h"
#include "vmm/vhost_rings.h"

enum { QUEUE_SIZE = 1024, CONTROL_SIZE = 64 };
#define BIT(n) (1ull << (n))
// What only the card itself can know; the rest is the back end's.
static const uint64_t OURS = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) |
			     BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_CTRL_VQ) |
			     BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_F_VERSION_1);
static const uint64_t RINGS = BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) |
			      BIT(VIRTIO_NET_F_MRG_RXBUF);
static const uint64_t OFFLOADS = BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
				 BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |
				 BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |
				 BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_GUEST_ECN);

static struct virtio_net *net_of(struct virtio_device *d)
{
	return (struct virtio_net *)d; // its first member
}

static void config_read(struct virtio_device *d, uint32_t offset, void *data, uint32_t size)
{
	const struct virtio_net *n = net_of(d);
	struct config_space {
		uint8_t mac[6];
		uint16_t status, pairs, mtu;
	} __attribute__((packed))
	space = { .status = VIRTIO_NET_S_LINK_UP, .pairs = n->config.pairs, .mtu = n->config.mtu };

	memcpy(space.mac, n->config.mac, sizeof(space.mac));
	memcpy(data, (uint8_t *)&space + offset, size);
}

static void use_pairs(struct virtio_device *d, uint16_t pairs)
{
	struct virtio_net *n = net_of(d);

	if (n->config.tap)
		net_tap_use(&n->tap, pairs);
	for (uint16_t i = 0; i < n->vhost.n_rings; i++)
		vhost_user_enable(&n->vhost, i, i < 2 * pairs);
}

static int begin(struct virtio_device *d, const struct confine *confine)
{
	struct virtio_net *n = net_of(d);

	return n->config.tap ? net_tap_begin(&n->tap, confine) : 0;
}

// 5.1.5: the first pair, until the driver asks for more.
static int start(struct virtio_device *d)
{
	struct virtio_net *n = net_of(d);
	unsigned int control = 2u * n->config.pairs;
	int err = 0;

	use_pairs(d, 1);
	if (virtio_has(d, VIRTIO_NET_F_CTRL_VQ) && d->queues[control].enabled)
		err = net_control_start(&n->control, control);
	if (err == 0)
		err = n->config.tap ? net_tap_start(&n->tap) : vhost_user_start(&n->vhost);
	if (err < 0)
		net_control_stop(&n->control);
	return err;
}

static void stop(struct virtio_device *d)
{
	struct virtio_net *n = net_of(d);

	net_control_stop(&n->control);
	if (n->config.tap)
		net_tap_stop(&n->tap);
	else
		vhost_user_stop(&n->vhost);
}

static void hold(struct virtio_device *d, bool held)
{
	struct virtio_net *n = net_of(d);

	net_control_hold(&n->control, held);
	if (n->config.tap)
		net_tap_hold(&n->tap, held);
}

static const struct virtio_ops OPS = {
	.name = "net",
	.type = VIRTIO_ID_NET,
	.config_size = 12,
	.config_read = config_read,
	.begin = begin,
	.start = start,
	.hold = hold,
	.stop = stop,
};

// An offload of the sum's is of no use without the sum (5.1.3.1).
static uint64_t consistent(uint64_t features)
{
	if (!(features & BIT(VIRTIO_NET_F_CSUM)))
		features &= ~(BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6));
	if (!(features & BIT(VIRTIO_NET_F_GUEST_CSUM)))
		features &= ~(BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6));
	if (!(features & (BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6))))
		features &= ~BIT(VIRTIO_NET_F_HOST_ECN);
	if (!(features & (BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6))))
		features &= ~BIT(VIRTIO_NET_F_GUEST_ECN);
	return features;
}

static uint64_t features_of(const struct virtio_net *n, uint64_t backend)
{
	uint64_t features = RINGS | (n->config.offloads ? OFFLOADS : 0);

	features = consistent(features & backend) | BIT(VIRTIO_F_VERSION_1) |
		   BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS);
	if (n->config.mtu)
		features |= BIT(VIRTIO_NET_F_MTU);
	if (n->config.pairs > 1)
		features |= BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ);
	return features;
}

static void prepare_vhost(struct virtio_net *n)
{
	n->vhost.device = &n->device;
	n->vhost.n_rings = (uint16_t)(2 * n->config.pairs);
	n->vhost.rings_a_queue = 2;
	n->vhost.protocol_wanted = VHOST_PROTOCOL_MQ | VHOST_PROTOCOL_REPLY_ACK |
				   VHOST_PROTOCOL_NET_MTU | VHOST_PROTOCOL_MEM_SLOTS;
	n->vhost.features_mine = OURS & ~BIT(VIRTIO_F_VERSION_1);
	n->vhost.mtu = n->config.mtu;
}

static int init_vhost(
	struct virtio_net *n, struct machine *m, uint64_t *ret_features, struct error *e)
{
	int err;

	prepare_vhost(n);
	err = vhost_listen_init(&n->vhost, m, n->config.vhost_user, e);
	if (err == 0 && vhost_listen_wait(&n->vhost, n->config.wait_ms))
		*ret_features = n->vhost.features;
	return err;
}

static void init_device(
	struct virtio_net *n, struct machine *m, const struct virtio_net_options *config)
{
	*n = (struct virtio_net){ .config = *config,
		.device = { .ops = &OPS,
			.memory = &m->memory,
			.n_queues = (uint16_t)(2 * config->pairs + (config->pairs > 1)) },
		.control = { .machine = m, .pairs = config->pairs, .use_pairs = use_pairs } };
	n->control.device = &n->device;
	for (uint16_t i = 0; i < n->device.n_queues; i++)
		n->device.queues[i].size_max = i < 2 * config->pairs ? QUEUE_SIZE : CONTROL_SIZE;
}

int virtio_net_init(struct virtio_net *n, struct machine *m,
	const struct virtio_net_options *config, struct error *e)
{
	uint64_t backend = UINT64_MAX;
	int err;

	init_device(n, m, config);
	err = config->tap ? net_tap_init(&n->tap, &n->device, config->tap, config->pairs,
				    &config->limits, e)
			  : init_vhost(n, m, &backend, e);
	if (err < 0)
		return err;
	n->device.offered = features_of(n, backend);
	err = machine_add_device(m, &n->device);
	if (err == 0)
		return 0;
	virtio_net_free(n);
	return error_set(e, -err, "network card: %s", strerror(-err));
}

int virtio_net_init_spare(struct virtio_net *n, struct machine *m, struct error *e)
{
	const struct virtio_net_options config = { .pairs = 1 };
	int err;

	init_device(n, m, &config);
	vhost_listen_init_spare(&n->vhost, m);
	err = machine_add_spare(m, &n->device);
	return err < 0 ? error_set(e, -err, "network card: %s", strerror(-err)) : 0;
}

int virtio_net_take(struct virtio_net *n, const struct virtio_net_options *config, int listener,
	struct error *e)
{
	uint64_t backend = UINT64_MAX;
	int err;

	n->config = *config;
	prepare_vhost(n);
	err = vhost_listen_adopt(&n->vhost, listener, config->vhost_user, e);
	if (err < 0)
		return err;
	if (vhost_listen_wait(&n->vhost, 0))
		backend = n->vhost.features;
	n->device.offered = features_of(n, backend);
	return 0;
}

bool virtio_net_release(struct virtio_net *n)
{
	if (n->config.tap)
		return false;
	vhost_listen_end(&n->vhost);
	n->config.vhost_user = NULL;
	return true;
}

void virtio_net_free(struct virtio_net *n)
{
	if (n->config.tap)
		net_tap_free(&n->tap);
	else
		vhost_listen_free(&n->vhost);
}

int virtio_net_limit(struct virtio_net *n, const struct rate_limits *limits)
{
	if (!n->config.tap)
		return -EOPNOTSUPP;
	net_tap_limit(&n->tap, limits);
	return 0;
}
