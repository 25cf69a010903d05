// SPDX-License-Identifier: BSD-3-Clause
// Dynamic leases that are valid now: on `clients: many` ports, which MAC may use which address. Set
// by control when insulad's commit says so, read by guard, DHCP and routing on any worker. An
// expired binding closes the guard.
// Threads: one writer (control); readers never lock: a sequence counter tells them to read again.
#pragma once

#include "vlan/wire.h"

struct binding {
	uint32_t port, segment; // switch port id, segment id
	uint32_t zone;
	be32 address;
	struct mac mac;
	uint64_t expires_ns; // CLOCK_MONOTONIC
};

struct binding_table;

// quota: the most of one zone's.
struct binding_table *binding_table_new(uint32_t capacity, uint32_t quota, uint64_t seed);
void binding_table_free(struct binding_table *t);

// Adds or renews; replaces what the MAC or the address was bound to before. -EDQUOT when the zone
// has its share, -ENOSPC: nothing has changed then.
int binding_set(struct binding_table *t, const struct binding *b);
void binding_del(struct binding_table *t, uint32_t segment, const struct mac *mac);
// Calls `gone` for each that expired, after removing it.
void binding_expire(struct binding_table *t, uint64_t now_ns,
	void (*gone)(void *arg, const struct binding *b), void *arg);
void binding_del_port(struct binding_table *t, uint32_t port);
// The writer's: the first one from place *cursor on, also one that ran out and was not removed yet;
// *cursor is behind it then. False: there is none. A walk from 0 on gives each that is there all
// the time, and is not renewed meanwhile, once; removing those it gave is no matter.
bool binding_next(const struct binding_table *t, uint32_t *cursor, struct binding *ret_binding);

bool binding_by_mac(const struct binding_table *t, uint32_t segment, const struct mac *mac,
	uint64_t now_ns, struct binding *ret_binding);
bool binding_by_address(const struct binding_table *t, uint32_t zone, be32 address, uint64_t now_ns,
	struct binding *ret_binding);
