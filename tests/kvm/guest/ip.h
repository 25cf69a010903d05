// SPDX-License-Identifier: BSD-3-Clause
// Between net.c, ip.c and tcp.c: frames in, neighbours.
#pragma once

#include "net.h"

void frame_input(struct net *net, const struct nic_frame *frame);
void arp_input(struct net *net, const struct nic_frame *frame);
void ip_input(struct net *net, const struct nic_frame *frame);

// The neighbour on the way to an address; NULL if its MAC is not known.
const struct mac *neighbour_find(const struct net *net, be32 ip);
void neighbour_learn(struct net *net, be32 ip, const struct mac *mac);
