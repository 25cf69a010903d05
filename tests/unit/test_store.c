// SPDX-License-Identifier: BSD-3-Clause
// What insulad remembers: numbers that last and are not reused soon, rounds that can be taken back,
// policies kept and swept, notes, leases; across closing and opening the file.
#include "tests/unit/desired_fixture.h"
#include <errno.h>
#include "control/store_internal.h"

static uint64_t begin(void)
{
	uint64_t round = 0;

	assert_int_equal(store_begin(fixture_store), 0);
	assert_int_equal(store_round_begin(fixture_store, &round), 0);
	return round;
}

static void accept_round(uint64_t round)
{
	assert_int_equal(store_round_accept(fixture_store, round), 0);
	assert_int_equal(store_commit(fixture_store), 0);
}

static uint32_t port(uint64_t round, const char *key)
{
	uint32_t id = 0;

	assert_int_equal(store_id(fixture_store, round, STORE_ID_PORT, key, 3, &id), 0);
	return id;
}

static void reopen(void)
{
	store_close(fixture_store);
	fixture_open();
}

static void test_numbers_last_and_rest(void **state)
{
	uint32_t salt = store_salt(fixture_store), id;
	uint64_t round = begin();

	assert_int_equal(port(round, "a"), 1);
	assert_int_equal(port(round, "b"), 2);
	accept_round(round);
	reopen();
	assert_int_equal(store_salt(fixture_store), salt);
	round = begin(); // a goes, c comes: 1 is not reused while 3 is new
	assert_int_equal(port(round, "b"), 2);
	assert_int_equal(port(round, "c"), 3);
	accept_round(round);
	round = begin(); // all used once: the one that rested longest
	assert_int_equal(port(round, "b"), 2);
	assert_int_equal(port(round, "c"), 3);
	assert_int_equal(port(round, "d"), 1);
	assert_int_equal(store_id(fixture_store, round, STORE_ID_PORT, "e", 3, &id), -ENOSPC);
	accept_round(round);
}

// A replay's store: what the file has, while insulad has it open; what it gives out stays with it.
static void test_copy_in_memory(void **state)
{
	struct store *copy, *file = fixture_store;
	char err[256] = "";
	uint64_t round = begin();

	assert_int_equal(port(round, "a"), 1);
	assert_int_equal(port(round, "b"), 2);
	accept_round(round);
	assert_int_equal(store_open_memory(fixture_dir, &copy, err, sizeof(err)), 0);
	assert_int_equal(store_salt(copy), store_salt(file));
	fixture_store = copy;
	round = begin();
	assert_int_equal(port(round, "b"), 2);
	assert_int_equal(port(round, "c"), 3);
	accept_round(round);
	fixture_store = file;
	round = begin();
	assert_int_equal(port(round, "d"), 3);
	accept_round(round);
	store_close(copy);
	assert_int_equal(store_open_memory("/nonexistent", &copy, err, sizeof(err)), -EIO);
	assert_non_null(strstr(err, "/nonexistent/insula.db"));
	assert_int_equal(store_open_memory(NULL, &copy, err, sizeof(err)), 0);
	assert_int_equal(store_salt(copy), 0);
	store_close(copy);
}

static void test_who_comes_back(void **state)
{
	uint64_t round = begin();

	assert_int_equal(port(round, "a"), 1);
	assert_int_equal(port(round, "b"), 2);
	accept_round(round);
	accept_round(begin()); // both go
	round = begin();
	assert_int_equal(port(round, "c"), 3);
	assert_int_equal(port(round, "b"), 2);
	assert_int_equal(store_commit(fixture_store), 0);
	assert_int_equal(store_begin(fixture_store), 0);
	assert_int_equal(store_round_reject(fixture_store, round), 0); // and go again
	assert_int_equal(store_commit(fixture_store), 0);
	reopen();
	round = begin();
	assert_int_equal(port(round, "b"), 2);
	assert_int_equal(port(round, "c"), 3);
	assert_int_equal(port(round, "d"), 1); // nothing new is left
	accept_round(round);
	round = begin();
	assert_int_equal(port(round, "d"), 1);
	accept_round(round);
	round = begin();
	assert_int_equal(port(round, "d"), 1);
	assert_int_equal(port(round, "a"), 2); // its own went to somebody else
	accept_round(round);
}

