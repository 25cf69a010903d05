// SPDX-License-Identifier: BSD-3-Clause
// The SQLite file: opening, transactions, desired state and policies; see store.h. Notes are in
// store_note.c, numbers in store_ids.c, leases in store_lease.c. Main thread only.
#include "control/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include "control/log.h"
#include "control/store_internal.h"

static const char schema[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	"CREATE TABLE ids(kind INTEGER NOT NULL, id INTEGER NOT NULL, key TEXT NOT NULL,"
	" live INTEGER NOT NULL, made INTEGER NOT NULL, seen INTEGER NOT NULL,"
	" freed INTEGER NOT NULL, PRIMARY KEY(kind, id)) WITHOUT ROWID;"
	"CREATE UNIQUE INDEX ids_live ON ids(kind, key) WHERE live = 1;"
	"CREATE TABLE addresses(segment INTEGER NOT NULL, address INTEGER NOT NULL,"
	" key TEXT NOT NULL, live INTEGER NOT NULL, made INTEGER NOT NULL, seen INTEGER NOT NULL,"
	" freed INTEGER NOT NULL, PRIMARY KEY(segment, address)) WITHOUT ROWID;"
	"CREATE UNIQUE INDEX addresses_live ON addresses(segment, key) WHERE live = 1;"
	"CREATE TABLE sections(hash BLOB PRIMARY KEY, data BLOB NOT NULL);"
	"CREATE TABLE roots(generation INTEGER PRIMARY KEY, hash BLOB NOT NULL, root BLOB NOT "
	"NULL);"
	"CREATE TABLE root_sections(generation INTEGER NOT NULL, section BLOB NOT NULL,"
	" PRIMARY KEY(generation, section)) WITHOUT ROWID;"
	"CREATE TABLE notes(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE leases(segment INTEGER NOT NULL, address INTEGER NOT NULL,"
	" port INTEGER NOT NULL, mac BLOB NOT NULL, client_id BLOB NOT NULL,"
	" declined INTEGER NOT NULL, expires_at INTEGER NOT NULL, hostname TEXT NOT NULL,"
	" PRIMARY KEY(segment, address)) WITHOUT ROWID;";

// Not in `schema`: files made before they were have them added. An insulad that does not know these
// columns leaves their defaults.
static const char *const lease_columns[] = { "boot", "boot_ends_s", "lasts_s",
	"boot_ends_ns" }; // the last: of that second

static const char indices[] = "CREATE INDEX IF NOT EXISTS ids_key ON ids(kind, key);"
			      "CREATE INDEX IF NOT EXISTS addresses_key ON addresses(segment, key)";

static const char *const statement_sql[STORE_STATEMENT_COUNT] = {
#define X(name, sql) [STORE_##name] = sql,
	STORE_STATEMENTS(X)
#undef X
};

sqlite3_stmt *store_statement(struct store *s, enum store_statement which)
{
	sqlite3_reset(s->statements[which]);
	return s->statements[which];
}

int store_run(sqlite3_stmt *st)
{
	int r = sqlite3_step(st);
	sqlite3_reset(st);
	return r == SQLITE_DONE || r == SQLITE_ROW ? 0 : -EIO;
}

int store_row(sqlite3_stmt *st)
{
	int r = sqlite3_step(st);
	if (r == SQLITE_ROW)
		return 1;
	sqlite3_reset(st);
	return r == SQLITE_DONE ? 0 : -EIO;
}

int store_integer(sqlite3_stmt *st, int64_t *ret_value)
{
	int r = store_row(st);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	bool null = sqlite3_column_type(st, 0) == SQLITE_NULL;
	int64_t value = sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	if (null)
		return -ENOENT;
	*ret_value = value;
	return 0;
}

int store_copy(sqlite3_stmt *st, int column, void **ret_data, size_t *ret_size)
{
	size_t size = (size_t)sqlite3_column_bytes(st, column);
	const void *from = sqlite3_column_blob(st, column);
	uint8_t *copy = malloc(size + 1);
	if (!copy)
		return -ENOMEM;
	if (size)
		memcpy(copy, from, size);
	copy[size] = 0;
	*ret_data = copy;
	*ret_size = size;
	return 0;
}

int store_meta_get(struct store *s, const char *key, int64_t *ret_value)
{
	sqlite3_stmt *st = store_statement(s, STORE_META_GET);
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	return store_integer(st, ret_value);
}

int store_meta_put(struct store *s, const char *key, int64_t value)
{
	sqlite3_stmt *st = store_statement(s, STORE_META_PUT);
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, value);
	return store_run(st);
}

