// SPDX-License-Identifier: BSD-3-Clause
// A replay's run: the switch it makes, the order and time of its bursts (replay_burst.c), and its
// timers. One thread.
#include "vswitch/replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "dhcp/arp.h"
#include "vswitch/replay_private.h"

#define SECOND 1000000000ull

enum {
	TICK_NS = SECOND / 2,
	QUIET_S = 4 * 3600, // after which nothing is left that time could change
	HELD_S = 10, // at the end: who waits has been answered or given up by then
	BOOT_ID = 1, // of tables that no file keeps
};

// --- the ports: nothing is received by them, what is sent is noted ---

static int port_create(struct port *p, const struct port_params *params, char *err, size_t err_size)
{
	return 0;
}

static void port_destroy(struct port *p)
{
}

static uint16_t port_rx(struct worker *w, struct port *p, uint16_t queue, struct rte_mbuf **pkts,
	uint16_t n, uint64_t now_ns)
{
	return 0;
}

static void put(struct replay *r, uint32_t port, const struct rte_mbuf *m)
{
	replay_output_put(r->out, port, replay_port_name(r, port), r->now_ns - REPLAY_EPOCH_NS, m);
}

// Keeps what left until the burst is over.
static int put_late(struct replay *r, uint32_t port, struct rte_mbuf *m)
{
	if (r->n_late == r->late_room) {
		size_t room = r->late_room ? 2 * r->late_room : 256;
		struct replay_late *grown = realloc(r->late, room * sizeof(*grown));

		if (!grown)
			return r->error = -ENOMEM;
		r->late = grown;
		r->late_room = room;
	}
	r->late[r->n_late++] = (struct replay_late){ port, m };
	return 0;
}

// Of what the switch itself sends: does it ask for a neighbour where replay has to play him?
static void note_ask(struct replay *r, uint32_t port, struct rte_mbuf *m)
{
	struct arp_msg arp;

	if (!(packet_of(m)->flags & PACKET_LOCAL) || r->fed[port] ||
		arp_parse(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, &arp) < 0 ||
		arp.op != ARP_OP_REQUEST)
		return;
	if (r->n_asks == r->asks_room) {
		size_t room = r->asks_room ? 2 * r->asks_room : 16;
		struct replay_ask *grown = realloc(r->asks, room * sizeof(*grown));

		if (!grown) {
			r->error = -ENOMEM;
			return;
		}
		r->asks = grown;
		r->asks_room = room;
	}
	r->asks[r->n_asks++] = (struct replay_ask){ port, arp.tpa };
}

// Where there is no capture to answer, everybody answers at once: 0e:00 and his address.
void replay_answer_asks(struct replay *r)
{
	const struct burst b = { .policy = r->pol, .now_ns = r->now_ns };

	for (size_t i = 0; i < r->n_asks; i++) {
		struct mac mac = { { 0x0e, 0 } };

		memcpy(&mac.b[2], &r->asks[i].address, sizeof(be32));
		neighbour_heard(
			r->sw->workers[0], &b, r->asks[i].port, r->asks[i].address, &mac, true);
	}
	r->n_asks = 0;
}

static uint16_t port_tx(struct worker *w, struct port *p, uint16_t queue, struct rte_mbuf **pkts,
	uint16_t n, struct port_sent *sent)
{
	struct replay *r = (struct replay *)w->watch;

	for (uint16_t i = 0; i < n; i++) {
		sent->bytes += pkts[i]->pkt_len;
		replay_note_sent(r, p->id, pkts[i]);
		note_ask(r, p->id, pkts[i]);
		if (r->out && r->several && put_late(r, p->id, pkts[i]) == 0)
			continue;
		if (r->out && !r->several)
			put(r, p->id, pkts[i]);
		rte_pktmbuf_free(pkts[i]);
	}
	return n;
}

static const struct port_ops port_ops = { .name = "replay",
	.create = port_create,
	.destroy = port_destroy,
	.rx = port_rx,
	.tx = port_tx };

// By cause; what one packet caused stays in its order.
void replay_write_late(struct replay *r)
{
	for (size_t i = 1; i < r->n_late; i++) {
		struct replay_late l = r->late[i];
		size_t k = i;

		for (; k && packet_of(r->late[k - 1].m)->trace > packet_of(l.m)->trace; k--)
			r->late[k] = r->late[k - 1];
		r->late[k] = l;
	}
	for (size_t i = 0; i < r->n_late; i++) {
		put(r, r->late[i].port, r->late[i].m);
		rte_pktmbuf_free(r->late[i].m);
	}
	r->n_late = 0;
	r->several = false;
}

// --- the policy ---

