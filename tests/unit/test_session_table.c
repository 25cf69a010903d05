// SPDX-License-Identifier: BSD-3-Clause
// The session table on one thread: insert, lookup, removal, grace period, state machine, expiry,
// quotas, and that a new process finds in the file exactly what the last one left.
#include "tests/unit/session_bulk.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

enum { BOOT = 7, SEED = 99, SECOND = 1000000000 };

struct table {
	void *mem;
	size_t size;
	uint32_t capacity;
	struct session_table *t;
};

static struct table table_new(uint32_t capacity)
{
	struct table x = { .size = session_table_file_size(capacity), .capacity = capacity };

	x.mem = mmap(NULL, x.size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(x.mem, MAP_FAILED);
	assert_int_equal(session_table_open(x.mem, x.size, capacity, BOOT, SEED, &x.t), 0);
	return x;
}

// As a new process would: nothing but the memory is left.
static void table_reopen(struct table *x, uint64_t seed)
{
	session_table_close(x->t);
	assert_int_equal(session_table_open(x->mem, x->size, x->capacity, BOOT, seed, &x->t), 0);
}

static void table_free(struct table *x)
{
	session_table_close(x->t);
	munmap(x->mem, x->size);
}

static struct session_desc flow(uint32_t n, uint8_t proto)
{
	struct session_key k = {
		.zone = 1 + n % 3,
		.src = htonl(0x0a000000u + n),
		.dst = htonl(0xc0000201u),
		.src_port = htons((uint16_t)(1024 + n % 60000)),
		.dst_port = htons(443),
		.proto = proto,
	};
	struct session_key back = {
		.zone = 0x80000001u,
		.src = k.dst,
		.dst = htonl(0xcb007100u + n),
		.src_port = k.dst_port,
		.dst_port = k.src_port,
		.proto = proto,
	};

