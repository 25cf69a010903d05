// SPDX-License-Identifier: BSD-3-Clause
// insulad's durable state: one SQLite file in STATE_DIR (WAL, synchronous=FULL). Desired state,
// numbers given out, the last policies, dynamic leases. What has to be put back on stop is in
// another one, RUN_DIR/host.db, and outlives the loss of the first.
// Main thread only. Functions return 0 or -errno (-EIO: SQLite failed; store_error says how).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "control/policy.h"

enum {
	STORE_SCHEMA = 1,
	STORE_GENERATIONS = 32, // policies kept
};

enum store_id_kind {
	STORE_ID_TENANT = 1,
	STORE_ID_SEGMENT,
	STORE_ID_PORT,
	STORE_ID_INSTANCE,
};

struct store;

// state_dir NULL: a state in memory, forgotten at the end; for what has to be put back only.
int store_open(const char *state_dir, const char *run_dir, struct store **ret_store, char *err,
	size_t err_size);
// A store in memory that no disk keeps: a copy of the one in state_dir, or, with NULL, an empty one
// whose salt is 0: the same files give the same numbers, MACs and addresses on every machine.
int store_open_memory(const char *state_dir, struct store **ret_store, char *err, size_t err_size);
void store_close(struct store *s);
const char *store_error(struct store *s);
// It was not there, and knows nothing of what runs.
bool store_is_new(const struct store *s);

int store_begin(struct store *s);
int store_commit(struct store *s); // on failure everything since store_begin is undone
void store_rollback(struct store *s);

// A random number of this installation, the root of every MAC.
uint32_t store_salt(const struct store *s);

// --- numbers. An allocation round marks what it uses; then the rest is released. ---
// Starts a round (inside a transaction); *ret_round names it.
int store_round_begin(struct store *s, uint64_t *ret_round);
// The number of `key`; if it has none, the one it had before, else one never used, else the longest
// unused.
// -ENOSPC when all up to `max` are taken.
int store_id(struct store *s, uint64_t round, enum store_id_kind kind, const char *key,
	uint32_t max, uint32_t *ret_id);
// The IPv4 address (host order) of `key` in a segment, between first and last and not `taken`; the
// one it had before if it can. its: the address is the key's already.
// -ENOSPC when there is none.
int store_address(struct store *s, uint64_t round, uint32_t segment, const char *key,
	uint32_t first, uint32_t last, bool (*taken)(void *arg, uint32_t address, bool its),
	void *arg, uint32_t *ret_address);
// Did the round give anything that its owner did not have before?
bool store_round_gave(const struct store *s);
// The round's desired state is in force: what it did not use is free (and not reused soon).
int store_round_accept(struct store *s, uint64_t round);
// It failed: what it made is free.
int store_round_reject(struct store *s, uint64_t round);

// --- desired state and policies ---
struct store_desired {
	uint64_t generation; // 0 = none yet
	char *file, *yaml; // NULL = none yet
	size_t yaml_size;
};
int store_get_desired(struct store *s, struct store_desired *ret_desired);
void store_desired_clear(struct store_desired *d);
int store_put_desired(
	struct store *s, uint64_t generation, const char *file, const char *yaml, size_t size);

int store_put_section(
	struct store *s, const uint8_t hash[POLICY_HASH_SIZE], const void *data, size_t size);
// Also forgets generations beyond the last STORE_GENERATIONS and sections nobody names any more.
int store_put_root(struct store *s, uint64_t generation, const uint8_t hash[POLICY_HASH_SIZE],
	const void *root, size_t size);
// Copies of the newest root at or below `generation`, or of a section; free() them. -ENOENT.
int store_get_root(struct store *s, uint64_t generation, void **ret_root, size_t *ret_size);
int store_get_section(
	struct store *s, const uint8_t hash[POLICY_HASH_SIZE], void **ret_data, size_t *ret_size);

// --- notes: who took configured addresses, why a port fell back ---
// Keys that begin so are about this host: what to put back on stop.
#define STORE_HOST "host:"
// Notes the value, unless the key has one already.
int store_note(struct store *s, const char *key, const char *value);
// Notes it, whatever the key has.
int store_set_note(struct store *s, const char *key, const char *value);
int store_each_note(struct store *s, const char *prefix,
	void (*fn)(void *arg, const char *key, const char *value), void *arg);
int store_forget_note(struct store *s, const char *key);

// --- dynamic leases ---
struct store_lease {
	uint32_t segment, port;
	be32 address;
	struct mac mac;
	uint8_t client_id[64];
	uint8_t client_id_size;
	uint8_t declined; // the address rests: somebody else was seen with it
	int64_t expires_at; // CLOCK_REALTIME, seconds; for a life after a reboot
	int64_t boot; // boot.h's; 0 = not known
	int64_t boot_ends_ns; // CLOCK_BOOTTIME of that boot: counts as long as it lasts
	uint32_t lasts_s; // how long it was given for; 0 = not known
	char hostname[64];
};
int store_put_lease(struct store *s, const struct store_lease *l); // by (segment, address)
int store_delete_lease(struct store *s, uint32_t segment, be32 address);
int store_each_lease(
	struct store *s, void (*fn)(void *arg, const struct store_lease *l), void *arg);
