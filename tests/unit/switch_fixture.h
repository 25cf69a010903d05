// SPDX-License-Identifier: BSD-3-Clause
// A whole switch in a test's own thread: one worker run round by round on the test's time, ports
// that are two arrays of frames, and a policy of two tenants with the same addresses behind one
// uplink.
#pragma once

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <rte_eal.h>
#include "vswitch/switch.h"
#include "vswitch/vnet_hdr.h"

enum { RED_1 = 11, RED_2 = 12, BLUE_1 = 21, BLUE_2 = 22, UPLINK = 30, TRUNK = 40 };
enum { RED = 1, BLUE = 2 };

#define SECOND 1000000000ull

struct wire_port { // by port id
	unsigned n_in, n_out;
	uint8_t in[64][2048], out[64][2048];
	size_t in_size[64], out_size[64];
	struct virtio_net_hdr in_hdr[64]; // offloads claimed; forgotten once read
};

static struct wire_port *wires[64];

static int wire_create(struct port *p, const struct port_params *params, char *err, size_t err_size)
{
	p->n_queues = 1;
	p->offloads = PORT_OFFLOAD_CSUM | PORT_OFFLOAD_TSO4;
	p->priv = wires[params->id] = calloc(1, sizeof(struct wire_port));
	return p->priv ? 0 : -ENOMEM;
}

static void wire_destroy(struct port *p)
{
	wires[p->id] = NULL;
	free(p->priv);
}

static inline void wire_free(void *addr, void *block)
{
	free(block);
}

// The frame in a heap block that ends where it ends: ASan does not see inside mbuf pools.
static struct rte_mbuf *wire_mbuf(struct worker *w, const uint8_t *data, size_t size)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(worker_small_pool(w));
	uint8_t *block = malloc(sizeof(struct rte_mbuf_ext_shared_info) + PACKET_HEADROOM + size);
	struct rte_mbuf_ext_shared_info *info = (void *)block;
	uint8_t *room = block + sizeof(*info);

	assert_non_null(m);
	memcpy(room + PACKET_HEADROOM, data, size);
	info->free_cb = wire_free;
	info->fcb_opaque = block;
	rte_mbuf_ext_refcnt_set(info, 1);
	rte_pktmbuf_attach_extbuf(m, room, RTE_BAD_IOVA, (uint16_t)(PACKET_HEADROOM + size), info);
	m->data_off = PACKET_HEADROOM;
	m->data_len = (uint16_t)size;
	m->pkt_len = (uint32_t)size;
	memset(packet_of(m), 0, sizeof(struct packet));
	return m;
}

static uint16_t wire_rx(struct worker *w, struct port *p, uint16_t queue, struct rte_mbuf **pkts,
	uint16_t n, uint64_t now_ns)
{
	struct wire_port *wire = p->priv;
	uint16_t i;

	for (i = 0; i < n && i < wire->n_in; i++) {
		pkts[i] = wire_mbuf(w, wire->in[i], wire->in_size[i]);
		packet_of(pkts[i])->in_port = (uint16_t)p->id;
		vnet_hdr_read(&wire->in_hdr[i], packet_of(pkts[i]));
		wire->in_hdr[i] = (struct virtio_net_hdr){ 0 };
	}
	wire->n_in = 0;
	return i;
}

static uint16_t wire_tx(struct worker *w, struct port *p, uint16_t queue, struct rte_mbuf **pkts,
	uint16_t n, struct port_sent *sent)
{
	struct wire_port *wire = p->priv;

	for (uint16_t i = 0; i < n; i++) {
		assert_true(wire->n_out < 64);
		wire->out_size[wire->n_out] = pkts[i]->pkt_len;
		sent->bytes += pkts[i]->pkt_len;
		assert_non_null(rte_pktmbuf_linearize(pkts[i]) == 0 ? pkts[i] : NULL);
		memcpy(wire->out[wire->n_out++], rte_pktmbuf_mtod(pkts[i], void *),
			pkts[i]->pkt_len);
		rte_pktmbuf_free(pkts[i]);
	}
	return n;
}

static const struct port_ops wire_ops = {
	.name = "wire", .create = wire_create, .destroy = wire_destroy, .rx = wire_rx, .tx = wire_tx
};