	return (struct session_desc){
		.key = { k, back },
		.nexthop = { 10, 20 },
		.mapping = 5,
		.src_port = 1 + n % 50,
		.dst_port = 60,
		.flags = SESSION_F_SNAT,
	};
}

static uint32_t must_insert(struct table *x, uint32_t n, uint8_t proto, uint64_t now_ns)
{
	struct session_desc d = flow(n, proto);
	uint32_t id = SESSION_NONE;

	assert_int_equal(session_insert(x->t, &d, now_ns, &id), 0);
	assert_int_not_equal(id, SESSION_NONE);
	return id;
}

static void assert_found(struct table *x, uint32_t n, uint8_t proto, uint32_t id)
{
	struct session_desc d = flow(n, proto);

	for (unsigned i = 0; i < 2; i++) {
		enum session_dir dir = SESSION_FORWARD;

		assert_int_equal(session_lookup(x->t, &d.key[i], &dir), id);
		if (id != SESSION_NONE)
			assert_int_equal(dir, i);
	}
}

static void insert_lookup_remove(void **state)
{
	struct table x = table_new(64);
	struct session_desc d = flow(1, IPPROTO_UDP);
	uint32_t id = must_insert(&x, 1, IPPROTO_UDP, 5 * (uint64_t)SECOND), again = 0;

	assert_found(&x, 1, IPPROTO_UDP, id);
	assert_found(&x, 1, IPPROTO_TCP, SESSION_NONE);
	assert_found(&x, 2, IPPROTO_UDP, SESSION_NONE);
	assert_int_equal(session_insert(x.t, &d, 0, &again), -EEXIST);
	assert_int_equal(again, id);
	// One direction in common is enough.
	d.key[0].src_port = htons(9);
	again = 77;
	assert_int_equal(session_insert(x.t, &d, 0, &again), -EEXIST);
	assert_int_equal(again, id);
	assert_int_equal(session_count(x.t), 1);
	assert_int_equal(session_get(x.t, id)->last_s, 5);
	assert_int_equal(session_get(x.t, id)->d.mapping, 5);
	assert_null(session_get(x.t, 64));

	assert_true(session_remove(x.t, id));
	assert_false(session_remove(x.t, id));
	assert_false(session_remove(x.t, SESSION_NONE));
	assert_found(&x, 1, IPPROTO_UDP, SESSION_NONE);
	assert_int_equal(session_count(x.t), 0);
	table_free(&x);
}

static void same_key_both_ways(void **state)
{
	struct table x = table_new(64);
	struct session_desc d = flow(1, IPPROTO_UDP);
	enum session_dir dir = SESSION_REVERSE;
	uint32_t id;

	d.key[1] = d.key[0];
	assert_int_equal(session_insert(x.t, &d, 0, &id), 0);
	assert_int_equal(session_lookup(x.t, &d.key[0], &dir), id);
	assert_int_equal(dir, SESSION_FORWARD);
	table_reopen(&x, 3);
	assert_int_equal(session_lookup(x.t, &d.key[0], &dir), id);
	assert_true(session_remove(x.t, id));
	assert_int_equal(session_lookup(x.t, &d.key[0], &dir), SESSION_NONE);
	assert_int_equal(session_insert(x.t, &d, 0, &id), 0);
	table_free(&x);
}

static void full_and_grace(void **state)
{
	struct table x = table_new(16);
	struct session_desc d = flow(99, IPPROTO_UDP);
	uint32_t id[16], other = 1234;

	for (uint32_t i = 0; i < 16; i++)
		id[i] = must_insert(&x, i, IPPROTO_UDP, 0);
	assert_int_equal(session_insert(x.t, &d, 0, &other), -ENOSPC);
	assert_int_equal(other, 1234);
	assert_int_equal(session_count(x.t), 16);
	assert_int_equal(session_port_count(x.t, 60), 16);

	// Removed is not reusable: a worker may hold the id until two reclaims later.
	assert_true(session_remove(x.t, id[3]));
	assert_int_equal(session_insert(x.t, &d, 0, &other), -ENOSPC);
	assert_true(session_reclaim(x.t));
	assert_int_equal(session_insert(x.t, &d, 0, &other), -ENOSPC);
	assert_int_equal(session_get(x.t, id[3])->d.key[0].src, flow(3, 0).key[0].src);
	assert_false(session_reclaim(x.t));
	assert_int_equal(session_insert(x.t, &d, 0, &other), 0);
	assert_int_equal(other, id[3]);
	assert_found(&x, 3, IPPROTO_UDP, SESSION_NONE);
	assert_found(&x, 99, IPPROTO_UDP, other);
	table_free(&x);
}

static void port_quota(void **state)
{
	struct table x = table_new(64);
	struct session_desc a = flow(1, IPPROTO_UDP), b = flow(51, IPPROTO_UDP);
	struct session_desc c = flow(101, IPPROTO_UDP), other = flow(2, IPPROTO_UDP);
	uint32_t id, id_a;

	assert_int_equal(a.src_port, c.src_port);
	session_set_port_quota(x.t, 2);
	assert_int_equal(session_insert(x.t, &a, 0, &id_a), 0);
	assert_int_equal(session_insert(x.t, &b, 0, &id), 0);
	assert_int_equal(session_insert(x.t, &c, 0, &id), -EDQUOT);
	assert_int_equal(session_insert(x.t, &other, 0, &id), 0);
	assert_int_equal(session_port_count(x.t, a.src_port), 2);
	assert_int_equal(session_port_count(x.t, 60), 3);
	assert_true(session_remove(x.t, id_a));
	assert_int_equal(session_insert(x.t, &c, 0, &id), 0);
	// Counted again from the file.
	table_reopen(&x, 8);
	session_set_port_quota(x.t, 2);
	assert_int_equal(session_insert(x.t, &a, 0, &id), -EDQUOT);
	assert_int_equal(session_port_count(x.t, a.src_port), 2);
	a.src_port = 65536;
	assert_int_equal(session_insert(x.t, &a, 0, &id), -EINVAL);
	assert_int_equal(session_port_count(x.t, 65536), 0);
	table_free(&x);
}

static void many_and_bulk(void **state)
{
	enum { N = 5000 };
	struct table x = table_new(N);
	static uint32_t id[N];

	for (uint32_t i = 0; i < N; i++)
		id[i] = must_insert(&x, i, IPPROTO_TCP, 0);
	for (uint32_t i = 0; i < N; i += 3)
		assert_true(session_remove(x.t, id[i]));
	for (uint32_t first = 0; first < N; first += 50) {
		struct session_desc d[50];
		struct session_key keys[50];
		struct session_found found[50];

		for (uint32_t i = 0; i < 50; i++) {
			d[i] = flow(first + i, IPPROTO_TCP);
			keys[i] = d[i].key[i & 1];
		}
		session_lookup_bulk(x.t, keys, 50, found);
		for (uint32_t i = 0; i < 50; i++) {
			if ((first + i) % 3 == 0) {
				assert_null(found[i].record);
			} else {
				assert_int_equal(found[i].id, id[first + i]);
				assert_int_equal(found[i].dir, i & 1);
				assert_ptr_equal(found[i].record, session_get(x.t, found[i].id));
			}
		}
	}
	table_free(&x);
}

// Fills and empties the whole table over and over: nothing may leak, neither ids nor index buckets.
static void churn_leaks_nothing(void **state)
{
	enum { N = 512, ROUNDS = 200 };
	struct table x = table_new(N);
	uint32_t id[N];

	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (uint32_t i = 0; i < N; i++)
			id[i] = must_insert(&x, round * N + i, IPPROTO_UDP, 0);
		for (uint32_t i = 0; i < N; i++) {
			assert_found(&x, round * N + i, IPPROTO_UDP, id[i]);
			assert_true(session_remove(x.t, id[i]));
		}
		while (session_reclaim(x.t))
			;
	}
	assert_int_equal(session_count(x.t), 0);
	table_free(&x);
}

