// SPDX-License-Identifier: BSD-3-Clause
// The NAT mapping table on one thread, by the RFCs' requirement numbers: endpoint-independent
// mappings, port choice, hold-down, quotas, exhaustion, and what a new process finds in the file.
#include "vswitch/nat_table.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

enum { BOOT = 7, SEED = 99, SECOND = 1000000000, HOLD_S = 120, RED = 1, BLUE = 2 };

#define UPLINK 0x80000003u
#define INSIDE htonl(0x0a000005)

struct table {
	void *mem;
	size_t size;
	uint32_t capacity;
	struct nat_table *t;
};

static struct nat_pool pool(uint16_t first, uint16_t last)
{
	return (struct nat_pool){
		.zone = UPLINK,
		.address = htonl(0xcb007101),
		.port_first = first,
		.port_last = last,
	};
}

static struct table table_new(uint32_t capacity)
{
	struct table x = { .size = nat_table_file_size(capacity), .capacity = capacity };

	x.mem = mmap(NULL, x.size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(x.mem, MAP_FAILED);
	assert_int_equal(nat_table_open(x.mem, x.size, capacity, BOOT, SEED, &x.t), 0);
	return x;
}

static void table_reopen(struct table *x)
{
	nat_table_close(x->t);
	assert_int_equal(nat_table_open(x->mem, x->size, x->capacity, BOOT, SEED + 1, &x->t), 0);
}

static void table_free(struct table *x)
{
	nat_table_close(x->t);
	munmap(x->mem, x->size);
}

static int map(struct table *x, struct nat_pool p, uint32_t zone, uint8_t proto, uint16_t port,
	uint32_t *ret_id)
{
	return nat_map(x->t, &p, zone, proto, INSIDE, htons(port), SECOND, ret_id);
}

static uint32_t must_map(
	struct table *x, struct nat_pool p, uint32_t zone, uint8_t proto, uint16_t port)
{
	uint32_t id = MAPPING_NONE;

