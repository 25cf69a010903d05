// SPDX-License-Identifier: BSD-3-Clause
// The switch: what its workers and its control thread share. Each field says who writes it; what is
// not immutable is atomic or locks for itself.
#pragma once

#include <rte_rcu_qsbr.h>
#include "vlan/fdb.h"
#include "vswitch/binding.h"
#include "vswitch/nat_table.h"
#include "vswitch/neighbour.h"
#include "vswitch/nexthop.h"
#include "vswitch/pipeline.h"
#include "vswitch/route.h"
#include "vswitch/session_table.h"

struct switch_config {
	unsigned n_workers;
	bool poll; // workers never sleep
	uint32_t n_mappings; // capacity
	// No port, and no tenant with many ports, can fill the table for the others.
	uint32_t sessions_per_tenant, sessions_per_port;
	uint32_t n_small, n_big; // mbufs per worker
	uint64_t seed;
};

struct switch_ {
	struct switch_config cfg; // immutable
	struct rte_rcu_qsbr *qsbr; // workers report; control waits
	const struct policy *_Atomic policy; // control publishes with release
	struct port *_Atomic ports[POLICY_MAX_PORT_ID + 1]; // by id; control publishes with release
	// Of them those that carry packets: not the held ones. Control publishes with release.
	struct port *_Atomic open_ports[POLICY_MAX_PORT_ID + 1];
	struct fdb *fdb; // locks for itself
	struct binding_table *bindings; // control writes; see binding.h
	struct nexthop_table *nexthops;
	struct neighbours *neighbours;
	struct session_table *sessions;
	struct nat_table *mappings;
	// Sessions of each tenant (its id modulo the array's size), for its quota: any worker,
	// relaxed.
	_Atomic uint32_t tenant_sessions[65536];
	struct rte_mempool *messages; // struct worker_message; locks for itself
	struct switch_retired *retired; // control: waiting for their grace period
	uint64_t gone_drops[DROP_COUNT]; // control: what ports that were removed had dropped
	int control_event_fd; // workers write: a message waits in to_control
	_Atomic uint64_t announce; // control bumps: worker 0 announces uplink addresses again
	unsigned n_workers;
	struct worker *workers[WORKER_MAX];
};

// sessions, mappings: opened tables (tables.h), owned by the caller.
int switch_new(const struct switch_config *cfg, struct session_table *sessions,
	struct nat_table *mappings, struct switch_ **ret_switch);
void switch_free(struct switch_ *sw);

// Ports (control thread). err gets a sentence on failure. The params' fds are the switch's from the
// call on: a port's, or closed when there is none.
int switch_port_add(
	struct switch_ *sw, const struct port_params *params, char *err, size_t err_size);
// The same with a port kind of the caller's (tests).
int switch_port_add_kind(struct switch_ *sw, const struct port_params *params,
	const struct port_ops *ops, char *err, size_t err_size);
int switch_port_del(struct switch_ *sw, uint32_t id); // waits for a grace period

// Gives the workers the queues of ports that the policy names and they do not have yet: at
// publication, and by the housekeeping what failed then.
void switch_serve_ports(struct switch_ *sw);
// Publishes `pol` (owned from now on) and retires the old one after a grace period. Ports that
// were held for it carry packets from then on.
void switch_policy_publish(struct switch_ *sw, struct policy *pol);
// Frees `object` by `release` once no worker can hold it. Control thread, does not wait.
void switch_retire(struct switch_ *sw, void *object, void (*release)(void *));
// Frees what has passed its grace period; the housekeeping calls it.
void switch_retire_poll(struct switch_ *sw);
// What runs out with time: sessions, mappings, learned addresses. Once a second: the control thread
// or a replay (housekeeping.c).
void switch_expire(struct switch_ *sw, uint64_t now_ns);
// Waits until every worker has passed a quiescent state.
void switch_grace(struct switch_ *sw);

// For looking at; what is to be sent asks switch_open_port.
static inline struct port *switch_port(struct switch_ *sw, uint32_t id)
{
	return id <= POLICY_MAX_PORT_ID ? atomic_load_explicit(&sw->ports[id], memory_order_acquire)
					: NULL;
}

// The port, if it carries packets; else NULL.
static inline struct port *switch_open_port(struct switch_ *sw, uint32_t id)
{
	// acquire: who sees it goes by the policy it waited for
	return id <= POLICY_MAX_PORT_ID
		       ? atomic_load_explicit(&sw->open_ports[id], memory_order_acquire)
		       : NULL;
}
