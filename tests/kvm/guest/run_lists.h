// SPDX-License-Identifier: BSD-3-Clause
// The lists of commands that run.c looks through; each ends with one without a name.
#pragma once

#include "run.h"

extern const struct command commands_net[], commands_blk[], commands_hostile[],
	commands_circulate[], commands_exchange[], commands_plug[], commands_hostile_disk[],
	commands_probe[], commands_vsock[], commands_journal[];

struct blk;
// The disk that commands are about, opened; ends the guest if it cannot be.
struct blk *disk_current(void);

// Those that are opened are looked for anew.
void run_forget_disks(void);
