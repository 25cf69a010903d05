// SPDX-License-Identifier: BSD-3-Clause
// vlan/fdb.c: static and learned entries, limits, ageing, and readers beside writers (the threaded
// tests mean most under TSan). HOSTILE H-37 (MAC flood), where it is pure.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <cmocka.h>
#include "vlan/fdb.c" // for the counters that no interface shows

#define SEC 1000000000ull
#define AGE (300 * SEC)

static struct mac mac_of(uint32_t n)
{
	return (struct mac){ { 0x02, 0, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
		(uint8_t)n } };
}

static int set_static(struct fdb *f, uint32_t segment, uint32_t n, uint32_t port)
{
	struct mac m = mac_of(n);

	return fdb_set_static(f, segment, &m, port);
}

static int del_static(struct fdb *f, uint32_t segment, uint32_t n)
{
	struct mac m = mac_of(n);

	return fdb_del_static(f, segment, &m);
}

static enum fdb_learn_result learn(
	struct fdb *f, uint32_t segment, uint32_t n, uint32_t port, uint32_t limit, uint64_t now)
{
	struct mac m = mac_of(n);

	return fdb_learn(f, segment, &m, port, limit, now, AGE);
}

// The port, or 0 if unknown; port numbers start at 1.
static uint32_t lookup(const struct fdb *f, uint32_t segment, uint32_t n, uint64_t now)
{
	struct mac m = mac_of(n);
	uint32_t port = 0xdead;

	if (!fdb_lookup(f, segment, &m, now, &port)) {
		assert_int_equal(port, 0xdead);
		return 0;
	}
	return port;
}

static struct fdb *table(uint32_t capacity)
{
	struct fdb *f = fdb_new(capacity, 42);

	assert_non_null(f);
	return f;
}

static void static_entries(void **state)
{
	struct fdb *f = table(64);

	assert_int_equal(lookup(f, 1, 7, 0), 0);
	assert_int_equal(set_static(f, 1, 7, 3), 0);
	assert_int_equal(set_static(f, 1, 7, 3), 0); // idempotent
	assert_int_equal(set_static(f, 1, 7, 4), -EEXIST);
	assert_int_equal(lookup(f, 1, 7, UINT64_MAX), 3); // never ages
	assert_int_equal(fdb_count(f), 1);
	assert_int_equal(del_static(f, 1, 7), 0);
	assert_int_equal(del_static(f, 1, 7), -ENOENT);
	assert_int_equal(lookup(f, 1, 7, 0), 0);
	assert_int_equal(fdb_count(f), 0);
	fdb_free(f);
}

// Tenants' MACs may be equal: the segment is part of the key.
static void segments_are_apart(void **state)
{
	struct fdb *f = table(64);

	assert_int_equal(set_static(f, 1, 7, 3), 0);
	assert_int_equal(set_static(f, 2, 7, 4), 0);
	assert_int_equal(learn(f, 0xffffffff, 7, 5, 10, 0), FDB_LEARNED);
	assert_int_equal(lookup(f, 1, 7, 0), 3);
	assert_int_equal(lookup(f, 2, 7, 0), 4);
	assert_int_equal(lookup(f, 0xffffffff, 7, 0), 5);
	assert_int_equal(lookup(f, 3, 7, 0), 0);
	fdb_free(f);
}

static void learning_and_moving(void **state)
{
	struct fdb *f = table(64);

	assert_int_equal(learn(f, 1, 7, 3, 10, 0), FDB_LEARNED);
	assert_int_equal(learn(f, 1, 7, 3, 10, 1), FDB_KNOWN);
	assert_int_equal(learn(f, 1, 7, 4, 10, 2), FDB_MOVED);
	assert_int_equal(lookup(f, 1, 7, 2), 4);
	assert_int_equal(fdb_count(f), 1);
	assert_int_equal(del_static(f, 1, 7), -ENOENT); // not a static entry
	fdb_free(f);
}

static void static_beats_learned(void **state)
{
	struct fdb *f = table(64);

	assert_int_equal(learn(f, 1, 7, 3, 1, 0), FDB_LEARNED);
	assert_int_equal(set_static(f, 1, 7, 9), 0);
	assert_int_equal(lookup(f, 1, 7, 2 * AGE), 9);
	assert_int_equal(learn(f, 1, 7, 3, 1, 0), FDB_STATIC);
	assert_int_equal(learn(f, 1, 7, 9, 0, 0), FDB_KNOWN);
	// The learned entry's place in its port's limit was given back.
	assert_int_equal(learn(f, 1, 8, 3, 1, 0), FDB_LEARNED);
	assert_int_equal(fdb_count(f), 2);
	fdb_free(f);
}

