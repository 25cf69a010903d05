// SPDX-License-Identifier: BSD-3-Clause
// Virtqueues, what a guest receives, the beginning of a queue and notifications; HOSTILE.md B line
// by line, and a thread that changes the guest's memory as fast as it can.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#define EAL_FIXTURE_POOLS
#include "tests/unit/eal_fixture.h"
#include "tests/unit/frames.h"
#include "tests/unit/virtq_guest.h"
#include "vswitch/parse.h"

static struct guest g;
static uint8_t frame[70000];

static void begin_with(uint64_t features)
{
	assert_int_equal(guest_begin(&g, features, GUEST_SIZE, 0), 0);
	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7 + i / 256);
}

static void begin(void)
{
	begin_with(GUEST_FEATURES);
}

static void end(uint16_t n_returned)
{
	assert_int_equal(g.used->idx, n_returned);
	guest_end(&g);
}

static void offer(unsigned head, uint64_t at, uint32_t size)
{
	guest_desc(&g, head, at, size, VRING_DESC_F_WRITE, 0);
	guest_offer(&g, head);
}

static struct rte_mbuf *mbuf(uint32_t size)
{
	return eal_fixture_mbuf(frame, size, 1000);
}

static uint64_t bytes; // that virtq_tx said were sent

// Sends frames of these sizes in one burst.
static uint16_t tx(const uint32_t *sizes, uint16_t n)
{
	struct rte_mbuf *pkts[BURST_MAX];
	uint16_t n_sent;

	for (uint16_t i = 0; i < n; i++)
		pkts[i] = mbuf(sizes[i]);
	bytes = 0;
	n_sent = virtq_tx(&g.q, pkts, n, &bytes);
	rte_pktmbuf_free_bulk(pkts, n);
	return n_sent;
}

static uint16_t tx_one(uint32_t size)
{
	return tx(&size, 1);
}

static struct virtio_net_hdr_mrg_rxbuf header(uint32_t offset)
{
	struct virtio_net_hdr_mrg_rxbuf hdr;

	memcpy(&hdr, g.data + offset, sizeof(hdr));
	return hdr;
}

// ---- polite

static void test_one_buffer(void **state)
{
	begin();
	offer(3, GUEST_DATA, 2048);
	offer(1, GUEST_DATA + 0x1000, 2048);
	assert_int_equal(tx((uint32_t[]){ 60, 1514 }, 2), 2);
	assert_memory_equal(g.data + 12, frame, 60);
	assert_memory_equal(g.data + 0x1000 + 12, frame, 1514);
	assert_int_equal(header(0).num_buffers, 1);
	assert_int_equal(g.used->ring[0].id, 3);
	assert_int_equal(g.used->ring[0].len, 72);
	assert_int_equal(g.used->ring[1].id, 1);
	assert_int_equal(g.used->ring[1].len, 1526);
	assert_int_equal(g.data[72], 0); // not a byte more
	assert_int_equal(guest_calls(&g), 1);
	end(2);
}

// Header and frame over buffers of 1 to 40 bytes (H-20).
static void test_mergeable(void **state)
{
	for (uint32_t size = 1; size <= 40; size++) {
		uint32_t n = (212 + size - 1) / size;
		bool fits = n <= GUEST_SIZE;

		begin();
		for (unsigned i = 0; i < GUEST_SIZE; i++)
			offer(i, GUEST_DATA + i * size, size);
		assert_int_equal(tx_one(200), fits);
		if (fits) {
			assert_int_equal(header(0).num_buffers, n);
			assert_memory_equal(g.data + 12, frame, 200);
			for (unsigned i = 0; i < n; i++)
				assert_int_equal(g.used->ring[i].len,
					i + 1 < n ? size : 212 - size * (n - 1));
		}
		end(fits ? (uint16_t)n : 0);
	}
}