static void reopen_finds_all(void **state)
{
	enum { N = 1000 };
	struct table x = table_new(N);
	uint32_t id[N], cursor = 0, seen = 0, other;
	struct session_record copy;
	struct session_desc d = flow(N, IPPROTO_UDP);

	for (uint32_t i = 0; i < N; i++)
		id[i] = must_insert(&x, i, IPPROTO_UDP, i * (uint64_t)SECOND);
	for (uint32_t i = 1; i < N; i += 2)
		assert_true(session_remove(x.t, id[i]));
	session_touch(session_get(x.t, id[10]), SESSION_REVERSE, 0, 100, 5000);
	table_reopen(&x, 12345);

	assert_int_equal(session_count(x.t), N / 2);
	for (uint32_t i = 0; i < N; i++)
		assert_found(&x, i, IPPROTO_UDP, i % 2 == 0 ? id[i] : SESSION_NONE);
	assert_int_equal(session_get(x.t, id[10])->packets[SESSION_REVERSE], 1);
	assert_int_equal(session_get(x.t, id[10])->bytes[SESSION_REVERSE], 100);
	assert_int_equal(session_get(x.t, id[10])->last_s, 5000);
	while (session_next(x.t, &cursor, UINT32_MAX, &other, &copy)) {
		assert_int_equal(copy.d.key[0].src, session_get(x.t, other)->d.key[0].src);
		seen++;
	}
	assert_int_equal(seen, N / 2);
	// Every free record is usable at once: nobody of the old process holds an id.
	for (uint32_t i = 0; i < N / 2; i++)
		must_insert(&x, N + i, IPPROTO_TCP, 0);
	assert_int_equal(session_insert(x.t, &d, 0, &other), -ENOSPC);
	table_free(&x);
}