static void ageing(void **state)
{
	struct fdb *f = table(64);

	assert_int_equal(learn(f, 1, 7, 3, 10, 0), FDB_LEARNED);
	assert_int_equal(lookup(f, 1, 7, AGE - 1), 3);
	assert_int_equal(lookup(f, 1, 7, AGE), 0); // expired, though nobody swept yet
	assert_int_equal(fdb_count(f), 1);
	fdb_age(f, AGE - 1, 1000);
	assert_int_equal(fdb_count(f), 1);
	fdb_age(f, AGE, 1000);
	assert_int_equal(fdb_count(f), 0);
	assert_int_equal(set_static(f, 1, 8, 3), 0);
	fdb_age(f, UINT64_MAX, 1000);
	assert_int_equal(fdb_count(f), 1);
	fdb_free(f);
}

static void traffic_refreshes(void **state)
{
	struct fdb *f = table(64);

	assert_int_equal(learn(f, 1, 7, 3, 10, 0), FDB_LEARNED);
	for (uint64_t t = 0; t < 10 * AGE; t += 10 * SEC)
		assert_int_equal(learn(f, 1, 7, 3, 10, t), FDB_KNOWN);
	// A refresh may be up to one second coarse, no more.
	assert_int_equal(lookup(f, 1, 7, 11 * AGE - 12 * SEC), 3);
	assert_int_equal(learn(f, 1, 7, 3, 10, 20 * AGE), FDB_LEARNED); // it had expired
	assert_int_equal(learn(f, 1, 7, 4, 10, 40 * AGE), FDB_LEARNED); // elsewhere, after expiry
	assert_int_equal(lookup(f, 1, 7, 40 * AGE), 4);
	assert_int_equal(fdb_count(f), 1);
	fdb_free(f);
}

// Another worker's clock may be behind: an entry's life is never shortened, nor does it wrap.
static void odd_clocks(void **state)
{
	struct fdb *f = table(64);
	struct mac m = mac_of(7);

	assert_int_equal(learn(f, 1, 7, 3, 10, AGE), FDB_LEARNED);
	assert_int_equal(learn(f, 1, 7, 3, 10, 0), FDB_KNOWN);
	assert_int_equal(lookup(f, 1, 7, 2 * AGE - 1), 3);
	m = mac_of(8);
	assert_int_equal(fdb_learn(f, 1, &m, 3, 10, SEC, UINT64_MAX), FDB_LEARNED);
	assert_int_equal(lookup(f, 1, 8, UINT64_MAX - 1), 3);
	fdb_free(f);
}

static void ageing_keeps_its_budget(void **state)
{
	struct fdb *f = table(1024);
	unsigned calls = 0;

	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(learn(f, 1, i, 3, 1000, 0), FDB_LEARNED);
	fdb_age(f, AGE, 0);
	assert_int_equal(fdb_count(f), 500);
	while (fdb_count(f) > 0) {
		uint32_t before = fdb_count(f);

		fdb_age(f, AGE, 10);
		assert_true(before - fdb_count(f) <= 10);
		assert_true(++calls <= 128); // 1280 slots in steps of 10
	}
	fdb_free(f);
}

static void limit_per_port(void **state)
{
	struct fdb *f = table(64);

	assert_int_equal(learn(f, 1, 1, 3, 2, 0), FDB_LEARNED);
	assert_int_equal(learn(f, 1, 2, 3, 2, 0), FDB_LEARNED);
	assert_int_equal(learn(f, 1, 3, 3, 2, 0), FDB_LIMIT);
	assert_int_equal(lookup(f, 1, 3, 0), 0);
	assert_int_equal(learn(f, 1, 1, 3, 2, 0), FDB_KNOWN);
	assert_int_equal(learn(f, 1, 3, 4, 2, 0), FDB_LEARNED); // another port's limit is its own
	// A port at its limit cannot draw another's address to itself either.
	assert_int_equal(learn(f, 1, 3, 3, 2, 0), FDB_LIMIT);
	assert_int_equal(lookup(f, 1, 3, 0), 4);
	// Moved away, aged out and flushed entries give their place back.
	assert_int_equal(learn(f, 1, 1, 4, 2, 0), FDB_MOVED);
	assert_int_equal(learn(f, 1, 5, 3, 2, 0), FDB_LEARNED);
	assert_int_equal(learn(f, 1, 6, 3, 2, 0), FDB_LIMIT);
	fdb_age(f, AGE, 1000);
	assert_int_equal(learn(f, 1, 6, 3, 2, AGE), FDB_LEARNED);
	assert_int_equal(learn(f, 1, 7, 3, 2, AGE), FDB_LEARNED);
	fdb_flush_port(f, 3);
	assert_int_equal(learn(f, 1, 8, 3, 2, AGE), FDB_LEARNED);
	fdb_free(f);
}

