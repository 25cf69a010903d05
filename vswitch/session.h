// SPDX-License-Identifier: BSD-3-Clause
// Helpers that the session stages share. Workers.
#pragma once

#include "vswitch/switch.h"

// The key of a packet as it arrived, in its zone. False for packets that have no session:
// fragments, multicast, non-IP, ICMP errors.
bool session_key_of(struct rte_mbuf *m, struct session_key *ret_key);
// A session was made / was removed, by whomever: the tenant's count and the NAT mapping follow.
void session_counted(struct switch_ *sw, const struct session_record *rec);
void session_released(struct switch_ *sw, const struct session_record *rec, uint64_t now_ns);
// Removes a session and gives back its mapping; harmless if another worker was first.
void session_end(struct switch_ *sw, uint32_t id, uint64_t now_ns);
// If the session was decided under other revisions: is it allowed today? Updates or ends it.
bool session_decide_again(
	struct worker *w, const struct burst *b, uint32_t id, struct session_record *rec);
// True if the packet is addressed to the gateway of its segment or comes from an uplink.
bool session_is_routed(const struct burst *b, struct rte_mbuf *m);
