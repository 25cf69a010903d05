// SPDX-License-Identifier: BSD-3-Clause
// leases_restore against a switch of the test's own, a thread: what that has and the store has not
// ends, before it is told what the store has; what it refuses is nobody's if nobody was
// acknowledged it, and only then.
#include "tests/unit/desired_fixture.h"
#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include "control/daemon_internal.h"
#include "control/lease_internal.h"
#include "tests/unit/fake_switch.h"

enum { MAX = 16, PER_PAGE = 2, CLIENTS = 3 };

static const char yaml[] = FIXTURE_MANY("10.0.0.0/24", "10.0.0.100-10.0.0.199");

static struct daemon d;
static _Atomic int64_t stands_at_ns; // CLOCK_BOOTTIME; 0: it goes on

// In libc's place, for all that is linked here.
int clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (clock != CLOCK_BOOTTIME || !stands_at_ns)
		return (int)syscall(SYS_clock_gettime, clock, ts);
	*ts = (struct timespec){ stands_at_ns / LEASE_SECOND, stands_at_ns % LEASE_SECOND };
	return 0;
}

static uint32_t segment, port;

struct told { // a PROTO_LEASE_SET
	bool ends;
	uint64_t remaining_ns;
	uint32_t port, segment;
	struct mac mac;
	be32 address;
};

static struct {
	// How it is.
	struct proto_lease_entry has[MAX];
	unsigned n_has;
	be32 refuses; // this address
	bool circles; // its list has no end
	bool dies; // at the first lease that is valid
	int64_t late_ns; // this comes to it so much later than it was asked for
	// What it was told.
	struct told told[MAX];
	unsigned n_told;
	int listen_fd;
} sw;

static void list(int fd, const struct proto_message *m)
{
	struct {
		struct proto_lease_list l;
		struct proto_lease_entry e[PER_PAGE];
	} page = { 0 };
	uint32_t at = ((const struct proto_cursor *)(const void *)m->bytes)->cursor;

	while (page.l.n < PER_PAGE && at < sw.n_has)
		page.e[page.l.n++] = sw.has[at++];
	page.l.next = sw.circles ? 1 : at < sw.n_has ? at : 0;
	proto_status_init(&page.l.s, &m->h, sizeof(page.l) + page.l.n * sizeof(page.e[0]), 0, NULL);
	assert_int_equal(proto_send(fd, &page, NULL, 0), 0);
}

// False: it dies of that.
static bool be_told(int fd, const struct proto_message *m)
{
	const struct proto_lease_set *q = (const void *)m->bytes;
	struct proto_status s;
	bool no = q->remaining_ns && q->address == sw.refuses;

	if (q->remaining_ns && sw.dies)
		return false;
	if (stands_at_ns)
		stands_at_ns += sw.late_ns;
	assert_true(sw.n_told < MAX);
	sw.told[sw.n_told++] = (struct told){ .ends = q->remaining_ns == 0,
		.remaining_ns = q->remaining_ns,
		.port = q->port,
		.segment = q->segment,
		.mac = q->mac,
		.address = q->address };
	proto_status_init(&s, &m->h, sizeof(s), no ? -EEXIST : 0, no ? "not this one" : NULL);
	assert_int_equal(proto_send(fd, &s, NULL, 0), 0);
	return true;
}

static void *serve(void *arg)
{
	struct proto_message *m = malloc(sizeof(*m));
	int fd = accept(sw.listen_fd, NULL, NULL);
	bool on = m != NULL;

	while (on && proto_recv(fd, m) == 0) {
		assert_int_equal(proto_check_request(m), 0);
		if (m->h.type == PROTO_LEASE_LIST)
			list(fd, m);
		else
			on = be_told(fd, m);
	}
	close(fd);
	free(m);
	return NULL;
}

// Done with a switch as `sw` says.
static void with_switch(void (*done)(void))
{
	struct switch_client_handler handler = fake_switch_unheeded();
	struct sockaddr_un sun;
	pthread_t thread;
	pid_t pid;

	sw.n_told = 0;
	sw.listen_fd = fake_switch_listen(fixture_dir, &sun);
	assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
	assert_int_equal(switch_client_open(d.loop, sun.sun_path, &handler, &d.client, &pid), 0);
	done();
	switch_client_free(d.client);
	d.client = NULL;
	pthread_join(thread, NULL);
	close(sw.listen_fd);
	unlink(sun.sun_path);
}

static void restore_here(void)
{
	leases_restore(d.leases);
}

static void restore(void)
{
	with_switch(restore_here);
}

