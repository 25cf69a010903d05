// SPDX-License-Identifier: BSD-3-Clause
// Who owns which external port: one bitmap for each (zone, external address, protocol). Private to
// nat_table.c, rebuilt from the mappings, always under the NAT table's lock.
#pragma once

#include "vlan/wire.h"

enum {
	NAT_SPACE_MAX = 1024, // external addresses times protocols; 8 KiB each once used
	NAT_SPACE_SLOTS = 4096,
	NAT_PORT_WORDS = 65536 / 64,
};

// An identifier space: TCP ports, UDP ports and ICMP identifiers are apart (RFC 5382, 4787, 5508).
struct nat_space {
	uint32_t zone;
	be32 address;
	uint8_t proto;
	uint16_t first, last; // the range n_free speaks of
	uint32_t n_used; // ports owned, in any range; 0 = the space may be given away
	uint32_t n_free[2]; // free even and odd ports in first..last: exhaustion is seen at once
	uint64_t used[NAT_PORT_WORDS];
};

struct nat_ports {
	struct nat_space *spaces; // NAT_SPACE_MAX
	uint32_t n_spaces; // ever used
	uint16_t slots[NAT_SPACE_SLOTS]; // open addressing, space + 1, 0 = empty
	uint64_t random_key[2];
	uint64_t random_count;
};

enum nat_parity {
	NAT_PARITY_EVEN,
	NAT_PARITY_ODD,
	NAT_PARITY_ANY,
};

int nat_ports_open(struct nat_ports *p, uint64_t seed);
void nat_ports_close(struct nat_ports *p);

// The space of an address; NULL when all spaces own ports.
struct nat_space *nat_ports_space(struct nat_ports *p, uint32_t zone, be32 address, uint8_t proto);
// A free port of first..last at random, hard to guess (RFC 6888 REQ-15), of the wished parity if
// one is free. 0 or -ENOSPC.
int nat_ports_take(struct nat_ports *p, struct nat_space *s, uint16_t first, uint16_t last,
	enum nat_parity wish, uint16_t *ret_port);
// For a mapping found in the file; false: somebody owns the port already.
bool nat_ports_mark(struct nat_space *s, uint16_t port);
void nat_ports_give_back(struct nat_space *s, uint16_t port);
