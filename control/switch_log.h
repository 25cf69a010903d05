// SPDX-License-Identifier: BSD-3-Clause
// What insula-switch and its libraries write to standard error, for insulad's log: so that each of
// its lines has a time, and the file its bound. Main thread only.
//
// A FIFO in RUN_DIR that the switch holds open for reading as well, without blocking: insulad may
// be killed, and writing neither fails nor waits. What was said meanwhile, up to the 64 KiB a FIFO
// takes, is read by the next insulad.
#pragma once

struct loop;
struct switch_log;

// 0 or -errno, with the reason in err.
int switch_log_new(struct loop *loop, const char *run_dir, struct switch_log **ret_log, char *err,
	unsigned long err_size);
void switch_log_free(struct switch_log *log); // NULL is fine
// For the switch's standard output and error.
int switch_log_fd(const struct switch_log *log);
// Logs what is there now: the last words of a switch that died.
void switch_log_drain(struct switch_log *log);