// SQLite would wait for ever for who opens the other end of a FIFO, or name the wrong file.
static int check_companions(const char *path, char *err, size_t err_size)
{
	static const char *const suffixes[] = { "-journal", "-wal", "-shm" };
	char companion[320];
	struct stat st;

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		snprintf(companion, sizeof(companion), "%s%s", path, suffixes[i]);
		if (stat(companion, &st) == 0 && !S_ISREG(st.st_mode))
			return log_reason(-EIO, err, err_size,
				"%s is not a file; move it away with `mv %s %s.odd`, and start",
				companion, companion, companion);
	}
	return 0;
}

static bool is_damage(int code)
{
	return code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
}

// What SQLite says of the file, and the way out when the file is the trouble.
static int open_error(struct store *s, const char *path, char *err, size_t err_size)
{
	int code = sqlite3_errcode(s->db) & 0xff;
	const char *what = sqlite3_errmsg(s->db);
	struct stat st;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		what = "not a file";
	else if (code == SQLITE_CANTOPEN && sqlite3_system_errno(s->db) == EACCES)
		return log_reason(-EACCES, err, err_size,
			"%s may not be read and written; give it back to insulad with `chown root: "
			"%s* && chmod 600 %s*`, and start",
			path, path, path);
	else if (!is_damage(code))
		return log_reason(-EIO, err, err_size, "%s: %s", path, what);
	return log_reason(-EIO, err, err_size,
		"%s is damaged (%s); bring it back from a backup, or move it away with `mv %s "
		"%s.damaged`, start, and apply the configuration again",
		path, what, path, path);
}

// Makes the tables in a new file; refuses one written by a later Insula.
static int check_schema(struct store *s, const char *path, char *err, size_t err_size)
{
	sqlite3_stmt *st;
	int64_t version = 0;

	if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) != SQLITE_OK)
		return open_error(s, path, err, err_size);
	int r = store_integer(st, &version);
	sqlite3_finalize(st);
	if (r == 0 && version > STORE_SCHEMA)
		return log_reason(-EPROTO, err, err_size,
			"the state is of schema %lld, this insulad knows %d; use the newer insulad",
			(long long)version, STORE_SCHEMA);
	if (r < 0 || version == STORE_SCHEMA)
		return r < 0 ? open_error(s, path, err, err_size) : 0;
	char *sql = sqlite3_mprintf(
		"BEGIN IMMEDIATE;%s PRAGMA user_version = %d; COMMIT", schema, STORE_SCHEMA);
	r = sql && sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
	sqlite3_free(sql);
	return r < 0 ? open_error(s, path, err, err_size) : 0;
}

static int load_salt(struct store *s)
{
	int64_t salt;
	int r = store_meta_get(s, "salt", &salt);

	if (r == -ENOENT) {
		if (getrandom(&s->salt, sizeof(s->salt), 0) != sizeof(s->salt))
			return -errno;
		s->is_new = true;
		return store_meta_put(s, "salt", s->salt);
	}
	s->salt = (uint32_t)salt;
	return r;
}

