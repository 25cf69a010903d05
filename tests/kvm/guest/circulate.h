// SPDX-License-Identifier: BSD-3-Clause
// UDP frames between two nics of one guest, for the commands that send them round: run_circulate.c
// has these, run_exchange.c uses them too. A buffer begins with virtio's header.
#pragma once

#include "net.h"

enum { CIRCULATE_HEADER = 12 };

struct datagram_frame {
	struct eth_hdr eth;
	struct ipv4_hdr ip;
	struct udp_hdr udp;
} WIRE_PACKED;

// size: of the frame, without the FCS.
void circulate_make(
	uint8_t *buffer, const struct net *from, const struct net *to, size_t size, uint16_t flow);
// Back to where it came from; all sums stay right. size: of the buffer. false: it is none of ours.
bool circulate_turn(uint8_t *buffer, uint32_t size);
void circulate_rx_give(struct nic *nic, uint8_t *buffer);
// If there is no room, the buffer waits for a frame instead.
void circulate_tx_give(struct nic *nic, uint8_t *buffer, uint32_t size);