static struct mac mac_of(unsigned client)
{
	return (struct mac){ { 2, 0, 0, 0, 0, (uint8_t)client } };
}

static be32 address_of(unsigned client)
{
	return htonl(0x0a000064 + client);
}

static void say_as(uint32_t kind, unsigned client, unsigned id, unsigned address)
{
	struct proto_lease_event e = { .kind = kind,
		.port = port,
		.segment = segment,
		.client_id_size = id != 0,
		.client_id = { (uint8_t)id },
		.address = address_of(address),
		.mac = mac_of(client) };

	leases_on_event(d.leases, &e);
	leases_batch_end(d.leases);
}

static void say(uint32_t kind, unsigned client)
{
	say_as(kind, client, 0, client);
}

static void count(void *arg, const struct store_lease *s)
{
	++*(unsigned *)arg;
}

static unsigned stored(void)
{
	unsigned n = 0;

	assert_int_equal(store_each_lease(fixture_store, count, &n), 0);
	return n;
}

static void read_leases(void)
{
	leases_free(d.leases);
	assert_int_equal(leases_new(&d, &d.leases), 0);
}

// CLIENTS have been granted a lease each, and no switch was there to be told.
static int start(void **state)
{
	fixture_setup(state);
	memset(&sw, 0, sizeof(sw));
	memset(&d, 0, sizeof(d));
	d.store = fixture_store;
	d.switch_has_policy = true;
	assert_int_equal(loop_new(&d.loop), 0);
	d.desired = fixture_desired(yaml);
	segment = d.desired->segments[0].id;
	port = desired_port_by_name(d.desired, "red/desk.eth0")->id;
	read_leases();
	for (unsigned i = 0; i < CLIENTS; i++)
		say(PROTO_LEASE_REQUEST, i);
	assert_int_equal(stored(), CLIENTS);
	return 0;
}

static int stop(void **state)
{
	stands_at_ns = 0;
	leases_free(d.leases);
	loop_free(d.loop);
	desired_free(d.desired);
	return fixture_teardown(state);
}

static void has(uint32_t p, uint32_t seg, unsigned mac, unsigned address)
{
	sw.has[sw.n_has++] = (struct proto_lease_entry){
		.port = p, .segment = seg, .mac = mac_of(mac), .address = address_of(address)
	};
}

static void assert_all_told(unsigned from)
{
	assert_int_equal(sw.n_told, from + CLIENTS);
	for (unsigned i = 0; i < CLIENTS; i++) {
		const struct told *t = &sw.told[from + i];
		struct mac mac = mac_of(i);

		assert_false(t->ends);
		assert_int_equal(t->port, port);
		assert_int_equal(t->segment, segment);
		assert_memory_equal(&t->mac, &mac, sizeof(mac));
		assert_int_equal(t->address, address_of(i));
	}
}

// By port, segment, MAC and address, each of them; neither an offer nor a declined address is a
// lease.
static void what_the_store_has_not_ends_first(void **state)
{
	enum { DECLINED = 40, OFFERED = 41 };

	say(PROTO_LEASE_REQUEST, DECLINED);
	say(PROTO_LEASE_DECLINE, DECLINED);
	say(PROTO_LEASE_DISCOVER, OFFERED);
	has(port, segment, 50, 50); // nobody's
	has(port, segment, 0, 0); // one that is in force
	has(port, segment, 51, 1);
	has(port + 1, segment, 2, 2);
	has(port, segment + 1, 2, 2);
	has(port, segment, DECLINED, DECLINED);
	has(port, segment, OFFERED, OFFERED);
	restore();
	for (unsigned i = 0, n = 0; i < sw.n_has; i++) {
		const struct told *t = &sw.told[n];
		const struct proto_lease_entry *e = &sw.has[i];

		if (i == 1)
			continue;
		n++;
		assert_true(t->ends);
		assert_int_equal(t->port, e->port);
		assert_int_equal(t->segment, e->segment);
		assert_memory_equal(&t->mac, &e->mac, sizeof(e->mac));
		assert_int_equal(t->address, e->address);
	}
	assert_all_told(sw.n_has - 1);
}

// Its list goes in circles: it gets its leases all the same.
static void a_list_that_lies_holds_nothing_up(void **state)
{
	sw.circles = true;
	has(port, segment, 50, 50);
	restore();
	assert_int_equal(sw.told[0].ends, true);
	assert_all_told(1);
}

static int64_t lease_last_end_ns(void)
{
	const struct lease *x;
	int64_t last_ns = 0;

	TAILQ_FOREACH(x, &d.leases->index.all, all)
	if (x->ends_ns > last_ns)
		last_ns = x->ends_ns;
	return last_ns;
}

