// SPDX-License-Identifier: BSD-3-Clause
// ARP parser and builders (RFC 826, RFC 5227), for the service stage (the gateway's answers) and
// the uplinks' next-hop resolution. Pure; any thread.
#include <assert.h>
#include <errno.h>
#include "dhcp/arp.h"

enum {
	ARP_HTYPE_ETHERNET = 1,
};

struct arp_frame {
	struct eth_hdr eth;
	struct arp_ipv4 arp;
} WIRE_PACKED;
static_assert(sizeof(struct arp_frame) == ARP_FRAME_SIZE, "wire format");

int arp_parse(const uint8_t *data, size_t size, struct arp_msg *ret_msg)
{
	struct arp_frame f;

	if (size < sizeof(f))
		return -EBADMSG;
	memcpy(&f, data, sizeof(f));
	if (f.eth.type != htons(ETHTYPE_ARP) || f.arp.htype != htons(ARP_HTYPE_ETHERNET) ||
		f.arp.ptype != htons(ETHTYPE_IPV4) || f.arp.hlen != sizeof(struct mac) ||
		f.arp.plen != sizeof(be32))
		return -EBADMSG;
	if (f.arp.op != htons(ARP_OP_REQUEST) && f.arp.op != htons(ARP_OP_REPLY))
		return -EBADMSG;
	// RFC 1812 §3.3.2: no host's link-layer address is broadcast or multicast.
	if (mac_is_multicast(&f.arp.sha) || mac_is_zero(&f.arp.sha))
		return -EBADMSG;

	*ret_msg = (struct arp_msg){
		.op = ntohs(f.arp.op),
		.eth_src = f.eth.src,
		.eth_dst = f.eth.dst,
		.sha = f.arp.sha,
		.tha = f.arp.tha,
		.spa = f.arp.spa,
		.tpa = f.arp.tpa,
	};
	return 0;
}

static void arp_write(const struct mac *eth_dst, const struct arp_ipv4 *arp, uint8_t *buf)
{
	struct arp_frame f = {
		.eth = { .dst = *eth_dst, .src = arp->sha, .type = htons(ETHTYPE_ARP) },
		.arp = *arp,
	};

	f.arp.htype = htons(ARP_HTYPE_ETHERNET);
	f.arp.ptype = htons(ETHTYPE_IPV4);
	f.arp.hlen = sizeof(struct mac);
	f.arp.plen = sizeof(be32);
	memcpy(buf, &f, sizeof(f));
}

static const struct mac mac_broadcast = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };

void arp_build_reply(
	const struct arp_msg *request, const struct mac *mac, uint8_t buf[ARP_FRAME_SIZE])
{
	struct arp_ipv4 arp = {
		.op = htons(ARP_OP_REPLY),
		.sha = *mac,
		.spa = request->tpa,
		.tha = request->sha,
		.tpa = request->spa,
	};

	arp_write(&request->sha, &arp, buf);
}

void arp_build_request(const struct mac *sha, be32 spa, be32 target, const struct mac *to,
	uint8_t buf[ARP_FRAME_SIZE])
{
	struct arp_ipv4 arp = {
		.op = htons(ARP_OP_REQUEST),
		.sha = *sha,
		.spa = spa,
		.tpa = target,
	};

	arp_write(to != NULL ? to : &mac_broadcast, &arp, buf);
}

void arp_build_announce(const struct mac *sha, be32 spa, uint8_t buf[ARP_FRAME_SIZE])
{
	arp_build_request(sha, spa, spa, NULL, buf);
}
