// SPDX-License-Identifier: BSD-3-Clause
// virtio_net_hdr conversion, see vnet_hdr.h (virtio 1.2 §5.1.6).
#include "vswitch/vnet_hdr.h"

static_assert((int)PACKET_GSO_NONE == VIRTIO_NET_HDR_GSO_NONE &&
		      (int)PACKET_GSO_TCP4 == VIRTIO_NET_HDR_GSO_TCPV4 &&
		      (int)PACKET_GSO_TCP6 == VIRTIO_NET_HDR_GSO_TCPV6 &&
		      (int)PACKET_GSO_UDP_L4 == VIRTIO_NET_HDR_GSO_UDP_L4 &&
		      (int)PACKET_GSO_ECN == VIRTIO_NET_HDR_GSO_ECN,
	"enum packet_gso has virtio's values");

void vnet_hdr_read(const struct virtio_net_hdr *hdr, struct packet *pkt)
{
	if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		pkt->flags |= PACKET_NEEDS_CSUM;
		pkt->csum_start = hdr->csum_start;
		pkt->csum_offset = hdr->csum_offset;
	}
	if (hdr->flags & VIRTIO_NET_HDR_F_DATA_VALID)
		pkt->flags |= PACKET_DATA_VALID;
	pkt->gso_type = hdr->gso_type;
	pkt->gso_size = hdr->gso_size;
}

void vnet_hdr_write(const struct packet *pkt, struct virtio_net_hdr *ret_hdr)
{
	*ret_hdr = (struct virtio_net_hdr){ 0 };
	if (pkt->flags & PACKET_NEEDS_CSUM) {
		ret_hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		ret_hdr->csum_start = pkt->csum_start;
		ret_hdr->csum_offset = pkt->csum_offset;
	} else if (pkt->flags & PACKET_DATA_VALID) {
		ret_hdr->flags = VIRTIO_NET_HDR_F_DATA_VALID;
	}
	if (pkt->gso_type != PACKET_GSO_NONE) {
		ret_hdr->gso_type = pkt->gso_type;
		ret_hdr->gso_size = pkt->gso_size;
		// The kernel keeps this much linear and the rest in pages; without it, it tries to
		// allocate 64 KiB in one piece.
		ret_hdr->hdr_len = (uint16_t)(pkt->csum_start + pkt->l4_hdr_size);
	}
}
