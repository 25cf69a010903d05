// SPDX-License-Identifier: BSD-3-Clause
// ARP: arbitrary frames through the parser; what it takes is answered, and the answer read back.
#include <stdlib.h>
#include "dhcp/arp.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mac ours = { { 0x02, 0xaa, 0, 0, 0, 1 } };
	uint8_t frame[ARP_FRAME_SIZE], again[ARP_FRAME_SIZE];
	struct arp_msg m, before, back;

	uint8_t *copy = malloc(size > 0 ? size : 1);
	CHECK(copy != NULL);
	memcpy(copy, data, size);
	memset(&m, 0xa5, sizeof(m));
	before = m;
	int r = arp_parse(copy, size, &m);
	free(copy);
	if (r != 0) {
		CHECK(memcmp(&m, &before, sizeof(m)) == 0);
		return 0;
	}
	CHECK(m.op == ARP_OP_REQUEST || m.op == ARP_OP_REPLY);
	CHECK(!mac_is_multicast(&m.sha) && !mac_is_zero(&m.sha));

	memset(frame, 0x00, sizeof(frame));
	memset(again, 0xff, sizeof(again));
	arp_build_reply(&m, &ours, frame);
	arp_build_reply(&m, &ours, again);
	CHECK(memcmp(frame, again, sizeof(frame)) == 0);
	CHECK(arp_parse(frame, sizeof(frame), &back) == 0);
	CHECK(back.op == ARP_OP_REPLY && back.spa == m.tpa && back.tpa == m.spa);
	CHECK(mac_equal(&back.sha, &ours) && mac_equal(&back.tha, &m.sha));
	CHECK(mac_equal(&back.eth_src, &ours) && mac_equal(&back.eth_dst, &m.sha));

	arp_build_request(&m.sha, m.spa, m.tpa, m.op == ARP_OP_REPLY ? &ours : NULL, frame);
	CHECK(arp_parse(frame, sizeof(frame), &back) == 0);
	CHECK(back.op == ARP_OP_REQUEST && back.spa == m.spa && back.tpa == m.tpa);
	CHECK(arp_is_probe(&back) == (m.spa == 0));
	return 0;
}
