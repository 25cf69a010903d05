// SPDX-License-Identifier: BSD-3-Clause
// The dynamic pools' leases, see lease.h. In memory and in the store; what the switch is told of
// them is in lease_tell.c. Offers (answers to DISCOVER) are memory only. Who gets which address is
// in lease_pool.c, how leases are found in lease_index.c. Main thread only.
#include "control/lease.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "control/boot.h"
#include "control/daemon_internal.h"
#include "control/describe.h"
#include "control/lease_internal.h"
#include "control/log.h"

enum {
	DECLINED_S = 600,
	LONGEST_S = 31536000, // as SCHEMA.md has it
};

static void load_one(void *arg, const struct store_lease *s)
{
	struct leases *l = arg;
	int64_t now_ns = lease_now_ns(), left_s = s->expires_at - lease_time_of_day_s();
	uint32_t most_s = s->lasts_s ? s->lasts_s : LONGEST_S;
	int64_t latest_ns = now_ns + most_s * LEASE_SECOND, ends_ns = s->boot_ends_ns;

	if (!s->boot || s->boot != l->boot)
		ends_ns = left_s < 0        ? 0
			  : left_s > most_s ? latest_ns
					    : now_ns + left_s * LEASE_SECOND;
	// later: the time of day was set back
	lease_add(&l->index, s, ends_ns < latest_ns ? ends_ns : latest_ns, false);
}

// Leases of another boot run by this one's clock from now on, also for the next insulad: the time
// of day may be set right only now. Where that cannot be written, it looks at the time of day
// again.
static void enter_boot(struct leases *l)
{
	bool any = false;
	int r = 0;
	struct lease *x;

	if (!l->boot)
		return;
	TAILQ_FOREACH(x, &l->index.all, all)
	{
		if (x->s.boot == l->boot)
			continue;
		if (!any)
			r = store_begin(l->d->store);
		any = true;
		x->s.boot = l->boot;
		x->s.boot_ends_ns = x->ends_ns;
		if (r == 0)
			r = store_put_lease(l->d->store, &x->s);
	}
	if (any && r == 0)
		r = store_commit(l->d->store);
	else if (any)
		store_rollback(l->d->store);
	if (r < 0)
		log_warning("leases: %s", store_error(l->d->store));
}

// When it is ended here. The switch has ended it before: it counts from when it was told, which was
// once the lease was stored.
static int64_t is_over_ns(const struct lease *x)
{
	return x->ends_ns + LEASE_SECOND;
}

// Most batches leave the first end as it is: no system call then.
void lease_arm(struct leases *l)
{
	const struct lease *first = lease_first_to_end(&l->index);
	int64_t over_ns = first ? is_over_ns(first) : INT64_MAX, now_ns = lease_now_ns();

	if (over_ns == l->armed_ns)
		return;
	l->armed_ns = over_ns;
	if (!first)
		loop_timer_disarm(l->timer);
	else
		loop_timer_arm(l->timer, over_ns <= now_ns ? 1 : (uint64_t)(over_ns - now_ns));
}

static void on_expiry(void *arg)
{
	struct leases *l = arg;
	int64_t now_ns = lease_now_ns();
	bool ok = store_begin(l->d->store) == 0;
	struct lease *x;

	l->armed_ns = INT64_MAX; // it fires once
	while ((x = lease_first_to_end(&l->index)) && is_over_ns(x) <= now_ns) {
		if (!x->offered && !x->s.declined)
			lease_tell_end(l, &x->s);
		if (!x->offered && ok)
			store_delete_lease(l->d->store, x->s.segment, x->s.address);
		lease_remove(&l->index, x);
	}
	if (ok)
		store_commit(l->d->store);
	lease_arm(l);
}