	assert_int_equal(map(x, p, zone, proto, port, &id), 0);
	assert_non_null(nat_get(x->t, id));
	return id;
}

static uint16_t out_port(struct table *x, uint32_t id)
{
	return ntohs(nat_get(x->t, id)->out_port);
}

static uint32_t behind(struct table *x, struct nat_pool p, uint8_t proto, uint16_t port)
{
	return nat_lookup_external(x->t, p.zone, proto, p.address, htons(port));
}

// RFC 4787 REQ-1, RFC 5382 REQ-1
static void endpoint_independent(void **state)
{
	struct table x = table_new(64);
	struct nat_pool p = pool(1024, 65535);
	uint32_t a = must_map(&x, p, RED, IPPROTO_UDP, 5000);
	uint32_t b = must_map(&x, p, BLUE, IPPROTO_UDP, 5000);
	const struct nat_mapping *m = nat_get(x.t, a);

	assert_int_equal(must_map(&x, p, RED, IPPROTO_UDP, 5000), a);
	assert_int_equal(nat_references(x.t, a), 2);
	assert_int_not_equal(a, b); // same address, other tenant
	assert_int_not_equal(out_port(&x, a), out_port(&x, b));
	assert_int_equal(m->in_zone, RED);
	assert_int_equal(m->tenant, RED);
	assert_int_equal(m->in_addr, INSIDE);
	assert_int_equal(m->out_addr, p.address);
	assert_int_equal(behind(&x, p, IPPROTO_UDP, out_port(&x, a)), a);
	assert_int_equal(behind(&x, p, IPPROTO_UDP, out_port(&x, b)), b);
	assert_int_equal(behind(&x, p, IPPROTO_TCP, out_port(&x, a)), MAPPING_NONE);
	assert_int_equal(nat_count(x.t), 2);
	assert_null(nat_get(x.t, 64));
	assert_null(nat_get(x.t, MAPPING_NONE));
	assert_null(nat_get(x.t, 40));
	table_free(&x);
}

static void refuses_nonsense(void **state)
{
	struct table x = table_new(64);
	uint32_t id = 77;

	assert_int_equal(map(&x, pool(1024, 65535), RED, 47, 1, &id), -EPROTONOSUPPORT);
	assert_int_equal(map(&x, pool(1024, 65535), 0x10000, IPPROTO_UDP, 1, &id), -EINVAL);
	assert_int_equal(map(&x, pool(2000, 1999), RED, IPPROTO_UDP, 1, &id), -ENOSPC);
	assert_int_equal(map(&x, pool(0, 0), RED, IPPROTO_UDP, 1, &id), -ENOSPC);
	assert_int_equal(id, 77);
	nat_ref(x.t, 5);
	nat_ref(x.t, 5000);
	nat_unref(x.t, 5, 0);
	nat_unref(x.t, MAPPING_NONE, 0);
	assert_int_equal(nat_expire(x.t, 1000 * (uint64_t)SECOND, 0, 64), 0);
	table_free(&x);
}

// RFC 4787 REQ-3 (no overloading), REQ-4 (parity), RFC 6888 REQ-15
static void ports_of_a_small_pool(void **state)
{
	struct table x = table_new(1024);
	struct nat_pool p = pool(40001, 40100);
	static uint8_t owned[65536];
	uint32_t id, in_order = 0, previous = 0;

	memset(owned, 0, sizeof(owned));
	for (uint16_t i = 0; i < 100; i++) {
		uint16_t port;

		// As many odd as even: parity is kept to the last one.
		id = must_map(&x, p, RED, IPPROTO_UDP, (uint16_t)(1000 + i));
		port = out_port(&x, id);
		assert_in_range(port, 40001, 40100);
		assert_int_equal(port & 1, i & 1);
		assert_int_equal(owned[port]++, 0);
		in_order += port == previous + 1;
		previous = port;
	}
	assert_true(in_order < 20);
	assert_int_equal(map(&x, p, RED, IPPROTO_UDP, 5000, &id), -ENOSPC);
	// TCP ports and ICMP identifiers are other spaces.
	must_map(&x, p, RED, IPPROTO_TCP, 5000);
	must_map(&x, p, RED, IPPROTO_ICMP, 5000);
	// An endpoint that has its mapping keeps it, exhausted or not.
	must_map(&x, p, RED, IPPROTO_UDP, 1000);
	table_free(&x);
}

// "where possible": the other parity before none at all.
static void parity_gives_way(void **state)
{
	struct table x = table_new(64);
	struct nat_pool p = pool(40000, 40003);
	uint32_t id;

	for (uint16_t i = 0; i < 4; i++) {
		id = must_map(&x, p, RED, IPPROTO_UDP, (uint16_t)(2000 + 2 * i));
		assert_int_equal(out_port(&x, id) & 1, i < 2 ? 0 : 1);
	}
	assert_int_equal(map(&x, p, RED, IPPROTO_UDP, 9, &id), -ENOSPC);
	table_free(&x);
}

static void whole_range(void **state)
{
	struct table x = table_new(65536);
	struct nat_pool p = pool(0, 65535);
	uint32_t id;

	for (uint32_t i = 1; i < 65536; i++)
		must_map(&x, p, RED, IPPROTO_TCP, (uint16_t)i);
	assert_int_equal(map(&x, p, RED, IPPROTO_TCP, 0, &id), -ENOSPC);
	// Exhausted costs no search; a million refusals would take minutes otherwise.
	for (uint32_t i = 0; i < 1000000; i++) {
		if (map(&x, p, BLUE, IPPROTO_TCP, 7, &id) != -ENOSPC)
			fail();
	}
	table_free(&x);
}

// RFC 6888 REQ-8
static void hold_down(void **state)
{
	struct table x = table_new(64);
	struct nat_pool p = pool(40000, 40000);
	uint32_t a = must_map(&x, p, RED, IPPROTO_TCP, 5000), id;

	nat_unref(x.t, a, 100 * (uint64_t)SECOND);
	assert_int_equal(nat_get(x.t, a)->last_s, 100);
	// Nobody gets it, nothing comes in, the endpoint itself gets it back.
	assert_int_equal(map(&x, p, BLUE, IPPROTO_TCP, 5000, &id), -ENOSPC);
	assert_int_equal(behind(&x, p, IPPROTO_TCP, 40000), MAPPING_NONE);
	assert_int_equal(nat_expire(x.t, 219 * (uint64_t)SECOND, HOLD_S, 64), 0);
	assert_int_equal(must_map(&x, p, RED, IPPROTO_TCP, 5000), a);
	assert_int_equal(behind(&x, p, IPPROTO_TCP, 40000), a);
	assert_int_equal(nat_get(x.t, a)->last_s, 0);
	assert_int_equal(nat_expire(x.t, 1000 * (uint64_t)SECOND, HOLD_S, 64), 0);

	nat_unref(x.t, a, 1000 * (uint64_t)SECOND);
	assert_int_equal(nat_expire(x.t, 1119 * (uint64_t)SECOND, HOLD_S, 64), 0);
	assert_int_equal(nat_expire(x.t, 1120 * (uint64_t)SECOND, HOLD_S, 64), 1);
	assert_null(nat_get(x.t, a));
	assert_int_equal(nat_count(x.t), 0);
	assert_int_equal(out_port(&x, must_map(&x, p, BLUE, IPPROTO_TCP, 5000)), 40000);
	table_free(&x);
}

// What was mapped for a flow that was refused has been used by nobody.
static void cancelled(void **state)
{
	struct table x = table_new(64);
	struct nat_pool p = pool(40000, 40000);
	uint32_t a = must_map(&x, p, RED, IPPROTO_TCP, 5000), id;

	nat_cancel(x.t, a, SECOND);
	assert_int_equal(must_map(&x, p, RED, IPPROTO_TCP, 5000), a); // once more, in vain
	nat_cancel(x.t, a, SECOND);
	assert_int_equal(nat_count(x.t), 1); // its tenant's
	assert_int_equal(nat_expire(x.t, SECOND, HOLD_S, 64), 1);
	assert_null(nat_get(x.t, a));
	assert_int_equal(nat_count(x.t), 0);
	nat_cancel(x.t, a, SECOND);
	a = must_map(&x, p, BLUE, IPPROTO_TCP, 5000);
	assert_int_equal(must_map(&x, p, BLUE, IPPROTO_TCP, 5000), a);
	nat_cancel(x.t, a, SECOND); // one of two
	assert_non_null(nat_get(x.t, a));
	nat_cancel(x.t, a, SECOND); // another flow may have used it
	assert_int_equal(nat_get(x.t, a)->last_s, 1);
	assert_int_equal(map(&x, p, RED, IPPROTO_TCP, 5000, &id), -ENOSPC);
	assert_int_equal(must_map(&x, p, BLUE, IPPROTO_TCP, 5000), a); // from its hold-down
	nat_cancel(x.t, a, SECOND);
	assert_int_equal(nat_expire(x.t, SECOND, HOLD_S, 64), 0);
	table_free(&x);
}

static void expiry_in_order_within_budget(void **state)
{
	struct table x = table_new(64);
	struct nat_pool p = pool(1024, 65535);
	uint32_t id[10];

	for (uint16_t i = 0; i < 10; i++)
		id[i] = must_map(&x, p, RED, IPPROTO_TCP, (uint16_t)(1000 + i));
	for (uint32_t i = 0; i < 10; i++)
		nat_unref(x.t, id[i], (100 + i) * (uint64_t)SECOND);
	nat_ref(x.t, id[4]); // from the middle of the waiting line
	assert_int_equal(nat_expire(x.t, 500 * (uint64_t)SECOND, HOLD_S, 3), 3);
	assert_null(nat_get(x.t, id[2]));
	assert_non_null(nat_get(x.t, id[3]));
	assert_int_equal(nat_expire(x.t, 500 * (uint64_t)SECOND, HOLD_S, 64), 6);
	assert_non_null(nat_get(x.t, id[4]));
	assert_int_equal(nat_count(x.t), 1);
	nat_unref(x.t, id[4], 600 * (uint64_t)SECOND);
	assert_int_equal(nat_expire(x.t, 720 * (uint64_t)SECOND, HOLD_S, 64), 1);
	table_free(&x);
}

// RFC 6888 REQ-4
static void quota(void **state)
{
	struct table x = table_new(64);
	struct nat_pool p = pool(1024, 65535);
	uint32_t id, a;

	nat_set_quota(x.t, 2);
	a = must_map(&x, p, RED, IPPROTO_TCP, 1);
	must_map(&x, p, RED, IPPROTO_UDP, 1);
	assert_int_equal(map(&x, p, RED, IPPROTO_TCP, 2, &id), -EDQUOT);
	must_map(&x, p, RED, IPPROTO_TCP, 1);
	must_map(&x, p, BLUE, IPPROTO_TCP, 1);
	must_map(
		&x, p, 0x80000000u | RED, IPPROTO_TCP, 1); // an uplink is not the tenant of that id
	nat_unref(x.t, a, SECOND);
	nat_unref(x.t, a, SECOND);
	assert_int_equal(map(&x, p, RED, IPPROTO_TCP, 2, &id), -EDQUOT); // held counts
	assert_int_equal(nat_expire(x.t, 200 * (uint64_t)SECOND, HOLD_S, 64), 1);
	must_map(&x, p, RED, IPPROTO_TCP, 2);
	table_reopen(&x);
	nat_set_quota(x.t, 2);
	assert_int_equal(map(&x, p, RED, IPPROTO_TCP, 3, &id), -EDQUOT);
	table_free(&x);
}

static void table_full_gives_port_back(void **state)
{
	struct table x = table_new(2);
	struct nat_pool p = pool(40000, 40002);
	uint32_t a = must_map(&x, p, RED, IPPROTO_TCP, 1), id;

	must_map(&x, p, RED, IPPROTO_TCP, 2);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(map(&x, p, RED, IPPROTO_TCP, 3, &id), -ENOSPC);
	nat_unref(x.t, a, SECOND);
	assert_int_equal(nat_expire(x.t, 200 * (uint64_t)SECOND, HOLD_S, 64), 1);
	// The id waits for a grace period.
	assert_int_equal(map(&x, p, RED, IPPROTO_TCP, 3, &id), -ENOSPC);
	assert_true(nat_reclaim(x.t));
	assert_int_equal(map(&x, p, RED, IPPROTO_TCP, 3, &id), -ENOSPC);
	assert_false(nat_reclaim(x.t));
	assert_int_equal(must_map(&x, p, RED, IPPROTO_TCP, 3), a);
	table_free(&x);
}

static void changed_range(void **state)
{
	struct table x = table_new(64);
	uint32_t a = must_map(&x, pool(40000, 40009), RED, IPPROTO_TCP, 1), b;

	// In use: the endpoint keeps one mapping. Idle and outside the new range: a new one.
	assert_int_equal(must_map(&x, pool(50000, 50009), RED, IPPROTO_TCP, 1), a);
	nat_unref(x.t, a, SECOND);
	nat_unref(x.t, a, SECOND);
	b = must_map(&x, pool(50000, 50009), RED, IPPROTO_TCP, 1);
	assert_in_range(out_port(&x, b), 50000, 50009);
	assert_int_equal(nat_count(x.t), 1);
	// Counting by range stays right when ranges of one address alternate.
	for (uint16_t i = 0; i < 10; i++)
		must_map(&x, i % 2 == 0 ? pool(40000, 40004) : pool(40005, 40009), RED, IPPROTO_TCP,
			(uint16_t)(10 + i));
	assert_int_equal(map(&x, pool(40000, 40009), RED, IPPROTO_TCP, 99, &a), -ENOSPC);
	table_free(&x);
}

static void many_addresses(void **state)
{
	struct table x = table_new(2048);
	uint32_t id[1024], extra;

	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 1024; i++) {
			struct nat_pool p = pool(1024, 65535);

			p.address = htonl(0xc6120000u + round * 1024 + i);
			id[i] = must_map(&x, p, RED, IPPROTO_TCP, 1);
		}
		assert_int_equal(map(&x, pool(1024, 65535), RED, IPPROTO_TCP, 1, &extra), -ENOSPC);
		for (uint32_t i = 0; i < 1024; i++)
			nat_unref(x.t, id[i], SECOND);
		assert_int_equal(nat_expire(x.t, 200 * (uint64_t)SECOND, HOLD_S, 4096), 1024);
		while (nat_reclaim(x.t))
			;
	}
	table_free(&x);
}

