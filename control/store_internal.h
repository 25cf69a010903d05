// SPDX-License-Identifier: BSD-3-Clause
// Shared by store*.c only.
#pragma once

#include <sqlite3.h>
#include "control/store.h"

// Every statement, prepared once at open.
// A range of the primary key, up to the last character there is: a port's start looks up one note
// among as many as there are ports.
#define STORE_BEGINS_WITH "key >= ?1 AND key < ?1 || char(1114111)"

#define STORE_STATEMENTS(X) \
	X(BEGIN, "BEGIN") /* locks no file it does not use: there is no other writer */ \
	X(COMMIT, "COMMIT") \
	X(ROLLBACK, "ROLLBACK") \
	X(META_GET, "SELECT value FROM meta WHERE key = ?") \
	X(META_PUT, "INSERT OR REPLACE INTO meta(key, value) VALUES (?, ?)") \
	X(ID_FIND, "SELECT id FROM ids WHERE kind = ? AND key = ? AND live = 1") \
	X(ID_TOUCH, "UPDATE ids SET seen = ? WHERE kind = ? AND id = ?") \
	X(ID_FORMER, "SELECT id FROM ids WHERE kind = ? AND key = ? AND live = 0 AND id <= ? " \
		     "ORDER BY freed DESC LIMIT 1") \
	X(ID_MAX, "SELECT coalesce(max(id), 0) FROM ids WHERE kind = ?") \
	X(ID_OLDEST, "SELECT id FROM ids WHERE kind = ? AND live = 0 AND id <= ? " \
		     "ORDER BY freed, id LIMIT 1") \
	X(ID_PUT, "INSERT OR REPLACE INTO ids(kind, id, key, live, made, seen, freed) " \
		  "VALUES (?, ?, ?, 1, ?, ?, 0)") \
	X(ID_FREE_UNSEEN, "UPDATE ids SET live = 0, freed = ?1 WHERE live = 1 AND seen < ?1") \
	X(ID_FREE_MADE, "UPDATE ids SET live = 0, freed = ?1 WHERE live = 1 AND made = ?1") \
	X(ADDRESS_FIND, \
		"SELECT address FROM addresses WHERE segment = ? AND key = ? AND live = 1") \
	X(ADDRESS_TOUCH, "UPDATE addresses SET seen = ? WHERE segment = ? AND address = ?") \
	X(ADDRESS_FREE, "UPDATE addresses SET live = 0, freed = ? " \
			"WHERE segment = ? AND address = ?") \
	X(ADDRESS_FORMER, "SELECT address FROM addresses WHERE segment = ? AND key = ? " \
			  "AND live = 0 AND address BETWEEN ? AND ? " \
			  "ORDER BY freed DESC LIMIT 1") \
	X(ADDRESS_MAX, "SELECT max(address) FROM addresses WHERE segment = ? " \
		       "AND address BETWEEN ? AND ?") \
	X(ADDRESS_KNOWN, "SELECT 1 FROM addresses WHERE segment = ? AND address = ?") \
	X(ADDRESS_OLDEST, "SELECT address FROM addresses WHERE segment = ? AND live = 0 " \
			  "AND address BETWEEN ? AND ? ORDER BY freed, address") \
	X(ADDRESS_PUT, "INSERT OR REPLACE INTO addresses" \
		       "(segment, address, key, live, made, seen, freed) " \
		       "VALUES (?, ?, ?, 1, ?, ?, 0)") \
	X(ADDRESS_FREE_UNSEEN, "UPDATE addresses SET live = 0, freed = ?1 " \
			       "WHERE live = 1 AND seen < ?1") \
	X(ADDRESS_FREE_MADE, "UPDATE addresses SET live = 0, freed = ?1 " \
			     "WHERE live = 1 AND made = ?1") \
	X(ADDRESS_GIVE_BACK, "UPDATE addresses SET live = 1, freed = 0 " \
			     "WHERE live = 0 AND freed = ?1 AND made < ?1") \
	X(ADDRESS_DROP_ORPHANS, "DELETE FROM addresses WHERE segment NOT IN " \
				"(SELECT id FROM ids WHERE kind = 2 AND live = 1)") \
	X(SECTION_PUT, "INSERT OR IGNORE INTO sections(hash, data) VALUES (?, ?)") \
	X(SECTION_GET, "SELECT data FROM sections WHERE hash = ?") \
	X(SECTION_SWEEP, \
		"DELETE FROM sections WHERE hash NOT IN (SELECT section FROM root_sections)") \
	X(ROOT_PUT, "INSERT OR REPLACE INTO roots(generation, hash, root) VALUES (?, ?, ?)") \
	X(ROOT_GET, \
		"SELECT root FROM roots WHERE generation <= ? ORDER BY generation DESC LIMIT 1") \
	X(ROOT_SWEEP, "DELETE FROM roots WHERE generation NOT IN " \
		      "(SELECT generation FROM roots ORDER BY generation DESC LIMIT ?)") \
	X(ROOT_SECTION_PUT, \
		"INSERT OR REPLACE INTO root_sections(generation, section) VALUES (?, ?)") \
	X(ROOT_SECTION_SWEEP, "DELETE FROM root_sections WHERE generation NOT IN " \
			      "(SELECT generation FROM roots)") \
	X(NOTE_PUT, "INSERT OR IGNORE INTO notes(key, value) VALUES (?, ?)") \
	X(NOTE_SET, "INSERT OR REPLACE INTO notes(key, value) VALUES (?, ?)") \
	X(NOTE_EACH, "SELECT key, value FROM notes WHERE " STORE_BEGINS_WITH " ORDER BY key") \
	X(NOTE_DELETE, "DELETE FROM notes WHERE key = ?") \
	X(HOST_NOTE_PUT, "INSERT OR IGNORE INTO host.notes(key, value) VALUES (?, ?)") \
	X(HOST_NOTE_SET, "INSERT OR REPLACE INTO host.notes(key, value) VALUES (?, ?)") \
	X(HOST_NOTE_EACH, \
		"SELECT key, value FROM host.notes WHERE " STORE_BEGINS_WITH " ORDER BY key") \
	X(HOST_NOTE_DELETE, "DELETE FROM host.notes WHERE key = ?") \
	X(LEASE_PUT, "INSERT OR REPLACE INTO leases" \
		     "(segment, address, port, mac, client_id, declined, expires_at, hostname, " \
		     "boot, boot_ends_s, lasts_s, boot_ends_ns) " \
		     "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)") \
	X(LEASE_DELETE, "DELETE FROM leases WHERE segment = ? AND address = ?") \
	X(LEASE_EACH, "SELECT segment, address, port, mac, client_id, declined, expires_at, " \
		      "hostname, boot, boot_ends_s, lasts_s, boot_ends_ns FROM leases")

