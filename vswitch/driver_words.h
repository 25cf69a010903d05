// SPDX-License-Identifier: BSD-3-Clause
// What a DPDK driver says when it refuses a device: its return value is -1 for any reason, the
// reason itself goes to DPDK's log only. Control thread.
#pragma once

enum {
	DRIVER_WORDS_SIZE = 100,
};

// From here on the first error that a driver logs on this thread is kept in `text`, "" = none yet.
// At the end all of it goes on to standard error, but for what of this device went there before.
// Without memory nothing is kept.
void driver_words_listen(char text[DRIVER_WORDS_SIZE]);
void driver_words_end(const char *devargs);
