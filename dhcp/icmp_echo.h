// SPDX-License-Identifier: BSD-3-Clause
// ICMP echo answered for the gateway's own address (RFC 1122 §3.2.2.6). Pure.
#pragma once

#include "vlan/wire.h"

// Turns an untagged Ethernet/IPv4/ICMP echo request into its reply in place: addresses swapped,
// TTL 64, checksums updated. 0; -EBADMSG if it is not a well-formed echo request (then untouched).
// `size` counts contiguous bytes; `frame_size` the whole frame. The ICMP checksum is updated
// incrementally (RFC 1624), so the payload need not be contiguous.
int icmp_echo_reply_in_place(uint8_t *data, size_t size, size_t frame_size);
