// SPDX-License-Identifier: BSD-3-Clause
// virtio_net_hdr, as taps and packet sockets put it in front of every frame, to and from struct
// packet. Fields are in host order (the kernel's default for both kinds). Called by port_tap.c and
// port_packet.c on any worker; no state.
#pragma once

#include <linux/virtio_net.h>
#include "vswitch/packet.h"

// Constants that Debian 12's kernel headers lack.
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

static_assert(sizeof(struct virtio_net_hdr) == 10, "the header without num_buffers");
static_assert(sizeof(struct virtio_net_hdr_mrg_rxbuf) == 12, "the header taps use");

// Takes over what the sender claims; parse checks it later. Unknown flags are ignored, hdr_len too.
void vnet_hdr_read(const struct virtio_net_hdr *hdr, struct packet *pkt);

// Describes a packet of the pipeline to the kernel.
void vnet_hdr_write(const struct packet *pkt, struct virtio_net_hdr *ret_hdr);
