// SPDX-License-Identifier: BSD-3-Clause
// What the machines' processes write to standard error, for insulad's log: RUN_DIR/vm/ID/log, a
// file each, which keeps their last words also when nobody is there to read. Main thread only.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct loop;
struct vm_logs; // all of them: one inotify
struct vm_log;

int vm_logs_new(struct loop *loop, struct vm_logs **ret_logs);
void vm_logs_free(struct vm_logs *logs); // NULL is fine; the logs are gone

// name: what the lines are logged under. fresh: what is there already has been said.
int vm_log_new(struct vm_logs *logs, const char *dir, const char *name, struct vm_log **ret_log);
void vm_log_free(struct vm_log *log); // NULL is fine
// Logs what is there now.
void vm_log_drain(struct vm_log *log);
// The last line; "" = none.
const char *vm_log_last(const struct vm_log *log);
// The last line about what the host could not do for a disk, if it came lately; "" = none, as for
// NULL.
const char *vm_log_disk(const struct vm_log *log);
// Before a start: what was there is another process'.
void vm_log_clear(struct vm_log *log);
