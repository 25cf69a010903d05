// SPDX-License-Identifier: BSD-3-Clause
// Replay: packets of captures through the production pipeline, on the captures' time. One thread,
// one switch without queues; what a run gives depends on the policy, the captures and the seed, and
// on nothing else. `insula-switch --replay` (replay_main.c) and the fixture runner call it.
#pragma once

#include <stdio.h>
#include "vswitch/policy.h"
#include "vswitch/tables.h"
#include "vswitch/worker.h"

enum {
	REPLAY_NAME_SIZE = 2 * POLICY_NAME_SIZE,
	REPLAY_RULE_SIZE = 2 * REPLAY_NAME_SIZE + 16,
	// Packet memory of a run, for eal_start: 2 MiB, each worker's pools 25 more, and a margin.
	REPLAY_MEMORY_MIB = 24,
	REPLAY_WORKER_MEMORY_MIB = 26,
};

struct replay_input {
	const char *port; // TENANT/INSTANCE.NIC, or the name of an uplink or trunk
	const char *path; // pcap or pcapng, Ethernet or with virtio_net_hdr (see replay_input.c)
};

struct replay_frame {
	uint64_t ts_ns; // since 1970
	const uint8_t *data;
	uint32_t size;
	uint32_t number; // in its file, from 1
	uint16_t input; // index
	bool vnet; // a struct virtio_net_hdr lies before data
};

// All frames of all inputs, by (time, input, number).
struct replay_frames {
	size_t n;
	struct replay_frame *v;
	unsigned n_inputs;
	const struct replay_input *inputs; // the caller's
	uint8_t **bytes; // of each input
};

// Reads the captures whole. -EINVAL with "FILE: packet N: what is wrong" in err, or -ENOMEM.
int replay_frames_load(const struct replay_input *inputs, unsigned n_inputs,
	struct replay_frames *ret_frames, char *err, size_t err_size);
void replay_frames_free(struct replay_frames *f);

enum replay_outcome {
	REPLAY_OPEN, // waits (for a neighbour); nobody else sees this one
	REPLAY_FORWARDED,
	REPLAY_ANSWERED, // by the switch itself
	REPLAY_TAKEN, // for the switch, and nothing came back
	REPLAY_DROPPED,
	REPLAY_OUTCOME_COUNT
};

enum replay_rule { // what in the policy decided
	REPLAY_RULE_NONE,
	REPLAY_RULE_DENY, // nothing allows it
	REPLAY_RULE_SEGMENT, // inside `segment`
	REPLAY_RULE_FLOOD, // to all of `segment`
	REPLAY_RULE_ROUTE, // through the gateway to `segment`
	REPLAY_RULE_SNAT, // `segment` hidden behind `port`
	REPLAY_RULE_GATEWAY, // what the gateway of `segment` answers
	REPLAY_RULE_UPLINK, // what the switch answers at uplink `port`
	REPLAY_RULE_COUNT
};

struct replay_tuple {
	be32 src, dst;
	be16 src_port, dst_port; // ICMP echo: the identifier in both
	uint8_t proto;
	bool known; // IPv4
};

struct replay_verdict {
	uint64_t number; // in the order of the run, from 1
	const struct replay_frame *frame;
	uint32_t in_port; // id; 0 = the policy has no such port
	uint8_t outcome, rule, drop; // enums replay_outcome, replay_rule, drop_reason
	const char *stage; // that decided
	uint32_t segment, port; // of the rule: index into the policy's segments, id
	struct replay_tuple from, to; // to.known: the packet was rewritten
	uint32_t n_out, out_room;
	uint16_t few[4], *many; // private: see replay_out
};

static inline const uint16_t *replay_out(const struct replay_verdict *v) // ids of ports it left by
{
	return v->many ? v->many : v->few;
}

struct replay;

struct replay_options {
	const void *policy; // as it lies in a file (control/policy.h)
	size_t policy_size;
	const struct replay_frames *frames;
	const char
		*out_dir; // where captures go, a file for each port something left by; NULL: none
	uint64_t seed;
	struct tables_limits limits; // sessions 0 = the defaults
	unsigned burst, n_workers; // results do not depend on them; 0 = 1
	bool ports_may_lack; // inputs of ports the policy has not: each packet a drop
	// Called with each packet's verdict, in order.
	void (*verdict)(void *arg, const struct replay *r, const struct replay_verdict *v);
	void *arg;
};

// 0, or -errno with a sentence in err.
int replay_run(const struct replay_options *o, char *err, size_t err_size);

// For `verdict`. A port's name as users write it, and a segment's: TENANT/NETWORK.
const char *replay_port_name(const struct replay *r, uint32_t port);
const char *replay_segment_name(const struct replay *r, uint32_t segment);
// The rule in words: "snat red/lan internet"; "" if there is none.
const char *replay_rule_text(
	const struct replay *r, const struct replay_verdict *v, char buf[REPLAY_RULE_SIZE]);
const char *replay_outcome_name(enum replay_outcome o);

// Captures written, one for each port something left by: DIR/PORT.pcapng (replay_output.c).
struct replay_output;
int replay_output_new(const char *dir, struct replay_output **ret_output);
// Writes a frame that left by `port`.
void replay_output_put(struct replay_output *o, uint32_t port, const char *name, uint64_t ts_ns,
	const struct rte_mbuf *m);
// Closes all. 0, or -errno of the first failure with its path in err.
int replay_output_close(struct replay_output *o, char *err, size_t err_size);
// Takes away what a run has left in DIR, and DIR. For one that failed: half a result is none.
void replay_output_remove(const char *dir);
// Makes DIR, or takes it when it is empty. 0, or -errno with a sentence in err.
int replay_output_dir(const char *dir, char *err, size_t err_size);

// insula-switch --replay: its arguments behind that word; the exit status (replay_main.c).
int replay_main(int argc, char **argv);
