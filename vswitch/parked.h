// SPDX-License-Identifier: BSD-3-Clause
// Dynamic clients' DHCP messages that wait for insulad's word, each under a token. Bounded as a
// whole and by port, so that one port's flood leaves room for the others. Control thread only.
#pragma once

#include "vswitch/message.h"

enum {
	PARKED_MAX = 1024, // a power of two: a token's low bits are its place
	PARKED_PER_PORT = 128, // less than the socket to insulad holds
	PARKED_S = 30, // then the client has asked again long ago
};

struct parked {
	uint32_t token; // 0 = free
	uint32_t port, segment_id;
	uint64_t since_ns;
	struct dhcp4_msg msg;
};

struct parking;

// seed: tokens begin anywhere, so that an answer to a process that died finds nobody.
struct parking *parking_new(uint64_t seed);
void parking_free(struct parking *p);
// NULL when the table or the port's share is full.
struct parked *parked_add(struct parking *p, const struct worker_message *wm, uint64_t now_ns);
struct parked *parked_find(struct parking *p, uint32_t token); // or NULL
void parked_del(struct parking *p, struct parked *slot);
void parked_clear(struct parking *p); // who was to answer is gone
void parked_expire(struct parking *p, uint64_t now_ns);
