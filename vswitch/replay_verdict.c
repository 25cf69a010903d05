// SPDX-License-Identifier: BSD-3-Clause
// The book of a replay: what became of each packet, where, by which rule, and how it was rewritten.
// Fed by the run's stage loop, its ports and the workers' drops; every frame says in its metadata
// (packet.trace) of which packet it comes. One thread.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "vswitch/replay_private.h"

enum { FEW = sizeof(((struct replay_verdict *)NULL)->few) / sizeof(uint16_t) };

static int grow(struct replay *r)
{
	uint64_t room = r->ring ? 2 * (r->mask + 1) : 1024;
	struct replay_verdict *ring = calloc(room, sizeof(*ring));

	if (!ring)
		return -ENOMEM;
	for (uint64_t n = r->first; n < r->next; n++)
		ring[n & (room - 1)] = r->ring[n & r->mask];
	free(r->ring);
	r->ring = ring;
	r->mask = room - 1;
	return 0;
}

struct replay_verdict *replay_begin(struct replay *r, const struct replay_frame *f, uint32_t port)
{
	struct replay_verdict *v;

	if ((!r->ring || r->next - r->first > r->mask) && grow(r) < 0)
		return NULL;
	v = &r->ring[r->next & r->mask];
	*v = (struct replay_verdict){ .number = r->next++, .frame = f, .in_port = port };
	return v;
}

struct replay_verdict *replay_record(struct replay *r, uint64_t number)
{
	return number >= r->first && number < r->next ? &r->ring[number & r->mask] : NULL;
}

void replay_tell(struct replay *r)
{
	for (; r->first < r->next; r->first++) {
		struct replay_verdict *v = &r->ring[r->first & r->mask];

		if (v->outcome == REPLAY_OPEN)
			return;
		if (r->o->verdict)
			r->o->verdict(r->o->arg, r, v);
		free(v->many);
	}
}

// Addresses and ports as they stand in the packet now.
static void read_tuple(struct rte_mbuf *m, struct replay_tuple *t)
{
	const struct packet *p = packet_of(m);
	const struct ipv4_hdr *ip = packet_l3(m);
	const be16 *ports;

	*t = (struct replay_tuple){
		.src = ip->src, .dst = ip->dst, .proto = p->proto, .known = true
	};
	if (!(p->flags & PACKET_HAS_L4))
		return;
	ports = packet_l4(m);
	if (p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP) {
		t->src_port = ports[0];
		t->dst_port = ports[1];
	} else if (p->proto == IPPROTO_ICMP && p->src_port) {
		t->src_port = t->dst_port = ((const struct icmp_hdr *)(const void *)ports)->id;
	}
}

void replay_note_tuple(struct replay *r, struct rte_mbuf *m)
{
	struct replay_verdict *v = replay_record(r, packet_of(m)->trace);

	if (v && (packet_of(m)->flags & PACKET_IPV4))
		read_tuple(m, &v->from);
}

