// SPDX-License-Identifier: BSD-3-Clause
// DHCP on dynamic pools, seen from control: messages of workers are parked under a token and told
// to insulad; its answer, given after its commit, becomes a reply frame that a worker sends.
// Bindings in force open the guard; their end closes it.
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "vswitch/control.h"

// Control's own row of a port's counters.
static void count_drop(struct control *c, uint32_t port, enum drop_reason reason)
{
	struct port *p = switch_port(c->sw, port);

	if (p)
		p->counters[c->sw->n_workers]->drops[reason]++;
}

static void lease_event(struct control *c, const struct worker_message *wm)
{
	const struct dhcp4_msg *msg = &wm->lease.msg;
	bool waits =
		wm->lease.kind == PROTO_LEASE_REQUEST || wm->lease.kind == PROTO_LEASE_DISCOVER;
	struct parked *slot = NULL;
	struct proto_lease_event e = { .kind = wm->lease.kind,
		.port = wm->port,
		.segment = wm->segment_id,
		.mac = msg->chaddr,
		.client_id_size = msg->client_id_size,
		.address = wm->lease.address ? wm->lease.address : msg->ciaddr };

	if (waits && c->conn_fd >= 0)
		slot = parked_add(c->parking, wm, control_now_ns(CLOCK_MONOTONIC));
	if (waits && !slot) { // the client asks again
		count_drop(c, wm->port, DROP_SERVICE_DHCP_BUSY);
		return;
	}
	e.token = slot ? slot->token : 0;
	memcpy(e.client_id, msg->client_id, msg->client_id_size);
	memcpy(e.hostname, msg->hostname, sizeof(e.hostname));
	if (control_event(c, &e, PROTO_EVENT_LEASE, sizeof(e)) == 0)
		return;
	if (slot)
		parked_del(c->parking, slot);
	if (wm->lease.kind != PROTO_LEASE_BOUND) // that client has its ACK
		count_drop(c, wm->port, DROP_SERVICE_DHCP_BUSY);
}

void control_from_workers(struct control *c)
{
	uint64_t count;

	if (read(c->sw->control_event_fd, &count, sizeof(count)) < 0)
		return;
	for (unsigned i = 0; i < c->sw->n_workers; i++) {
		struct worker_message *wm;

		while (rte_ring_dequeue(c->sw->workers[i]->to_control, (void **)&wm) == 0) {
			if (wm->kind == MESSAGE_LEASE)
				lease_event(c, wm);
			rte_mempool_put(c->sw->messages, wm);
		}
	}
}

// Hands a frame to the worker that will send it; lost (and counted) when its ring is full.
static int emit(struct control *c, const struct parked *slot, const struct dhcp4_config *cfg,
	const struct dhcp4_decision *d)
{
	struct worker *w = c->sw->workers[slot->port % c->sw->n_workers];
	struct worker_message *wm;
	int size;

	if (rte_mempool_get(c->sw->messages, (void **)&wm) < 0)
		return -ENOBUFS;
	*wm = (struct worker_message){
		.kind = MESSAGE_EMIT, .port = slot->port, .segment_id = slot->segment_id
	};
	size = dhcp4_build(&slot->msg, cfg, d, wm->emit.frame, sizeof(wm->emit.frame));
	wm->emit.size = (uint32_t)size;
	if (size < 0 || rte_ring_enqueue(w->from_control, wm) < 0) {
		rte_mempool_put(c->sw->messages, wm);
		return size < 0 ? size : -ENOBUFS;
	}
	// seq_cst: see worker_sleep
	if (atomic_load(&w->sleeping))
		worker_wake(w);
	return 0;
}

static bool is_in_force(struct control *c, const struct parked *slot, be32 address)
{
	struct binding b;

	return binding_by_mac(c->sw->bindings, slot->segment_id, &slot->msg.chaddr,
		       control_now_ns(CLOCK_MONOTONIC), &b) &&
	       b.port == slot->port && b.address == address;
}

// Sends the reply that the word on a parked message makes of it.
static int reply(struct control *c, const struct parked *slot, be32 address, const char **ret_why)
{
	const struct policy *pol = c->sw->policy;
	const struct policy_prt *prt = policy_port(pol, slot->port);
	int r = 0;

	if (!prt || prt->segment == POLICY_NO_SEGMENT ||
		pol->segments[prt->segment].s->id != slot->segment_id) {
		*ret_why = "its port or segment is gone";
		return -ENOENT;
	}
	const struct dhcp4_config *cfg = &pol->segments[prt->segment].dhcp;
	// An ACK promises that the guard lets the client pass.
	if (slot->msg.type == DHCP4_REQUEST && !is_in_force(c, slot, address))
		address = 0;
	struct dhcp4_decision d = dhcp4_decide(&slot->msg, cfg, address, false);
	// Silence in INIT-REBOOT and REBINDING is for clients nobody knows; control knows, and
	// refuses.
	if (address == 0 && slot->msg.type == DHCP4_REQUEST)
		d.action = DHCP4_DO_NAK;
	if (d.action == DHCP4_DO_OFFER || d.action == DHCP4_DO_ACK || d.action == DHCP4_DO_NAK)
		r = emit(c, slot, cfg, &d);
	else if (address == 0)
		count_drop(c, slot->port, DROP_SERVICE_DHCP_EXHAUSTED);
	if (r < 0) {
		*ret_why = "the reply could not be sent";
		count_drop(c, slot->port, DROP_SERVICE_DHCP_BUSY);
	}
	return r;
}