int leases_new(struct daemon *d, struct leases **ret_leases)
{
	struct leases *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->d = d;
	l->armed_ns = INT64_MAX;
	l->boot = boot_id();
	lease_index_init(&l->index);
	int r = loop_add_timer(d->loop, on_expiry, l, &l->timer);
	if (r == 0)
		r = store_each_lease(d->store, load_one, l);
	if (r == 0)
		r = bounds_new(d, &l->bounds);
	if (r < 0) {
		leases_free(l);
		return r;
	}
	enter_boot(l);
	lease_arm(l);
	*ret_leases = l;
	return 0;
}

void leases_free(struct leases *l)
{
	if (!l)
		return;
	loop_remove(l->d->loop, l->timer);
	bounds_free(l->bounds);
	lease_index_clear(&l->index);
	free(l->events);
	free(l->offers.v);
	free(l->answers.v);
	free(l);
}

// --- deciding ---

// Room for one more than n elements; made at each power of two.
static void *grow(void *v, size_t n, size_t size)
{
	return n & (n - 1) ? v : realloc(v, (n ? 2 * n : 1) * size);
}

static struct switch_lease_request *add_answer(struct lease_answers *to, uint16_t type, size_t size)
{
	struct switch_lease_request *grown = grow(to->v, to->n, sizeof(*grown));

	if (!grown)
		return NULL;
	to->v = grown;
	grown[to->n] = (struct switch_lease_request){ 0 };
	grown[to->n].h.type = type;
	grown[to->n].h.size = (uint32_t)size;
	return &grown[to->n++];
}

static void reply(struct lease_answers *to, uint32_t token, be32 address)
{
	struct switch_lease_request *a = add_answer(to, PROTO_LEASE_ANSWER, sizeof(a->answer));

	if (a) {
		a->answer.token = token;
		a->answer.address = address;
	}
}

static void set(struct leases *l, const struct store_lease *s, uint32_t lasts_s, uint32_t token)
{
	struct switch_lease_request *a = add_answer(&l->answers, PROTO_LEASE_SET, sizeof(a->set));

	if (a) {
		a->set.port = s->port;
		a->set.segment = s->segment;
		a->set.mac = s->mac;
		a->set.address = s->address;
		a->set.remaining_ns = lasts_s * UINT64_C(1000000000);
		a->set.token = token;
	}
}

// What its MAC holds already under another identifier: its firmware's, say.
static struct lease *held_by_mac(
	struct leases *l, const struct desired_segment *s, const struct proto_lease_event *e)
{
	struct lease *x = lease_of_mac(&l->index, e, NULL);

	return x && lease_may_hold(l, s, x->s.address) ? x : NULL;
}

static int on_discover(struct leases *l, const struct proto_lease_event *e)
{
	const struct desired_segment *s = lease_pool_of(l->d->desired, e->port, e->segment);
	struct lease *x = s ? lease_of_client(&l->index, e) : NULL;

	if (x && !lease_may_hold(l, s, x->s.address))
		x = NULL;
	if (s && !x)
		x = held_by_mac(l, s, e);
	if (s && !x)
		x = lease_new(l, s, e, false);
	if (x && x->offered)
		x->s.mac = e->mac; // no tree's key: it has an identifier, or this MAC already
	reply(&l->offers, e->token, x ? x->s.address : 0);
	return 0;
}

static int end_lease(struct leases *l, struct lease *x)
{
	set(l, &x->s, 0, 0);
	int r = store_delete_lease(l->d->store, x->s.segment, x->s.address);
	lease_remove(&l->index, x);
	return r;
}

// A MAC has one address, for the guard knows one: what it had under another client identifier (its
// firmware's, say) ends. Behind another port it is somebody else's MAC, and the switch refuses.
static int end_former(
	struct leases *l, const struct lease *granted, const struct proto_lease_event *e)
{
	struct lease *x, *next;
	int r = 0;

	while (r == 0 && (x = lease_of_mac(&l->index, e, granted)))
		r = end_lease(l, x);
	// Offers: they are few, see lease_new.
	TAILQ_FOREACH_SAFE(x, &granted->holder->offers, offer, next)
	if (x != granted && mac_equal(&x->s.mac, &e->mac))
		lease_remove(&l->index, x);
	return r;
}

