// SPDX-License-Identifier: BSD-3-Clause
// A session file that a smaller table takes over: its records move below the new capacity. Called
// by session_table_open, before any other thread knows of the table. May be killed at any
// instruction: a record is copied whole before its original goes, and of two alike the scan keeps
// one.
#include "vswitch/session_private.h"

enum { AGES = 8192 }; // seconds; no timeout is longer

static bool is_established(const struct session_record *r)
{
	return session_state_of(r) == SESSION_ESTABLISHED;
}

static uint32_t count(
	const struct record_header *h, const struct session_record *records, uint32_t *ret_newest_s)
{
	uint32_t n = 0, newest_s = 0;

	for (uint32_t id = 0; id < h->high_water; id++) {
		if (records[id].commit == 0)
			continue;
		n++;
		if (records[id].last_s > newest_s)
			newest_s = records[id].last_s;
	}
	*ret_newest_s = newest_s;
	return n;
}

static uint32_t age(const struct session_record *r, uint32_t newest_s)
{
	uint32_t s = newest_s - r->last_s;

	return s < AGES ? s : AGES - 1;
}

// Of those that are established or of those that are not, how many have which age, in seconds?
static void count_ages(const struct record_header *h, const struct session_record *records,
	bool established, uint32_t newest_s, uint32_t ages[AGES])
{
	memset(ages, 0, AGES * sizeof(*ages));
	for (uint32_t id = 0; id < h->high_water; id++)
		if (records[id].commit != 0 && is_established(&records[id]) == established)
			ages[age(&records[id], newest_s)]++;
}

// Ends `excess` of them or, if there are fewer, all; those first that were silent longest. Returns
// how many are too many still.
static uint32_t end(struct record_header *h, struct session_record *records, bool established,
	uint32_t newest_s, uint32_t excess)
{
	uint32_t ages[AGES], older = 0, oldest = AGES - 1;

	count_ages(h, records, established, newest_s, ages);
	while (oldest > 0 && older + ages[oldest] < excess)
		older += ages[oldest--];
	// All that are older than `oldest`, and of that age as many as are still asked for.
	uint32_t of_age = excess - older;
	for (uint32_t id = 0; excess > 0 && id < h->high_water; id++) {
		struct session_record *r = &records[id];
		uint32_t s = age(r, newest_s);

		if (r->commit == 0 || is_established(r) != established || s < oldest ||
			(s == oldest && of_age == 0))
			continue;
		of_age -= s == oldest;
		__atomic_store_n(&r->commit, 0, __ATOMIC_RELEASE);
		excess--;
	}
	return excess;
}

static void move(
	struct record_header *h, struct session_record *records, uint32_t from, uint32_t to)
{
	const struct session_record *r = &records[from];

	record_store(&records[to].d, &r->d, sizeof(*r) - offsetof(struct session_record, d));
	// Release: the copy is whole before it exists, and exists before the original does not.
	__atomic_store_n(&records[to].commit, record_commit_next(h), __ATOMIC_RELEASE);
	__atomic_store_n(&records[from].commit, 0, __ATOMIC_RELEASE);
}

uint32_t session_shrink(struct record_header *h, struct session_record *records, uint32_t capacity)
{
	uint32_t newest_s, n = count(h, records, &newest_s), to = 0;
	uint32_t lost = n > capacity ? n - capacity : 0;

	if (lost > 0)
		end(h, records, true, newest_s, end(h, records, false, newest_s, lost));
	// There is room: what is left is no more than `capacity`.
	for (uint32_t id = capacity; id < h->high_water; id++) {
		if (records[id].commit == 0)
			continue;
		while (records[to].commit != 0)
			to++;
		move(h, records, id, to);
	}
	// Release: nothing lies above the mark when it is lowered.
	__atomic_store_n(&h->high_water, capacity, __ATOMIC_RELEASE);
	return lost;
}
