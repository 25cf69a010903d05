// SPDX-License-Identifier: BSD-3-Clause
// An apply under way: what apply.c and apply_undo.c share. Main thread only.
#pragma once

#include "control/daemon_internal.h"
#include "control/port_changes.h"

struct apply {
	struct daemon *d;
	struct desired *desired;
	enum apply_mode mode;
	json_t *notes;
	char *err;
	size_t err_size;
	struct port_changes ports;
	struct compiled *compiled;
	be32 dns[POLICY_MAX_DNS];
	unsigned n_dns;
	bool restarted, pushed;
	bool held_up; // by a slow DPDK device (ports.h) that stays broken
	bool had_policy; // daemon.switch_has_policy, before this began and since a restart
	bool unconfirmed; // what follows the commit is not all done; err says what
	struct switch_settings old_settings;
};

// Before the store's commit: everything as it was, or as soon as it can be had. error: what ended
// the apply.
void apply_undo(struct apply *a, int error);