enum store_statement {
#define X(name, sql) STORE_##name,
	STORE_STATEMENTS(X)
#undef X
		STORE_STATEMENT_COUNT
};

struct store {
	sqlite3 *db;
	sqlite3_stmt *statements[STORE_STATEMENT_COUNT];
	uint32_t salt;
	bool is_new; // made by this opening
	bool gave; // this round gave a number or an address that its owner did not have
	int failure; // SQLite's code before the last rollback
	bool damaged; // a value was found that we never write
	char error[512];
};

// store_note.c: opens RUN_DIR/host.db beside the state, or makes it (NULL: in memory). -EIO with a
// sentence in err.
int store_attach_host(struct store *s, const char *run_dir, char *err, size_t err_size);

// The statement, ready for binding.
sqlite3_stmt *store_statement(struct store *s, enum store_statement which);
// Runs a statement that gives no rows. 0 or -EIO.
int store_run(sqlite3_stmt *st);
// Steps to a row: 1, 0 = none, -EIO.
int store_row(sqlite3_stmt *st);
// The first column of the row as an integer; -ENOENT without a row.
int store_integer(sqlite3_stmt *st, int64_t *ret_value);
// A malloc'd, terminated copy of a blob or text column.
int store_copy(sqlite3_stmt *st, int column, void **ret_data, size_t *ret_size);
int store_meta_get(struct store *s, const char *key, int64_t *ret_value); // -ENOENT
int store_meta_put(struct store *s, const char *key, int64_t value);
