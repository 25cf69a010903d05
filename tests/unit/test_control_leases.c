// SPDX-License-Identifier: BSD-3-Clause
// Dynamic leases as insulad gives, lists and ends them: requests of the control protocol, served
// here without a control thread.
#include "tests/unit/switch_fixture.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vswitch/control.h"

enum { ZONES = 3, PER_ZONE = 1500, ALL = ZONES * PER_ZONE };

static struct control c;
static struct proto_message in, out;
static int peer;

// Red's two ports are for many.
static void publish_many(void)
{
	struct policy_part *parts[3] = { host_part(), tenant_part(RED, 10, 2),
		tenant_part(BLUE, 20, 1) };
	struct policy_root root = { POLICY_ROOT_MAGIC, POLICY_VERSION, 2, 3, 0 };
	struct policy_section *sec = malloc(parts[1]->raw->size);
	struct policy_port *p = (void *)((uint8_t *)(sec + 1) + sizeof(struct policy_segment));
	struct policy_segment *s = (void *)(sec + 1);
	struct policy *pol;
	char err[256] = "";

	memcpy(sec, parts[1]->raw, parts[1]->raw->size);
	s->pool_first = addr("10.0.0.100");
	s->pool_last = addr("10.0.0.199");
	for (unsigned i = 0; i < 2; i++) {
		p[i].flags = POLICY_PORT_CLIENTS_MANY;
		p[i].mac = (struct mac){ 0 };
		p[i].address = 0;
	}
	policy_part_unref(parts[1]);
	if (policy_part_load(sec, sec->size, &parts[1], err, sizeof(err)) < 0 ||
		policy_build(&root, parts, &pol, err, sizeof(err)) < 0)
		fail_msg("%s", err);
	for (unsigned i = 0; i < 3; i++)
		policy_part_unref(parts[i]);
	free(sec);
	switch_policy_publish(fx.sw, pol);
	switch_retire_poll(fx.sw);
}

static int setup(void **state)
{
	int fds[2];

	fixture_setup(state);
	publish_many();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds) < 0)
		return -1;
	peer = fds[1];
	c = (struct control){ .sw = fx.sw, .conn_fd = fds[0], .in = &in };
	c.parking = parking_new(1);
	return c.parking ? 0 : -1;
}

static int teardown(void **state)
{
	parking_free(c.parking);
	close(c.conn_fd);
	close(peer);
	return fixture_teardown(state);
}

static void ask(void *request, uint16_t type, size_t size, void (*serve)(struct control *c))
{
	proto_header_init(request, type, 1, size);
	memcpy(in.bytes, request, size);
	in.size = size;
	assert_int_equal(proto_check_request(&in), 0);
	serve(&c);
	assert_int_equal(proto_recv(peer, &out), 0);
	assert_int_equal(proto_check_reply(&out, type, 1), 0);
}

static const struct proto_lease_list *list(uint32_t cursor)
{
	struct proto_cursor q = { .cursor = cursor };

	ask(&q, PROTO_LEASE_LIST, sizeof(q), control_lease_list);
	return (const void *)out.bytes;
}

// Its error.
static int set(uint32_t port, unsigned mac, const char *address, uint32_t remaining_s)
{
	struct proto_lease_set q = { .port = port,
		.segment = RED,
		.mac = { { 2, 0, 0, 0, 9, (uint8_t)mac } },
		.address = addr(address),
		.remaining_ns = remaining_s * UINT64_C(1000000000) };

	ask(&q, PROTO_LEASE_SET, sizeof(q), control_lease_set);
	return out.status.error;
}

static bool is_bound(unsigned mac, struct binding *ret)
{
	return binding_by_mac(
		fx.sw->bindings, RED, &(struct mac){ { 2, 0, 0, 0, 9, (uint8_t)mac } }, 0, ret);
}

// How many drops a message of a client's makes that comes from a worker while no insulad is there.
static uint64_t drops_of(enum proto_lease_kind kind)
{
	struct port *p = switch_port(fx.sw, RED_1);
	uint64_t *n = &p->counters[fx.sw->n_workers]->drops[DROP_SERVICE_DHCP_BUSY], before = *n;
	struct worker_message *wm;
	uint64_t one = 1;

	assert_int_equal(rte_mempool_get(fx.sw->messages, (void **)&wm), 0);
	*wm = (struct worker_message){ .kind = MESSAGE_LEASE,
		.port = RED_1,
		.segment_id = RED,
		.lease = { .kind = kind, .address = addr("10.0.0.100") } };
	assert_int_equal(rte_ring_enqueue(fx.sw->workers[0]->to_control, wm), 0);
	assert_int_equal(write(fx.sw->control_event_fd, &one, sizeof(one)), sizeof(one));
	control_from_workers(&c);
	return *n - before;
}