// It goes on under the identifier that it has now.
static struct lease *take_over(
	struct leases *l, const struct desired_segment *s, const struct proto_lease_event *e)
{
	struct lease *x = held_by_mac(l, s, e);

	if (!x || (e->address && e->address != x->s.address))
		return NULL;
	lease_set_client(&l->index, x, e);
	return x;
}

// Granted: the address offered or held, or (a client that remembers what we do not) a free one. Not
// one that the pool had when it was leased, and has no more: that is over now.
static int on_request(struct leases *l, const struct proto_lease_event *e)
{
	const struct desired_segment *s = lease_pool_of(l->d->desired, e->port, e->segment);
	struct lease *former = s ? lease_of_mac(&l->index, e, NULL) : NULL;
	int r = former && former->outside ? end_lease(l, former) : 0;
	struct lease *x = s ? lease_of_client(&l->index, e) : NULL;

	if (s && !x)
		x = take_over(l, s, e);
	if (s && !x && e->address && lease_in_pool(s, e->address))
		x = lease_new(l, s, e, true);
	if (!x || !lease_may_hold(l, s, x->s.address) ||
		(e->address && x->s.address != e->address) || lease_mac_elsewhere(&l->index, e)) {
		reply(&l->answers, e->token, 0);
		return r;
	}
	// It has another MAC: the old one's place is closed.
	if (!x->offered && !mac_equal(&x->s.mac, &e->mac))
		set(l, &x->s, 0, 0);
	if (r == 0)
		r = end_former(l, x, e);
	x->unconfirmed = x->unconfirmed || x->offered || !mac_equal(&x->s.mac, &e->mac);
	lease_set_granted(&l->index, x, &e->mac);
	lease_ends_in(l, x, s->network->lease_s);
	memcpy(x->s.hostname, e->hostname, sizeof(x->s.hostname));
	if (r == 0)
		r = store_put_lease(l->d->store, &x->s);
	x->granted_by = l->answers.n;
	set(l, &x->s, s->network->lease_s, e->token);
	return r;
}

// Somebody else in the network has the address: a client may say so as often as it likes.
static void log_declined(struct leases *l, const struct proto_lease_event *e)
{
	const struct desired_port *p = desired_port_by_id(l->d->desired, e->port);
	const uint8_t *m = e->mac.b;
	char address[INET_ADDRSTRLEN], then[48];

	if (!log_limit_pass(&l->limit, 5))
		return;
	describe_address(e->address, address);
	snprintf(then, sizeof(then), "not given out for %d s", DECLINED_S);
	log_warning("lease: %02x:%02x:%02x:%02x:%02x:%02x on port %s declined %s, which somebody "
		    "else uses already: it is %s",
		m[0], m[1], m[2], m[3], m[4], m[5], p ? p->name : "?", address,
		p && p->address == e->address ? "the port's own, and offered again" : then);
}

static int on_end(struct leases *l, const struct proto_lease_event *e)
{
	struct lease *x = lease_named(&l->index, e);

	// An identifier can be imitated; a MAC behind this port was let through by the guard.
	if (!x || !mac_equal(&x->s.mac, &e->mac))
		return 0;
	if (!x->offered)
		set(l, &x->s, 0, 0);
	if (e->kind == PROTO_LEASE_DECLINE) {
		lease_set_declined(&l->index, x);
		l->declined = e;
		lease_ends_in(l, x, DECLINED_S);
		return store_put_lease(l->d->store, &x->s);
	}
	int r = store_delete_lease(l->d->store, x->s.segment, x->s.address);
	lease_remove(&l->index, x);
	return r;
}

static bool is_configured(struct leases *l, const struct proto_lease_event *e)
{
	const struct desired_port *p =
		l->d->desired ? desired_port_by_id(l->d->desired, e->port) : NULL;

	return e->kind == PROTO_LEASE_BOUND || (p && p->address);
}

