// SPDX-License-Identifier: BSD-3-Clause
#include "dhcp/arp.h"

void arp_build_announce(const struct mac *sha, be32 spa, uint8_t buf[ARP_FRAME_SIZE])
{
	memset(buf, 0, ARP_FRAME_SIZE);
}
