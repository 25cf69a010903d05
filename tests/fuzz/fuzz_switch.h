// SPDX-License-Identifier: BSD-3-Clause
// For targets that drive the whole switch of the unit tests' fixture: neighbours on the uplink that
// answer ARP, forgetting between inputs, and frames with their sums. The sums are those of
// frames.h, which share nothing with the code under test.
#pragma once

#include "tests/fuzz/fuzz.h"
#include "tests/unit/datagrams.h"
#include "tests/unit/frames.h"
#include "vswitch/session.h"

// Answers whoever the uplink asks for and takes the questions off its wire; true if there was one.
static inline bool fuzz_answer_arp(void)
{
	struct wire_port *up = wires[UPLINK];
	uint8_t replies[4][ARP_FRAME_SIZE];
	unsigned n_replies = 0, kept = 0;
	struct arp_msg arp;

	for (unsigned i = 0; i < up->n_out; i++) {
		if (n_replies < 4 && arp_parse(up->out[i], up->out_size[i], &arp) == 0 &&
			arp.op == ARP_OP_REQUEST) {
			arp_build_reply(&arp, &world, replies[n_replies++]);
			continue;
		}
		if (kept != i)
			memcpy(up->out[kept], up->out[i], up->out_size[i]);
		up->out_size[kept++] = up->out_size[i];
	}
	up->n_out = kept;
	for (unsigned i = 0; i < n_replies; i++)
		fixture_send(UPLINK, replies[i], ARP_FRAME_SIZE);
	return n_replies > 0;
}

// What left because of this frame is on the wires afterwards, without the uplink's own ARP.
static inline void fuzz_send(uint32_t port, const void *frame, size_t size)
{
	fixture_clear();
	fixture_send(port, frame, size);
	for (unsigned i = 0; i < 8 && fuzz_answer_arp(); i++)
		;
}

static inline bool fuzz_every(void *arg, const struct session_record *rec)
{
	return true;
}

static inline void fuzz_released(void *arg, const struct session_record *rec)
{
	session_released(fx.sw, rec, fx.now_ns);
}

// Making a switch takes too long for each input: what one leaves behind is taken away instead.
static inline void fuzz_forget(void)
{
	session_remove_if(fx.sw->sessions, fuzz_every, fuzz_released, NULL);
	fdb_flush_port(fx.sw->fdb, TRUNK);
	for (unsigned i = 0; i < 8; i++) { // whoever waits for a neighbour has given up then
		session_reclaim(fx.sw->sessions);
		nat_expire(fx.sw->mappings, fx.now_ns, 1, 1024);
		nat_reclaim(fx.sw->mappings);
		fixture_clear();
		fx.now_ns += SECOND;
		fixture_round();
		fuzz_answer_arp();
	}
	fixture_clear();
	CHECK(session_count(fx.sw->sessions) == 0);
	CHECK(nat_count(fx.sw->mappings) == 0);
	// A packet that is nowhere any more was not freed.
	CHECK(rte_mempool_in_use_count(fx.sw->workers[0]->small) == 0);
}

// The sum over a checksum's area, the checksum itself with it: 0xffff when right. Modulo 0xffff,
// since 0 and 0xffff are the same number there.
static inline uint32_t fuzz_residue(uint32_t sum)
{
	return sum % 0xffff;
}

// Of the L4 of the IPv4 packet at l3.
static inline uint32_t fuzz_l4_residue(const uint8_t *l3, uint32_t l4_size)
{
	uint32_t sum = l3[9] == FRAME_ICMP ? 0 : frame_pseudo(l3, l3[9], l4_size);

	return fuzz_residue(frame_sum(sum, l3 + 20, l4_size));
}