struct fixture {
	struct switch_ *sw;
	void *session_mem, *mapping_mem;
	uint64_t now_ns;
};

static struct fixture fx;
static uint16_t fixture_nat_first = 1024, fixture_nat_last = 65535; // of the uplink; before setup

static inline struct mac mac_of(unsigned port)
{
	return (struct mac){ { 2, 0, 0, 0, 0, (uint8_t)port } };
}

static inline be32 addr(const char *text)
{
	return inet_addr(text);
}

// The tenant's section: one segment on `vlan`, two ports .11 and .12.
static struct policy_part *tenant_part(uint32_t tenant, uint16_t vlan, uint64_t revision)
{
	struct {
		struct policy_section h;
		struct policy_segment s;
		struct policy_port p[2];
	} sec = { .h = { POLICY_SECTION_MAGIC, POLICY_VERSION, tenant, sizeof(sec), 1, 2, 0, 0,
			  "tenant" } };
	struct policy_part *part;
	char err[256];

	sec.s = (struct policy_segment){ .id = tenant,
		.zone = tenant,
		.vlan = vlan,
		.mtu = 1500,
		.subnet = addr("10.0.0.0"),
		.gateway = addr("10.0.0.1"),
		.gateway_mac = { { 2, 0, 0, 0, 1, (uint8_t)tenant } },
		.prefix_len = 24,
		.lease_s = 3600,
		.snat_port = UPLINK,
		.name = "lan" };
	for (unsigned i = 0; i < 2; i++) {
		uint32_t id = tenant * 10 + i + 1;

		sec.p[i] = (struct policy_port){ .id = id,
			.segment = tenant,
			.mac = mac_of(id),
			.address = htonl(0x0a00000b + i),
			.storm_pps = 1000,
			.trunk = UINT32_MAX,
			.uplink = UINT32_MAX };
		snprintf(sec.p[i].name, sizeof(sec.p[i].name), "t%u/i%u.eth0", tenant, i);
	}
	assert_int_equal(policy_part_load(&sec, sizeof(sec), &part, err, sizeof(err)), 0);
	part->revision = revision;
	return part;
}

static struct policy_part *host_part(void)
{
	struct {
		struct policy_section h;
		struct policy_port p[2];
		struct policy_trunk t;
		struct policy_uplink u;
	} sec = { .h = { POLICY_SECTION_MAGIC, POLICY_VERSION, 0, sizeof(sec), 0, 2, 1, 1,
			  "host" } };
	struct policy_part *part;
	char err[256];

	sec.p[0] = (struct policy_port){ .id = UPLINK,
		.mode = POLICY_PORT_UPLINK,
		.mac = mac_of(UPLINK),
		.address = addr("198.51.100.2"),
		.trunk = UINT32_MAX,
		.name = "internet" };
	sec.p[1] = (struct policy_port){ .id = TRUNK,
		.mode = POLICY_PORT_TRUNK,
		.learn_limit = 4,
		.uplink = UINT32_MAX,
		.name = "trunk" };
	sec.t.allowed[10 >> 3] = 1 << (10 & 7);
	sec.u = (struct policy_uplink){ .zone = 0x80000000u | UPLINK,
		.gateway = addr("198.51.100.1"),
		.prefix_len = 24,
		.mtu = 1500,
		.nat_port_first = fixture_nat_first,
		.nat_port_last = fixture_nat_last };
	assert_int_equal(policy_part_load(&sec, sizeof(sec), &part, err, sizeof(err)), 0);
	part->revision = 1;
	return part;
}

// Publishes host + red (VLAN 10) + blue (VLAN 20).
static inline void fixture_publish(uint64_t generation, uint64_t red_revision)
{
	struct policy_root root = { POLICY_ROOT_MAGIC, POLICY_VERSION, generation, 3, 0 };
	struct policy_part *parts[3] = { host_part(), tenant_part(RED, 10, red_revision),
		tenant_part(BLUE, 20, 1) };
	struct policy *pol;
	char err[256] = "";

	if (policy_build(&root, parts, &pol, err, sizeof(err)) < 0)
		fail_msg("policy_build: %s", err);
	for (unsigned i = 0; i < 3; i++)
		policy_part_unref(parts[i]);
	switch_policy_publish(fx.sw, pol);
	switch_retire_poll(fx.sw);
}