static void what_insulad_does_not_hear_is_counted(void **state)
{
	int fd = c.conn_fd;

	c.conn_fd = -1;
	assert_int_equal(drops_of(PROTO_LEASE_DISCOVER), 1);
	assert_int_equal(drops_of(PROTO_LEASE_REQUEST), 1);
	assert_int_equal(drops_of(PROTO_LEASE_RELEASE), 1);
	assert_int_equal(drops_of(PROTO_LEASE_DECLINE), 1);
	assert_int_equal(drops_of(PROTO_LEASE_BOUND), 0); // its client has been answered
	c.conn_fd = fd;
	assert_int_equal(drops_of(PROTO_LEASE_RELEASE), 0);
}

static void leases_are_listed_by_the_page(void **state)
{
	static bool seen[ALL];
	unsigned n = 0, n_pages = 0;
	uint32_t cursor = 0;

	memset(seen, 0, sizeof(seen));
	assert_int_equal(list(0)->n, 0);
	for (uint32_t i = 0; i < ALL; i++) {
		struct binding b = { .port = 1 + i % 60,
			.segment = 1 + i % 5,
			.zone = 1 + i % ZONES,
			.address = i,
			.mac = { { 2, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i } } };
		assert_int_equal(binding_set(fx.sw->bindings, &b), 0);
	}
	do {
		const struct proto_lease_list *l = list(cursor);

		assert_true(l->next == 0 || l->next > cursor);
		for (uint32_t i = 0; i < l->n; i++) {
			const struct proto_lease_entry *e = &l->e[i];

			assert_in_range(e->address, 0, ALL - 1);
			assert_false(seen[e->address]);
			seen[e->address] = true;
			assert_int_equal(e->port, 1 + e->address % 60);
			assert_int_equal(e->segment, 1 + e->address % 5);
			assert_int_equal(e->mac.b[5], (uint8_t)e->address);
		}
		n += l->n;
		n_pages++;
		cursor = l->next;
	} while (cursor);
	assert_int_equal(n, ALL);
	assert_int_equal(n_pages, 2);
	assert_int_equal(list(ALL)->n, 0);
	assert_int_equal(list(UINT32_MAX)->n, 0);
	assert_int_equal(list(UINT32_MAX)->next, 0);
}

// Its port, its MAC and its address together, or it is another that has come since.
static void a_lease_ends_by_all_its_names(void **state)
{
	struct binding b;

	assert_int_equal(set(RED_1, 1, "10.0.0.100", 60), 0);
	assert_int_equal(list(0)->n, 1);
	assert_int_equal(set(RED_2, 1, "10.0.0.100", 0), 0);
	assert_int_equal(set(RED_1, 1, "10.0.0.101", 0), 0);
	assert_int_equal(set(RED_1, 2, "10.0.0.100", 0), 0);
	assert_true(is_bound(1, &b));
	assert_int_equal(set(RED_2, 1, "10.0.0.101", 60), -EEXIST);
	assert_int_equal(set(RED_1, 1, "10.0.0.100", 0), 0);
	assert_false(is_bound(1, &b));
	assert_int_equal(list(0)->n, 0);
	assert_int_equal(set(RED_2, 1, "10.0.0.101", 60), 0); // its MAC is nobody's any more
}

// An address that has another's lease by now: the former one is over, and its MAC free.
static void a_lease_takes_its_address_over(void **state)
{
	struct binding b;

	assert_int_equal(set(RED_1, 1, "10.0.0.100", 60), 0);
	assert_int_equal(set(RED_2, 2, "10.0.0.100", 60), 0);
	assert_false(is_bound(1, &b));
	assert_true(is_bound(2, &b));
	assert_int_equal(b.port, RED_2);
	assert_int_equal(list(0)->n, 1);
	assert_int_equal(set(RED_2, 1, "10.0.0.101", 60), 0);
	assert_true(is_bound(1, &b));
	assert_int_equal(b.port, RED_2);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_insulad_does_not_hear_is_counted),
		T(leases_are_listed_by_the_page),
		T(a_lease_ends_by_all_its_names),
		T(a_lease_takes_its_address_over),
	};

	return cmocka_run_group_tests(tests, fixture_eal, NULL);
}
