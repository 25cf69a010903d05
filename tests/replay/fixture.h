// SPDX-License-Identifier: BSD-3-Clause
// What the parts of the fixture runner share: a line of TESTLIST, and the comparison of captures.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include "vswitch/replay.h"

enum { FIXTURE_WORDS = 64, FIXTURE_PATH = 1024 };

struct fixture_drop {
	const char *port, *reason;
	unsigned long count;
};

struct fixture {
	char *line; // the words below point into it
	const char *name, *policy;
	struct replay_input inputs[FIXTURE_WORDS]; // path: below pcap-fixtures/in
	const char *outputs[FIXTURE_WORDS]; // ports
	struct fixture_drop drops[FIXTURE_WORDS];
	unsigned n_inputs, n_outputs, n_drops;
};

// Reads a TESTLIST; complains on stdout. NULL on a mistake.
struct fixture *fixture_list_read(const char *path, unsigned *ret_n);
void fixture_list_free(struct fixture *list, unsigned n);

// The whole file and a zero behind it; free() it. NULL after saying why.
char *fixture_read(const char *path, size_t *ret_size);

// Are both captures the same, byte for byte? If not, says where, with tshark's view of both.
bool fixture_same_capture(const char *want, const char *got);
bool fixture_same_bytes(const char *want, const char *got); // says nothing of where
// tshark's view of one packet (from 1) of a capture.
void fixture_show(const char *title, const char *path, unsigned long number);

// Told when a case begins and ends, where somebody defines them: mutants.c.
void fixture_begins(const char *name) __attribute__((weak));
void fixture_ends(const char *name) __attribute__((weak));