static int load_parts(const struct policy_root *root, const uint8_t *at, size_t size,
	struct policy_part **parts, char *err, size_t err_size)
{
	for (uint32_t i = 0; i < root->n_sections; i++) {
		const struct policy_section_ref *ref = &root->sections[i];
		int r = ref->size <= size
				? policy_part_load(at, ref->size, &parts[i], err, err_size)
				: policy_refuse(err, err_size, "policy: it breaks off");

		if (r < 0)
			return r;
		if (memcmp(parts[i]->hash, ref->hash, POLICY_HASH_SIZE) != 0)
			return policy_refuse(err, err_size, "policy: section %u is another's", i);
		parts[i]->revision = ref->revision;
		at += ref->size;
		size -= ref->size;
	}
	return size ? policy_refuse(err, err_size, "policy: bytes behind its end") : 0;
}

static int load_policy(
	const struct replay_options *o, struct policy **ret_policy, char *err, size_t err_size)
{
	const struct policy_root *root = o->policy;
	struct policy_part **parts;
	int r = -EINVAL;

	if (o->policy_size < sizeof(*root) || root->size > o->policy_size)
		return policy_refuse(err, err_size, "policy: %zu bytes", o->policy_size);
	r = policy_root_check(root, root->size, err, err_size);
	if (r < 0)
		return r;
	parts = calloc(root->n_sections + 1, sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	r = load_parts(root, (const uint8_t *)root + root->size, o->policy_size - root->size, parts,
		err, err_size);
	if (r == 0)
		r = policy_build(root, parts, ret_policy, err, err_size);
	for (uint32_t i = 0; i < root->n_sections; i++)
		policy_part_unref(parts[i]);
	free(parts);
	return r;
}

// --- the switch ---

static int tables_new(struct replay *r)
{
	const uint32_t n_sessions = r->o->limits.sessions;
	const size_t sizes[2] = { session_table_file_size(n_sessions),
		nat_table_file_size(TABLES_MAPPINGS_DEFAULT) };
	int e;

	for (unsigned i = 0; i < 2; i++) {
		void *mem = mmap(
			NULL, sizes[i], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (mem == MAP_FAILED)
			return -errno;
		r->table_mem[i] = mem;
		r->table_size[i] = sizes[i];
	}
	e = session_table_open(
		r->table_mem[0], sizes[0], n_sessions, BOOT_ID, r->o->seed, &r->sessions);
	if (e < 0)
		return e;
	return nat_table_open(r->table_mem[1], sizes[1], TABLES_MAPPINGS_DEFAULT, BOOT_ID,
		r->o->seed, &r->mappings);
}

static int add_ports(struct replay *r, const struct policy *pol, char *err, size_t err_size)
{
	for (uint32_t i = 0; i < pol->n_ports; i++) {
		const struct policy_prt *prt = &pol->ports[i];
		struct port_params params = { .id = prt->p->id,
			.kind = PROTO_PORT_PCAP,
			.mtu = prt->uplink ? prt->uplink->mtu : 1500,
			.n_queues = 1 };
		int e;

		if (prt->segment != POLICY_NO_SEGMENT)
			params.mtu = pol->segments[prt->segment].s->mtu;
		memcpy(params.name, prt->p->name, sizeof(params.name));
		e = switch_port_add_kind(r->sw, &params, &port_ops, err, err_size);
		if (e < 0)
			return e;
		atomic_store(&r->sw->ports[params.id]->up, 1);
	}
	return 0;
}

static int find_ports(struct replay *r, char *err, size_t err_size)
{
	const struct replay_frames *f = r->o->frames;

	r->ports = calloc(f->n_inputs + 1, sizeof(*r->ports));
	r->fed = calloc(POLICY_MAX_PORT_ID + 1, 1);
	if (!r->ports || !r->fed || replay_make_names(r) < 0)
		return -ENOMEM;
	for (unsigned i = 0; i < f->n_inputs; i++) {
		for (uint32_t k = 0; k < r->pol->n_ports && !r->ports[i]; k++) {
			uint32_t id = r->pol->ports[k].p->id;

			if (strcmp(replay_port_name(r, id), f->inputs[i].port) == 0)
				r->ports[i] = id;
		}
		if (!r->ports[i] && !r->o->ports_may_lack) {
			snprintf(err, err_size, "the policy has no port '%s'", f->inputs[i].port);
			return -ENOENT;
		}
		r->fed[r->ports[i]] = 1;
	}
	for (uint32_t i = 0; i < r->pol->n_ports; i++)
		r->plays = r->plays || (r->pol->ports[i].uplink && !r->fed[r->pol->ports[i].p->id]);
	return 0;
}

static int start(struct replay *r, char *err, size_t err_size)
{
	struct policy *pol;
	int e = load_policy(r->o, &pol, err, err_size);

	if (e < 0)
		return e;
	e = tables_new(r);
	if (e == 0)
		e = switch_new(&(struct switch_config){ .n_workers = r->o->n_workers,
				       .n_mappings = TABLES_MAPPINGS_DEFAULT,
				       .sessions_per_tenant = r->o->limits.per_tenant,
				       .sessions_per_port = r->o->limits.per_port,
				       .n_small = 4096,
				       .n_big = 128,
				       .seed = r->o->seed },
			r->sessions, r->mappings, &r->sw);
	if (e == 0)
		e = add_ports(r, pol, err, err_size);
	if (e < 0) {
		policy_free(pol);
		return e;
	}
	r->pol = pol;
	switch_policy_publish(r->sw, pol);
	switch_retire_poll(r->sw);
	for (unsigned i = 0; i < r->sw->n_workers; i++) {
		r->sw->workers[i]->watch = &r->watch;
		// No packet asks for it: that the uplinks' addresses are announced is not shown.
		r->sw->workers[i]->announced = r->sw->announce;
	}
	return find_ports(r, err, err_size);
}

static int stop(struct replay *r, int e, char *err, size_t err_size)
{
	switch_free(r->sw);
	if (r->sessions)
		session_table_close(r->sessions);
	if (r->mappings)
		nat_table_close(r->mappings);
	for (unsigned i = 0; i < 2; i++)
		if (r->table_mem[i])
			munmap(r->table_mem[i], r->table_size[i]);
	if (r->out) {
		int w = replay_output_close(r->out, err, err_size);

		e = e < 0 ? e : w;
	}
	for (uint64_t n = r->first; n < r->next; n++)
		free(r->ring[n & r->mask].many);
	free(r->ring);
	free(r->late);
	free(r->ports);
	free(r->names);
	free(r->fed);
	free(r->asks);
	return e;
}

// --- time ---

static void tick(struct replay *r)
{
	struct worker *w = r->sw->workers[0];
	struct burst b = { .now_ns = r->now_ns, .policy = r->pol };

	w->now_ns = r->now_ns;
	r->stage = "rewrite"; // whose packets may be waiting
	neighbour_tick(w, &b);
	replay_answer_asks(r);
	if (r->now_ns % SECOND == 0) {
		switch_expire(r->sw, r->now_ns);
		session_reclaim(r->sessions);
		nat_reclaim(r->mappings);
	}
}

// Timers run at full half seconds, whenever packets come.
static void advance(struct replay *r, uint64_t now_ns)
{
	uint64_t quiet_ns = r->now_ns + QUIET_S * SECOND;

	if (!r->tick_ns)
		r->tick_ns = now_ns / TICK_NS * TICK_NS + TICK_NS;
	for (; r->tick_ns <= now_ns; r->tick_ns += TICK_NS) {
		if (r->tick_ns > quiet_ns)
			r->tick_ns = now_ns / TICK_NS * TICK_NS;
		r->now_ns = r->tick_ns;
		tick(r);
	}
	r->now_ns = now_ns;
}

// --- the run ---

static int run(struct replay *r, char *err, size_t err_size)
{
	const struct replay_frames *f = r->o->frames;
	int e = 0;

	for (size_t i = 0; e == 0 && i < f->n;) {
		uint16_t n = replay_burst_size(r, i);

		advance(r, f->v[i].ts_ns + REPLAY_EPOCH_NS);
		e = replay_run_burst(r, r->ports[f->v[i].input], &f->v[i], n);
		replay_tell(r);
		i += n;
	}
	if (e == 0 && r->first < r->next) {
		advance(r, r->now_ns + HELD_S * SECOND);
		replay_tell(r);
	}
	if (e == 0 && r->first < r->next) {
		snprintf(err, err_size, "packet %llu of the run got no verdict",
			(unsigned long long)r->first);
		return -EPROTO;
	}
	return e;
}

int replay_run(const struct replay_options *o, char *err, size_t err_size)
{
	struct replay_options options = *o;
	struct replay r = { .watch = { replay_note_drop }, .o = &options, .first = 1, .next = 1 };
	int e;

	options.burst = o->burst ? RTE_MIN(o->burst, (unsigned)BURST_MAX) : 1;
	options.n_workers = o->n_workers ? o->n_workers : 1;
	if (options.limits.sessions == 0)
		tables_limits_default(&options.limits);
	err[0] = 0;
	e = start(&r, err, err_size);
	if (e == 0 && o->out_dir)
		e = replay_output_new(o->out_dir, &r.out);
	if (e == 0)
		e = run(&r, err, err_size);
	e = stop(&r, e, err, err_size);
	if (e < 0 && !err[0])
		snprintf(err, err_size, "%s", strerror(-e));
	return e;
}