static void no_limit_no_learning(void **state)
{
	struct fdb *f = table(64);

	assert_int_equal(learn(f, 1, 1, 3, 0, 0), FDB_LIMIT);
	assert_int_equal(learn(f, 1, 1, 65536, 10, 0), FDB_LIMIT);
	assert_int_equal(learn(f, 1, 1, UINT32_MAX, 10, 0), FDB_LIMIT);
	assert_int_equal(learn(f, 1, 1, 65535, 10, 0), FDB_LEARNED);
	assert_int_equal(set_static(f, 1, 2, UINT32_MAX), 0);
	assert_int_equal(lookup(f, 1, 2, 0), UINT32_MAX);
	fdb_free(f);
}

static void flush_takes_static_and_learned(void **state)
{
	struct fdb *f = table(256);

	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(learn(f, i % 3, i, 1 + i % 2, 100, 0), FDB_LEARNED);
	for (uint32_t i = 100; i < 150; i++)
		assert_int_equal(set_static(f, i % 3, i, 1 + i % 2), 0);
	fdb_flush_port(f, 2);
	assert_int_equal(fdb_count(f), 75);
	for (uint32_t i = 0; i < 150; i++)
		assert_int_equal(lookup(f, i % 3, i, 0), i % 2 == 0 ? 1 : 0);
	fdb_free(f);
}

// A flood fills the table to its capacity, no further; every entry is found, whatever seed.
static void full_table(void **state)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct fdb *f = fdb_new(1000, seed);

		assert_non_null(f);
		for (uint32_t i = 0; i < 1024; i++)
			assert_int_equal(learn(f, 1, i, 3, UINT32_MAX, 0), FDB_LEARNED);
		assert_int_equal(learn(f, 1, 5000, 3, UINT32_MAX, 0), FDB_FULL);
		for (uint32_t i = 0; i < 1024; i++)
			assert_int_equal(lookup(f, 1, i, 0), 3);
		assert_int_equal(lookup(f, 1, 5000, 0), 0);
		fdb_free(f);
	}
}

// Learning cannot keep the configuration out.
static void static_evicts_learned_when_full(void **state)
{
	struct fdb *f = table(64);

	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(learn(f, 1, i, 3, 64, 0), FDB_LEARNED);
	for (uint32_t i = 100; i < 164; i++) {
		assert_int_equal(set_static(f, 1, i, 4), 0);
		assert_int_equal(fdb_count(f), 64);
	}
	for (uint32_t i = 100; i < 164; i++)
		assert_int_equal(lookup(f, 1, i, 0), 4);
	assert_int_equal(set_static(f, 1, 200, 4), -ENOSPC);
	assert_int_equal(learn(f, 1, 200, 3, 64, 0), FDB_FULL);
	fdb_free(f);
}

// Searches stay short after a flood: no bucket still says that entries passed it.
static void deletion_leaves_no_trace(void **state)
{
	struct fdb *f = table(256);
	bool overflowed = false;

	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 128; i++)
			assert_int_equal(learn(f, 1, i, 3, 256, 0), FDB_LEARNED);
		for (uint32_t i = 128; i < 256; i++)
			assert_int_equal(set_static(f, 1, i, 4), 0);
		for (uint32_t b = 0; b <= f->bucket_mask; b++)
			overflowed |= f->buckets[b].passed > 0;
		fdb_age(f, AGE, 10000);
		for (uint32_t i = 128; i < 192; i++)
			assert_int_equal(del_static(f, 1, i), 0);
		fdb_flush_port(f, 4);
		for (uint32_t b = 0; b <= f->bucket_mask; b++)
			assert_int_equal(f->buckets[b].passed, 0);
	}
	assert_true(overflowed);
	for (uint32_t port = 0; port <= PORT_MAX; port++)
		assert_int_equal(f->learned[port], 0);
	fdb_free(f);
}