// The word on the message that is parked under the token, which ends its wait.
static int answer(struct control *c, uint32_t token, be32 address, const char **ret_why)
{
	struct parked *slot = parked_find(c->parking, token);
	int r = 0;

	if (!slot) {
		*ret_why = "nobody waits for this answer any more";
		return -ENOENT;
	}
	if (address == PROTO_LEASE_NO_ANSWER)
		count_drop(c, slot->port, DROP_SERVICE_DHCP_BUSY);
	else
		r = reply(c, slot, address, ret_why);
	parked_del(c->parking, slot);
	return r;
}

void control_lease_answer(struct control *c)
{
	const struct proto_lease_answer *q = (const void *)c->in->bytes;
	const char *why = NULL;
	int r = answer(c, q->token, q->address, &why);

	control_reply_status(c, r, why);
}

// Established sessions follow a lease through their next hops: to where it is now, or nowhere.
static void repoint(struct control *c, const struct binding *b)
{
	struct nexthop_table *t = c->sw->nexthops;
	struct nexthop *nh = nexthop_get(t, nexthop_find_host(t, b->zone, b->address, 0));

	if (nh)
		atomic_store(&nh->where, route_host_where(c->sw, c->sw->policy, nh));
	nh = nexthop_get(t, nexthop_find_bridged(t, b->segment, &b->mac));
	if (nh)
		atomic_store(&nh->where, forward_bridged_where(c->sw, nh));
}

static void forget(struct control *c, const struct binding *b)
{
	fdb_del_static(c->sw->fdb, b->segment, &b->mac);
	repoint(c, b);
}

// Ends this lease, and not another that its MAC or its address has got since.
static void end_lease(struct control *c, const struct binding *b)
{
	struct binding now;

	if (!binding_by_mac(c->sw->bindings, b->segment, &b->mac, 0, &now) ||
		now.address != b->address || now.port != b->port)
		return;
	binding_del(c->sw->bindings, b->segment, &b->mac);
	forget(c, &now);
}

// Why there is no room for a lease.
static const char *no_room(int error)
{
	return error == -EEXIST   ? "its MAC is another port's"
	       : error == -EDQUOT ? "its tenant has as many dynamic leases as one may have"
				  : "there is no room for more leases or MACs";
}

static int begin_lease(struct control *c, const struct binding *b)
{
	struct binding now;
	int r = fdb_set_static(c->sw->fdb, b->segment, &b->mac, b->port);

	if (r < 0)
		return r;
	if (binding_by_address(c->sw->bindings, b->zone, b->address, 0, &now) &&
		(now.segment != b->segment || !mac_equal(&now.mac, &b->mac)))
		end_lease(c, &now);
	r = binding_set(c->sw->bindings, b);
	if (r == 0)
		repoint(c, b);
	else if (!binding_by_mac(c->sw->bindings, b->segment, &b->mac, 0, &now))
		fdb_del_static(c->sw->fdb, b->segment, &b->mac);
	return r;
}

void control_lease_set(struct control *c)
{
	const struct proto_lease_set *q = (const void *)c->in->bytes;
	const struct policy *pol = c->sw->policy;
	const struct policy_prt *prt = policy_port(pol, q->port);
	struct binding b = { .port = q->port,
		.segment = q->segment,
		.address = q->address,
		.mac = q->mac,
		.expires_ns = control_now_ns(CLOCK_MONOTONIC) + q->remaining_ns };
	const char *why;
	int r;

	if (q->remaining_ns == 0) { // also of a port that the policy knows no more
		end_lease(c, &b);
		control_reply_status(c, 0, NULL);
		return;
	}
	if (!prt || prt->segment == POLICY_NO_SEGMENT ||
		pol->segments[prt->segment].s->id != q->segment ||
		!(prt->p->flags & POLICY_PORT_CLIENTS_MANY)) {
		answer(c, q->token, PROTO_LEASE_NO_ANSWER, &why);
		control_reply_status(c, -EINVAL, "no such port, segment or not `clients: many`");
		return;
	}
	b.zone = pol->segments[prt->segment].s->zone;
	r = begin_lease(c, &b);
	if (q->token) // the lease stands, whatever becomes of the ACK: its client asks again
		answer(c, q->token, q->address, &why);
	control_reply_status(c, r, r < 0 ? no_room(r) : NULL);
}

static void expired(void *arg, const struct binding *b)
{
	forget(arg, b);
}

void control_leases_expire(struct control *c, uint64_t now_ns)
{
	binding_expire(c->sw->bindings, now_ns, expired, c);
}
