// SPDX-License-Identifier: BSD-3-Clause
// What the control thread does about once a second: sessions, mappings, leases and learned
// addresses that ran out, memory whose grace period has passed, ports that died or wait for a
// worker. Idle, it wakes once a second.
#include "vswitch/control.h"
#include "vswitch/session.h"

#define SECOND 1000000000ull

enum {
	SESSION_BUDGET = 65536, // records examined a second
	MAPPING_BUDGET = 65536,
	FDB_BUDGET = 8192,
	NAT_HOLD_S = 120, // RFC 6888 REQ-8: a port rests before another endpoint gets it
	BUSY_TIMEOUT_MS = 10,
	IDLE_TIMEOUT_MS = 1000,
};

struct going {
	struct switch_ *sw;
	uint64_t now_ns;
};

static void session_gone(void *arg, const struct session_record *rec)
{
	struct going *g = arg;

	session_released(g->sw, rec, g->now_ns);
}

void switch_expire(struct switch_ *sw, uint64_t now_ns)
{
	session_expire(sw->sessions, &session_timeouts_default, now_ns, SESSION_BUDGET,
		session_gone, &(struct going){ sw, now_ns });
	nat_expire(sw->mappings, now_ns, NAT_HOLD_S, MAPPING_BUDGET);
	fdb_age(sw->fdb, now_ns, FDB_BUDGET);
}

void control_watch_port(struct control *c, struct port *p)
{
	uint32_t up = atomic_load(&p->dead) ? 2 : !!atomic_load(&p->up);
	struct proto_port_event e = { .id = p->id, .up = up };

	if (up != p->told && control_event(c, &e, PROTO_EVENT_PORT, sizeof(e)) == 0)
		p->told = up; // else again within the second
}

void control_forget_told(struct control *c)
{
	for (uint32_t id = 1; id <= POLICY_MAX_PORT_ID; id++) {
		struct port *p = switch_port(c->sw, id);

		if (p)
			p->told = PORT_TOLD_NOTHING;
	}
}

static void watch_ports(struct control *c)
{
	for (uint32_t id = 1; id <= POLICY_MAX_PORT_ID; id++) {
		struct port *p = switch_port(c->sw, id);

		if (p)
			control_watch_port(c, p);
	}
}

// Ids of removed sessions come back once every worker has been quiescent since.
static void reclaim(struct control *c)
{
	if (c->reclaim_token && rte_rcu_qsbr_check(c->sw->qsbr, c->reclaim_token, false) != 1)
		return;
	tables_reclaim(c->tables);
	c->reclaim_token = rte_rcu_qsbr_start(c->sw->qsbr);
}

// Silence tells insulad that this thread does not go on either.
static void tell_progress(struct control *c)
{
	struct proto_alive_event e = { 0 };

	e.still_s = progress_look(&c->progress, c->sw, &e.worker);
	control_event(c, &e, PROTO_EVENT_ALIVE, sizeof(e));
}

void control_keep_house(struct control *c)
{
	uint64_t now = control_now_ns(CLOCK_MONOTONIC);

	switch_retire_poll(c->sw);
	if (now - c->kept_house_ns < SECOND)
		return;
	c->kept_house_ns = now;
	switch_expire(c->sw, now);
	reclaim(c);
	control_leases_expire(c, now);
	parked_expire(c->parking, now);
	switch_serve_ports(c->sw);
	watch_ports(c);
	tell_progress(c);
}

int control_house_timeout(const struct control *c)
{
	return c->sw->retired ? BUSY_TIMEOUT_MS : IDLE_TIMEOUT_MS;
}