static void reopen(void **state)
{
	struct table x = table_new(64);
	struct nat_pool p = pool(40000, 40003);
	uint32_t a = must_map(&x, p, RED, IPPROTO_TCP, 1), b = must_map(&x, p, RED, IPPROTO_TCP, 2);
	uint32_t c = must_map(&x, p, BLUE, IPPROTO_TCP, 2), id, cursor = 0, n = 0;
	uint16_t port_a = out_port(&x, a), port_b = out_port(&x, b);
	struct nat_mapping copy;

	nat_unref(x.t, b, 100 * (uint64_t)SECOND);
	table_reopen(&x);
	assert_int_equal(nat_count(x.t), 3);
	nat_ref(x.t, a); // a session of the file names it; c's died in the crash
	assert_int_equal(behind(&x, p, IPPROTO_TCP, port_a), a);
	assert_int_equal(behind(&x, p, IPPROTO_TCP, port_b), MAPPING_NONE);
	assert_int_equal(out_port(&x, b), port_b);
	while (nat_next(x.t, &cursor, &id, &copy)) {
		assert_int_equal(copy.commit, nat_get(x.t, id)->commit);
		n++;
	}
	assert_int_equal(n, 3);
	// No port was given twice: one is left.
	must_map(&x, p, BLUE, IPPROTO_TCP, 3);
	assert_int_equal(map(&x, p, BLUE, IPPROTO_TCP, 4, &id), -ENOSPC);
	// c was in use until the crash: its hold begins now. b's goes on from 100.
	assert_int_equal(nat_expire(x.t, 230 * (uint64_t)SECOND, HOLD_S, 64), 1);
	assert_null(nat_get(x.t, b));
	assert_int_equal(nat_get(x.t, c)->last_s, 230);
	assert_int_equal(nat_expire(x.t, 349 * (uint64_t)SECOND, HOLD_S, 64), 0);
	assert_int_equal(nat_expire(x.t, 350 * (uint64_t)SECOND, HOLD_S, 64), 1);
	assert_non_null(nat_get(x.t, a));
	table_free(&x);
}

