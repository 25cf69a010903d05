// SPDX-License-Identifier: BSD-3-Clause
// The switch as a whole: its making, its ports, the publication of policies and what must wait for
// a grace period. Control thread (and tests).
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "vswitch/message.h"
#include "vswitch/session.h"
#include "vswitch/vfio.h"

enum {
	FDB_CAPACITY = 65536,
	BINDINGS_CAPACITY = 32768,
	NEXTHOP_CAPACITY = 131072,
	NEIGHBOUR_CAPACITY = 8192,
	MESSAGES = 1023,
	TENANT_SHARE = 8, // a tenant may hold an eighth of the mappings, and of the dynamic leases
};

struct switch_retired {
	struct switch_retired *next;
	uint64_t token;
	void *object;
	void (*release)(void *);
};

static const struct port_ops *const kinds[PROTO_PORT_KIND_COUNT] = {
	[PROTO_PORT_TAP] = &port_tap_ops,
	[PROTO_PORT_PACKET] = &port_packet_ops,
	[PROTO_PORT_VHOST] = &port_vhost_ops,
	[PROTO_PORT_ETHDEV] = &port_ethdev_ops,
	[PROTO_PORT_PCAP] = &port_pcap_ops,
};

static int shared_new(struct switch_ *sw)
{
	sw->qsbr = aligned_alloc(RTE_CACHE_LINE_SIZE,
		RTE_ALIGN(rte_rcu_qsbr_get_memsize(WORKER_MAX), RTE_CACHE_LINE_SIZE));
	sw->fdb = fdb_new(FDB_CAPACITY, sw->cfg.seed);
	sw->bindings = binding_table_new(
		BINDINGS_CAPACITY, BINDINGS_CAPACITY / TENANT_SHARE, sw->cfg.seed);
	sw->nexthops = nexthop_table_new(NEXTHOP_CAPACITY, sw->cfg.seed);
	sw->neighbours = neighbours_new(NEIGHBOUR_CAPACITY);
	sw->messages = rte_mempool_create("messages", MESSAGES, sizeof(struct worker_message), 0, 0,
		NULL, NULL, NULL, NULL, SOCKET_ID_ANY, 0);
	sw->control_event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!sw->qsbr || !sw->fdb || !sw->bindings || !sw->nexthops || !sw->neighbours ||
		!sw->messages || sw->control_event_fd < 0)
		return -ENOMEM;
	return rte_rcu_qsbr_init(sw->qsbr, WORKER_MAX) ? -EINVAL : 0;
}

// Those of an earlier life count, too.
static void count_sessions(struct switch_ *sw)
{
	struct session_record rec;
	uint32_t cursor = 0, id;

	while (session_next(sw->sessions, &cursor, UINT32_MAX, &id, &rec))
		session_counted(sw, &rec);
}

int switch_new(const struct switch_config *cfg, struct session_table *sessions,
	struct nat_table *mappings, struct switch_ **ret_switch)
{
	struct switch_ *sw = calloc(1, sizeof(*sw));
	int r;

	if (!sw)
		return -ENOMEM;
	sw->cfg = *cfg;
	sw->control_event_fd = -1;
	sw->sessions = sessions;
	sw->mappings = mappings;
	session_set_port_quota(sessions, cfg->sessions_per_port);
	nat_set_quota(mappings, cfg->n_mappings / TENANT_SHARE);
	count_sessions(sw);
	sw->policy = policy_empty();
	r = shared_new(sw);
	for (unsigned i = 0; r == 0 && i < cfg->n_workers; i++) {
		r = worker_new(sw, i, &sw->workers[i]);
		sw->n_workers += r == 0;
	}
	if (r < 0) {
		switch_free(sw);
		return r;
	}
	*ret_switch = sw;
	return 0;
}

void switch_free(struct switch_ *sw)
{
	if (!sw)
		return;
	for (uint32_t id = 1; id <= POLICY_MAX_PORT_ID; id++)
		if (sw->ports[id])
			switch_port_del(sw, id);
	switch_retire_poll(sw);
	neighbours_free(sw->neighbours); // packets of the workers' wait in there
	for (unsigned i = 0; i < sw->n_workers; i++)
		worker_free(sw->workers[i]);
	if (sw->policy != policy_empty())
		policy_free((struct policy *)(uintptr_t)sw->policy);
	if (sw->control_event_fd >= 0)
		close(sw->control_event_fd);
	nexthop_table_free(sw->nexthops);
	binding_table_free(sw->bindings);
	fdb_free(sw->fdb);
	rte_mempool_free(sw->messages);
	free(sw->qsbr);
	free(sw);
}