static void tiny_and_huge(void **state)
{
	struct fdb *f = table(0);

	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(set_static(f, 1, i, i + 1), 0);
	assert_int_equal(set_static(f, 1, 9, 1), -ENOSPC);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(lookup(f, 1, i, 0), i + 1);
	assert_int_equal(lookup(f, 1, 9, 0), 0);
	fdb_free(f);
	fdb_free(NULL);
	assert_null(fdb_new(UINT32_MAX, 1));
}

// Random operations against a plain array that does the same.
static void agrees_with_a_model(void **state)
{
	enum { KEYS = 200, PORTS = 4, LIMIT = 30 };
	struct {
		bool used, is_static;
		uint32_t port;
	} model[KEYS] = { 0 };
	uint32_t learned[PORTS + 1] = { 0 }, count = 0;
	struct fdb *f = table(256);
	uint64_t x = 7;

	for (unsigned step = 0; step < 200000; step++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		uint32_t k = (uint32_t)(x >> 33) % KEYS, port = 1 + (uint32_t)(x >> 45) % PORTS;
		unsigned op = (unsigned)(x >> 55) % 100;

		if (op < 60) {
			enum fdb_learn_result want;

			if (model[k].used && model[k].is_static)
				want = model[k].port == port ? FDB_KNOWN : FDB_STATIC;
			else if (model[k].used && model[k].port == port)
				want = FDB_KNOWN;
			else if (learned[port] >= LIMIT)
				want = FDB_LIMIT;
			else
				want = model[k].used ? FDB_MOVED : FDB_LEARNED;
			assert_int_equal(learn(f, k % 3, k, port, LIMIT, 0), want);
			if (want == FDB_MOVED)
				learned[model[k].port]--;
			if (want == FDB_MOVED || want == FDB_LEARNED) {
				count += !model[k].used;
				learned[port]++;
				model[k].used = true;
				model[k].is_static = false;
				model[k].port = port;
			}
		} else if (op < 75) {
			bool clash = model[k].used && model[k].is_static && model[k].port != port;

			assert_int_equal(set_static(f, k % 3, k, port), clash ? -EEXIST : 0);
			if (!clash) {
				if (model[k].used && !model[k].is_static)
					learned[model[k].port]--;
				count += !model[k].used;
				model[k].used = model[k].is_static = true;
				model[k].port = port;
			}
		} else if (op < 99) {
			bool there = model[k].used && model[k].is_static;

			assert_int_equal(del_static(f, k % 3, k), there ? 0 : -ENOENT);
			count -= there;
			model[k].used = model[k].used && !there;
		} else {
			fdb_flush_port(f, port);
			for (unsigned i = 0; i < KEYS; i++) {
				count -= model[i].used && model[i].port == port;
				model[i].used = model[i].used && model[i].port != port;
			}
			learned[port] = 0;
		}
		assert_int_equal(fdb_count(f), count);
		k = (k * 7 + 1) % KEYS;
		assert_int_equal(lookup(f, k % 3, k, 0), model[k].used ? model[k].port : 0);
	}
	fdb_free(f);
}

// ---- threads ----

enum {
	STABLE = 64, // static entries that never change: MACs 0..63 on port 1000 + MAC
	CHURN = 64, // MACs 1000..1063, whose port always tells the MAC
	ROUNDS = 3000,
#ifdef __SANITIZE_THREAD__
	TURNS = 200000, // TSan sees a missing order without luck
#else
	TURNS = 4000000,
#endif
};

struct shared {
	struct fdb *f;
	pthread_barrier_t start;
	_Atomic bool stop;
	_Atomic unsigned bad;
	_Atomic uint64_t looks;
};

// A churning MAC lives on one of two ports of its own; a mixture of two entries would show.
static bool port_fits(uint32_t n, uint32_t port)
{
	return port == 2 * n || port == 2 * n + 1;
}

static void *reader(void *arg)
{
	struct shared *s = arg;
	uint64_t looks = 0;

	pthread_barrier_wait(&s->start);
	while (!atomic_load(&s->stop)) {
		for (uint32_t i = 0; i < STABLE; i++)
			s->bad += lookup(s->f, 1, i, 0) != 1000 + i;
		for (uint32_t i = 1000; i < 1000 + CHURN; i++) {
			uint32_t port = lookup(s->f, 1, i, 0);
			s->bad += port != 0 && !port_fits(i, port);
		}
		looks++;
	}
	s->looks += looks;
	return NULL;
}