static int add_lease_column(struct store *s, const char *name)
{
	// A lease of an insulad that knew whole seconds ends with its second.
	char *sql = sqlite3_mprintf("ALTER TABLE leases ADD COLUMN %s INTEGER NOT NULL DEFAULT %d",
		name, strcmp(name, "boot_ends_ns") == 0 ? 999999999 : 0);
	sqlite3_stmt *st;
	int64_t n = 0;

	if (!sql || sqlite3_prepare_v2(s->db,
			    "SELECT count(*) FROM pragma_table_info('leases') WHERE name = ?", -1,
			    &st, NULL) != SQLITE_OK) {
		sqlite3_free(sql);
		return -EIO;
	}
	sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
	int r = store_integer(st, &n);
	sqlite3_finalize(st);
	if (r == 0 && n == 0)
		r = sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
	sqlite3_free(sql);
	return r;
}

static int add_lease_columns(struct store *s)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(lease_columns) / sizeof(lease_columns[0]); i++)
		r = add_lease_column(s, lease_columns[i]);
	return r;
}

static int prepare_all(struct store *s)
{
	if (add_lease_columns(s) < 0)
		return -EIO;
	if (sqlite3_exec(s->db, indices, NULL, NULL, NULL) != SQLITE_OK)
		return -EIO;
	for (int i = 0; i < STORE_STATEMENT_COUNT; i++)
		if (sqlite3_prepare_v3(s->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
			    &s->statements[i], NULL) != SQLITE_OK)
			return -EIO;
	return 0;
}

int store_open(const char *state_dir, const char *run_dir, struct store **ret_store, char *err,
	size_t err_size)
{
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
	char path[300] = ":memory:";
	int r = -EIO;
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return log_reason(-ENOMEM, err, err_size, "out of memory");
	if (state_dir)
		snprintf(path, sizeof(path), "%s/insula.db", state_dir);
	r = check_companions(path, err, err_size);
	if (r < 0)
		goto fail;
	r = -EIO;
	if (sqlite3_open_v2(path, &s->db, flags, NULL) != SQLITE_OK ||
		sqlite3_exec(s->db,
			"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
			"PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 2000",
			NULL, NULL, NULL) != SQLITE_OK) {
		open_error(s, path, err, err_size);
		goto fail;
	}
	r = check_schema(s, path, err, err_size);
	if (r == 0)
		r = store_attach_host(s, run_dir, err, err_size);
	if (r < 0)
		goto fail;
	r = prepare_all(s);
	if (r == 0)
		r = load_salt(s);
	if (r < 0) {
		open_error(s, path, err, err_size);
		goto fail;
	}
	*ret_store = s;
	return 0;
fail:
	store_close(s);
	return r;
}

static int copy_file(struct store *s, const char *path, char *err, size_t err_size)
{
	struct store from = { 0 };
	int r = sqlite3_open_v2(path, &from.db, SQLITE_OPEN_READONLY, NULL);

	if (r == SQLITE_OK) {
		sqlite3_backup *b = sqlite3_backup_init(s->db, "main", from.db, "main");

		sqlite3_busy_timeout(from.db, 2000);
		r = b ? sqlite3_backup_step(b, -1) : SQLITE_ERROR;
		if (b)
			sqlite3_backup_finish(b);
	}
	if (r == SQLITE_OK || r == SQLITE_DONE)
		r = 0;
	else
		r = log_reason(-EIO, err, err_size, "%s: %s", path, sqlite3_errstr(r));
	sqlite3_close(from.db);
	return r;
}

int store_open_memory(const char *state_dir, struct store **ret_store, char *err, size_t err_size)
{
	struct store *s = calloc(1, sizeof(*s));
	char path[300];
	int r = -EIO;

	if (!s)
		return log_reason(-ENOMEM, err, err_size, "out of memory");
	if (sqlite3_open(":memory:", &s->db) != SQLITE_OK) {
		open_error(s, "memory", err, err_size);
		goto fail;
	}
	snprintf(path, sizeof(path), "%s/insula.db", state_dir ? state_dir : "");
	r = state_dir ? check_companions(path, err, err_size) : 0;
	if (r == 0 && state_dir)
		r = copy_file(s, path, err, err_size);
	if (r == 0)
		r = check_schema(s, "memory", err, err_size);
	if (r == 0)
		r = store_attach_host(s, NULL, err, err_size);
	if (r < 0)
		goto fail;
	r = prepare_all(s);
	if (r == 0 && !state_dir)
		r = store_meta_put(s, "salt", 0);
	if (r == 0)
		r = load_salt(s);
	if (r < 0) {
		open_error(s, "memory", err, err_size);
		goto fail;
	}
	*ret_store = s;
	return 0;
fail:
	store_close(s);
	return r;
}