static void damaged_mappings_stay_out(void **state)
{
	struct table x = table_new(64);
	struct nat_pool p = pool(40000, 40009);
	struct nat_mapping *m[4];
	uint32_t a = must_map(&x, p, RED, IPPROTO_TCP, 1);

	for (uint16_t i = 0; i < 4; i++) {
		uint32_t id = must_map(&x, p, RED, IPPROTO_TCP, (uint16_t)(10 + i));

		m[i] = (struct nat_mapping *)((uintptr_t)nat_get(x.t, id));
	}
	m[0]->out_port = nat_get(x.t, a)->out_port; // owned twice
	m[1]->in_port = nat_get(x.t, a)->in_port; // one endpoint, two mappings
	m[2]->in_zone = 0x12345678;
	m[3]->commit = UINT64_MAX;
	table_reopen(&x);
	assert_int_equal(nat_count(x.t), 1);
	assert_non_null(nat_get(x.t, a));
	table_free(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(endpoint_independent),
		cmocka_unit_test(refuses_nonsense),
		cmocka_unit_test(ports_of_a_small_pool),
		cmocka_unit_test(parity_gives_way),
		cmocka_unit_test(whole_range),
		cmocka_unit_test(hold_down),
		cmocka_unit_test(cancelled),
		cmocka_unit_test(expiry_in_order_within_budget),
		cmocka_unit_test(quota),
		cmocka_unit_test(table_full_gives_port_back),
		cmocka_unit_test(changed_range),
		cmocka_unit_test(many_addresses),
		cmocka_unit_test(reopen),
		cmocka_unit_test(damaged_mappings_stay_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
