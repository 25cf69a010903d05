// SPDX-License-Identifier: BSD-3-Clause
// Both tables under several threads, as workers and the control thread use them: inserts and
// removals that race for the same keys in a table so small that ids and overflow buckets are reused
// all the time, lookups that must neither miss what stays nor ever return a wrong record. Clean
// under TSan.
#include "vswitch/nat_table.h"
#include "tests/unit/session_bulk.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

enum {
	CAPACITY = 256,
	STABLE = 32, // flows that stay for the whole test
	HOT = 4, // flows that all writers want
	FLOWS = 400, // more than fit
	WRITERS = 2,
	READERS = 2,
	THREADS = WRITERS + READERS,
	ROUNDS = 400, // of the control thread, a grace period each; then the workers end
	BURST = 32, // packets of a reader
	WRITES = 200, // of a writer between two quiescent states
	CONTENDED = 100000, // operations of each of two threads that never pause
};

#define SECOND 1000000000ull

struct worker {
	pthread_t thread;
	uint64_t random;
	uint64_t quiescent; // atomic: bursts done
	uint32_t inserted, removed, wrong, missed;
};

static struct worker workers[THREADS];
static bool stop; // atomic, by the control thread
static struct session_table *sessions;
static struct nat_table *mappings;

static uint32_t rnd(struct worker *w, uint32_t n)
{
	w->random = w->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(w->random >> 33) % n;
}

// False: the test is over. Release: what was done in the burst is over for whoever sees the number.
static bool burst_end(struct worker *w)
{
	__atomic_store_n(&w->quiescent, w->quiescent + 1, __ATOMIC_RELEASE);
	sched_yield(); // so that threads interleave on few cores
	return !__atomic_load_n(&stop, __ATOMIC_RELAXED);
}

// Control thread: waits until every worker has ended the burst it was in.
static void grace_period(void)
{
	uint64_t was[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		was[i] = __atomic_load_n(&workers[i].quiescent, __ATOMIC_ACQUIRE);
	for (unsigned i = 0; i < THREADS; i++) {
		while (__atomic_load_n(&workers[i].quiescent, __ATOMIC_ACQUIRE) == was[i])
			sched_yield();
	}
}

static struct session_desc flow(uint32_t n)
{
	struct session_desc d = {
		.mapping = n,
		.nexthop = { n, n },
		.src_port = 1 + n % 5,
		.dst_port = 9,
	};

	for (unsigned i = 0; i < 2; i++) {
		d.key[i] = (struct session_key){
			.zone = 1 + i,
			.src = htonl(n),
			.dst = htonl(n + 7),
			.src_port = htons((uint16_t)n),
			.proto = n % 2 == 0 ? IPPROTO_UDP : IPPROTO_TCP,
		};
	}
	return d;
}

static void write_burst(struct worker *w)
{
	for (unsigned i = 0; i < WRITES; i++) {
		uint32_t range = rnd(w, 2) == 0 ? HOT : FLOWS - STABLE;
		struct session_desc d = flow(STABLE + rnd(w, range));
		enum session_dir dir;
		uint32_t id;

		if (rnd(w, 2) == 0) {
			w->inserted += session_insert(sessions, &d, 0, &id) == 0;
		} else {
			id = session_lookup(sessions, &d.key[rnd(w, 2)], &dir);
			if (id != SESSION_NONE)
				w->removed += session_remove(sessions, id);
		}
	}
}

static void *session_writer(void *arg)
{
	do {
		write_burst(arg);
	} while (burst_end(arg));
	return NULL;
}

// Looks up a burst and uses what it found, which must hold still until the burst's end.
static void read_burst(struct worker *w)
{
	struct session_desc d[BURST];
	struct session_key keys[BURST];
	struct session_found found[BURST];
	uint32_t n[BURST];

	for (unsigned i = 0; i < BURST; i++) {
		n[i] = rnd(w, FLOWS);
		d[i] = flow(n[i]);
		keys[i] = d[i].key[rnd(w, 2)];
	}
	session_lookup_bulk(sessions, keys, BURST, found);
	sched_yield(); // a worker may lose its core at any time, and still hold its ids
	for (unsigned i = 0; i < BURST; i++) {
		struct session_record *r = found[i].record;

		if (!r) {
			w->missed += n[i] < STABLE;
			continue;
		}
		session_touch(r, found[i].dir, (uint8_t)rnd(w, 64), 60, 1);
		w->wrong += memcmp(&r->d.key[found[i].dir], &keys[i], sizeof(keys[i])) != 0 ||
			    r != session_get(sessions, found[i].id) || r->d.mapping != n[i] ||
			    session_state_of(r) >= SESSION_STATE_COUNT;
	}
}

static void *session_reader(void *arg)
{
	do {
		read_burst(arg);
	} while (burst_end(arg));
	return NULL;
}

static void start(void *(*writer)(void *), void *(*reader)(void *))
{
	stop = false;
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .random = i + 1 };
		assert_int_equal(pthread_create(&workers[i].thread, NULL,
					 i < WRITERS ? writer : reader, &workers[i]),
			0);
	}
}