// The switch serves these by itself: what they say is for the list.
static void on_configured(struct leases *l, const struct proto_lease_event *e)
{
	const struct desired_port *p = desired_port_by_id(l->d->desired, e->port);

	if (e->kind != PROTO_LEASE_BOUND &&
		(p->address != e->address || !mac_equal(&p->mac, &e->mac)))
		return;
	if (e->kind == PROTO_LEASE_DECLINE)
		log_declined(l, e);
	bounds_on_event(l->bounds, e, lease_time_of_day_s());
}

void leases_on_event(struct leases *l, const struct proto_lease_event *e)
{
	if (is_configured(l, e)) {
		on_configured(l, e);
		return;
	}
	struct proto_lease_event *grown = grow(l->events, l->n_events, sizeof(*grown));
	if (!grown)
		return; // the client asks again
	l->events = grown;
	grown[l->n_events++] = *e;
}

static int decide(struct leases *l, const struct proto_lease_event *e)
{
	switch ((enum proto_lease_kind)e->kind) {
	case PROTO_LEASE_DISCOVER:
		return on_discover(l, e);
	case PROTO_LEASE_REQUEST:
		return on_request(l, e);
	case PROTO_LEASE_RELEASE:
	case PROTO_LEASE_DECLINE:
		return on_end(l, e);
	case PROTO_LEASE_BOUND:
	case PROTO_LEASE_KIND_COUNT:
		break;
	}
	return 0;
}

// One transaction for all that were waiting; only then what it promises. Offers are no promise:
// their clients go on while the disk writes.
static int commit(struct leases *l, bool *ret_offered)
{
	int r = store_begin(l->d->store);

	l->declined = NULL;
	for (size_t i = 0; r == 0 && i < l->n_events; i++)
		r = decide(l, &l->events[i]);
	*ret_offered = r == 0;
	if (r == 0)
		lease_tell_all(l, &l->offers);
	if (r == 0)
		r = store_commit(l->d->store);
	else
		store_rollback(l->d->store);
	if (r == 0) {
		lease_tell_all(l, &l->answers);
		lease_settle(l);
		if (l->declined)
			log_declined(l, l->declined);
		return 0;
	}
	// What is not durable is not promised: back to what is.
	if (log_limit_pass(&l->limit, 5))
		log_error("leases: %s", store_error(l->d->store));
	lease_index_clear(&l->index);
	store_each_lease(l->d->store, load_one, l);
	lease_mark_outside(l);
	return r;
}

// No client says a second time that it is done with an address. e: the first of n messages that
// were not stored; or NULL, none, but some may be untold yet: there are only so many lines.
static void log_unheard(struct leases *l, const struct proto_lease_event *e, unsigned n)
{
	char address[INET_ADDRSTRLEN], mac[18];

	l->n_untold += n;
	if (!l->n_untold || !log_limit_pass(&l->unheard_limit, 5))
		return;
	if (!e) {
		log_warning(
			"lease: further messages that end leases were not stored: %u", l->n_untold);
	} else {
		describe_address(e->address, address);
		describe_mac(&e->mac, mac);
		log_warning("lease: a %s of %s by %s was not stored (%s); such messages since the "
			    "last such line: %u",
			e->kind == PROTO_LEASE_RELEASE ? "RELEASE" : "DECLINE", address, mac,
			l->d->held ? "the stored configuration is refused"
				   : store_error(l->d->store),
			l->n_untold);
	}
	l->n_untold = 0;
}

// Gives back the switch's room for what waits; the clients ask again.
static void stay_silent(struct leases *l, bool offered)
{
	const struct proto_lease_event *unheard = NULL;
	unsigned n_unheard = 0;

	l->answers.n = 0;
	for (size_t i = 0; i < l->n_events; i++) {
		const struct proto_lease_event *e = &l->events[i];

		if (e->token && !(offered && e->kind == PROTO_LEASE_DISCOVER))
			reply(&l->answers, e->token, PROTO_LEASE_NO_ANSWER);
		if (e->kind != PROTO_LEASE_RELEASE && e->kind != PROTO_LEASE_DECLINE)
			continue;
		unheard = unheard ? unheard : e;
		n_unheard++;
	}
	log_unheard(l, unheard, n_unheard);
	lease_tell_all(l, &l->answers);
}