bool store_is_new(const struct store *s)
{
	return s->is_new;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	for (int i = 0; i < STORE_STATEMENT_COUNT; i++)
		sqlite3_finalize(s->statements[i]);
	sqlite3_close(s->db);
	free(s);
}

static uint64_t free_bytes(const char *path)
{
	struct statvfs fs;

	return path && path[0] && statvfs(path, &fs) == 0 ? fs.f_bavail * fs.f_frsize : UINT64_MAX;
}

// SQLite does not tell which of the two files it could not write.
static const char *fullest(struct store *s)
{
	const char *state = sqlite3_db_filename(s->db, "main");
	const char *host = sqlite3_db_filename(s->db, "host");

	return free_bytes(host) < free_bytes(state) ? host : state;
}

const char *store_error(struct store *s)
{
	const char *path = sqlite3_db_filename(s->db, "main");
	int code = sqlite3_errcode(s->db) & 0xff;

	if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE)
		code = s->failure; // the rollback went well
	if (s->damaged)
		code = SQLITE_CORRUPT;
	if (code == SQLITE_FULL)
		path = fullest(s);
	if (code == SQLITE_FULL)
		snprintf(s->error, sizeof(s->error),
			"%.200s: the disk is full; make room there (`df -h %.200s` shows it)", path,
			path);
	else if (is_damage(code))
		snprintf(s->error, sizeof(s->error),
			"%.100s is damaged (%.40s); `insula stop`, move it away with `mv %.100s "
			"%.100s.damaged`, start, and apply the configuration again",
			path, sqlite3_errstr(code), path, path);
	else
		snprintf(s->error, sizeof(s->error), "%.200s: %s", path, sqlite3_errstr(code));
	return s->error;
}

int store_begin(struct store *s)
{
	return store_run(store_statement(s, STORE_BEGIN));
}

int store_commit(struct store *s)
{
	int r = store_run(store_statement(s, STORE_COMMIT));
	if (r < 0)
		store_rollback(s);
	return r;
}

void store_rollback(struct store *s)
{
	s->failure = sqlite3_errcode(s->db) & 0xff;
	if (!sqlite3_get_autocommit(s->db))
		store_run(store_statement(s, STORE_ROLLBACK));
}

uint32_t store_salt(const struct store *s)
{
	return s->salt;
}

int store_get_desired(struct store *s, struct store_desired *ret_desired)
{
	struct store_desired d = { 0 };
	int64_t generation = 0;
	size_t file_size;
	int r = store_meta_get(s, "generation", &generation);

	if (r < 0 && r != -ENOENT)
		return r;
	d.generation = (uint64_t)generation;
	struct {
		const char *key;
		char **to;
		size_t *size;
	} texts[] = { { "file", &d.file, &file_size }, { "yaml", &d.yaml, &d.yaml_size } };
	for (int i = 0; i < 2; i++) {
		sqlite3_stmt *st = store_statement(s, STORE_META_GET);
		sqlite3_bind_text(st, 1, texts[i].key, -1, SQLITE_STATIC);
		r = store_row(st);
		if (r > 0) {
			void *copy = NULL;
			r = store_copy(st, 0, &copy, texts[i].size);
			*texts[i].to = copy;
			sqlite3_reset(st);
		}
		if (r < 0) {
			store_desired_clear(&d);
			return r;
		}
	}
	*ret_desired = d;
	return 0;
}