static struct worker finish(void)
{
	struct worker sum = {};

	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
		sum.inserted += workers[i].inserted;
		sum.removed += workers[i].removed;
		sum.wrong += workers[i].wrong;
		sum.missed += workers[i].missed;
	}
	return sum;
}

static bool in_third(void *arg, const struct session_record *r)
{
	return r->d.mapping >= STABLE && r->d.mapping % 3 == *(const uint32_t *)arg;
}

static void count(void *arg, const struct session_record *r)
{
	(*(uint32_t *)arg)++;
}

static bool is_any(void *arg, const struct session_record *r)
{
	return true;
}

static void check_listing(void)
{
	struct session_record r;
	uint32_t cursor = 0, id;

	while (session_next(sessions, &cursor, UINT32_MAX, &id, &r)) {
		struct session_desc want = flow(r.d.mapping);

		assert_memory_equal(&r.d, &want, offsetof(struct session_desc, flags));
	}
}

// No flow twice, every one found, counts right; a new process sees the same.
static void check_sessions(void *mem, uint32_t capacity, uint32_t expected)
{
	bool seen[FLOWS] = {};
	struct session_record r;

	for (unsigned round = 0; round < 2; round++) {
		uint32_t cursor = 0, id, n = 0;

		memset(seen, 0, sizeof(seen));
		while (session_next(sessions, &cursor, UINT32_MAX, &id, &r)) {
			enum session_dir dir;

			assert_false(seen[r.d.mapping]);
			seen[r.d.mapping] = true;
			for (unsigned i = 0; i < 2; i++)
				assert_int_equal(session_lookup(sessions, &r.d.key[i], &dir), id);
			n++;
		}
		assert_int_equal(n, expected);
		assert_int_equal(session_count(sessions), expected);
		assert_int_equal(session_port_count(sessions, 9), expected);
		session_table_close(sessions);
		assert_int_equal(session_table_open(mem, session_table_file_size(capacity),
					 capacity, 1, 77, &sessions),
			0);
	}
}

static void sessions_race(void **state)
{
	size_t size = session_table_file_size(CAPACITY);
	void *mem = calloc(1, size);
	uint32_t ended = 0, third = 0, calls = 0, id;
	struct worker sum;

	assert_int_equal(session_table_open(mem, size, CAPACITY, 1, 2, &sessions), 0);
	for (uint32_t n = 0; n < STABLE; n++) {
		struct session_desc d = flow(n);

		assert_int_equal(session_insert(sessions, &d, 0, &id), 0);
	}
	start(session_writer, session_reader);
	for (unsigned i = 0; i < ROUNDS; i++) {
		ended += session_remove_if(sessions, in_third, count, &third);
		check_listing();
		third = (third + 1) % 3;
		session_reclaim(sessions);
		grace_period();
	}
	sum = finish();

	assert_int_equal(sum.wrong, 0);
	assert_int_equal(sum.missed, 0);
	assert_true(sum.inserted > CAPACITY * 4); // ids were reused
	check_sessions(mem, CAPACITY, STABLE + sum.inserted - sum.removed - ended);
	session_remove_if(sessions, is_any, count, &calls);
	assert_int_equal(session_count(sessions), 0);
	assert_int_equal(session_port_count(sessions, 9), 0);
	session_table_close(sessions);
	free(mem);
}

// Two threads that want the same two keys, in a table so large that no id is reused.
static void *contending_writer(void *arg)
{
	struct worker *w = arg;

	for (uint32_t i = 0; i < CONTENDED; i++) {
		struct session_desc d = flow(rnd(w, 2));
		enum session_dir dir;
		uint32_t id;

		if (session_insert(sessions, &d, 0, &id) == 0) {
			w->inserted++;
			continue;
		}
		id = session_lookup(sessions, &d.key[0], &dir);
		if (id != SESSION_NONE)
			w->removed += session_remove(sessions, id);
	}
	return NULL;
}

static struct worker contend(void *(*writer)(void *))
{
	struct worker w[2] = { { .random = 5 }, { .random = 5 } };

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&w[i].thread, NULL, writer, &w[i]), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(w[i].thread, NULL), 0);
	w[0].inserted += w[1].inserted;
	w[0].removed += w[1].removed;
	return w[0];
}

