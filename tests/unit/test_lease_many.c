// SPDX-License-Identifier: BSD-3-Clause
// A dynamic pool of 50,000 addresses, given out to the last one: each address once, and the last
// thousand for about the work of the first. Then they end, and are free again.
#include "tests/unit/desired_fixture.h"
#include <time.h>
#include "control/daemon_internal.h"
#include "control/lease.h"

enum {
	LEASES = 50000, // 10.0.1.0 to 10.0.196.79
	BATCH = 1000,
	TIMES = 5, // the work may grow so much: that of a scan grows by 50
};

static const char yaml[] = FIXTURE_MANY("10.0.0.0/16", "10.0.1.0-10.0.196.79");

static uint32_t segment, port;

static void event(struct daemon *d, uint32_t kind, uint32_t client, be32 address)
{
	struct proto_lease_event e = { .kind = kind,
		.port = port,
		.segment = segment,
		.address = address,
		.mac = { { 2, 0, 0, (uint8_t)(client >> 16), (uint8_t)(client >> 8),
			(uint8_t)client } } };

	leases_on_event(d->leases, &e);
}

static double cpu_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

// A batch of clients at once, as after a power cut; all want the pool's first address, so that each
// search has all that is taken before it.
static double grant_s(struct daemon *d, uint32_t first_client)
{
	double start = cpu_s();

	for (uint32_t i = 0; i < BATCH; i++) {
		event(d, PROTO_LEASE_DISCOVER, first_client + i, inet_addr("10.0.1.0"));
		event(d, PROTO_LEASE_REQUEST, first_client + i, 0);
	}
	leases_batch_end(d->leases);
	return cpu_s() - start;
}

struct seen {
	size_t n;
	bool address[LEASES];
};

static void see(void *arg, const struct store_lease *s)
{
	struct seen *seen = arg;
	uint32_t i = ntohl(s->address) - ntohl(inet_addr("10.0.1.0"));

	assert_in_range(i, 0, LEASES - 1);
	assert_false(seen->address[i]);
	seen->address[i] = true;
	seen->n++;
}

static size_t stored(void)
{
	struct seen *seen = calloc(1, sizeof(*seen));
	size_t n;

	assert_non_null(seen);
	assert_int_equal(store_each_lease(fixture_store, see, seen), 0);
	n = seen->n;
	free(seen);
	return n;
}

static void start(struct daemon *d)
{
	d->desired = fixture_desired(yaml);
	d->store = fixture_store;
	segment = d->desired->segments[0].id;
	port = desired_port_by_name(d->desired, "red/desk.eth0")->id;
	assert_int_equal(loop_new(&d->loop), 0);
	assert_int_equal(leases_new(d, &d->leases), 0);
}

static void stop(struct daemon *d)
{
	leases_free(d->leases);
	loop_free(d->loop);
	desired_free(d->desired);
}

static void a_pool_is_given_out(void **state)
{
	struct daemon d = { 0 };
	double s[LEASES / BATCH], first = 0, last = 0;

	start(&d);
	for (uint32_t i = 0; i < LEASES / BATCH; i++)
		s[i] = grant_s(&d, i * BATCH);
	// The very first fill caches.
	for (unsigned i = 0; i < 5; i++) {
		first += s[1 + i];
		last += s[LEASES / BATCH - 1 - i];
	}
	print_message("5,000 leases: %.3f s, at the end %.3f s\n", first, last);
	assert_int_equal(stored(), LEASES);
	assert_true(last < TIMES * first);
	grant_s(&d, LEASES); // nobody is left out quietly: there is no room
	assert_int_equal(stored(), LEASES);
	stop(&d);
}

// One address comes back in a full pool: who asks next gets it, wherever the search begins.
static void the_last_free_address_is_found(void **state)
{
	static const char *const addresses[] = { "10.0.1.0", "10.0.1.63", "10.0.1.64",
		"10.0.100.255", "10.0.196.63", "10.0.196.79" };
	struct daemon d = { 0 };

	start(&d);
	for (uint32_t i = 0; i < LEASES; i++)
		event(&d, PROTO_LEASE_REQUEST, i, htonl(0x0a000100 + i));
	leases_batch_end(d.leases);
	assert_int_equal(stored(), LEASES);
	for (uint32_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		be32 address = inet_addr(addresses[i]);
		uint32_t had = ntohl(address) - 0x0a000100;

		event(&d, PROTO_LEASE_RELEASE, had, address);
		leases_batch_end(d.leases);
		assert_int_equal(stored(), LEASES - 1);
		event(&d, PROTO_LEASE_DISCOVER, LEASES + i, 0);
		event(&d, PROTO_LEASE_REQUEST, LEASES + i, 0); // what it was offered
		leases_batch_end(d.leases);
		assert_int_equal(stored(), LEASES);
		event(&d, PROTO_LEASE_RELEASE, LEASES + i, address);
		event(&d, PROTO_LEASE_REQUEST, had, address);
		leases_batch_end(d.leases);
	}
	stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_pool_is_given_out, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			the_last_free_address_is_found, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
