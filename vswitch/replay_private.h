// SPDX-License-Identifier: BSD-3-Clause
// What the parts of a replay share: the run (replay.c) and its book of verdicts
// (replay_verdict.c).
#pragma once

#include "vswitch/replay.h"
#include "vswitch/switch.h"

struct replay_late { // left within a burst of several: written in the order of their causes
	uint32_t port;
	struct rte_mbuf *m;
};

struct replay_ask { // an ARP request that nobody is there to answer
	uint32_t port;
	be32 address;
};

struct replay {
	struct watch watch; // first: the workers know no more of us
	const struct replay_options *o;
	struct switch_ *sw;
	const struct policy *pol;
	struct replay_output *out; // NULL: none
	void *table_mem[2];
	size_t table_size[2];
	struct session_table *sessions;
	struct nat_table *mappings;
	uint32_t *ports; // of the inputs
	char (*names)[REPLAY_NAME_SIZE]; // of the policy's ports, then of its segments
	uint64_t now_ns; // of the switch
	uint64_t tick_ns; // when timers run next
	const char *stage; // that runs
	bool several; // more than one packet goes through the stages
	// Verdicts not told yet, by number, in a ring: a packet may wait while others pass.
	struct replay_verdict *ring;
	uint64_t mask, first, next;
	struct replay_late *late;
	size_t n_late, late_room;
	// Uplinks without a capture: replay plays their neighbours. By port id, 1 = it has a
	// capture.
	uint8_t *fed;
	bool plays; // some uplink has none
	struct replay_ask *asks; // since the burst or tick began
	size_t n_asks, asks_room;
	int error;
};

// The switch's clock begins away from zero, which means "never" in some of its tables.
#define REPLAY_EPOCH_NS 1000000000000ull

// Fills r->names.
int replay_make_names(struct replay *r);
// Begins a record; NULL without memory. It is valid until the next.
struct replay_verdict *replay_begin(struct replay *r, const struct replay_frame *f, uint32_t port);
// The record of a packet that has not been told yet.
struct replay_verdict *replay_record(struct replay *r, uint64_t number);
// Tells what is decided, in order, up to the first that is open.
void replay_tell(struct replay *r);
// Fills v->from; the packet has just been parsed.
void replay_note_tuple(struct replay *r, struct rte_mbuf *m);
// A packet, or what the switch made of it, left by `port`.
void replay_note_sent(struct replay *r, uint32_t port, struct rte_mbuf *m);
void replay_note_drop(struct watch *watch, struct rte_mbuf *m, enum drop_reason reason);
// Plays the neighbours that were asked for since the last call.
void replay_answer_asks(struct replay *r);
// Writes what left while `several` was set, by cause.
void replay_write_late(struct replay *r);

// How many frames from number `at` of the run on come as one burst (replay_burst.c).
uint16_t replay_burst_size(const struct replay *r, size_t at);
// Sends n frames of one input and time stamp through the pipeline. 0, or -ENOMEM.
int replay_run_burst(struct replay *r, uint32_t port_id, const struct replay_frame *f, uint16_t n);
