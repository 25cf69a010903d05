// SPDX-License-Identifier: BSD-3-Clause
// What workers and control tell each other, by value, through the two bounded rings of each worker.
// Messages come from switch.messages; whoever takes one out of a ring puts it back there.
#pragma once

#include "control/proto.h"
#include "dhcp/dhcp4.h"

enum worker_message_kind {
	MESSAGE_LEASE, // worker -> control
	MESSAGE_EMIT, // control -> worker: send this frame
};

struct worker_message {
	enum worker_message_kind kind;
	uint32_t port;
	uint32_t segment_id; // 0 = none (uplinks)
	union {
		struct {
			enum proto_lease_kind kind;
			be32 address;
			struct dhcp4_msg msg;
		} lease;
		struct {
			uint32_t size;
			uint8_t frame[DHCP4_REPLY_MAX];
		} emit;
	};
};
