// SPDX-License-Identifier: BSD-3-Clause
// Notes, see store.h. What has to be put back on this host is in a file of its own on the run
// directory's tmpfs, attached as `host`: it ends with the kernel it speaks of, and it is there when
// the state is lost. Main thread only.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "control/log.h"
#include "control/store_internal.h"

// A power loss takes a tmpfs with it: nothing to wait for.
static const char attach[] = "ATTACH %Q AS host; PRAGMA host.synchronous = OFF;"
			     "CREATE TABLE IF NOT EXISTS host.notes"
			     "(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID";

int store_attach_host(struct store *s, const char *run_dir, char *err, size_t err_size)
{
	char path[300] = ":memory:";
	int r = 0;

	if (run_dir)
		snprintf(path, sizeof(path), "%s/host.db", run_dir);
	char *sql = sqlite3_mprintf(attach, path);
	if (!sql || sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		r = log_reason(-EIO, err, err_size,
			"%s: %s; move it away with `mv %s %s.damaged`, and start", path,
			sqlite3_errmsg(s->db), path, path);
	sqlite3_free(sql);
	return r;
}

static sqlite3_stmt *which(struct store *s, const char *key, enum store_statement of_state,
	enum store_statement of_host)
{
	bool host = strncmp(key, STORE_HOST, strlen(STORE_HOST)) == 0;

	return store_statement(s, host ? of_host : of_state);
}

static int put(sqlite3_stmt *st, const char *key, const char *value)
{
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 2, value, -1, SQLITE_STATIC);
	return store_run(st);
}

int store_note(struct store *s, const char *key, const char *value)
{
	return put(which(s, key, STORE_NOTE_PUT, STORE_HOST_NOTE_PUT), key, value);
}

int store_set_note(struct store *s, const char *key, const char *value)
{
	return put(which(s, key, STORE_NOTE_SET, STORE_HOST_NOTE_SET), key, value);
}

int store_each_note(struct store *s, const char *prefix,
	void (*fn)(void *arg, const char *key, const char *value), void *arg)
{
	sqlite3_stmt *st = which(s, prefix, STORE_NOTE_EACH, STORE_HOST_NOTE_EACH);
	int r;

	sqlite3_bind_text(st, 1, prefix, -1, SQLITE_STATIC);
	while ((r = store_row(st)) > 0)
		fn(arg, (const char *)sqlite3_column_text(st, 0),
			(const char *)sqlite3_column_text(st, 1));
	return r;
}

int store_forget_note(struct store *s, const char *key)
{
	sqlite3_stmt *st = which(s, key, STORE_NOTE_DELETE, STORE_HOST_NOTE_DELETE);
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	return store_run(st);
}