static void test_chained_and_indirect(void **state)
{
	static const struct vring_desc table[] = {
		{ GUEST_DATA + 12, 100, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1 },
		{ GUEST_DATA + 112, 3000, VRING_DESC_F_WRITE, 0 }
	};

	for (int indirect = 0; indirect <= 1; indirect++) {
		begin_with(GUEST_FEATURES & ~GUEST_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
		memcpy(g.data + 0x4000, table, sizeof(table));
		guest_desc(&g, 0, GUEST_DATA, 12, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
		if (indirect)
			guest_desc(&g, 1, GUEST_DATA + 0x4000, sizeof(table), VRING_DESC_F_INDIRECT,
				0);
		else
			guest_desc(&g, 1, GUEST_DATA + 12, 3000, VRING_DESC_F_WRITE, 0);
		guest_offer(&g, 0);
		assert_int_equal(tx_one(2500), 1);
		assert_memory_equal(g.data + 12, frame, 2500);
		assert_int_equal(header(0).num_buffers, 1);
		assert_int_equal(g.used->ring[0].len, 2512);
		end(1);
	}
}

// Legacy, without mergeable buffers: ten bytes; what does not fit is lost, its buffer stays.
static void test_legacy(void **state)
{
	begin_with(0);
	offer(0, GUEST_DATA, 210);
	offer(1, GUEST_DATA + 0x1000, 210);
	assert_int_equal(tx((uint32_t[]){ 201, 200, 2000, 150 }, 4), 2);
	assert_int_equal(bytes, 350);
	assert_memory_equal(g.data + 10, frame, 200);
	assert_memory_equal(g.data + 0x1000 + 10, frame, 150);
	end(2);
}

static void test_super_frame_and_straddle(void **state)
{
	begin();
	offer(0, GUEST_DATA + GUEST_DATA_SIZE - 60000, 60000 + GUEST_MORE_SIZE);
	offer(1, GUEST_DATA, 60000);
	assert_int_equal(tx_one(65549), 1);
	assert_int_equal(header(GUEST_DATA_SIZE - 60000).num_buffers, 2);
	assert_memory_equal(g.data + GUEST_DATA_SIZE - 60000 + 12, frame, 59988);
	assert_memory_equal(g.more, frame + 59988, GUEST_MORE_SIZE);
	assert_memory_equal(
		g.data, frame + 59988 + GUEST_MORE_SIZE, 65549 - 59988 - GUEST_MORE_SIZE);
	end(2);
}

// A burst of super-frames in small buffers: more pieces than are gathered at once.
static void test_many_pieces(void **state)
{
	enum { SIZE = 4096, STEP = 60 };
	struct rte_mbuf *pkts[4];

	assert_int_equal(guest_begin(&g, GUEST_FEATURES, SIZE, 0), 0);
	for (unsigned i = 0; i < 2000; i++)
		offer(i, GUEST_DATA + i * STEP, STEP);
	for (unsigned i = 0; i < 4; i++)
		pkts[i] = mbuf(26988); // 450 buffers each
	assert_int_equal(virtq_tx(&g.q, pkts, 4, &bytes), 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(header(i * 27000).num_buffers, 450);
		assert_memory_equal(g.data + i * 27000 + 12, frame, 26988);
	}
	rte_pktmbuf_free_bulk(pkts, 4);
	end(1800);
}

// ---- offloads (H-24)

static struct frame f;

// A TCP segment as a sender with offloads makes it; its header in the guest: after tx_offloads().
static struct rte_mbuf *tcp(uint8_t gso_type)
{
	struct rte_mbuf *m;
	struct packet *pk;

	frame_build(&f, 0, 4, FRAME_TCP, 1000, true);
	m = eal_fixture_mbuf(f.data, f.size, f.size);
	pk = packet_of(m);
	pk->flags = PACKET_NEEDS_CSUM;
	pk->csum_start = (uint16_t)f.l4_off;
	pk->csum_offset = 16;
	pk->gso_type = gso_type;
	pk->gso_size = gso_type ? 100 : 0;
	assert_int_equal(parse_packet(m), DROP_NONE);
	return m;
}

static uint16_t tx_offloads(uint64_t features, uint8_t gso_type)
{
	struct rte_mbuf *m = tcp(gso_type);
	uint16_t n_sent;

	begin_with(GUEST_FEATURE(VIRTIO_F_VERSION_1) | features);
	offer(0, GUEST_DATA, 4096);
	n_sent = virtq_tx(&g.q, &m, 1, &bytes);
	rte_pktmbuf_free(m);
	return n_sent;
}

static void test_offloads_taken(void **state)
{
	struct virtio_net_hdr_mrg_rxbuf hdr;

	assert_int_equal(tx_offloads(GUEST_FEATURE(VIRTIO_NET_F_GUEST_CSUM), 0), 1);
	hdr = header(0);
	assert_int_equal(hdr.hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(hdr.hdr.csum_start, f.l4_off);
	assert_int_equal(hdr.hdr.csum_offset, 16);
	assert_int_equal(hdr.hdr.gso_type, 0);
	assert_memory_equal(g.data + 12, f.data, f.size); // untouched, pseudo header and all
	end(1);
	assert_int_equal(tx_offloads(GUEST_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
					     GUEST_FEATURE(VIRTIO_NET_F_GUEST_TSO4),
				 PACKET_GSO_TCP4 | PACKET_GSO_ECN),
		1);
	hdr = header(0);
	assert_int_equal(hdr.hdr.gso_type, VIRTIO_NET_HDR_GSO_TCPV4); // ECN was not negotiated
	assert_int_equal(hdr.hdr.gso_size, 100);
	assert_int_equal(hdr.hdr.hdr_len, f.payload_off);
	assert_memory_equal(g.data + 12, f.data, f.size);
	end(1);
	assert_int_equal(tx_offloads(GUEST_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
					     GUEST_FEATURE(VIRTIO_NET_F_GUEST_TSO4) |
					     GUEST_FEATURE(VIRTIO_NET_F_GUEST_ECN),
				 PACKET_GSO_TCP4 | PACKET_GSO_ECN),
		1);
	assert_int_equal(header(0).hdr.gso_type, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN);
	end(1);
}

static void test_h24_offloads_not_taken(void **state)
{
	uint32_t l4_size;

	assert_int_equal(tx_offloads(0, 0), 1);
	assert_int_equal(header(0).hdr.flags, 0);
	l4_size = f.size - f.l4_off;
	assert_int_equal(frame_sum(frame_pseudo(g.data + 12 + f.l3_off, FRAME_TCP, l4_size),
				 g.data + 12 + f.l4_off, l4_size),
		0xffff);
	end(1);
	assert_int_equal(tx_offloads(0, PACKET_GSO_TCP4), 0);
	end(0);
	assert_int_equal(tx_offloads(GUEST_FEATURE(VIRTIO_NET_F_GUEST_TSO4), PACKET_GSO_TCP4), 0);
	end(0);
	assert_int_equal(tx_offloads(GUEST_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
					     GUEST_FEATURE(VIRTIO_NET_F_GUEST_TSO6),
				 PACKET_GSO_TCP4),
		0);
	end(0);
}

// ---- lies

static void assert_stopped(uint16_t n_before, enum virtq_fault fault)
{
	assert_int_equal(tx((uint32_t[]){ 60, 60, 60 }, 3), n_before);
	assert_int_equal(g.q.fault, fault);
	assert_int_equal(tx_one(60), 0);
	end(n_before);
}

static void test_faults(void **state)
{
	static const struct {
		unsigned head;
		struct vring_desc d;
		enum virtq_fault fault;
	} cases[] = {
		{ GUEST_SIZE, { 0 }, VIRTQ_FAULT_HEAD }, // H-15
		{ 0xffff, { 0 }, VIRTQ_FAULT_HEAD },
		{ 1, { GUEST_DATA, 1, 3, 1 }, VIRTQ_FAULT_CHAIN }, // H-16
		{ 1, { GUEST_DATA, 1, 3, GUEST_SIZE }, VIRTQ_FAULT_CHAIN },
		{ 1, { GUEST_DATA, 0, 3, 1 }, VIRTQ_FAULT_CHAIN },
		{ 1, { UINT64_MAX, 100, 2, 0 }, VIRTQ_FAULT_ADDRESS }, // H-17
		{ 1, { 0, 100, 2, 0 }, VIRTQ_FAULT_ADDRESS },
		{ 1, { GUEST_DATA + GUEST_DATA_SIZE + GUEST_MORE_SIZE - 71, UINT32_MAX, 2, 0 },
			VIRTQ_FAULT_ADDRESS },
		{ 1, { GUEST_DATA, 15, 4, 0 }, VIRTQ_FAULT_INDIRECT }, // H-18
		{ 1, { GUEST_DESC, 16, 4, 0 }, VIRTQ_FAULT_DIRECTION },
		{ 1, { GUEST_DESC + 16, 16, 4, 0 }, VIRTQ_FAULT_INDIRECT },
		{ 1, { GUEST_DATA, 100, 0, 0 }, VIRTQ_FAULT_DIRECTION }, // H-20
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin();
		guest_desc(&g, 0, GUEST_DATA, 100, VRING_DESC_F_WRITE, 0);
		g.desc[1] = cases[i].d;
		if (cases[i].d.addr == GUEST_DESC)
			guest_desc(&g, 0, GUEST_DATA, 100, 0, 0);
		else
			guest_offer(&g, 0); // one that is good comes first
		guest_offer(&g, cases[i].head);
		guest_offer(&g, 0);
		assert_stopped(cases[i].d.addr != GUEST_DESC, cases[i].fault);
	}
}

static void test_h14_avail_index(void **state)
{
	static const uint16_t jumps[] = { GUEST_SIZE + 1, 32768, 65535 };

	for (unsigned i = 0; i < 3; i++) {
		begin();
		for (unsigned d = 0; d < GUEST_SIZE; d++)
			guest_desc(&g, d, GUEST_DATA, 100, VRING_DESC_F_WRITE, 0);
		g.avail->idx = jumps[i];
		assert_stopped(0, VIRTQ_FAULT_AVAIL);
	}
}

// Buffers of no bytes: a bounded part of them is looked at, none is taken.
static void test_h27_empty_buffers(void **state)
{
	enum { SIZE = 32768 };
	struct rte_mbuf *m = mbuf(60);

	assert_int_equal(guest_begin(&g, GUEST_FEATURES, SIZE, 0), 0);
	for (unsigned i = 0; i < SIZE; i++)
		offer(i, GUEST_DATA, 0);
	assert_int_equal(virtq_tx(&g.q, &m, 1, &bytes), 0);
	assert_int_equal(g.q.fault, VIRTQ_FAULT_NONE);
	assert_int_equal(g.used->ring[VIRTQ_BURST_DESCS].id, 0);
	assert_int_equal(g.used->ring[VIRTQ_BURST_DESCS - 1].id, VIRTQ_BURST_DESCS - 1);
	rte_pktmbuf_free(m);
	end(0);
}

// One frame spends the burst's last descriptor: the next waits, however plain its buffer.
static void test_h27_budget_spent(void **state)
{
	enum { SIZE = 8192 };

	assert_int_equal(guest_begin(&g, GUEST_FEATURES, SIZE, 0), 0);
	for (unsigned i = 0; i < VIRTQ_BURST_DESCS; i++)
		offer(i, GUEST_DATA, i == VIRTQ_BURST_DESCS - 1 ? 100 : 0);
	offer(VIRTQ_BURST_DESCS, GUEST_DATA + 100, 100);
	assert_int_equal(tx((uint32_t[]){ 60, 60 }, 2), 1);
	assert_int_equal(tx_one(60), 1);
	end(VIRTQ_BURST_DESCS + 1);
}

static void test_h26_no_buffers(void **state)
{
	begin();
	assert_int_equal(tx((uint32_t[]){ 60, 60 }, 2), 0);
	offer(0, GUEST_DATA, 100);
	assert_int_equal(tx((uint32_t[]){ 60, 60 }, 2), 1);
	assert_int_equal(guest_calls(&g), 1);
	end(1);
}

// ---- notifications (§2.7.7, §2.7.10; H-25)

static void test_calls_by_flag(void **state)
{
	begin();
	for (unsigned i = 0; i < 4; i++)
		offer(i, GUEST_DATA, 100);
	g.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	assert_int_equal(tx_one(60), 1);
	assert_int_equal(guest_calls(&g), 0);
	g.avail->flags = 0;
	assert_int_equal(tx_one(60), 1);
	assert_int_equal(guest_calls(&g), 1);
	end(2);
}

// A call fd that is full, and that the front end has made blocking again: nobody waits. (Who did
// would be woken by the alarm, and fail.)
static void test_h25_full_call_fd(void **state)
{
	uint64_t n;

	begin();
	for (unsigned i = 0; i < 40; i++)
		offer(i, GUEST_DATA, 100);
	assert_int_equal(fcntl(g.call_fd, F_SETFL, 0), 0);
	assert_int_equal(eventfd_write(g.call_fd, UINT64_MAX - 1), 0);
	alarm(20);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(tx_one(60), 1);
	alarm(0);
	assert_int_equal(fcntl(g.call_fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(read(g.call_fd, &n, sizeof(n)), sizeof(n));
	end(40);
}

// The same on a thread that gets no asynchronous reads, nor a timer: it waits a little, once, or
// not at all, and the ring stops; a call fd that does not make it wait is written to.
struct without {
	bool timer, good;
};

static void *run_without(void *arg)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	struct without *w = arg;
	uint32_t action = SCMP_ACT_ERRNO(EAGAIN);

	w->good = filter != NULL && seccomp_rule_add(filter, action, SCMP_SYS(io_setup), 0) == 0 &&
		  (w->timer || seccomp_rule_add(filter, action, SCMP_SYS(timer_create), 0) == 0) &&
		  seccomp_load(filter) == 0 && tx_one(60) == 1 && g.q.fault == VIRTQ_FAULT_NONE &&
		  guest_calls(&g) == 1 && fcntl(g.call_fd, F_SETFL, 0) == 0 &&
		  eventfd_write(g.call_fd, UINT64_MAX - 1) == 0 && tx_one(60) == 1 &&
		  g.q.fault == VIRTQ_FAULT_CALL && tx_one(60) == 0;
	seccomp_release(filter);
	return NULL;
}

static void test_h25_without_aio(void **state)
{
	for (unsigned timer = 0; timer < 2; timer++) {
		struct without w = { .timer = timer };
		pthread_t thread;

		begin();
		for (unsigned i = 0; i < 3; i++)
			offer(i, GUEST_DATA, 100);
		alarm(20);
		assert_int_equal(pthread_create(&thread, NULL, run_without, &w), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
		alarm(0);
		assert_true(w.good);
		assert_int_equal(fcntl(g.call_fd, F_SETFL, O_NONBLOCK), 0);
		guest_calls(&g);
		g.q.fault = VIRTQ_FAULT_NONE;
		end(2);
	}
}

// For every distance between index and event, across the wrap: called if and only if the event
// lies among the buffers just returned.
static void test_calls_by_event(void **state)
{
	uint64_t features = GUEST_FEATURES | GUEST_FEATURE(VIRTIO_RING_F_EVENT_IDX);

	assert_int_equal(guest_begin(&g, features, GUEST_SIZE, 65500), 0);
	offer(0, GUEST_DATA, 100);
	g.avail->ring[GUEST_SIZE] = 1234;
	assert_int_equal(tx_one(60), 1);
	assert_int_equal(guest_calls(&g), 1); // the first always
	for (unsigned i = 0; i < 120; i++) {
		uint16_t n = (uint16_t)(1 + i % 3), before = g.used->idx;
		uint16_t event = (uint16_t)(before + (i * 5) % 9 - 3);
		bool expected = false;

		for (uint16_t k = 0; k < n; k++) {
			offer(k, GUEST_DATA, 100);
			expected |= (uint16_t)(before + k) == event;
		}
		g.avail->ring[GUEST_SIZE] = event;
		assert_int_equal(tx((uint32_t[]){ 60, 60, 60 }, n), n);
		assert_int_equal(guest_calls(&g), expected);
	}
	guest_end(&g);
}

static void test_kicks(void **state)
{
	begin();
	assert_int_equal(g.used->flags, VRING_USED_F_NO_NOTIFY);
	virtq_notify_on(&g.q);
	assert_int_equal(g.used->flags, 0);
	assert_false(virtq_waiting(&g.q));
	guest_offer(&g, 0);
	assert_true(virtq_waiting(&g.q));
	virtq_notify_off(&g.q);
	assert_int_equal(g.used->flags, VRING_USED_F_NO_NOTIFY);
	guest_end(&g);

	begin_with(GUEST_FEATURES | GUEST_FEATURE(VIRTIO_RING_F_EVENT_IDX));
	offer(0, GUEST_DATA, 100);
	assert_int_equal(tx_one(60), 1);
	virtq_notify_on(&g.q);
	assert_int_equal(*(uint16_t *)&g.used->ring[GUEST_SIZE], 1);
	end(1);
}

// ---- beginning (H-07)

static void test_start_refuses(void **state)
{
	struct virtq before;
	struct virtq_setup good, s;

	begin();
	good = (struct virtq_setup){ .desc = g.desc,
		.avail = g.avail,
		.used = g.used,
		.size = GUEST_SIZE,
		.call_fd = -1,
		.memory = &g.memory };
	before = g.q;
	for (unsigned i = 0; i < 13; i++) {
		s = good;
		switch (i) {
		case 0:
			s.size = 0;
			break;
		case 1:
			s.size = 3;
			break;
		case 2:
			s.size = 2 * GUEST_SIZE;
			break; // ends behind its region
		case 3:
			s.size = 2 * VIRTQ_SIZE_MAX;
			break;
		case 4:
			s.desc = NULL;
			break;
		case 5:
			s.avail = NULL;
			break;
		case 6:
			s.used = NULL;
			break;
		case 7:
			s.desc = (uint8_t *)g.data + 8;
			break;
		case 8:
			s.avail = (uint8_t *)g.data + 1;
			break;
		case 9:
			s.used = (uint8_t *)g.data + 2;
			break;
		case 10:
			s.desc = g.desc + 1;
			break;
		case 11:
			s.features = GUEST_FEATURE(VIRTIO_RING_F_EVENT_IDX);
			break;
		case 12:
			s.used = &s;
			break;
		}
		assert_int_equal(virtq_start(&g.q, &s), -EINVAL);
		assert_memory_equal(&g.q, &before, sizeof(before));
	}
	assert_int_equal(virtq_start(&g.q, &good), 0);
	guest_end(&g);
}

// ---- a guest that changes its memory while we look (H-21)

#ifndef __SANITIZE_THREAD__ // a hostile guest races with us: that is the point

static _Atomic bool stop_flipping;

static void *flip(void *arg)
{
	static const uint64_t at[] = { GUEST_DATA, GUEST_DATA + GUEST_DATA_SIZE - 7,
		GUEST_DATA + 50, UINT64_MAX };
	uint32_t n = 1;

	while (!atomic_load(&stop_flipping)) {
		volatile struct vring_desc *d = &g.desc[n % GUEST_SIZE];

		n ^= n << 13; // xorshift
		n ^= n >> 17;
		n ^= n << 5;
		d->addr = at[n >> 24 & 3];
		d->len = n >> 28 == 0 ? UINT32_MAX : n >> 16 & 0xfff;
		d->flags = n >> 9 & 7 ? n >> 20 & VRING_DESC_F_WRITE : n >> 20 & 7;
		d->next = (uint16_t)(n >> 8 & 0x7f);
		*(volatile uint16_t *)&g.avail->ring[n >> 12 & (GUEST_SIZE - 1)] =
			(uint16_t)(n >> 16 & (n >> 6 & 7 ? 0x3f : 0x7f));
		*(volatile uint8_t *)&g.data[n >> 16 & 0xfff] = (uint8_t)n;
	}
	return NULL;
}

static void test_h21_flips(void **state)
{
	struct rte_mbuf *pkts[BURST_MAX];
	uint64_t drops[DROP_COUNT] = { 0 };
	unsigned n_received = 0, n_sent = 0, n_faults = 0;
	pthread_t thread;

	begin();
	atomic_store(&stop_flipping, false);
	assert_int_equal(pthread_create(&thread, NULL, flip, NULL), 0);
	while (n_received < 5000 || n_sent < 5000 || n_faults < 20000) {
		uint16_t n;

		g.avail->idx = (uint16_t)(g.q.next + GUEST_SIZE);
		n = virtq_rx(&g.q, eal_fixture_small, pkts, BURST_MAX, drops);
		for (uint16_t k = 0; k < n; k++)
			rte_mbuf_sanity_check(pkts[k], 1);
		rte_pktmbuf_free_bulk(pkts, n);
		n_received += n;
		n_faults += g.q.fault != VIRTQ_FAULT_NONE;
		g.q.fault = VIRTQ_FAULT_NONE; // as after a reset, at the next buffer
		g.q.next++;
		for (n = 0; n < 8; n++)
			pkts[n] = mbuf(n * 400U + 60);
		n_sent += virtq_tx(&g.q, pkts, n, &bytes);
		rte_pktmbuf_free_bulk(pkts, n);
		n_faults += g.q.fault != VIRTQ_FAULT_NONE;
		g.q.fault = VIRTQ_FAULT_NONE;
	}
	atomic_store(&stop_flipping, true);
	pthread_join(thread, NULL);
	guest_end(&g);
}

#endif

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, eal_fixture_no_leak)
	const struct CMUnitTest tests[] = {
		TEST(test_one_buffer),
		TEST(test_mergeable),
		TEST(test_chained_and_indirect),
		TEST(test_legacy),
		TEST(test_super_frame_and_straddle),
		TEST(test_many_pieces),
		TEST(test_offloads_taken),
		TEST(test_h24_offloads_not_taken),
		TEST(test_faults),
		TEST(test_h14_avail_index),
		TEST(test_h27_empty_buffers),
		TEST(test_h27_budget_spent),
		TEST(test_h26_no_buffers),
		TEST(test_calls_by_flag),
		TEST(test_h25_full_call_fd),
		TEST(test_h25_without_aio),
		TEST(test_calls_by_event),
		TEST(test_kicks),
		TEST(test_start_refuses),
#ifndef __SANITIZE_THREAD__
		TEST(test_h21_flips),
#endif
	};

	return cmocka_run_group_tests(tests, eal_fixture_init, NULL);
}