static int add_out(struct replay_verdict *v, uint32_t port)
{
	const uint16_t *out = replay_out(v);
	uint32_t room = v->many ? v->out_room : FEW;

	if (v->n_out && out[v->n_out - 1] == port) // pieces of one super-frame
		return 0;
	if (v->n_out == room) {
		uint16_t *grown = realloc(v->many, 2 * room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		if (!v->many)
			memcpy(grown, v->few, sizeof(v->few));
		v->many = grown;
		v->out_room = 2 * room;
	}
	(v->many ? v->many : v->few)[v->n_out++] = (uint16_t)port;
	return 0;
}

static const char *deciding_stage(uint16_t flags)
{
	if (flags & PACKET_HIT)
		return flags & PACKET_ICMP_ERROR ? "icmp_error" : "session";
	if (flags & PACKET_NEW_SESSION)
		return "policy";
	return "forward";
}

static void forwarded(struct replay *r, struct replay_verdict *v, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	const struct session_record *rec =
		p->session != SESSION_NONE ? session_get(r->sessions, p->session) : NULL;
	struct replay_tuple now;

	v->outcome = REPLAY_FORWARDED;
	v->stage = deciding_stage(p->flags);
	v->segment = p->segment;
	if (rec && (rec->d.flags & SESSION_F_SNAT)) {
		const struct policy_prt *src = policy_port(r->pol, rec->d.src_port);

		v->rule = REPLAY_RULE_SNAT;
		v->segment = src ? src->segment : POLICY_NO_SEGMENT;
		v->port = rec->d.dst_port;
	} else if (p->flags & PACKET_ROUTED) {
		v->rule = REPLAY_RULE_ROUTE;
	} else {
		v->rule = p->flags & PACKET_MULTICAST ? REPLAY_RULE_FLOOD : REPLAY_RULE_SEGMENT;
	}
	if (!v->from.known || v->rule == REPLAY_RULE_SEGMENT || v->rule == REPLAY_RULE_FLOOD)
		return;
	read_tuple(m, &now);
	if (now.src != v->from.src || now.dst != v->from.dst || now.src_port != v->from.src_port ||
		now.dst_port != v->from.dst_port)
		v->to = now;
}

void replay_note_sent(struct replay *r, uint32_t port, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	struct replay_verdict *v = replay_record(r, p->trace);

	if (!v) // the switch's own, of nobody's asking
		return;
	if (!(p->flags & PACKET_LOCAL)) {
		forwarded(r, v, m);
	} else if (port != v->in_port) {
		return; // it asks for a neighbour
	} else {
		v->outcome = REPLAY_ANSWERED;
		v->stage = r->stage;
		v->segment = p->segment;
		v->port = port;
		v->rule =
			p->segment == POLICY_NO_SEGMENT ? REPLAY_RULE_UPLINK : REPLAY_RULE_GATEWAY;
	}
	if (add_out(v, port) < 0)
		r->error = -ENOMEM;
}

void replay_note_drop(struct watch *watch, struct rte_mbuf *m, enum drop_reason reason)
{
	struct replay *r = (struct replay *)watch;
	struct replay_verdict *v = replay_record(r, packet_of(m)->trace);

	// What the switch itself wanted to send, or one copy of a packet that reached others.
	if (!v || v->outcome == REPLAY_FORWARDED || (packet_of(m)->flags & PACKET_LOCAL))
		return;
	v->outcome = REPLAY_DROPPED;
	v->stage = r->stage;
	v->drop = (uint8_t)reason;
	v->rule = reason == DROP_POLICY_DENY || reason == DROP_POLICY_UPLINK_UNSOLICITED
			  ? REPLAY_RULE_DENY
			  : REPLAY_RULE_NONE;
}

// The name of the section a port or segment stands in: its tenant.
static const char *tenant_name(const struct policy *pol, uint32_t tenant)
{
	for (uint32_t i = 0; i < pol->n_parts; i++)
		if (pol->parts[i]->raw->tenant == tenant)
			return pol->parts[i]->raw->name;
	return "?";
}

static void segment_name(const struct policy *pol, uint32_t segment, char name[REPLAY_NAME_SIZE])
{
	const struct policy_segment *s = pol->segments[segment].s;

	snprintf(name, REPLAY_NAME_SIZE, "%s/%s", tenant_name(pol, s->zone), s->name);
}

static void port_name(
	const struct policy *pol, const struct policy_prt *prt, char name[REPLAY_NAME_SIZE])
{
	if (prt->segment == POLICY_NO_SEGMENT)
		snprintf(name, REPLAY_NAME_SIZE, "%s", prt->p->name);
	else
		snprintf(name, REPLAY_NAME_SIZE, "%s/%s",
			tenant_name(pol, pol->segments[prt->segment].s->zone), prt->p->name);
}

int replay_make_names(struct replay *r)
{
	const struct policy *pol = r->pol;

	r->names = calloc(pol->n_ports + pol->n_segments + 1, sizeof(*r->names));
	if (!r->names)
		return -ENOMEM;
	for (uint32_t i = 0; i < pol->n_ports; i++)
		port_name(pol, &pol->ports[i], r->names[i]);
	for (uint32_t i = 0; i < pol->n_segments; i++)
		segment_name(pol, i, r->names[pol->n_ports + i]);
	return 0;
}

const char *replay_segment_name(const struct replay *r, uint32_t segment)
{
	return segment < r->pol->n_segments ? r->names[r->pol->n_ports + segment] : "?";
}

const char *replay_port_name(const struct replay *r, uint32_t port)
{
	const struct policy_prt *prt = policy_port(r->pol, port);

	return prt ? r->names[prt - r->pol->ports] : "?";
}

const char *replay_rule_text(
	const struct replay *r, const struct replay_verdict *v, char buf[REPLAY_RULE_SIZE])
{
	static const char *const words[REPLAY_RULE_COUNT] = { "", "deny", "segment ", "flood ",
		"route ", "snat ", "gateway ", "uplink " };
	char *end = stpcpy(buf, words[v->rule]);

	if (v->rule >= REPLAY_RULE_SEGMENT && v->rule != REPLAY_RULE_UPLINK)
		end = stpcpy(end, replay_segment_name(r, v->segment));
	if (v->rule == REPLAY_RULE_SNAT)
		end = stpcpy(end, " ");
	if (v->rule == REPLAY_RULE_SNAT || v->rule == REPLAY_RULE_UPLINK)
		stpcpy(end, replay_port_name(r, v->port));
	return buf;
}

const char *replay_outcome_name(enum replay_outcome o)
{
	static const char *const names[REPLAY_OUTCOME_COUNT] = { "open", "forwarded", "answered",
		"taken", "dropped" };

	return names[o];
}
