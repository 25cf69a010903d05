// SPDX-License-Identifier: BSD-3-Clause
// A network card (Virtual I/O Device 1.2, 5.1) whose rings another process serves by vhost-user, or
// a thread of ours with a tap. Queues: receive and transmit of each pair in turn, then, with more
// than one pair, the control queue, which is always ours.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "vmm/machine.h"
#include "vmm/net_control.h"
#include "vmm/net_tap.h"
#include "vmm/rate.h"
#include "vmm/vhost_user.h"
#include "vmm/virtio.h"

enum { VIRTIO_NET_PAIRS = 16 };

struct virtio_net_options {
	// One of the two, the other NULL.
	const char *vhost_user; // path of the socket
	const char *tap; // name of the interface
	uint8_t mac[6];
	uint16_t mtu; // 0: the guest is told none
	uint16_t pairs;
	bool offloads;
	struct rate_limits limits; // of a tap, each way
	int wait_ms; // for the first back end, whose features are offered then
};

struct virtio_net {
	struct virtio_device device;
	struct virtio_net_options config; // constant
	struct vhost_user vhost;
	struct net_tap tap;
	struct net_control control;
};

// Parses "vhost-user=PATH[,mac=..][,mtu=N][,queues=N][,offloads=off][,wait=MS]", or "tap=NAME"
// and limits by their RATE_NAMES; changes `text`,
// which has to live as long as the card.
int virtio_net_parse(struct virtio_net_options *ret_config, char *text, struct error *e);
int virtio_net_init(struct virtio_net *n, struct machine *m,
	const struct virtio_net_options *config, struct error *e);
// One of one pair of queues and without back end, not plugged in.
int virtio_net_init_spare(struct virtio_net *n, struct machine *m, struct error *e);
// A spare becomes the card of `config` at a listening socket, which is its own then. The config's
// vhost_user names it and lives as long.
int virtio_net_take(struct virtio_net *n, const struct virtio_net_options *config, int listener,
	struct error *e);
// Once it is unplugged: a spare, without back end. False: it cannot be taken again.
bool virtio_net_release(struct virtio_net *n);
void virtio_net_free(struct virtio_net *n);
// Other limits, within a tenth of a second. -EOPNOTSUPP: the rings are another process's.
int virtio_net_limit(struct virtio_net *n, const struct rate_limits *limits);
