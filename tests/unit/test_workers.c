// SPDX-License-Identifier: BSD-3-Clause
// Two real workers at work while control publishes policies, adds and removes ports and expires
// sessions: nothing is lost or freed under anybody's hands. Built for TSan too (pthread_create).
#include <pthread.h>
#include <sched.h>
#include "dhcp/arp.h"
#include "tests/unit/switch_fixture.h"

enum { ROUNDS = 60, FLOWS = 64 };

struct source { // per queue: written by the worker that polls it
	uint32_t sent;
};

static _Atomic uint64_t received[64]; // by port id

static int source_create(struct port *p, const struct port_params *params, char *err, size_t n)
{
	p->n_queues = (uint16_t)params->n_queues;
	p->offloads = PORT_OFFLOAD_CSUM;
	p->priv = calloc(PORT_MAX_QUEUES, sizeof(struct source));
	return p->priv ? 0 : -ENOMEM;
}

static void source_destroy(struct port *p)
{
	free(p->priv);
}

// Every fourth is an ARP request for the gateway: its answer names a segment of this policy.
static struct rte_mbuf *arp_request(struct worker *w, const struct port *p)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(worker_small_pool(w));
	struct mac me = mac_of(p->id);

	if (!m)
		return NULL;
	memset(packet_of(m), 0, sizeof(struct packet));
	packet_of(m)->in_port = (uint16_t)p->id;
	arp_build_request(&me, htonl(0x0a00000a + p->id % 10), htonl(0x0a000001), NULL,
		(uint8_t *)rte_pktmbuf_append(m, ARP_FRAME_SIZE));
	return m;
}

// One UDP datagram to the other guest of the tenant a call, of FLOWS flows.
static uint16_t source_rx(struct worker *w, struct port *p, uint16_t queue, struct rte_mbuf **pkts,
	uint16_t n, uint64_t now_ns)
{
	struct source *s = (struct source *)p->priv + queue;
	uint32_t other = p->id % 10 == 1 ? p->id + 1 : p->id - 1;
	struct {
		struct eth_hdr eth;
		struct ipv4_hdr ip;
		struct udp_hdr udp;
	} WIRE_PACKED f = { .eth = { mac_of(other), mac_of(p->id), htons(ETHTYPE_IPV4) },
		.ip = { 0x45, 0, htons(28), 0, 0, 64, IPPROTO_UDP, 0,
			htonl(0x0a00000a + p->id % 10), htonl(0x0a00000a + other % 10) },
		.udp = { htons((uint16_t)(1000 + s->sent % FLOWS)), htons(53), htons(8), 0 } };

	if (p->id != RED_1 && p->id != BLUE_1)
		return 0;
	if (++s->sent % 4 == 0) {
		pkts[0] = arp_request(w, p);
		return pkts[0] ? 1 : 0;
	}
	pkts[0] = rte_pktmbuf_alloc(worker_small_pool(w));
	if (!pkts[0])
		return 0;
	f.ip.csum = csum_finish(csum_add(0, &f.ip, sizeof(f.ip)));
	memset(packet_of(pkts[0]), 0, sizeof(struct packet));
	packet_of(pkts[0])->in_port = (uint16_t)p->id;
	packet_of(pkts[0])->in_queue = queue;
	memcpy(rte_pktmbuf_append(pkts[0], sizeof(f)), &f, sizeof(f));
	return 1;
}

static uint16_t source_tx(struct worker *w, struct port *p, uint16_t queue, struct rte_mbuf **pkts,
	uint16_t n, struct port_sent *sent)
{
	atomic_fetch_add_explicit(&received[p->id], n, memory_order_relaxed);
	sent->bytes += 60ull * n;
	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

static const struct port_ops source_ops = { .name = "source",
	.create = source_create,
	.destroy = source_destroy,
	.rx = source_rx,
	.tx = source_tx };

static void add(uint32_t id)
{
	struct port_params params = {
		.id = id, .kind = PROTO_PORT_PCAP, .mtu = 1500, .n_queues = 2
	};
	char err[256];

	assert_int_equal(switch_port_add_kind(fx.sw, &params, &source_ops, err, sizeof(err)), 0);
}

// A policy with fewer segments: red alone.
static void publish_red(uint64_t generation)
{
	struct policy_root root = { POLICY_ROOT_MAGIC, POLICY_VERSION, generation, 2, 0 };
	struct policy_part *parts[2] = { host_part(), tenant_part(RED, 10, generation) };
	struct policy *pol;
	char err[256];

	assert_int_equal(policy_build(&root, parts, &pol, err, sizeof(err)), 0);
	policy_part_unref(parts[0]);
	policy_part_unref(parts[1]);
	switch_policy_publish(fx.sw, pol);
	switch_grace(fx.sw);
	switch_retire_poll(fx.sw);
}

// Waits until `port` has received `more` packets than now.
static void wait_for(uint32_t port, uint64_t more)
{
	uint64_t until = received[port] + more;

	while (received[port] < until)
		sched_yield();
}

static bool is_old(void *arg, const struct session_record *rec)
{
	return rec->d.key[0].src_port & htons(1);
}

static void workers_and_control(void **state)
{
	const uint32_t ids[] = { RED_1, RED_2, BLUE_1, BLUE_2, UPLINK, TRUNK };

	for (unsigned i = 0; i < 6; i++)
		add(ids[i]);
	fixture_publish(1, 1);
	for (unsigned i = 0; i < fx.sw->n_workers; i++)
		assert_int_equal(worker_start(fx.sw->workers[i]), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		wait_for(RED_2, 100);
		wait_for(BLUE_2, 100);
		publish_red(2 * round + 2);
		fixture_publish(2 * round + 3, 2 * round + 3);
		session_remove_if(fx.sw->sessions, is_old, NULL, NULL);
		switch_grace(fx.sw);
		session_reclaim(fx.sw->sessions);
		if (round % 8 == 0) {
			assert_int_equal(switch_port_del(fx.sw, BLUE_1), 0);
			add(BLUE_1);
		}
	}
	assert_true(session_count(fx.sw->sessions) <= 2 * FLOWS);
	for (unsigned i = 0; i < fx.sw->n_workers; i++)
		worker_stop(fx.sw->workers[i]);
	for (unsigned i = 0; i < fx.sw->n_workers; i++)
		assert_int_equal(rte_mempool_in_use_count(fx.sw->workers[i]->small), 0);
}

static int setup(void **state)
{
	struct session_table *sessions;
	struct nat_table *mappings;
	struct switch_config cfg = { .n_workers = 2,
		.poll = true,
		.n_mappings = 1024,
		.sessions_per_tenant = 128,
		.sessions_per_port = 128,
		.n_small = 1023,
		.n_big = 63,
		.seed = 42 };
	size_t s = session_table_file_size(1024), m = nat_table_file_size(1024);

	fx.session_mem = aligned_alloc(4096, RTE_ALIGN(s, 4096));
	fx.mapping_mem = aligned_alloc(4096, RTE_ALIGN(m, 4096));
	memset(fx.session_mem, 0, s);
	memset(fx.mapping_mem, 0, m);
	assert_int_equal(session_table_open(fx.session_mem, s, 1024, 7, 42, &sessions), 0);
	assert_int_equal(nat_table_open(fx.mapping_mem, m, 1024, 7, 42, &mappings), 0);
	return switch_new(&cfg, sessions, mappings, &fx.sw);
}

static int teardown(void **state)
{
	fixture_switch_down();
	free(fx.session_mem);
	free(fx.mapping_mem);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(workers_and_control, setup, teardown),
	};

	return cmocka_run_group_tests(tests, fixture_eal, NULL);
}