static void test_rejected_round_leaves_no_trace(void **state)
{
	uint64_t round = begin();

	assert_int_equal(port(round, "a"), 1);
	accept_round(round);
	round = begin();
	assert_int_equal(port(round, "b"), 2); // and a is not wanted
	assert_int_equal(store_commit(fixture_store), 0);
	assert_int_equal(store_begin(fixture_store), 0);
	assert_int_equal(store_round_reject(fixture_store, round), 0);
	assert_int_equal(store_commit(fixture_store), 0);
	round = begin();
	assert_int_equal(port(round, "a"), 1);
	assert_int_equal(port(round, "x"), 3); // 2 rests
	accept_round(round);
}

static bool is_taken(void *arg, uint32_t address, bool its)
{
	return address == *(uint32_t *)arg;
}

static uint32_t address(uint64_t round, const char *key, uint32_t taken)
{
	uint32_t a = 0;

	assert_int_equal(
		store_address(fixture_store, round, 1, key, 10, 12, is_taken, &taken, &a), 0);
	return a;
}

static void test_addresses(void **state)
{
	uint64_t round = begin();
	uint32_t id, taken = 0, a;

	assert_int_equal(store_id(fixture_store, round, STORE_ID_SEGMENT, "s", 9, &id), 0);
	assert_int_equal(id, 1);
	assert_int_equal(address(round, "a", 10), 11); // 10 is the gateway, say
	assert_int_equal(address(round, "b", 10), 12);
	accept_round(round);
	round = begin();
	assert_int_equal(store_id(fixture_store, round, STORE_ID_SEGMENT, "s", 9, &id), 0);
	assert_int_equal(address(round, "a", 0), 11); // kept
	assert_int_equal(address(round, "b", 12), 10); // somebody asked for 12 by name
	assert_int_equal(store_commit(fixture_store), 0);
	assert_int_equal(store_begin(fixture_store), 0);
	assert_int_equal(store_round_reject(fixture_store, round), 0); // it failed: b has 12 again
	assert_int_equal(store_commit(fixture_store), 0);
	round = begin();
	assert_int_equal(store_id(fixture_store, round, STORE_ID_SEGMENT, "s", 9, &id), 0);
	assert_int_equal(address(round, "a", 0), 11);
	assert_int_equal(address(round, "b", 0), 12);
	assert_int_equal(address(round, "c", 0), 10);
	assert_int_equal(
		store_address(fixture_store, round, 1, "d", 10, 12, is_taken, &taken, &a), -ENOSPC);
	accept_round(round);
	round = begin(); // all but the network go
	assert_int_equal(store_id(fixture_store, round, STORE_ID_SEGMENT, "s", 9, &id), 0);
	accept_round(round);
	round = begin();
	assert_int_equal(store_id(fixture_store, round, STORE_ID_SEGMENT, "s", 9, &id), 0);
	assert_int_equal(address(round, "b", 0), 12); // who comes back has its own again
	assert_int_equal(address(round, "a", 11), 10); // but not what somebody asked for by name
	accept_round(round);
}

static void test_desired_and_transactions(void **state)
{
	struct store_desired d;

	assert_int_equal(store_get_desired(fixture_store, &d), 0);
	assert_int_equal(d.generation, 0);
	assert_null(d.yaml);
	assert_int_equal(store_put_desired(fixture_store, 5, "f.yaml", "version: 1", 10), 0);
	assert_int_equal(store_begin(fixture_store), 0);
	assert_int_equal(store_put_desired(fixture_store, 6, "g.yaml", "", 0), 0);
	store_rollback(fixture_store);
	reopen();
	assert_int_equal(store_get_desired(fixture_store, &d), 0);
	assert_int_equal(d.generation, 5);
	assert_string_equal(d.file, "f.yaml");
	assert_string_equal(d.yaml, "version: 1");
	assert_int_equal(d.yaml_size, 10);
	store_desired_clear(&d);
}

