// SPDX-License-Identifier: BSD-3-Clause
// A guest's rings as the input has them, through both directions of a virtqueue, several bursts
// with the memory changed in between. Guest memory lies in heap blocks of its exact size. Input:
// features, size, first index (4 bytes), then bytes for descriptors, avail ring and data in turn;
// what is left after the first filling is the change between bursts.
#include <stddef.h>
#include <stdint.h>
#define EAL_FIXTURE_POOLS
#include "tests/fuzz/fuzz.h"
#include "tests/unit/eal_fixture.h"
#include "tests/unit/virtq_guest.h"

enum { N_BURSTS = 4, HEAD_SIZE = 4 };

struct input {
	const uint8_t *data;
	size_t size;
};

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return eal_fixture_init(NULL);
}

static void fill(struct input *in, void *to, size_t size)
{
	size_t n = RTE_MIN(size, in->size);

	memcpy(to, in->data, n);
	in->data += n;
	in->size -= n;
}

// Addresses and indices lie in the guest's memory unless a high bit says otherwise, else hardly one
// ever would.
static void fill_rings(struct input *in, struct guest *g)
{
	fill(in, g->desc, g->size * sizeof(*g->desc));
	fill(in, &g->avail->ring[0], g->size * sizeof(g->avail->ring[0]));
	for (uint32_t i = 0; i < g->size; i++) {
		struct vring_desc *d = &g->desc[i];

		if (!(d->addr >> 63))
			d->addr = GUEST_DATA + (d->addr & (2 * GUEST_DATA_SIZE - 1));
		if (!(d->len >> 31))
			d->len &= 0xffff;
		if (!(d->next >> 15))
			d->next &= (uint16_t)(g->size - 1);
		if (!(g->avail->ring[i] >> 15))
			g->avail->ring[i] &= (uint16_t)(g->size - 1);
	}
}

// As many of the ring's buffers as `share` sixteenths of it are offered anew.
static void offer(struct guest *g, unsigned share)
{
	g->avail->idx = (uint16_t)(g->q.next + share * g->size / 16);
}

static void burst(struct guest *g, unsigned share)
{
	static const uint32_t sizes[] = { 60, 1514, 40000 };
	static uint8_t frame[40000];
	static uint64_t drops[DROP_COUNT];
	struct rte_mbuf *pkts[BURST_MAX];
	uint64_t bytes = 0;
	uint16_t n;

	offer(g, share);
	n = virtq_rx(&g->q, eal_fixture_small, pkts, BURST_MAX, drops);
	CHECK(n <= BURST_MAX && g->used->idx == g->q.next);
	for (uint16_t i = 0; i < n; i++) {
		rte_mbuf_sanity_check(pkts[i], 1);
		CHECK(pkts[i]->pkt_len > 0 && pkts[i]->pkt_len <= VIRTQ_FRAME_MAX);
	}
	rte_pktmbuf_free_bulk(pkts, n);
	if (g->q.fault != VIRTQ_FAULT_NONE)
		CHECK(!virtq_waiting(&g->q));
	g->q.fault = VIRTQ_FAULT_NONE;
	offer(g, share); // what came in has taken the others
	for (unsigned i = 0; i < 3; i++)
		pkts[i] = eal_fixture_mbuf(frame, sizes[i], 1000);
	CHECK(virtq_tx(&g->q, pkts, 3, &bytes) <= 3 && bytes <= 41574 && g->used->idx == g->q.next);
	rte_pktmbuf_free_bulk(pkts, 3);
	g->q.fault = VIRTQ_FAULT_NONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in;
	struct guest g;
	uint64_t features = GUEST_FEATURES;

	if (size < HEAD_SIZE)
		return 0;
	in = (struct input){ data + HEAD_SIZE, size - HEAD_SIZE };
	if (data[0] & 1)
		features |= GUEST_FEATURE(VIRTIO_RING_F_EVENT_IDX);
	if (data[0] & 2)
		features &= ~GUEST_FEATURE(VIRTIO_NET_F_MRG_RXBUF);
	if (data[0] & 4)
		features &= ~GUEST_FEATURE(VIRTIO_F_VERSION_1);
	if (data[0] & 8)
		features &= ~GUEST_FEATURE(VIRTIO_RING_F_INDIRECT_DESC);
	CHECK(guest_begin(&g, features, 1U << (data[1] & 7), (uint16_t)(data[2] << 8 | data[3])) ==
		0);
	for (unsigned i = 0; i < N_BURSTS; i++) {
		fill_rings(&in, &g);
		fill(&in, g.data, 256);
		fill(&in, g.more, 64);
		burst(&g, data[1] >> 3);
		virtq_notify_on(&g.q);
		virtq_notify_off(&g.q);
	}
	guest_end(&g);
	CHECK(eal_fixture_no_leak(NULL) == 0);
	return 0;
}
