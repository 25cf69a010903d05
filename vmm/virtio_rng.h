// SPDX-License-Identifier: BSD-3-Clause
// A source of randomness (Virtual I/O Device 1.2, 5.4): the host kernel's, by getrandom. On the
// device thread.
#pragma once
#include "vmm/loop_queue.h"
#include "vmm/machine.h"

struct virtio_rng {
	struct virtio_device device;
	struct loop_queue queue;
};

int virtio_rng_init(struct virtio_rng *r, struct machine *m, struct error *e);
// Not before the machine was freed.
void virtio_rng_free(struct virtio_rng *r);