static void test_policies_are_swept(void **state)
{
	struct {
		struct policy_root root;
		struct policy_section_ref ref;
	} r = { .root = { .n_sections = 1, .size = sizeof(r) } };
	uint8_t shared[POLICY_HASH_SIZE] = { 1 }, first[POLICY_HASH_SIZE] = { 2 };
	void *data;
	size_t size;

	assert_int_equal(store_put_section(fixture_store, shared, "shared", 6), 0);
	assert_int_equal(store_put_section(fixture_store, first, "first", 5), 0);
	for (uint64_t g = 1; g <= STORE_GENERATIONS + 1; g++) {
		memcpy(r.ref.hash, g == 1 ? first : shared, sizeof(shared));
		r.root.generation = g;
		assert_int_equal(store_put_root(fixture_store, g, shared, &r, sizeof(r)), 0);
		// The newest names it, or generations still kept do.
		assert_int_equal(store_put_section(fixture_store, shared, "shared", 6), 0);
	}
	assert_int_equal(store_get_root(fixture_store, 1, &data, &size), -ENOENT);
	assert_int_equal(store_get_section(fixture_store, first, &data, &size), -ENOENT);
	assert_int_equal(store_get_section(fixture_store, shared, &data, &size), 0);
	assert_int_equal(size, 6);
	free(data);
	assert_int_equal(store_get_root(fixture_store, UINT32_MAX, &data, &size), 0);
	assert_int_equal(((struct policy_root *)data)->generation, STORE_GENERATIONS + 1);
	free(data);
}

static void count_notes(void *arg, const char *key, const char *value)
{
	assert_string_equal(key, "link:eth0");
	assert_string_equal(value, "1500 1");
	(*(int *)arg)++;
}

static void test_notes_keep_the_first_value(void **state)
{
	int n = 0;

	assert_int_equal(store_note(fixture_store, "link:eth0", "1500 1"), 0);
	assert_int_equal(store_note(fixture_store, "link:eth0", "9000 1"), 0);
	assert_int_equal(store_note(fixture_store, "sysctl:x", "0"), 0);
	reopen();
	assert_int_equal(store_each_note(fixture_store, "link:", count_notes, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(store_forget_note(fixture_store, "link:eth0"), 0);
	assert_int_equal(store_each_note(fixture_store, "link:", count_notes, &n), 0);
	assert_int_equal(n, 1);
}

static void count_any(void *arg, const char *key, const char *value)
{
	(*(int *)arg)++;
}

// What has to be put back on the host outlives the loss of the state, and nothing else does.
static void test_host_notes_outlive_the_state(void **state)
{
	static const char *const files[] = { "insula.db", "insula.db-wal", "insula.db-shm" };
	char path[128];
	int n_host = 0, n_other = 0;

	assert_true(store_is_new(fixture_store));
	reopen();
	assert_false(store_is_new(fixture_store));
	assert_int_equal(store_note(fixture_store, STORE_HOST "sysctl:x", "0"), 0);
	assert_int_equal(store_note(fixture_store, STORE_HOST "link:eth0", "1500 1"), 0);
	assert_int_equal(store_note(fixture_store, "fallback:1", "why"), 0);
	store_close(fixture_store);
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", fixture_dir, files[i]);
		unlink(path);
	}
	fixture_open();
	assert_true(store_is_new(fixture_store));
	assert_int_equal(store_each_note(fixture_store, STORE_HOST, count_any, &n_host), 0);
	assert_int_equal(store_each_note(fixture_store, "fallback:", count_any, &n_other), 0);
	assert_int_equal(n_host, 2);
	assert_int_equal(n_other, 0);
	assert_int_equal(store_forget_note(fixture_store, STORE_HOST "link:eth0"), 0);
	n_host = 0;
	assert_int_equal(store_each_note(fixture_store, STORE_HOST, count_any, &n_host), 0);
	assert_int_equal(n_host, 1);
}

static void take_lease(void *arg, const struct store_lease *l)
{
	*(struct store_lease *)arg = *l;
}

static void test_leases(void **state)
{
	struct store_lease l = { .segment = 3,
		.port = 9,
		.address = inet_addr("10.0.0.77"),
		.mac = { { 2, 0, 0, 0, 0, 1 } },
		.client_id = { 1, 2, 3 },
		.client_id_size = 3,
		.expires_at = 1234567890123,
		.hostname = "guest" };
	struct store_lease back = { 0 };

	assert_int_equal(store_put_lease(fixture_store, &l), 0);
	reopen();
	assert_int_equal(store_each_lease(fixture_store, take_lease, &back), 0);
	assert_memory_equal(&back.mac, &l.mac, sizeof(l.mac));
	assert_int_equal(back.address, l.address);
	assert_int_equal(back.port, 9);
	assert_int_equal(back.client_id_size, 3);
	assert_memory_equal(back.client_id, l.client_id, 3);
	assert_int_equal(back.expires_at, l.expires_at);
	assert_string_equal(back.hostname, "guest");
	assert_int_equal(store_delete_lease(fixture_store, 3, l.address), 0);
	back.port = 0;
	assert_int_equal(store_each_lease(fixture_store, take_lease, &back), 0);
	assert_int_equal(back.port, 0);
}

// A file made before leases had their boot.
static void test_leases_without_boot(void **state)
{
	struct store_lease l = { .segment = 3, .port = 9, .address = 1, .expires_at = 5 };
	struct store_lease back = { 0 };
	char path[128];
	sqlite3 *db;

	assert_int_equal(store_put_lease(fixture_store, &l), 0);
	store_close(fixture_store);
	snprintf(path, sizeof(path), "%s/insula.db", fixture_dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
				 "ALTER TABLE leases DROP COLUMN boot;"
				 "ALTER TABLE leases DROP COLUMN boot_ends_s;"
				 "ALTER TABLE leases DROP COLUMN boot_ends_ns;"
				 "ALTER TABLE leases DROP COLUMN lasts_s",
				 NULL, NULL, NULL),
		SQLITE_OK);
	sqlite3_close(db);
	fixture_open();
	assert_int_equal(store_each_lease(fixture_store, take_lease, &back), 0);
	assert_int_equal(back.expires_at, 5);
	assert_int_equal(back.boot, 0);
	assert_int_equal(back.boot_ends_ns, 999999999);
	l.boot = -7;
	l.boot_ends_ns = 8000000007;
	l.lasts_s = 9;
	assert_int_equal(store_put_lease(fixture_store, &l), 0);
	reopen();
	assert_int_equal(store_each_lease(fixture_store, take_lease, &back), 0);
	assert_int_equal(back.boot, -7);
	assert_int_equal(back.boot_ends_ns, 8000000007);
	assert_int_equal(back.lasts_s, 9);
}