void switch_grace(struct switch_ *sw)
{
	uint64_t token = rte_rcu_qsbr_start(sw->qsbr);

	// Not rte_rcu_qsbr_synchronize: it lies in a library that TSan does not see into.
	while (rte_rcu_qsbr_check(sw->qsbr, token, false) != 1)
		sched_yield();
}

void switch_retire(struct switch_ *sw, void *object, void (*release)(void *))
{
	struct switch_retired *r = malloc(sizeof(*r));

	if (!r) { // no memory to wait: wait here
		switch_grace(sw);
		release(object);
		return;
	}
	*r = (struct switch_retired){ sw->retired, rte_rcu_qsbr_start(sw->qsbr), object, release };
	sw->retired = r;
}

void switch_retire_poll(struct switch_ *sw)
{
	struct switch_retired **link = &sw->retired, *r;

	while ((r = *link)) {
		if (rte_rcu_qsbr_check(sw->qsbr, r->token, false) != 1) {
			link = &r->next;
			continue;
		}
		*link = r->next;
		r->release(r->object);
		free(r);
	}
}

static void port_free(struct port *p)
{
	for (unsigned i = 0; i <= WORKER_MAX; i++)
		free(p->counters[i]);
	free(p);
}

static struct port *port_new(
	struct switch_ *sw, const struct port_params *params, const struct port_ops *ops)
{
	struct port *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->id = params->id;
	p->params = *params;
	p->params.flags &= (uint16_t)~PROTO_PORT_HELD;
	p->held = params->flags & PROTO_PORT_HELD;
	p->n_queues = (uint16_t)params->n_queues;
	p->ops = ops;
	for (unsigned i = 0; i <= sw->n_workers; i++) {
		p->counters[i] = calloc(1, sizeof(struct port_counters));
		if (!p->counters[i]) {
			port_free(p);
			return NULL;
		}
	}
	return p;
}

// No worker uses them any more when it returns.
static void take_queues(struct switch_ *sw, struct port *p)
{
	for (unsigned i = 0; i < sw->n_workers; i++)
		worker_del_port(sw->workers[i], p);
	switch_grace(sw);
}

// Spreads queues over the workers: queue q of port p goes to worker (p + q) mod n. Not before the
// policy names the port: what waits in its queues while insulad has sent the port to a switch just
// started and not yet the policy (an ARP request, sent again only after a second) is worth keeping.
// All its queues or none.
static int give_queues(struct switch_ *sw, struct port *p)
{
	int r = 0;

	if (p->served || p->held || !policy_port(sw->policy, p->id))
		return 0;
	for (uint16_t q = 0; r == 0 && q < p->n_queues; q++)
		r = worker_add_queue(sw->workers[(p->id + q) % sw->n_workers], p, q);
	if (r < 0)
		take_queues(sw, p);
	p->served = r == 0;
	return r;
}

static int set_static(struct switch_ *sw, const struct policy *pol, const struct policy_prt *prt)
{
	if (prt->segment == POLICY_NO_SEGMENT || mac_is_zero(&prt->p->mac))
		return 0;
	return fdb_set_static(sw->fdb, pol->segments[prt->segment].s->id, &prt->p->mac, prt->p->id);
}

static void announce_uplinks(struct switch_ *sw)
{
	atomic_fetch_add(&sw->announce, 1);
	worker_wake(sw->workers[0]);
}

static void close_fds(const struct port_params *params)
{
	for (unsigned i = 0; i < params->n_fds; i++)
		close(params->fds[i]);
}

static bool takes_fds(const struct port_params *params)
{
	return params->kind == PROTO_PORT_TAP || params->kind == PROTO_PORT_PACKET ||
	       (params->kind == PROTO_PORT_ETHDEV && vfio_is_pci(params->arg));
}

int switch_port_add(
	struct switch_ *sw, const struct port_params *params, char *err, size_t err_size)
{
	if (params->kind >= PROTO_PORT_KIND_COUNT) {
		snprintf(err, err_size, "port %s: kind %u is not known", params->name,
			(unsigned)params->kind);
		close_fds(params);
		return -EINVAL;
	}
	// Nobody would close them: the other kinds open for themselves.
	if (params->n_fds && !takes_fds(params)) {
		snprintf(err, err_size, "port %s: %u fds; a port of kind %s takes none",
			params->name, params->n_fds, kinds[params->kind]->name);
		close_fds(params);
		return -EINVAL;
	}
	return switch_port_add_kind(sw, params, kinds[params->kind], err, err_size);
}

