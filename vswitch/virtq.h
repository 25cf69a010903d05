// SPDX-License-Identifier: BSD-3-Clause
// A split virtqueue (virtio 1.2 §2.7) of a network device, seen from the device: what a guest sends
// becomes mbufs, what it receives is written into its buffers. The guest is hostile and changes its
// memory while we look: everything of it is read once, checked and then used. What breaks the rules
// of the rings (a MUST of §2.7) stops the queue, what is wrong with a frame loses that frame.
//
// Knows nothing of where the rings come from (vhost_rings.c). A queue is used by one thread at a
// time, its caller sees to that; the other side of its memory is the guest.
#pragma once

#include <linux/virtio_ring.h>
#include "vswitch/port.h"

enum {
	VIRTQ_SIZE_MAX = 32768, // §2.7
	VIRTQ_REGIONS_MAX = 8,
	VIRTQ_FRAME_MAX = 65535 + 14 + 8, // an IP packet of 64 KiB, Ethernet, two tags
	// What one burst may cost, whatever the guest offers (H-17, H-27): a chain may be as long
	// as the longest of stock drivers (QEMU's VIRTQUEUE_MAX_SIZE), a burst has so many
	// descriptors or bytes and, then, its last chain.
	VIRTQ_CHAIN_MAX = 1024,
	VIRTQ_BURST_DESCS = 4096,
	VIRTQ_BURST_BYTES = 512 * 1024,
};

struct virtq_region {
	uint64_t guest, size; // guest physical address
	uint8_t *host; // mapped here
};

struct virtq_memory {
	unsigned n;
	unsigned hot; // the region that held the last address looked for
	struct virtq_region regions[VIRTQ_REGIONS_MAX];
};

// Why a queue stands still.
#define VIRTQ_FAULTS(X) \
	X(NONE, "") \
	X(AVAIL, "more buffers made available than the queue has") \
	X(HEAD, "available ring names a descriptor that does not exist") \
	X(CHAIN, "descriptor chain loops or leaves its table") \
	X(INDIRECT, "indirect table nested, chained, of a wrong size or not negotiated") \
	X(DIRECTION, "descriptor for the other direction") \
	X(ADDRESS, "descriptor outside the guest's memory") \
	X(MEMORY, "memory that its file no longer has") \
	X(CALL, "call eventfd that makes whoever writes to it wait")

enum virtq_fault {
#define X(symbol, text) VIRTQ_FAULT_##symbol,
	VIRTQ_FAULTS(X)
#undef X
};

struct virtq {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint32_t size; // a power of two
	// Buffers are returned in the order and in the burst they were taken (VIRTIO_F_IN_ORDER):
	// so this is the next to take and the next to return.
	uint16_t next;
	uint16_t in_port, in_queue; // for struct packet
	uint8_t hdr_size; // of virtio_net_hdr: 10, or 12 with num_buffers (§5.1.6.1)
	bool event_idx, indirect, mergeable;
	bool offers; // the guest may describe offloads in what it sends
	bool signal_all; // no call since the start: used_event says nothing yet
	int call_fd; // eventfd or -1; the queue's own
	enum virtq_fault fault; // != NONE: not used any more
	uint64_t features; // negotiated
	struct virtq_memory memory;
};

struct virtq_setup {
	void *desc, *avail, *used;
	uint32_t size;
	uint16_t next;
	uint64_t features;
	int call_fd;
	uint16_t in_port, in_queue;
	const struct virtq_memory *memory;
};

// Begins with q->next = setup->next, notifications off. 0; -EINVAL: size, alignment (§2.7) or
// memory do not allow it, then q is untouched.
int virtq_start(struct virtq *q, const struct virtq_setup *setup);
const char *virtq_fault_text(enum virtq_fault fault);

// What the guest sends: up to n <= BURST_MAX frames, as port_ops.rx gives them. Frames that are no
// good go into `drops`. Fewer frames than waited, or none, when `pool` is empty: the rest stays
// with the guest.
uint16_t virtq_rx(struct virtq *q, struct rte_mempool *pool, struct rte_mbuf **ret_pkts, uint16_t n,
	uint64_t drops[DROP_COUNT]);

// What the guest receives, n <= BURST_MAX: returns how many it got; their bytes are added to
// *bytes. The mbufs stay the caller's; a
// partial checksum that the guest does not take is completed in place, a super-frame it does not
// take is not delivered (H-24).
uint16_t virtq_tx(struct virtq *q, struct rte_mbuf **pkts, uint16_t n, uint64_t *bytes);

// Asks the guest to notify of what it makes available, and not to (a hint: with event index it may
// still do so once in a while). After asking, look with virtq_waiting: who finds nothing will be
// notified.
void virtq_notify_on(struct virtq *q);
void virtq_notify_off(struct virtq *q);
bool virtq_waiting(const struct virtq *q);
