// SPDX-License-Identifier: BSD-3-Clause
// Answers ping to the gateway by turning the request around where it lies. Called by the service
// stage on a worker, after it found that the destination is the gateway's address. Pure.
#include <errno.h>
#include "dhcp/icmp_echo.h"

enum {
	REPLY_TTL = 64,
	PROTO_ICMP = 1,
};

struct echo_frame {
	struct eth_hdr eth;
	struct ipv4_hdr ip;
	struct icmp_hdr icmp;
} WIRE_PACKED;

// Options are refused (a reply would have to reverse source routes), and so are fragments. The
// ICMP checksum is not verified: the payload may not be here. A wrong one stays wrong.
static bool is_echo_request(const struct echo_frame *f, size_t frame_size)
{
	uint16_t total_len = ntohs(f->ip.total_len);

	return f->eth.type == htons(ETHTYPE_IPV4) && !mac_is_multicast(&f->eth.dst) &&
	       !mac_is_multicast(&f->eth.src) && f->ip.version_ihl == 0x45 &&
	       total_len >= IPV4_MIN_HDR_SIZE + sizeof(struct icmp_hdr) &&
	       total_len <= frame_size - ETH_HDR_SIZE &&
	       (f->ip.frag_off & htons(IPV4_FLAG_MF | IPV4_FRAG_OFFSET_MASK)) == 0 &&
	       f->ip.proto == PROTO_ICMP && csum_finish(csum_add(0, &f->ip, sizeof(f->ip))) == 0 &&
	       f->icmp.type == ICMP_ECHO_REQUEST && f->icmp.code == 0;
}

int icmp_echo_reply_in_place(uint8_t *data, size_t size, size_t frame_size)
{
	struct echo_frame f;

	if (size < sizeof(f) || frame_size < size)
		return -EBADMSG;
	memcpy(&f, data, sizeof(f));
	if (!is_echo_request(&f, frame_size))
		return -EBADMSG;

	struct mac mac = f.eth.dst;
	f.eth.dst = f.eth.src;
	f.eth.src = mac;

	be32 addr = f.ip.dst;
	f.ip.dst = f.ip.src;
	f.ip.src = addr;
	f.ip.ttl = REPLY_TTL;
	f.ip.csum = 0;
	f.ip.csum = csum_finish(csum_add(0, &f.ip, sizeof(f.ip)));

	f.icmp.type = ICMP_ECHO_REPLY;
	f.icmp.csum = csum_not_zero(csum_update16(
		f.icmp.csum, htons(ICMP_ECHO_REQUEST << 8), htons(ICMP_ECHO_REPLY << 8)));
	memcpy(data, &f, sizeof(f));
	return 0;
}
