// SPDX-License-Identifier: BSD-3-Clause
// The command language: run=NAME:ARGUMENT:...,NAME:... Each command prints one line, "ok NAME ..."
// or "fail NAME ...".
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "vlan/wire.h"

enum { RUN_MAX_ARGUMENTS = 8 };

struct arguments {
	unsigned n;
	const char *text[RUN_MAX_ARGUMENTS]; // [0] is the command's name
};

struct command {
	const char *name;
	unsigned min_arguments, max_arguments; // without the name
	bool (*run)(const struct arguments *args);
};

// The nth argument, from 1; `otherwise` if it is not given. Ends the guest if it is no number.
uint64_t argument_number(const struct arguments *args, unsigned nth, uint64_t otherwise);
// The nth argument as an IPv4 address; ends the guest if it is none.
be32 argument_ipv4(const struct arguments *args, unsigned nth);

// When the power button has been pressed: only there where there is one, in insula-vmm.
void power_off_if_pressed(void);

// Runs one, whose text it takes apart.
bool run_line(char *text);
// Runs all of them, or until one fails; then prints "guest: done" or "guest: failed".
bool run_commands(const char *commands);