// Makes the port; whoever fails before the kind has taken the fds leaves them to the caller.
static int create(struct switch_ *sw, const struct port_params *params, const struct port_ops *ops,
	struct port **ret_port, char *err, size_t err_size)
{
	struct port *p;
	int r;

	if (params->id == 0 || params->id > POLICY_MAX_PORT_ID) {
		snprintf(err, err_size, "port id %u is out of range", params->id);
		return -EINVAL;
	}
	if (sw->ports[params->id]) {
		snprintf(err, err_size, "port %u exists already", params->id);
		return -EEXIST;
	}
	p = port_new(sw, params, ops);
	if (!p) {
		snprintf(err, err_size, "port %s: no memory", params->name);
		return -ENOMEM;
	}
	r = p->ops->create(p, params, err, err_size);
	if (r < 0) {
		port_free(p);
		return r;
	}
	*ret_port = p;
	return 0;
}

int switch_port_add_kind(struct switch_ *sw, const struct port_params *params,
	const struct port_ops *ops, char *err, size_t err_size)
{
	struct port *p;
	int r = create(sw, params, ops, &p, err, err_size);

	if (r < 0) {
		close_fds(params);
		return r;
	}
	// release: the port is complete before workers can look it up
	atomic_store_explicit(&sw->ports[p->id], p, memory_order_release);
	if (!p->held)
		atomic_store_explicit(&sw->open_ports[p->id], p, memory_order_release);
	// Made anew under a policy that stays: what left with the old one comes back.
	if (policy_port(sw->policy, p->id))
		r = set_static(sw, sw->policy, policy_port(sw->policy, p->id));
	if (r < 0) {
		snprintf(err, err_size, "port %s: no room for its MAC", params->name);
		switch_port_del(sw, p->id); // closes the fds
		return r;
	}
	r = give_queues(sw, p);
	if (r < 0) {
		snprintf(err, err_size, "port %s: no worker can take its queues", params->name);
		switch_port_del(sw, p->id);
		return r;
	}
	if (!p->held)
		announce_uplinks(sw);
	return 0;
}

int switch_port_del(struct switch_ *sw, uint32_t id)
{
	struct port *p = id <= POLICY_MAX_PORT_ID ? sw->ports[id] : NULL;

	if (!p)
		return -ENOENT;
	atomic_store_explicit(&sw->ports[id], NULL, memory_order_release);
	atomic_store_explicit(&sw->open_ports[id], NULL, memory_order_release);
	take_queues(sw, p);
	p->ops->destroy(p);
	fdb_flush_port(sw->fdb, id);
	binding_del_port(sw->bindings, id);
	neighbours_forget(sw->neighbours, id);
	for (unsigned r = 0; r < DROP_COUNT; r++)
		for (unsigned i = 0; i <= sw->n_workers; i++)
			sw->gone_drops[r] += p->counters[i]->drops[r];
	port_free(p);
	return 0;
}

void switch_serve_ports(struct switch_ *sw)
{
	const struct policy *pol = sw->policy;
	const struct port *refused = NULL;

	for (uint32_t i = 0; i < pol->n_ports; i++) {
		struct port *p = sw->ports[pol->ports[i].p->id];

		if (p && give_queues(sw, p) < 0)
			refused = p;
	}
	if (refused)
		fprintf(stderr,
			"insula-switch: port %s: no worker can take its queues; trying again every "
			"second\n",
			refused->params.name);
}

// Gateways' entries that the new policy no longer has; VLANs are unique, so one look finds a
// segment's successor.
static void forget_gateways(struct switch_ *sw, const struct policy *old, const struct policy *pol)
{
	for (uint32_t i = 0; i < old->n_segments; i++) {
		const struct policy_segment *o = old->segments[i].s;
		uint32_t at = pol->vlan_segment[o->vlan];
		const struct policy_segment *n =
			at != POLICY_NO_SEGMENT ? pol->segments[at].s : NULL;

		if (o->gateway && !(n && n->id == o->id && n->gateway &&
					  mac_equal(&n->gateway_mac, &o->gateway_mac)))
			fdb_del_static(sw->fdb, o->id, &o->gateway_mac);
	}
}

