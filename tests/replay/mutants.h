// SPDX-License-Identifier: BSD-3-Clause
// What mutants.py writes around the checks of the pipeline; included before every file of
// build-mutants/. One thread runs a replay.
#pragma once

enum { MUTANTS_MAX = 1 << 14 };

extern unsigned mutant_number; // the check to negate, 0 = none; const after start
extern unsigned mutant_depth; // of calls into the pipeline; elsewhere nothing is negated
extern unsigned char mutant_seen[MUTANTS_MAX]; // 1: was false; 2: was true

static inline _Bool mutant_check(unsigned number, _Bool value)
{
	if (mutant_depth == 0)
		return value;
	mutant_seen[number] |= (unsigned char)(1 << value);
	return value ^ (number == mutant_number);
}

// The value of a switch: a case negated is taken by all values but its own.
static inline long long mutant_case(unsigned number, long long label, long long value)
{
	if (mutant_check(number, value == label) == (value == label))
		return value;
	return value == label ? -0x7fffffffffffll : label;
}

static inline unsigned mutant_enter(void)
{
	return mutant_depth++;
}

static inline void mutant_leave(const unsigned *before)
{
	mutant_depth = *before;
}

#define MUTANT(number, ...) mutant_check(number, (_Bool)(__VA_ARGS__))
#define MUTANT_CASE(number, label, ...) mutant_case(number, label, __VA_ARGS__)
#define MUTANT_SCOPE \
	const unsigned mutant_scope __attribute__((cleanup(mutant_leave))) = mutant_enter()