static void header_is_checked(void **state)
{
	struct table x = table_new(64);
	struct session_table *t = NULL;
	uint32_t id = must_insert(&x, 1, IPPROTO_UDP, 0);

	for (uint32_t i = 2; i < 40; i++)
		must_insert(&x, i, IPPROTO_UDP, 0);
	session_table_close(x.t);
	assert_int_equal(session_table_open(x.mem, x.size, 64, BOOT + 1, SEED, &t), -EINVAL);
	assert_int_equal(session_table_open(x.mem, x.size - 1, 64, BOOT, SEED, &t), -EINVAL);
	assert_int_equal(session_table_open(x.mem, x.size, 0, BOOT, SEED, &t), -EINVAL);
	// Smaller is fine while all used records fit, and larger again.
	// (when not: test_session_shrink.c). Records beyond the memory are nobody's.
	assert_int_equal(session_table_open(x.mem, session_table_file_size(38), 38, BOOT, SEED, &t),
		-EINVAL);
	assert_int_equal(session_table_open(x.mem, x.size, 39, BOOT, SEED, &t), 0);
	session_table_close(t);
	*(uint64_t *)x.mem ^= 1;
	assert_int_equal(session_table_open(x.mem, x.size, 64, BOOT, SEED, &x.t), -EINVAL);
	*(uint64_t *)x.mem ^= 1;
	assert_int_equal(session_table_open(x.mem, x.size, 64, BOOT, SEED, &x.t), 0);
	assert_found(&x, 1, IPPROTO_UDP, id);
	table_free(&x);
}

static void damaged_records_stay_out(void **state)
{
	struct table x = table_new(64);
	uint32_t a = must_insert(&x, 1, IPPROTO_UDP, 0), b = must_insert(&x, 2, IPPROTO_UDP, 0);
	uint32_t c = must_insert(&x, 3, IPPROTO_UDP, 0), d = must_insert(&x, 4, IPPROTO_UDP, 0);

	session_get(x.t, a)->d.src_port = 1u << 20;
	session_get(x.t, b)->state = 200;
	session_get(x.t, c)->commit = UINT64_MAX;
	session_get(x.t, a)->d.key[0].src = 0;
	table_reopen(&x, 4);
	assert_int_equal(session_count(x.t), 1);
	assert_found(&x, 4, IPPROTO_UDP, d);
	assert_found(&x, 2, IPPROTO_UDP, SESSION_NONE);
	// Two records with one key: the first stays.
	b = must_insert(&x, 5, IPPROTO_UDP, 0);
	session_get(x.t, b)->d.key[0] = session_get(x.t, d)->d.key[0];
	table_reopen(&x, 4);
	assert_int_equal(session_count(x.t), 1);
	table_free(&x);
}

struct step {
	enum session_dir dir;
	uint8_t flags;
	enum session_state then;
};

#define F SESSION_FORWARD
#define R SESSION_REVERSE

static void run_steps(uint8_t proto, const struct step *steps, size_t n)
{
	struct table x = table_new(64);
	uint32_t id = must_insert(&x, 1, proto, 0);

	assert_int_equal(session_state_of(session_get(x.t, id)), SESSION_NEW);
	for (size_t i = 0; i < n; i++) {
		session_touch(session_get(x.t, id), steps[i].dir, steps[i].flags, 60, 0);
		assert_int_equal(session_state_of(session_get(x.t, id)), steps[i].then);
	}
	table_free(&x);
}

#define RUN(proto, ...) \
	do { \
		const struct step steps[] = { __VA_ARGS__ }; \
		run_steps(proto, steps, sizeof(steps) / sizeof(steps[0])); \
	} while (0)

