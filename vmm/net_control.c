// SPDX-License-Identifier: BSD-3-Clause
// See net_control.h.
#include "vmm/net_control.h"

#include <linux/virtio_net.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { IOVECS = VIRTIO_QUEUE_SIZE_MAX };

// 5.1.6.5.5: pairs beyond one until the driver says otherwise, or resets.
static uint8_t execute(struct net_control *c, struct virtq_chain *chain)
{
	struct virtio_net_ctrl_hdr head;
	uint16_t pairs;

	if (!virtq_chain_read(chain, &head, sizeof(head)) || head.class != VIRTIO_NET_CTRL_MQ ||
		head.cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET ||
		!virtq_chain_read(chain, &pairs, sizeof(pairs)) || !pairs || pairs > c->pairs)
		return VIRTIO_NET_ERR;
	c->use_pairs(c->device, pairs);
	return VIRTIO_NET_OK;
}

static void serve(struct net_control *c)
{
	struct iovec storage[IOVECS];
	struct virtq_chain chain = { .storage = storage, .max = IOVECS };

	do {
		virtq_suppress(&c->queue);
		while (virtq_next(&c->queue, &chain) == 1) {
			uint8_t answer = execute(c, &chain);
			bool told = virtq_chain_write(&chain, &answer, sizeof(answer));

			virtq_push(&c->queue, chain.head, told);
		}
		virtq_call(&c->queue);
	} while (virtq_arm(&c->queue));
}

static void on_kick(void *arg, uint32_t events)
{
	struct net_control *c = arg;
	uint64_t count;

	pthread_mutex_lock(&c->machine->lock);
	if (c->running && read(c->kick.fd, &count, sizeof(count)) == sizeof(count))
		serve(c);
	pthread_mutex_unlock(&c->machine->lock);
}

int net_control_start(struct net_control *c, unsigned int queue)
{
	int err = virtq_start(&c->queue, c->device, queue);

	if (err < 0)
		return err;
	c->kick = (struct loop_source){
		.fd = c->device->queues[queue].kick, .ready = on_kick, .arg = c
	};
	err = loop_add(&c->machine->loop, &c->kick, EPOLLIN);
	c->running = err == 0;
	c->held = false;
	return err;
}

void net_control_hold(struct net_control *c, bool held)
{
	if (!c->running || c->held == held)
		return;
	if (held)
		loop_remove(&c->machine->loop, &c->kick);
	else if (loop_add(&c->machine->loop, &c->kick, EPOLLIN) < 0)
		virtq_break(&c->queue);
	c->held = held;
}

void net_control_stop(struct net_control *c)
{
	if (c->running && !c->held)
		loop_remove(&c->machine->loop, &c->kick);
	c->running = false;
}
