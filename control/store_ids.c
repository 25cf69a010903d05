// SPDX-License-Identifier: BSD-3-Clause
// Numbers and addresses that outlive restarts and are not reused soon; see store.h. A row stays
// when its owner goes: who comes back gets it again, others the longest unused only when nothing
// new is left. Rounds: every row knows the round that made it and the last that used it. Main
// thread only.
#include <errno.h>
#include "control/store_internal.h"

int store_round_begin(struct store *s, uint64_t *ret_round)
{
	int64_t round = 0;
	int r = store_meta_get(s, "round", &round);

	if (r < 0 && r != -ENOENT)
		return r;
	s->gave = false;
	r = store_meta_put(s, "round", ++round);
	if (r == 0)
		*ret_round = (uint64_t)round;
	return r;
}

// The number the key had before, else the next never used, else the one longest unused.
static int choose_id(
	struct store *s, enum store_id_kind kind, const char *key, uint32_t max, int64_t *ret_id)
{
	int64_t id = 0;
	sqlite3_stmt *st = store_statement(s, STORE_ID_FORMER);

	sqlite3_bind_int(st, 1, (int)kind);
	sqlite3_bind_text(st, 2, key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 3, max);
	int r = store_integer(st, ret_id);
	if (r != -ENOENT)
		return r;
	st = store_statement(s, STORE_ID_MAX);
	sqlite3_bind_int(st, 1, (int)kind);
	r = store_integer(st, &id);
	if (r < 0)
		return r;
	if (id < max) {
		*ret_id = id + 1;
		return 0;
	}
	st = store_statement(s, STORE_ID_OLDEST);
	sqlite3_bind_int(st, 1, (int)kind);
	sqlite3_bind_int64(st, 2, max);
	r = store_integer(st, ret_id);
	return r == -ENOENT ? -ENOSPC : r;
}

int store_id(struct store *s, uint64_t round, enum store_id_kind kind, const char *key,
	uint32_t max, uint32_t *ret_id)
{
	int64_t id = 0;
	sqlite3_stmt *st = store_statement(s, STORE_ID_FIND);

	sqlite3_bind_int(st, 1, (int)kind);
	sqlite3_bind_text(st, 2, key, -1, SQLITE_STATIC);
	int r = store_integer(st, &id);
	bool found = r == 0;
	if (r == -ENOENT)
		r = choose_id(s, kind, key, max, &id);
	if (r < 0)
		return r;
	if (id < 1 || id > max) { // an array's index to those who get it
		s->damaged = true;
		return -EIO;
	}
	if (found) {
		st = store_statement(s, STORE_ID_TOUCH);
		sqlite3_bind_int64(st, 1, (int64_t)round);
		sqlite3_bind_int(st, 2, (int)kind);
		sqlite3_bind_int64(st, 3, id);
		r = store_run(st);
	} else {
		s->gave = true;
		st = store_statement(s, STORE_ID_PUT);
		sqlite3_bind_int(st, 1, (int)kind);
		sqlite3_bind_int64(st, 2, id);
		sqlite3_bind_text(st, 3, key, -1, SQLITE_STATIC);
		sqlite3_bind_int64(st, 4, (int64_t)round);
		sqlite3_bind_int64(st, 5, (int64_t)round);
		r = store_run(st);
	}
	if (r == 0)
		*ret_id = (uint32_t)id;
	return r;
}

static int address_known(struct store *s, uint32_t segment, uint32_t address)
{
	sqlite3_stmt *st = store_statement(s, STORE_ADDRESS_KNOWN);

	sqlite3_bind_int64(st, 1, segment);
	sqlite3_bind_int64(st, 2, address);
	int r = store_row(st);
	sqlite3_reset(st);
	return r;
}

// The one that the key had before and nobody took since. -ENOENT.
static int former_address(struct store *s, uint32_t segment, const char *key, uint32_t first,
	uint32_t last, uint32_t *ret_address)
{
	int64_t former = 0;
	sqlite3_stmt *st = store_statement(s, STORE_ADDRESS_FORMER);

	sqlite3_bind_int64(st, 1, segment);
	sqlite3_bind_text(st, 2, key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 3, first);
	sqlite3_bind_int64(st, 4, last);
	int r = store_integer(st, &former);
	if (r == 0)
		*ret_address = (uint32_t)former;
	return r;
}