static void tcp_states(void **state)
{
	enum { S = TCP_SYN, A = TCP_ACK, FI = TCP_FIN, RS = TCP_RST, P = TCP_PSH };

	// Handshake, data, both close; then the same tuple again.
	RUN(IPPROTO_TCP, { F, S, SESSION_NEW }, { F, S, SESSION_NEW }, { R, S | A, SESSION_NEW },
		{ F, A, SESSION_ESTABLISHED }, { R, P | A, SESSION_ESTABLISHED },
		{ R, FI | A, SESSION_CLOSING }, { F, P | A, SESSION_CLOSING },
		{ F, FI | A, SESSION_CLOSED }, { R, A, SESSION_CLOSED }, { R, S, SESSION_CLOSED },
		{ F, S | A, SESSION_CLOSED }, { F, S, SESSION_NEW }, { R, S | A, SESSION_NEW },
		{ F, A, SESSION_ESTABLISHED });
	// The responder alone cannot establish it; an RST ends it in every state.
	RUN(IPPROTO_TCP, { F, S, SESSION_NEW }, { R, S | A, SESSION_NEW },
		{ R, S | A, SESSION_NEW }, { R, RS | A, SESSION_CLOSED }, { R, A, SESSION_CLOSED });
	RUN(IPPROTO_TCP, { F, A, SESSION_NEW }, { R, A, SESSION_ESTABLISHED },
		{ F, RS, SESSION_CLOSED }, { F, S, SESSION_NEW }, { F, RS, SESSION_CLOSED });
	// Simultaneous open.
	RUN(IPPROTO_TCP, { F, S, SESSION_NEW }, { R, S, SESSION_NEW }, { F, S | A, SESSION_NEW },
		{ R, S | A, SESSION_ESTABLISHED });
	// Picked up in its middle, from either side, and half closed before that.
	RUN(IPPROTO_TCP, { F, P | A, SESSION_NEW }, { R, A, SESSION_ESTABLISHED });
	RUN(IPPROTO_TCP, { F, FI | A, SESSION_CLOSING }, { R, A, SESSION_CLOSING },
		{ R, FI | A, SESSION_CLOSED });
}

static void other_states(void **state)
{
	RUN(IPPROTO_UDP, { F, 0, SESSION_NEW }, { F, 0, SESSION_NEW },
		{ R, 0, SESSION_ESTABLISHED }, { F, TCP_RST, SESSION_ESTABLISHED });
	RUN(IPPROTO_ICMP, { F, 0, SESSION_NEW }, { R, 0, SESSION_ESTABLISHED });
}

static void count_removed(void *arg, const struct session_record *r)
{
	assert_int_equal(r->d.mapping, 5); // still readable
	(*(uint32_t *)arg)++;
}

static void expiry(void **state)
{
	const struct session_timeouts *to = &session_timeouts_default;
	struct table x = table_new(64);
	uint32_t udp_new = must_insert(&x, 1, IPPROTO_UDP, 0), n = 0;
	uint32_t udp = must_insert(&x, 2, IPPROTO_UDP, 0);
	uint32_t tcp_new = must_insert(&x, 3, IPPROTO_TCP, 0);
	uint32_t tcp = must_insert(&x, 4, IPPROTO_TCP, 0);
	uint32_t icmp = must_insert(&x, 5, IPPROTO_ICMP, 0);
	uint32_t closing = must_insert(&x, 6, IPPROTO_TCP, 0);
	uint32_t closed = must_insert(&x, 7, IPPROTO_TCP, 0);
	uint32_t other = must_insert(&x, 8, IPPROTO_GRE, 0);

	for (unsigned dir = 0; dir < 2; dir++) {
		session_touch(session_get(x.t, udp), (enum session_dir)dir, 0, 1, 0);
		session_touch(session_get(x.t, tcp), (enum session_dir)dir, TCP_ACK, 1, 0);
		session_touch(session_get(x.t, closed), (enum session_dir)dir, TCP_FIN, 1, 0);
	}
	session_touch(session_get(x.t, closing), SESSION_FORWARD, TCP_FIN, 1, 0);
	assert_true(to->udp_new >= 120 && to->udp_established >= 120); // RFC 4787 REQ-5
	assert_true(to->tcp_established >= 7440 && to->tcp_closed >= 240); // RFC 5382 REQ-5
	assert_true(to->icmp >= 60); // RFC 5508 REQ-2

	struct {
		uint32_t at_s, n, ids[3];
	} ends[] = { { 60, 1, { icmp } }, { 120, 1, { udp_new } },
		{ 240, 3, { tcp_new, closing, closed } }, { 300, 1, { udp } },
		{ 600, 1, { other } }, { 7440, 1, { tcp } } };
	for (unsigned i = 0, total = 0; i < 6; i++) {
		uint64_t at_ns = ends[i].at_s * (uint64_t)SECOND;

		assert_int_equal(session_expire(x.t, to, at_ns - 1, 64, count_removed, &n), 0);
		assert_int_equal(session_expire(x.t, to, at_ns, 64, count_removed, &n), ends[i].n);
		for (unsigned k = 0; k < ends[i].n; k++)
			assert_int_equal(session_get(x.t, ends[i].ids[k])->commit, 0);
		total += ends[i].n;
		assert_int_equal(n, total);
	}
	assert_int_equal(session_count(x.t), 0);
	table_free(&x);
}