static inline void fixture_add_port(uint32_t id)
{
	struct port_params params = {
		.id = id, .kind = PROTO_PORT_PCAP, .mtu = 1500, .n_queues = 1
	};
	char err[256];

	assert_int_equal(switch_port_add_kind(fx.sw, &params, &wire_ops, err, sizeof(err)), 0);
}

static inline void fixture_switch_up(bool fresh)
{
	struct session_table *sessions;
	struct nat_table *mappings;
	const unsigned ids[] = { RED_1, RED_2, BLUE_1, BLUE_2, UPLINK, TRUNK };
	struct switch_config cfg = { .n_workers = 1,
		.n_mappings = 1024,
		.sessions_per_tenant = 128,
		.sessions_per_port = 128,
		.n_small = 1023,
		.n_big = 63,
		.seed = 42 };
	size_t s = session_table_file_size(1024), m = nat_table_file_size(1024);

	if (fresh) {
		fx.session_mem = aligned_alloc(4096, RTE_ALIGN(s, 4096));
		fx.mapping_mem = aligned_alloc(4096, RTE_ALIGN(m, 4096));
		memset(fx.session_mem, 0, s);
		memset(fx.mapping_mem, 0, m);
	}
	assert_int_equal(session_table_open(fx.session_mem, s, 1024, 7, 42, &sessions), 0);
	assert_int_equal(nat_table_open(fx.mapping_mem, m, 1024, 7, 42, &mappings), 0);
	cfg.seed = fx.now_ns; // another life, other next-hop ids
	assert_int_equal(switch_new(&cfg, sessions, mappings, &fx.sw), 0);
	for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		fixture_add_port(ids[i]);
	fixture_publish(1, 1);
}

static inline void fixture_switch_down(void)
{
	struct session_table *sessions = fx.sw->sessions;
	struct nat_table *mappings = fx.sw->mappings;

	switch_free(fx.sw);
	session_table_close(sessions);
	nat_table_close(mappings);
}

static inline void fixture_round(void)
{
	fx.now_ns += 1000000;
	worker_round(fx.sw->workers[0], fx.now_ns);
}

// Puts a frame on a port's wire and runs rounds until it has been dealt with.
static inline void fixture_send(uint32_t port, const void *frame, size_t size)
{
	struct wire_port *w = wires[port];

	memcpy(w->in[w->n_in], frame, size);
	w->in_size[w->n_in++] = size;
	fixture_round();
}

// The only frame that left on `port` since the last look; NULL if there was none.
static inline const uint8_t *fixture_received(uint32_t port, size_t *ret_size)
{
	struct wire_port *w = wires[port];

	assert_true(w->n_out <= 1);
	if (w->n_out == 0)
		return NULL;
	w->n_out = 0;
	if (ret_size)
		*ret_size = w->out_size[0];
	return w->out[0];
}

static inline void fixture_clear(void)
{
	for (unsigned i = 0; i < 64; i++)
		if (wires[i])
			wires[i]->n_out = 0;
}

static inline uint64_t fixture_drops(uint32_t port, enum drop_reason reason)
{
	return fx.sw->ports[port]->counters[0]->drops[reason];
}

static inline int fixture_eal(void **state)
{
	char *args[] = { "test", "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m",
		"64", "--log-level=error", "-l", "0", NULL };

	return rte_eal_init(10, args) < 0 ? -1 : 0;
}

static inline int fixture_setup(void **state)
{
	fx.now_ns = 1000 * SECOND;
	fixture_switch_up(true);
	fixture_round(); // the uplink announces itself
	fixture_clear();
	return 0;
}

static inline int fixture_teardown(void **state)
{
	unsigned lost;

	for (unsigned i = 0; i < 8; i++) { // whoever waits for a neighbour has given up then
		fixture_clear();
		fx.now_ns += SECOND;
		fixture_round();
	}
	lost = rte_mempool_in_use_count(fx.sw->workers[0]->small);
	fixture_switch_down();
	free(fx.session_mem);
	free(fx.mapping_mem);
	if (lost)
		fprintf(stderr, "leaked mbufs: %u\n", lost);
	return lost ? -1 : 0;
}
