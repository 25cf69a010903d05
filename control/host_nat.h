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
// The table runs on from an insulad before: it is this one's from now on, and noted again if
// somebody deleted the notes. 0, or -errno as above.
int host_nat_adopt(struct store *s, const struct port_spec *tap, char *err, size_t err_size);
// Deletes the table and puts the sysctls back, if host_nat_up was called since, by this insulad or
// one before (the store knows). 0, or -errno with a sentence in err that says what stays on, and
// the next call tries again; -EADDRINUSE: another insulad has it by now.
int host_nat_down(struct store *s, char *err, size_t err_size);

// Is that the tap it was called for last?
bool host_nat_uses(struct store *s, const char *ifname);

// Looks at the tap's flags, MTU, MAC and address, and puts right what is not as tap says. The tap
// has that name. 0 = nothing was wrong; 1 = mended, ret_what says what was ("set down, MTU 1300");
// else -errno, ret_what the same.
int host_nat_mend_tap(const struct port_spec *tap, char *ret_what, size_t size);

// host_nat_owner.c: table and sysctls are one insulad's of a network namespace.
// Makes them this process's, until host_nat_disown or its end. 0 also if they are, -EADDRINUSE if
// they are another insulad's, or another -errno; with a sentence in err. Waits half a second for a
// dying one, once in a process.
int host_nat_own(char *err, size_t err_size);
bool host_nat_is_owned(void);
bool host_nat_is_anothers(void); // so it was at the last attempt
void host_nat_disown(void);

// host_nat_check.c
#define HOST_NAT_RULE "ip saddr %s oifname != \"%s\" masquerade" // of whom, the tap

enum host_nat_table {
	HOST_NAT_TABLE_WHOLE,
	HOST_NAT_TABLE_GONE,
	HOST_NAT_TABLE_CHANGED,
	HOST_NAT_TABLE_UNSURE, // a former insulad's, with its rule: what else may be in it?
};

// Is table `ip insula` as host_nat_up makes it for that tap? Where this process has not made it,
// only the rule is compared, and the rest taken as it is from then on.
enum host_nat_table host_nat_table_look(const struct port_spec *tap);
// host_nat.c has made it, or taken it away.
void host_nat_table_made(bool is);
// Appends a sentence, with the command that mends it, for each thing on this host that keeps what
// comes from tap `ifname` from getting on, or its answers from coming back: forwarding off, for all
// or for that tap or the default route's interface; a foreign chain that drops.
void host_nat_check(const char *ifname, json_t *list);
