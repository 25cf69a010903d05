// SPDX-License-Identifier: BSD-3-Clause
// Frames and offload claims as a hostile sender makes them, through parse_packet and, where it lets
// them pass, software checksum and segmentation. The frame lies in a heap block of its exact size
// (an external buffer: ASan does not see inside mbuf pools). Input: virtio_net_hdr (odd
// hdr_len: mend the IPv4 checksum first), a byte that says where to split the frame in two, frame.
#include <stddef.h>
#include <stdint.h>
#define EAL_FIXTURE_POOLS
#include "tests/fuzz/fuzz.h"
#include "tests/unit/eal_fixture.h"
#include "tests/unit/frames.h"
#include "vswitch/gso.h"
#include "vswitch/parse.h"
#include "vswitch/vnet_hdr.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return eal_fixture_init(NULL);
}

// What parse.h promises of a frame it let through.
static void check_promises(struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);

	rte_mbuf_sanity_check(m, 1);
	CHECK(m->data_len >= RTE_MIN(m->pkt_len, (uint32_t)PACKET_HEADERS_MAX));
	CHECK(p->l3_off <= m->pkt_len);
	if (p->flags & (PACKET_IPV4 | PACKET_IPV6 | PACKET_ARP))
		CHECK((uint32_t)p->l3_off + p->l3_len == m->pkt_len);
	if (p->flags & PACKET_HAS_L4) {
		CHECK((uint32_t)p->l4_off + p->l4_hdr_size <= m->pkt_len);
		CHECK((uint32_t)p->l4_off + p->l4_hdr_size <= m->data_len);
	}
	if (p->gso_type != PACKET_GSO_NONE)
		CHECK(p->flags & PACKET_NEEDS_CSUM);
}

static void check_offloads(struct rte_mbuf *m)
{
	struct rte_mbuf *out[GSO_MAX_SEGMENTS];
	uint32_t hdr_size = (uint32_t)packet_of(m)->l4_off + packet_of(m)->l4_hdr_size;
	uint32_t payload = m->pkt_len - hdr_size, sum = 0;
	int n;

	if (packet_of(m)->gso_type == PACKET_GSO_NONE) {
		CHECK(gso_complete_csum(m) == 0);
		rte_pktmbuf_free(m);
		return;
	}
	n = gso_segment(NULL, m, out, GSO_MAX_SEGMENTS);
	CHECK(n >= 2);
	for (int i = 0; i < n; i++) {
		sum += out[i]->pkt_len - hdr_size;
		CHECK(parse_packet(out[i]) == DROP_NONE);
	}
	CHECK(sum == payload);
	rte_pktmbuf_free_bulk(out, (unsigned)n);
}

// Without this nearly every mutation ends at the IPv4 header checksum.
static void mend_ipv4_csum(uint8_t *frame, size_t size)
{
	size_t off = 12;

	while (off + 4 <= size && (frame_get16(frame + off) == ETHTYPE_VLAN ||
					  frame_get16(frame + off) == ETHTYPE_QINQ))
		off += 4;
	if (off + 22 <= size && frame_get16(frame + off) == ETHTYPE_IPV4 && frame[off + 2] == 0x45)
		frame_ipv4_csum(frame + off + 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t frame[60000];
	struct virtio_net_hdr hdr;
	struct rte_mbuf *m;
	size_t split;

	if (size < sizeof(hdr) + 1 || size > 60000)
		return 0;
	memcpy(&hdr, data, sizeof(hdr));
	split = data[sizeof(hdr)];
	data += sizeof(hdr) + 1;
	size -= sizeof(hdr) + 1;
	memcpy(frame, data, size);
	if (hdr.hdr_len & 1) // parse must not care for it
		mend_ipv4_csum(frame, size);
	m = split == 0 || split > size ? eal_fixture_exact(frame, size)
				       : eal_fixture_mbuf(frame, size, split);
	CHECK(m != NULL);
	vnet_hdr_read(&hdr, packet_of(m));
	if (parse_packet(m) == DROP_NONE) {
		check_promises(m);
		check_offloads(m);
	} else {
		rte_pktmbuf_free(m);
	}
	CHECK(eal_fixture_no_leak(NULL) == 0);
	return 0;
}