// Said with the file and what to do, also after the rollback that went well.
static void test_no_space_left(void **state)
{
	static uint8_t data[1 << 20];
	uint8_t hash[POLICY_HASH_SIZE] = { 1 };

	assert_int_equal(
		sqlite3_exec(fixture_store->db, "PRAGMA max_page_count = 1", NULL, NULL, NULL), 0);
	assert_int_equal(store_begin(fixture_store), 0);
	assert_int_equal(store_put_section(fixture_store, hash, data, sizeof(data)), -EIO);
	store_rollback(fixture_store);
	assert_non_null(
		strstr(store_error(fixture_store), "/insula.db: the disk is full; make room"));
	assert_non_null(strstr(store_error(fixture_store), "`df -h /"));
}

static bool said_damaged(void)
{
	return strstr(store_error(fixture_store), "insula.db is damaged (") != NULL;
}

static void execute(const char *sql)
{
	assert_int_equal(sqlite3_exec(fixture_store->db, sql, NULL, NULL, NULL), SQLITE_OK);
}

// Well-formed to SQLite, but nothing we ever wrote: a number outside its range, a root cut short.
static void test_values_never_written(void **state)
{
	static const char *const ids[] = { "0", "-1", "4", "100001" };
	struct policy_root root = { .size = sizeof(root) };
	uint8_t hash[POLICY_HASH_SIZE] = { 1 };
	void *data;
	size_t size;

	assert_int_equal(store_put_root(fixture_store, 1, hash, &root, sizeof(root)), 0);
	execute("UPDATE roots SET root = zeroblob(16) || x'e8030000' || zeroblob(4)");
	assert_int_equal(store_get_root(fixture_store, 1, &data, &size), -EIO);
	assert_true(said_damaged());
	for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		char sql[64];
		uint32_t id;

		reopen();
		uint64_t round = begin();
		port(round, "a");
		snprintf(sql, sizeof(sql), "UPDATE ids SET id = %s", ids[i]);
		execute(sql);
		assert_int_equal(store_id(fixture_store, round, STORE_ID_PORT, "a", 3, &id), -EIO);
		assert_true(said_damaged());
		store_rollback(fixture_store);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		T(test_numbers_last_and_rest),
		T(test_copy_in_memory),
		T(test_who_comes_back),
		T(test_rejected_round_leaves_no_trace),
		T(test_addresses),
		T(test_desired_and_transactions),
		T(test_policies_are_swept),
		T(test_notes_keep_the_first_value),
		T(test_host_notes_outlive_the_state),
		T(test_leases),
		T(test_leases_without_boot),
		T(test_no_space_left),
		T(test_values_never_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