// Beyond the highest ever given out, else a hole never used, else the longest unused.
static int choose_address(struct store *s, uint32_t segment, uint32_t first, uint32_t last,
	bool (*taken)(void *arg, uint32_t address, bool its), void *arg, uint32_t *ret_address)
{
	int64_t highest = (int64_t)first - 1;
	sqlite3_stmt *st = store_statement(s, STORE_ADDRESS_MAX);

	sqlite3_bind_int64(st, 1, segment);
	sqlite3_bind_int64(st, 2, first);
	sqlite3_bind_int64(st, 3, last);
	int r = store_integer(st, &highest);
	if (r < 0 && r != -ENOENT)
		return r;
	for (int64_t a = highest + 1; a <= last; a++)
		if (!taken(arg, (uint32_t)a, false)) {
			*ret_address = (uint32_t)a;
			return 0;
		}
	for (int64_t a = first; a <= highest; a++) {
		if (taken(arg, (uint32_t)a, false))
			continue;
		r = address_known(s, segment, (uint32_t)a);
		if (r < 0)
			return r;
		if (r == 0) {
			*ret_address = (uint32_t)a;
			return 0;
		}
	}
	st = store_statement(s, STORE_ADDRESS_OLDEST);
	sqlite3_bind_int64(st, 1, segment);
	sqlite3_bind_int64(st, 2, first);
	sqlite3_bind_int64(st, 3, last);
	while ((r = store_row(st)) > 0) {
		uint32_t a = (uint32_t)sqlite3_column_int64(st, 0);
		if (!taken(arg, a, false)) {
			sqlite3_reset(st);
			*ret_address = a;
			return 0;
		}
	}
	return r < 0 ? r : -ENOSPC;
}

int store_address(struct store *s, uint64_t round, uint32_t segment, const char *key,
	uint32_t first, uint32_t last, bool (*taken)(void *arg, uint32_t address, bool its),
	void *arg, uint32_t *ret_address)
{
	int64_t known = 0;
	uint32_t address = 0;
	sqlite3_stmt *st = store_statement(s, STORE_ADDRESS_FIND);

	sqlite3_bind_int64(st, 1, segment);
	sqlite3_bind_text(st, 2, key, -1, SQLITE_STATIC);
	int r = store_integer(st, &known);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && known >= first && known <= last && !taken(arg, (uint32_t)known, true)) {
		st = store_statement(s, STORE_ADDRESS_TOUCH);
		sqlite3_bind_int64(st, 1, (int64_t)round);
		sqlite3_bind_int64(st, 2, segment);
		sqlite3_bind_int64(st, 3, known);
		r = store_run(st);
		if (r == 0)
			*ret_address = (uint32_t)known;
		return r;
	}
	s->gave = true;
	if (r == 0) { // the network changed, or somebody asked for this very address
		st = store_statement(s, STORE_ADDRESS_FREE);
		sqlite3_bind_int64(st, 1, (int64_t)round);
		sqlite3_bind_int64(st, 2, segment);
		sqlite3_bind_int64(st, 3, known);
		r = store_run(st);
		if (r < 0)
			return r;
	}
	r = former_address(s, segment, key, first, last, &address);
	if (r == -ENOENT || (r == 0 && taken(arg, address, false)))
		r = choose_address(s, segment, first, last, taken, arg, &address);
	if (r < 0)
		return r;
	st = store_statement(s, STORE_ADDRESS_PUT);
	sqlite3_bind_int64(st, 1, segment);
	sqlite3_bind_int64(st, 2, address);
	sqlite3_bind_text(st, 3, key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 4, (int64_t)round);
	sqlite3_bind_int64(st, 5, (int64_t)round);
	r = store_run(st);
	if (r == 0)
		*ret_address = address;
	return r;
}

static int run_for_round(struct store *s, enum store_statement which, uint64_t round)
{
	sqlite3_stmt *st = store_statement(s, which);

	sqlite3_bind_int64(st, 1, (int64_t)round);
	return store_run(st);
}

bool store_round_gave(const struct store *s)
{
	return s->gave;
}

int store_round_accept(struct store *s, uint64_t round)
{
	int r = run_for_round(s, STORE_ID_FREE_UNSEEN, round);
	if (r == 0)
		r = run_for_round(s, STORE_ADDRESS_FREE_UNSEEN, round);
	return r == 0 ? store_run(store_statement(s, STORE_ADDRESS_DROP_ORPHANS)) : r;
}

int store_round_reject(struct store *s, uint64_t round)
{
	int r = run_for_round(s, STORE_ID_FREE_MADE, round);
	if (r == 0)
		r = run_for_round(s, STORE_ADDRESS_FREE_MADE, round);
	if (r == 0) // what the round took from its owner
		r = run_for_round(s, STORE_ADDRESS_GIVE_BACK, round);
	return r == 0 ? store_run(store_statement(s, STORE_ADDRESS_DROP_ORPHANS)) : r;
}
