// SPDX-License-Identifier: BSD-3-Clause
// A network card's control queue (Virtual I/O Device 1.2, 5.1.6.5), with its one command: how many
// pairs of queues are used. Served on the device thread, under the machine's lock, as start and
// stop are called.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "vmm/machine.h"
#include "vmm/virtq.h"

struct net_control {
	struct machine *machine;
	struct virtio_device *device;
	uint16_t pairs; // at most
	void (*use_pairs)(struct virtio_device *d, uint16_t pairs);
	bool running, held;
	struct virtq queue;
	struct loop_source kick;
};

// machine, device, pairs, use_pairs: set before. queue: its number.
int net_control_start(struct net_control *c, unsigned int queue);
// From the device's hold.
void net_control_hold(struct net_control *c, bool held);
void net_control_stop(struct net_control *c);