// To its end, and as long on top as its clients' ACKs may have waited for the store.
static void a_lease_is_told_to_its_end(void **state)
{
	enum { TOP_NS = 100000000 };
	int64_t first_ns = lease_first_to_end(&d.leases->index)->ends_ns;

	stands_at_ns = first_ns - 1;
	restore();
	assert_int_equal(sw.n_told, CLIENTS);
	for (unsigned i = 0; i < CLIENTS; i++) {
		const struct lease *x = lease_at(&d.leases->index, segment, sw.told[i].address);
		uint64_t left_ns = (uint64_t)(x->ends_ns - stands_at_ns);

		assert_in_range(sw.told[i].remaining_ns, left_ns, left_ns + TOP_NS);
	}
	stands_at_ns -= 100 * LEASE_SECOND;
	restore();
	assert_in_range(
		sw.told[0].remaining_ns, 100 * LEASE_SECOND + 1, 100 * LEASE_SECOND + 1 + TOP_NS);
	stands_at_ns = lease_last_end_ns();
	restore();
	assert_int_equal(sw.n_told, 0);
}

static void request_here(void)
{
	say(PROTO_LEASE_REQUEST, CLIENTS);
}

// The guard that the first switch opened is open as long by the next.
static void a_lease_counts_from_when_it_was_told(void **state)
{
	const struct lease *x;

	stands_at_ns = 1000 * LEASE_SECOND;
	sw.late_ns = LEASE_SECOND;
	with_switch(request_here);
	x = lease_at(&d.leases->index, segment, address_of(CLIENTS));
	assert_non_null(x);
	assert_int_equal(x->ends_ns, (1001 + x->s.lasts_s) * LEASE_SECOND);
}

// As leases_batch_end would have given it up, had a switch been there to refuse.
static void a_refusal_ends_what_nobody_was_acknowledged(void **state)
{
	sw.refuses = address_of(1);
	d.switch_has_policy = false; // it refuses whatever it is
	restore();
	assert_int_equal(stored(), CLIENTS);
	d.switch_has_policy = true;
	sw.dies = true; // that is no refusal
	restore();
	assert_int_equal(stored(), CLIENTS);
	sw.dies = false;
	restore();
	assert_all_told(0);
	assert_int_equal(stored(), CLIENTS - 1);
	say(PROTO_LEASE_REQUEST, 1); // it is free
	assert_int_equal(stored(), CLIENTS);
}

static void a_refusal_ends_nothing_that_was_acknowledged(void **state)
{
	restore();
	sw.refuses = address_of(1);
	restore();
	assert_int_equal(stored(), CLIENTS);
	say(PROTO_LEASE_REQUEST, 1); // renewed while no switch is there
	restore();
	assert_int_equal(stored(), CLIENTS);
}

static void grant_one(void)
{
	say(PROTO_LEASE_REQUEST, 10);
}

// By the switch that died since, when it was granted.
static void nor_what_the_former_switch_took(void **state)
{
	with_switch(grant_one);
	assert_int_equal(sw.n_told, 1);
	sw.refuses = address_of(10);
	restore();
	assert_int_equal(stored(), CLIENTS + 1);
}

// A machine with its identifier, made anew with another MAC: that one was acknowledged nothing.
static void another_mac_is_acknowledged_anew(void **state)
{
	say_as(PROTO_LEASE_REQUEST, 20, 1, 20);
	restore();
	say_as(PROTO_LEASE_REQUEST, 21, 1, 20);
	assert_int_equal(stored(), CLIENTS + 1);
	sw.refuses = address_of(20);
	restore();
	assert_int_equal(stored(), CLIENTS);
}

// Who was acknowledged what, insulad's next life does not know.
static void a_refusal_ends_nothing_of_another_life(void **state)
{
	read_leases();
	sw.refuses = address_of(1);
	restore();
	assert_all_told(0);
	assert_int_equal(stored(), CLIENTS);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		T(what_the_store_has_not_ends_first),
		T(a_list_that_lies_holds_nothing_up),
		T(a_lease_is_told_to_its_end),
		T(a_lease_counts_from_when_it_was_told),
		T(a_refusal_ends_what_nobody_was_acknowledged),
		T(a_refusal_ends_nothing_that_was_acknowledged),
		T(nor_what_the_former_switch_took),
		T(another_mac_is_acknowledged_anew),
		T(a_refusal_ends_nothing_of_another_life),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
