// SPDX-License-Identifier: BSD-3-Clause
// Uplink mode `nat`, the host's side: addresses on a tap, one nftables table that masquerades, and
// forwarding. Everything is put back by host_nat_down.
#pragma once

#include <jansson.h>
#include "control/port_spec.h"
#include "control/store.h"

// The tap exists, perhaps still under another name `ifname`. Gives it the host's address of the
// transit subnet, makes (or replaces) table `ip insula` in one transaction, turns forwarding on. 0,
// or -errno with a sentence in err: -EADDRINUSE if another insulad has it. Not inside a transaction
// of the store. Idempotent.
int host_nat_up(struct store *s, const struct port_spec *tap, const char *ifname, char *err,
	size_t err_size);
// Deletes the table and puts the sysctls back, if host_nat_up was called since, by this insulad or
// one before (the store knows). What fails is logged, and the next call tries again.
void host_nat_down(struct store *s);

// Is that the tap it was called for last?
bool host_nat_uses(struct store *s, const char *ifname);

// host_nat_check.c
bool host_nat_table_exists(void);
// Appends a sentence, with the command that mends it, for each thing on this host that keeps what
// comes from tap `ifname` from getting on: forwarding off, a foreign chain that drops.
void host_nat_check(const char *ifname, json_t *list);
