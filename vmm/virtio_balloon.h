// SPDX-License-Identifier: BSD-3-Clause
// A memory balloon (Virtual I/O Device 1.2, 5.5): the host gets back pages that the guest reports
// free, by itself, and those that it is asked for. On the device thread.
#pragma once
#include "vmm/loop_queue.h"
#include "vmm/machine.h"

enum { BALLOON_INFLATE, BALLOON_DEFLATE, BALLOON_REPORT, BALLOON_QUEUES };

struct virtio_balloon {
	struct virtio_device device;
	struct loop_queue queues[BALLOON_QUEUES];
	uint32_t wanted, actual; // pages of 4 KiB; atomic
};

// mib: what the guest is to give up from the beginning.
int virtio_balloon_init(struct virtio_balloon *b, struct machine *m, uint32_t mib, struct error *e);
// Not before the machine was freed.
void virtio_balloon_free(struct virtio_balloon *b);