static void expiry_budget_and_clock(void **state)
{
	struct table x = table_new(64);

	for (uint32_t i = 0; i < 10; i++)
		must_insert(&x, i, IPPROTO_ICMP, 100 * (uint64_t)SECOND);
	// A worker's clock may be ahead of the caller's.
	assert_int_equal(session_expire(x.t, &session_timeouts_default, 99 * (uint64_t)SECOND, 64,
				 NULL, NULL),
		0);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(session_expire(x.t, &session_timeouts_default,
					 160 * (uint64_t)SECOND, 2, NULL, NULL),
			2);
	assert_int_equal(session_count(x.t), 0);
	table_free(&x);
}

static bool from_port(void *arg, const struct session_record *r)
{
	return r->d.src_port == *(const uint32_t *)arg;
}

static void remove_if_and_revise(void **state)
{
	struct table x = table_new(256);
	const uint32_t nexthop[2] = { 3, 4 }, revision[2] = { 8, 9 };
	uint32_t port = 7, id = SESSION_NONE;

	for (uint32_t i = 0; i < 200; i++)
		id = must_insert(&x, i, IPPROTO_UDP, 0);
	assert_int_equal(session_remove_if(x.t, from_port, NULL, &port), 4);
	assert_int_equal(session_remove_if(x.t, from_port, NULL, &port), 0);
	assert_int_equal(session_count(x.t), 196);
	assert_int_equal(session_port_count(x.t, port), 0);
	session_revise(x.t, id, nexthop, revision);
	assert_memory_equal(session_get(x.t, id)->d.nexthop, nexthop, sizeof(nexthop));
	assert_memory_equal(session_get(x.t, id)->d.revision, revision, sizeof(revision));
	table_free(&x);
}

static void rebuild_large(void **state)
{
	enum { N = 1 << 16 };
	struct table x = table_new(N);
	struct timespec a, b;

	for (uint32_t i = 0; i < N; i++)
		must_insert(&x, i, IPPROTO_TCP, 0);
	clock_gettime(CLOCK_MONOTONIC, &a);
	table_reopen(&x, 5);
	clock_gettime(CLOCK_MONOTONIC, &b);
	print_message("rebuild of %d sessions: %.1f ms\n", N,
		(double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6);
	assert_int_equal(session_count(x.t), N);
	table_free(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(insert_lookup_remove),
		cmocka_unit_test(same_key_both_ways),
		cmocka_unit_test(full_and_grace),
		cmocka_unit_test(port_quota),
		cmocka_unit_test(many_and_bulk),
		cmocka_unit_test(churn_leaks_nothing),
		cmocka_unit_test(reopen_finds_all),
		cmocka_unit_test(header_is_checked),
		cmocka_unit_test(damaged_records_stay_out),
		cmocka_unit_test(tcp_states),
		cmocka_unit_test(other_states),
		cmocka_unit_test(expiry),
		cmocka_unit_test(expiry_budget_and_clock),
		cmocka_unit_test(remove_if_and_revise),
		cmocka_unit_test(rebuild_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