static void *learner(void *arg)
{
	struct shared *s = arg;

	pthread_barrier_wait(&s->start);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (uint32_t i = 1000; i < 1000 + CHURN; i++) {
			// FDB_LIMIT is right when the other learner was first at this port.
			enum fdb_learn_result r = learn(s->f, 1, i, 2 * i + round % 2, 1, 0);
			s->bad += r == FDB_STATIC || r == FDB_FULL;
		}
	}
	return NULL;
}

static void *flusher(void *arg)
{
	struct shared *s = arg;

	pthread_barrier_wait(&s->start);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		fdb_flush_port(s->f, 2 * (1000 + round % CHURN) + round % 2);
		fdb_age(s->f, 0, 50);
	}
	return NULL;
}

static void readers_beside_writers(void **state)
{
	void *(*const roles[])(void *) = { reader, reader, learner, learner, flusher };
	enum { N = sizeof(roles) / sizeof(roles[0]) };
	// Small, so that buckets overflow into each other.
	struct shared s = { .f = fdb_new(128, 3) };
	pthread_t threads[N];

	assert_non_null(s.f);
	pthread_barrier_init(&s.start, NULL, N);
	for (uint32_t i = 0; i < STABLE; i++)
		assert_int_equal(set_static(s.f, 1, i, 1000 + i), 0);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, roles[i], &s), 0);
	for (unsigned i = 2; i < N; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&s.stop, true);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	pthread_barrier_destroy(&s.start);

	assert_int_equal(s.bad, 0);
	assert_true(s.looks > 0);
	// All that churned can be flushed: no counter of the table was lost on the way.
	for (uint32_t i = 1000; i < 1000 + CHURN; i++) {
		fdb_flush_port(s.f, 2 * i);
		fdb_flush_port(s.f, 2 * i + 1);
		assert_int_equal(learn(s.f, 1, i, 2 * i, 1, 0), FDB_LEARNED);
	}
	assert_int_equal(fdb_count(s.f), STABLE + CHURN);
	fdb_free(s.f);
}

// Two addresses take turns in one slot, as fast as a writer can; readers look for both.
struct turns {
	struct fdb *f;
	_Atomic bool stop;
	_Atomic unsigned bad;
	_Atomic unsigned readers; // that have begun
};

static void *turns_reader(void *arg)
{
	struct turns *t = arg;

	t->readers++;
	while (!atomic_load_explicit(&t->stop, memory_order_relaxed)) {
		for (uint32_t n = 1; n <= 2; n++) {
			uint32_t port = lookup(t->f, 1, n, 0);
			if (port != 0 && port != n)
				t->bad++;
		}
	}
	return NULL;
}

static void a_reused_slot_is_never_mixed(void **state)
{
	struct turns t = { .f = table(4) }; // one bucket
	pthread_t readers[2];

	// Fill two slots: the third one lies across two cache lines, where words arrive apart.
	assert_int_equal(set_static(t.f, 1, 10, 10), 0);
	assert_int_equal(set_static(t.f, 1, 11, 11), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, turns_reader, &t), 0);
	while (t.readers < 2)
		sched_yield();
	for (unsigned i = 0; i < TURNS; i++) {
		assert_int_equal(set_static(t.f, 1, 1 + i % 2, 1 + i % 2), 0);
		assert_int_equal(del_static(t.f, 1, 1 + i % 2), 0);
	}
	atomic_store(&t.stop, true);
	pthread_join(readers[0], NULL);
	pthread_join(readers[1], NULL);
	assert_int_equal(t.bad, 0);
	fdb_free(t.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(static_entries),
		cmocka_unit_test(segments_are_apart),
		cmocka_unit_test(learning_and_moving),
		cmocka_unit_test(static_beats_learned),
		cmocka_unit_test(ageing),
		cmocka_unit_test(traffic_refreshes),
		cmocka_unit_test(odd_clocks),
		cmocka_unit_test(ageing_keeps_its_budget),
		cmocka_unit_test(limit_per_port),
		cmocka_unit_test(no_limit_no_learning),
		cmocka_unit_test(flush_takes_static_and_learned),
		cmocka_unit_test(full_table),
		cmocka_unit_test(static_evicts_learned_when_full),
		cmocka_unit_test(deletion_leaves_no_trace),
		cmocka_unit_test(tiny_and_huge),
		cmocka_unit_test(agrees_with_a_model),
		cmocka_unit_test(readers_beside_writers),
		cmocka_unit_test(a_reused_slot_is_never_mixed),
	};

	return cmocka_run_group_tests_name("H-37 fdb", tests, NULL, NULL);
}
