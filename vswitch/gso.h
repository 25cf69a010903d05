// SPDX-License-Identifier: BSD-3-Clause
// Software checksums and segmentation, for far ends that cannot: called by the tx stage between
// pipeline and port ops. Any worker; no state.
#pragma once

#include "vswitch/port.h"

// Completes a partial checksum in place (clears PACKET_NEEDS_CSUM). 0; -EINVAL if start or offset
// lie outside the frame or outside the first segment (parse refused those already).
int gso_complete_csum(struct rte_mbuf *m);

// Cuts a super-frame (packet_of(m)->gso_type TCP4, TCP6, UDP_L4) into frames of gso_size payload
// with complete checksums. Consumes m when it succeeds. Returns how many of ret_pkts (size n_max)
// were filled; -ENOMEM (pool empty), -E2BIG (more than n_max), -EINVAL; then m is still the
// caller's. Every segment is in small-pool mbufs; TCP: seq, FIN/PSH only on the last, CWR only on
// the first, IPv4 id counts up; UDP_L4: lengths per segment.
int gso_segment(struct worker *w, struct rte_mbuf *m, struct rte_mbuf **ret_pkts, unsigned n_max);

// Most segments one super-frame may become, and the least payload of each (Linux's least MSS);
// parse refuses others (H-24). The bound on segments bounds the work, whatever gso_size says.
enum { GSO_MAX_SEGMENTS = 128, GSO_MIN_SIZE = 48 };
