// SPDX-License-Identifier: BSD-3-Clause
// Forwarding database: (segment, MAC) -> port. Static entries come from the configuration; entries
// are learned only on trunk and uplink ports, with a limit per port and ageing.
// Readers (any worker) never lock; writers hold the table's own spin lock. Allocates only in
// fdb_new. A reader sees either the old or the new entry, never a mixture.
#pragma once

#include "vlan/wire.h"

struct fdb;

enum fdb_learn_result {
	FDB_KNOWN, // present; its age was refreshed
	FDB_LEARNED, // added
	FDB_MOVED, // was on another learning port
	FDB_STATIC, // a static entry on another port owns this address: the frame is a spoof
	FDB_LIMIT, // the port's learning limit is reached; not learned
	FDB_FULL, // no room; not learned
};

// capacity: entries, rounded up to a power of two; seed: for the hash. NULL when memory is short.
struct fdb *fdb_new(uint32_t capacity, uint64_t seed);
void fdb_free(struct fdb *f);

// Static entries. 0, -EEXIST (the key is static on another port), -ENOSPC.
// A static entry replaces a learned one.
int fdb_set_static(struct fdb *f, uint32_t segment, const struct mac *mac, uint32_t port);
// 0 or -ENOENT.
int fdb_del_static(struct fdb *f, uint32_t segment, const struct mac *mac);

// Returns true and sets *ret_port if known and not expired at now_ns.
bool fdb_lookup(const struct fdb *f, uint32_t segment, const struct mac *mac, uint64_t now_ns,
	uint32_t *ret_port);

// limit: most learned entries for `port`; max_age_ns: lifetime of a learned entry.
enum fdb_learn_result fdb_learn(struct fdb *f, uint32_t segment, const struct mac *mac,
	uint32_t port, uint32_t limit, uint64_t now_ns, uint64_t max_age_ns);

// Removes learned entries that expired; examines at most `budget` slots a call. One owner calls it.
void fdb_age(struct fdb *f, uint64_t now_ns, uint32_t budget);
// Removes every entry, static or learned, of a port.
void fdb_flush_port(struct fdb *f, uint32_t port);
uint32_t fdb_count(const struct fdb *f);
