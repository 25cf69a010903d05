// SPDX-License-Identifier: BSD-3-Clause
// What linkwatch.c and host_care.c share: before libmnl walks a datagram, its lengths are checked.
#pragma once

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// How many bytes from the start are whole messages with their padding (netlink(7)). libmnl 1.0.4
// takes a length of 2^31 and more for a negative one, which is always small enough, and goes there;
// and the padding for given.
static inline size_t netlink_whole(const void *messages, size_t size)
{
	struct nlmsghdr h;
	size_t at = 0;

	while (at < size && size - at >= sizeof(h)) {
		memcpy(&h, (const uint8_t *)messages + at, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > size - at)
			break;
		if (NLMSG_ALIGN(h.nlmsg_len) > size - at)
			break;
		at += NLMSG_ALIGN(h.nlmsg_len);
	}
	return at;
}
