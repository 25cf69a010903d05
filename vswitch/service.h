// SPDX-License-Identifier: BSD-3-Clause
// Parts of the service stage. Workers.
#pragma once

#include "vswitch/pipeline.h"

// A DHCP client's datagram on an access port: answered, parked with control, or dropped with a
// reason.
enum drop_reason service_dhcp(struct worker *w, struct burst *b, struct rte_mbuf *m);
