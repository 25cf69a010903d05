// SPDX-License-Identifier: BSD-3-Clause
// DPDK for tests: an EAL without hugepages, devices or files, pools like a worker's, and mbufs made
// from bytes. With EAL_FIXTURE_POOLS defined before it, this header also stands in for worker.c's
// pools and index: for tests that link no worker. One test program, one thread.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include "vswitch/packet.h"

// Out of EAL_FIXTURE_MB the pools must live; every worker pool of the tests is small.
#define EAL_FIXTURE_MB "64"

static struct rte_mempool *eal_fixture_small, *eal_fixture_big;

// cmocka group setup: 0, or -1 with a word on stderr.
static inline int eal_fixture_init(void **state)
{
	char *args[] = { "test", "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m",
		EAL_FIXTURE_MB, "--log-level=error", "-l", "0", NULL };

	if (rte_eal_init(10, args) < 0) {
		fprintf(stderr, "rte_eal_init: %s\n", rte_strerror(rte_errno));
		return -1;
	}
	eal_fixture_small = rte_pktmbuf_pool_create("small", 1023, 0, sizeof(struct packet),
		PACKET_HEADROOM + PACKET_SMALL_ROOM, SOCKET_ID_ANY);
	eal_fixture_big = rte_pktmbuf_pool_create("big", 127, 0, sizeof(struct packet),
		PACKET_HEADROOM + PACKET_BIG_ROOM, SOCKET_ID_ANY);
	if (eal_fixture_small == NULL || eal_fixture_big == NULL) {
		fprintf(stderr, "mbuf pools: %s\n", rte_strerror(rte_errno));
		return -1;
	}
	return 0;
}

// cmocka test teardown: every mbuf must be back.
static inline int eal_fixture_no_leak(void **state)
{
	unsigned small = rte_mempool_in_use_count(eal_fixture_small);
	unsigned big = rte_mempool_in_use_count(eal_fixture_big);

	if (small != 0 || big != 0)
		fprintf(stderr, "leaked mbufs: %u small, %u big\n", small, big);
	return small == 0 && big == 0 ? 0 : -1;
}

// A frame as rx delivers it, metadata zeroed: `first` bytes in a small mbuf (at most
// PACKET_SMALL_ROOM), the rest in one big mbuf. NULL when a pool is empty.
static inline struct rte_mbuf *eal_fixture_mbuf(const void *data, size_t size, size_t first)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(eal_fixture_small), *tail;

	if (m == NULL)
		return NULL;
	memset(packet_of(m), 0, sizeof(struct packet));
	if (first > size)
		first = size;
	if (first > PACKET_SMALL_ROOM || size - first > PACKET_BIG_ROOM)
		first = PACKET_SMALL_ROOM;
	memcpy(rte_pktmbuf_append(m, (uint16_t)first), data, first);
	if (size == first)
		return m;
	tail = rte_pktmbuf_alloc(eal_fixture_big);
	if (tail == NULL) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	memcpy(rte_pktmbuf_append(tail, (uint16_t)(size - first)), (const uint8_t *)data + first,
		size - first);
	rte_pktmbuf_chain(m, tail);
	return m;
}

static inline void eal_fixture_free_heap(void *addr, void *shared_info)
{
	free(addr);
	free(shared_info);
}

// A frame in a heap block of exactly its size, as an external buffer: ASan sees every byte too far.
static inline struct rte_mbuf *eal_fixture_exact(const void *data, size_t size)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(eal_fixture_small);
	struct rte_mbuf_ext_shared_info *info = calloc(1, sizeof(*info));
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (m == NULL || info == NULL || copy == NULL) {
		rte_pktmbuf_free(m);
		free(info);
		free(copy);
		return NULL;
	}
	memset(packet_of(m), 0, sizeof(struct packet));
	if (size > 0)
		memcpy(copy, data, size);
	info->free_cb = eal_fixture_free_heap;
	info->fcb_opaque = info;
	rte_mbuf_ext_refcnt_set(info, 1);
	rte_pktmbuf_attach_extbuf(m, copy, RTE_BAD_IOVA, (uint16_t)size, info);
	m->data_off = 0;
	m->data_len = (uint16_t)size;
	m->pkt_len = (uint32_t)size;
	return m;
}

#ifdef EAL_FIXTURE_POOLS
struct worker;
struct rte_mempool *worker_small_pool(struct worker *w);
struct rte_mempool *worker_big_pool(struct worker *w);
unsigned worker_index(const struct worker *w);

struct rte_mempool *worker_small_pool(struct worker *w)
{
	return eal_fixture_small;
}

struct rte_mempool *worker_big_pool(struct worker *w)
{
	return eal_fixture_big;
}

unsigned worker_index(const struct worker *w)
{
	return 0;
}
#endif