static void sessions_contended(void **state)
{
	uint32_t capacity = 2 * CONTENDED;
	void *mem = calloc(1, session_table_file_size(capacity));
	struct worker sum;

	assert_int_equal(session_table_open(
				 mem, session_table_file_size(capacity), capacity, 1, 2, &sessions),
		0);
	sum = contend(contending_writer);
	assert_true(sum.inserted > 2);
	check_sessions(mem, capacity, sum.inserted - sum.removed);
	session_table_close(sessions);
	free(mem);
}

enum { ENDPOINTS = 24, POOL_FIRST = 40000, POOL_LAST = 40063 };

static const struct nat_pool pool = { 0x80000001u, 0x01020304, POOL_FIRST, POOL_LAST };

// Takes a few references, checks that they are its endpoint's as long as it holds them, drops them.
static void *nat_writer(void *arg)
{
	struct worker *w = arg;

	do {
		uint32_t n[8], id[8];

		for (unsigned k = 0; k < 8; k++) {
			n[k] = rnd(w, ENDPOINTS);
			if (nat_map(mappings, &pool, 1, IPPROTO_UDP, htonl(n[k]), 0, SECOND,
				    &id[k]) < 0)
				id[k] = MAPPING_NONE;
		}
		for (unsigned k = 0; k < 8; k++) {
			const struct nat_mapping *m = nat_get(mappings, id[k]);

			if (id[k] == MAPPING_NONE)
				continue;
			w->inserted++;
			w->wrong += m == NULL || m->in_addr != htonl(n[k]) ||
				    nat_lookup_external(mappings, pool.zone, IPPROTO_UDP,
					    pool.address, m->out_port) != id[k];
			nat_unref(mappings, id[k], SECOND);
		}
	} while (burst_end(w));
	return NULL;
}

static void *nat_reader(void *arg)
{
	struct worker *w = arg;

	do {
		uint32_t ids[BURST];
		be16 ports[BURST];

		for (unsigned i = 0; i < BURST; i++) {
			ports[i] =
				htons((uint16_t)(POOL_FIRST + rnd(w, POOL_LAST - POOL_FIRST + 1)));
			ids[i] = nat_lookup_external(
				mappings, pool.zone, IPPROTO_UDP, pool.address, ports[i]);
		}
		sched_yield();
		for (unsigned i = 0; i < BURST; i++) {
			const struct nat_mapping *m = nat_get(mappings, ids[i]);

			// It may have been freed since, but not become another within this burst.
			w->wrong += m != NULL && m->out_port != ports[i];
		}
	} while (burst_end(w));
	return NULL;
}

static void check_ports_apart(void)
{
	bool owned[65536] = {};
	struct nat_mapping m;
	uint32_t cursor = 0, id;

	while (nat_next(mappings, &cursor, &id, &m)) {
		assert_false(owned[ntohs(m.out_port)]);
		owned[ntohs(m.out_port)] = true;
		assert_int_equal(nat_references(mappings, id), 0);
	}
}

static void mappings_race(void **state)
{
	size_t size = nat_table_file_size(CAPACITY);
	void *mem = calloc(1, size);
	uint32_t expired = 0;
	struct worker sum;

	assert_int_equal(nat_table_open(mem, size, CAPACITY, 1, 2, &mappings), 0);
	start(nat_writer, nat_reader);
	for (unsigned i = 0; i < ROUNDS; i++) {
		expired += nat_expire(mappings, SECOND, 0, 64);
		nat_reclaim(mappings);
		grace_period();
	}
	sum = finish();

	assert_int_equal(sum.wrong, 0);
	assert_true(sum.inserted > CAPACITY * 4);
	assert_true(expired > CAPACITY);
	check_ports_apart();
	nat_expire(mappings, SECOND, 0, CAPACITY);
	assert_int_equal(nat_count(mappings), 0);
	nat_table_close(mappings);
	free(mem);
}

static void *contending_nat_writer(void *arg)
{
	struct worker *w = arg;

	for (uint32_t i = 0; i < CONTENDED; i++) {
		uint32_t id, in = rnd(w, 2);

		if (nat_map(mappings, &pool, 1, IPPROTO_UDP, htonl(in), 0, SECOND, &id) == 0)
			nat_unref(mappings, id, SECOND);
	}
	return NULL;
}

static void mappings_contended(void **state)
{
	size_t size = nat_table_file_size(CAPACITY);
	void *mem = calloc(1, size);

	assert_int_equal(nat_table_open(mem, size, CAPACITY, 1, 2, &mappings), 0);
	contend(contending_nat_writer);
	assert_int_equal(nat_count(mappings), 2);
	check_ports_apart();
	assert_int_equal(nat_expire(mappings, SECOND, 0, CAPACITY), 2);
	nat_table_close(mappings);
	free(mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sessions_race),
		cmocka_unit_test(sessions_contended),
		cmocka_unit_test(mappings_race),
		cmocka_unit_test(mappings_contended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