void store_desired_clear(struct store_desired *d)
{
	free(d->file);
	free(d->yaml);
	*d = (struct store_desired){ 0 };
}

int store_put_desired(
	struct store *s, uint64_t generation, const char *file, const char *yaml, size_t size)
{
	int r = store_meta_put(s, "generation", (int64_t)generation);
	if (r < 0)
		return r;
	sqlite3_stmt *st = store_statement(s, STORE_META_PUT);
	sqlite3_bind_text(st, 1, "file", -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 2, file, -1, SQLITE_STATIC);
	r = store_run(st);
	if (r < 0)
		return r;
	st = store_statement(s, STORE_META_PUT);
	sqlite3_bind_text(st, 1, "yaml", -1, SQLITE_STATIC);
	sqlite3_bind_blob64(st, 2, yaml, size, SQLITE_STATIC);
	return store_run(st);
}

int store_put_section(
	struct store *s, const uint8_t hash[POLICY_HASH_SIZE], const void *data, size_t size)
{
	sqlite3_stmt *st = store_statement(s, STORE_SECTION_PUT);
	sqlite3_bind_blob(st, 1, hash, POLICY_HASH_SIZE, SQLITE_STATIC);
	sqlite3_bind_blob64(st, 2, data, size, SQLITE_STATIC);
	return store_run(st);
}

int store_put_root(struct store *s, uint64_t generation, const uint8_t hash[POLICY_HASH_SIZE],
	const void *root, size_t size)
{
	const struct policy_root *head = root;
	sqlite3_stmt *st = store_statement(s, STORE_ROOT_PUT);

	sqlite3_bind_int64(st, 1, (int64_t)generation);
	sqlite3_bind_blob(st, 2, hash, POLICY_HASH_SIZE, SQLITE_STATIC);
	sqlite3_bind_blob64(st, 3, root, size, SQLITE_STATIC);
	int r = store_run(st);
	for (uint32_t i = 0; r == 0 && i < head->n_sections; i++) {
		st = store_statement(s, STORE_ROOT_SECTION_PUT);
		sqlite3_bind_int64(st, 1, (int64_t)generation);
		sqlite3_bind_blob(st, 2, head->sections[i].hash, POLICY_HASH_SIZE, SQLITE_STATIC);
		r = store_run(st);
	}
	if (r == 0) {
		st = store_statement(s, STORE_ROOT_SWEEP);
		sqlite3_bind_int(st, 1, STORE_GENERATIONS);
		r = store_run(st);
	}
	if (r == 0)
		r = store_run(store_statement(s, STORE_ROOT_SECTION_SWEEP));
	if (r == 0)
		r = store_run(store_statement(s, STORE_SECTION_SWEEP));
	return r;
}

// Whether the sections that a root counts are in it.
static bool root_fits(const struct policy_root *root, size_t size)
{
	return size >= sizeof(*root) &&
	       (size - sizeof(*root)) / sizeof(root->sections[0]) >= root->n_sections;
}

int store_get_root(struct store *s, uint64_t generation, void **ret_root, size_t *ret_size)
{
	sqlite3_stmt *st = store_statement(s, STORE_ROOT_GET);
	sqlite3_bind_int64(st, 1, (int64_t)generation);
	int r = store_row(st);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	r = store_copy(st, 0, ret_root, ret_size);
	sqlite3_reset(st);
	if (r == 0 && !root_fits(*ret_root, *ret_size)) {
		free(*ret_root);
		*ret_root = NULL;
		s->damaged = true;
		r = -EIO;
	}
	return r;
}

int store_get_section(
	struct store *s, const uint8_t hash[POLICY_HASH_SIZE], void **ret_data, size_t *ret_size)
{
	sqlite3_stmt *st = store_statement(s, STORE_SECTION_GET);
	sqlite3_bind_blob(st, 1, hash, POLICY_HASH_SIZE, SQLITE_STATIC);
	int r = store_row(st);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	r = store_copy(st, 0, ret_data, ret_size);
	sqlite3_reset(st);
	return r;
}