void leases_batch_end(struct leases *l)
{
	bool offered = false;

	if (!l->n_events)
		return;
	if (l->d->held || commit(l, &offered) < 0) // held: no pool is known yet
		stay_silent(l, offered);
	else
		log_unheard(l, NULL, 0);
	l->n_events = l->offers.n = l->answers.n = 0;
	lease_arm(l);
}

// --- listing ---

static json_t *object(struct leases *l, const struct desired_port *p, be32 address,
	const struct mac *mac, const char *kind, const char *state, int64_t expires_s,
	const char *hostname)
{
	const struct desired *d = l->d->desired;
	const char *tenant = d->tenants[p->tenant].tenant->name;
	char a[INET_ADDRSTRLEN], m[18];

	describe_address(address, a);
	describe_mac(mac, m);
	return json_pack("{s:s, s:s, s:s, s:o, s:s, s:s, s:s, s:I, s:s}", "address", a, "port",
		p->name, "tenant", tenant, "network",
		json_sprintf("%s/%s", tenant, p->nic->network), "mac", m, "kind", kind, "state",
		state, "expires_s", (json_int_t)(expires_s > 0 ? expires_s : 0), "hostname",
		hostname);
}

static json_t *configured_object(struct leases *l, const struct desired_port *p)
{
	const struct bound *b = bounds_get(l->bounds, p->id);
	uint32_t lease_s = l->d->desired->segments[p->segment].network->lease_s;
	int64_t expires = b ? b->at + lease_s - lease_time_of_day_s() : 0;

	if (b && b->kind != PROTO_LEASE_BOUND)
		expires = 0;
	return object(l, p, p->address, &p->mac, "configured",
		!b                               ? "reserved"
		: b->kind == PROTO_LEASE_RELEASE ? "released"
		: b->kind == PROTO_LEASE_DECLINE ? "declined"
		: expires > 0                    ? "bound"
						 : "expired",
		expires, b ? b->hostname : "");
}

static json_t *next_configured(struct leases *l, struct lease_cursor *c)
{
	const struct desired *d = l->d->desired;

	while (c->n_configured < d->n_ports) {
		const struct desired_port *p = &d->ports[c->n_configured++];

		if (p->kind == DESIRED_NIC && p->address &&
			d->segments[p->segment].network->gateway && // else no DHCP
			(!c->address || p->address == c->address) && (!c->port || p->id == c->port))
			return configured_object(l, p);
	}
	return NULL;
}

static json_t *next_dynamic(struct leases *l, struct lease_cursor *c)
{
	struct lease *x = lease_behind(&l->index, c->segment, c->behind);

	for (; x; x = lease_next(x)) {
		const struct store_lease *s = &x->s;
		const struct desired_port *p;

		c->segment = s->segment;
		c->behind = s->address;
		if ((c->address && s->address != c->address) || (c->port && s->port != c->port))
			continue;
		p = desired_port_by_id(l->d->desired, s->port);
		if (p && p->kind == DESIRED_NIC)
			return object(l, p, s->address, &s->mac, "dynamic",
				s->declined  ? "declined"
				: x->offered ? "offered"
					     : "bound",
				(x->ends_ns - lease_now_ns() + LEASE_SECOND - 1) / LEASE_SECOND,
				s->hostname);
	}
	return NULL;
}

json_t *leases_next(struct leases *l, struct lease_cursor *c)
{
	json_t *o = l->d->desired ? next_configured(l, c) : NULL;

	return o || !l->d->desired ? o : next_dynamic(l, c);
}