// Static forwarding entries follow the policy: what the new one no longer has goes, the rest is
// set. policy_check sees to it that no two ask for one entry; what remains is a full table.
static void publish_fdb(struct switch_ *sw, const struct policy *old, const struct policy *pol)
{
	unsigned refused = 0;

	forget_gateways(sw, old, pol);
	for (uint32_t i = 0; i < old->n_ports; i++) {
		const struct policy_prt *o = &old->ports[i], *n = policy_port(pol, o->p->id);
		bool same = n && n->segment != POLICY_NO_SEGMENT &&
			    o->segment != POLICY_NO_SEGMENT &&
			    pol->segments[n->segment].s->id == old->segments[o->segment].s->id &&
			    mac_equal(&n->p->mac, &o->p->mac);

		if (o->segment != POLICY_NO_SEGMENT && !same)
			fdb_del_static(sw->fdb, old->segments[o->segment].s->id, &o->p->mac);
	}
	for (uint32_t i = 0; i < pol->n_ports; i++)
		refused += set_static(sw, pol, &pol->ports[i]) < 0;
	for (uint32_t i = 0; i < pol->n_segments; i++)
		if (pol->segments[i].s->gateway) // nobody else may speak with the gateway's MAC
			refused += fdb_set_static(sw->fdb, pol->segments[i].s->id,
					   &pol->segments[i].s->gateway_mac,
					   POLICY_MAX_PORT_ID + 1) < 0;
	if (refused)
		fprintf(stderr,
			"insula-switch: generation %llu: no room for %u MACs of ports and "
			"gateways\n",
			(unsigned long long)pol->generation, refused);
}

struct refresh {
	struct switch_ *sw;
	const struct policy *pol;
};

// After a policy change each entry points where the new policy says, or nowhere.
static void refresh_nexthop(void *arg, struct nexthop *nh)
{
	struct refresh *r = arg;

	if (nh->kind == NEXTHOP_HOST)
		atomic_store(&nh->where, route_host_where(r->sw, r->pol, nh));
	else if (nh->kind == NEXTHOP_BRIDGED)
		atomic_store(&nh->where, forward_bridged_where(r->sw, nh));
	else if (nh->kind == NEXTHOP_NEIGHBOUR && !policy_port(r->pol, nh->domain))
		atomic_store(&nh->where, 0);
}

// Once more when every worker goes by the policy: one that was in the middle of a burst may have
// stored where the policy before pointed.
static void refresh_again(void *arg)
{
	struct switch_ *sw = arg;

	nexthop_each(sw->nexthops, refresh_nexthop, &(struct refresh){ sw, sw->policy });
}

struct pruning {
	struct switch_ *sw;
	const struct policy *pol;
	uint64_t now_ns;
};

static bool is_orphan(void *arg, const struct session_record *rec)
{
	const struct pruning *p = arg;

	return !policy_port(p->pol, rec->d.src_port) || !policy_port(p->pol, rec->d.dst_port);
}

static void release_mapping(void *arg, const struct session_record *rec)
{
	const struct pruning *p = arg;

	session_released(p->sw, rec, p->now_ns);
}

// Sessions of ports that the policy no longer names end with it. A port made anew keeps its
// sessions.
static void prune_sessions(struct switch_ *sw, const struct policy *old, const struct policy *pol)
{
	struct timespec ts;
	bool lost =
		old->generation == 0; // the first policy of this process: sessions of another life

	for (uint32_t i = 0; i < old->n_ports && !lost; i++)
		lost = !policy_port(pol, old->ports[i].p->id);
	if (!lost)
		return;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	session_remove_if(sw->sessions, is_orphan, release_mapping,
		&(struct pruning){
			sw, pol, (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec });
}

// Opens the ports that waited for this policy. Not before every worker goes by it: under the one
// before, another device had the port's id. What waited for a neighbour meanwhile was addressed for
// that device.
static void open_held(struct switch_ *sw)
{
	const struct policy *pol = sw->policy;
	bool graced = false;

	for (uint32_t i = 0; i < pol->n_ports; i++) {
		struct port *p = sw->ports[pol->ports[i].p->id];

		if (!p || !p->held)
			continue;
		if (!graced)
			switch_grace(sw);
		graced = true;
		neighbours_forget(sw->neighbours, p->id);
		// release: the policy, and what follows it, before the port
		atomic_store_explicit(&sw->open_ports[p->id], p, memory_order_release);
		p->held = false;
	}
}

static void retire_policy(void *pol)
{
	policy_free(pol);
}

void switch_policy_publish(struct switch_ *sw, struct policy *pol)
{
	const struct policy *old = sw->policy;
	struct refresh r = { sw, pol };

	publish_fdb(sw, old, pol);
	// release: everything the policy points to is complete before workers see it
	atomic_store_explicit(&sw->policy, pol, memory_order_release);
	prune_sessions(sw, old, pol);
	nexthop_each(sw->nexthops, refresh_nexthop, &r);
	open_held(sw);
	switch_serve_ports(sw);
	if (old != policy_empty()) {
		switch_retire(sw, sw, refresh_again);
		switch_retire(sw, (void *)(uintptr_t)old, retire_policy);
	}
	announce_uplinks(sw);
}
