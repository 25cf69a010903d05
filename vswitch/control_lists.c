// SPDX-License-Identifier: BSD-3-Clause
// Control requests that list: ports, counters, drops, sessions, leases. Each answer is one message;
// a cursor leads to the next. Counters are the workers'; reading them while they grow is harmless.
#include <stdlib.h>
#include "vswitch/control.h"

// Records that a page of sessions looks at: some ms, also where the table is empty.
enum { PAGE_LOOKS = 65536 };

// A list reply of up to PROTO_MAX_SIZE bytes, allocated once per request.
static void *list_begin(struct control *c)
{
	void *list = calloc(1, PROTO_MAX_SIZE);

	if (!list)
		control_reply_status(c, -ENOMEM, "no memory");
	return list;
}

static void list_end(struct control *c, void *list, size_t size)
{
	proto_status_init(list, &c->in->h, size, 0, NULL);
	control_reply(c, list, NULL, 0);
	free(list);
}

static uint32_t cursor_of(const struct control *c)
{
	return ((const struct proto_cursor *)(const void *)c->in->bytes)->cursor;
}

// A driver without rx interrupts. Other kinds lack fds only while nobody is there to send.
static bool is_sleepless(struct port *p)
{
	bool found = false;

	for (uint16_t q = 0; q < p->n_queues && p->params.kind == PROTO_PORT_ETHDEV; q++)
		found = found || p->ops->event_fd(p, q) < 0;
	return found;
}

void control_port_list(struct control *c)
{
	struct proto_port_list *l = list_begin(c);
	size_t max = (PROTO_MAX_SIZE - sizeof(*l)) / sizeof(l->e[0]);

	if (!l)
		return;
	for (uint32_t id = cursor_of(c); id <= POLICY_MAX_PORT_ID; id++) {
		struct port *p = switch_port(c->sw, id);
		struct proto_port_entry *e;

		if (!p)
			continue;
		if (l->n == max) {
			l->next = id;
			break;
		}
		e = &l->e[l->n++];
		*e = (struct proto_port_entry){ .id = id,
			.kind = (uint16_t)p->params.kind,
			.flags = (uint16_t)(p->params.flags | (p->held ? PROTO_PORT_HELD : 0)),
			.mtu = p->params.mtu,
			.n_queues = p->n_queues,
			.up = atomic_load(&p->up),
			.sleepless = is_sleepless(p) };
		p->told = e->up; // a death is not in the list: it is told after it
		memcpy(e->name, p->params.name, sizeof(e->name));
		memcpy(e->arg, p->params.arg, sizeof(e->arg));
	}
	list_end(c, l, sizeof(*l) + l->n * sizeof(l->e[0]));
}

static void add_counters(
	const struct switch_ *sw, const struct port *p, struct proto_stats_entry *e)
{
	for (unsigned i = 0; i <= sw->n_workers; i++) {
		const struct port_counters *k = p->counters[i];

		e->rx_packets += k->rx_packets;
		e->rx_bytes += k->rx_bytes;
		e->tx_packets += k->tx_packets;
		e->tx_bytes += k->tx_bytes;
		for (unsigned r = 0; r < DROP_COUNT; r++)
			e->drops += k->drops[r];
	}
}

void control_port_stats(struct control *c)
{
	struct proto_stats_list *l = list_begin(c);
	size_t max = (PROTO_MAX_SIZE - sizeof(*l)) / sizeof(l->e[0]);

	if (!l)
		return;
	for (uint32_t id = cursor_of(c); id <= POLICY_MAX_PORT_ID; id++) {
		struct port *p = switch_port(c->sw, id);

		if (!p)
			continue;
		if (l->n == max) {
			l->next = id;
			break;
		}
		l->e[l->n].id = id;
		add_counters(c->sw, p, &l->e[l->n++]);
	}
	list_end(c, l, sizeof(*l) + l->n * sizeof(l->e[0]));
}

static void add_drops(const struct switch_ *sw, const struct port *p, struct proto_drops *l)
{
	for (unsigned r = 1; r < DROP_COUNT; r++)
		for (unsigned i = 0; i <= sw->n_workers; i++)
			l->e[r - 1].count += p                   ? p->counters[i]->drops[r]
					     : i < sw->n_workers ? sw->workers[i]->drops[r]
								 : 0;
}

void control_drops(struct control *c)
{
	uint32_t port = ((const struct proto_port_id *)(const void *)c->in->bytes)->id;
	struct proto_drops *l = list_begin(c);

	static_assert(sizeof(*l) + DROP_COUNT * sizeof(l->e[0]) <= PROTO_MAX_SIZE, "one message");
	if (!l)
		return;
	l->n = DROP_COUNT - 1;
	for (unsigned r = 1; r < DROP_COUNT; r++)
		strncpy(l->e[r - 1].name, drop_name(r), sizeof(l->e[0].name) - 1);
	if (port == 0)
		add_drops(c->sw, NULL, l);
	for (unsigned r = 1; port == 0 && r < DROP_COUNT; r++)
		l->e[r - 1].count += c->sw->gone_drops[r];
	for (uint32_t id = 1; id <= POLICY_MAX_PORT_ID; id++) {
		struct port *p = port == 0 || port == id ? switch_port(c->sw, id) : NULL;

		if (p)
			add_drops(c->sw, p, l);
	}
	list_end(c, l, sizeof(*l) + l->n * sizeof(l->e[0]));
}

static void session_entry(uint32_t id, const struct session_record *rec, uint64_t now_ns,
	struct proto_session_entry *e)
{
	uint32_t now_s = (uint32_t)(now_ns / 1000000000ull);

	*e = (struct proto_session_entry){ .id = id,
		.proto = rec->d.key[0].proto,
		.state = (uint8_t)session_state_of(rec),
		.flags = (uint8_t)rec->d.flags,
		.src_switch_port = rec->d.src_port,
		.dst_switch_port = rec->d.dst_port,
		.age_s = (uint32_t)((now_ns - rec->created_ns) / 1000000000ull),
		.idle_s = now_s > rec->last_s ? now_s - rec->last_s : 0 };
	for (int d = 0; d < 2; d++) {
		e->zone[d] = rec->d.key[d].zone;
		e->src[d] = rec->d.key[d].src;
		e->dst[d] = rec->d.key[d].dst;
		e->src_port[d] = rec->d.key[d].src_port;
		e->dst_port[d] = rec->d.key[d].dst_port;
		e->packets[d] = rec->packets[d];
		e->bytes[d] = rec->bytes[d];
	}
}

void control_sessions(struct control *c)
{
	struct proto_session_list *l = list_begin(c);
	size_t max = (PROTO_MAX_SIZE - sizeof(*l)) / sizeof(l->e[0]);
	uint64_t now_ns = control_now_ns(CLOCK_MONOTONIC);
	uint32_t cursor = cursor_of(c), end, id;
	struct session_record rec;

	if (!l)
		return;
	end = cursor < UINT32_MAX - PAGE_LOOKS ? cursor + PAGE_LOOKS : UINT32_MAX;
	while (l->n < max && session_next(c->sw->sessions, &cursor, end, &id, &rec))
		session_entry(id, &rec, now_ns, &l->e[l->n++]);
	// Not the last page: it is full, or there is more than may be looked at for one.
	l->next = l->n == max || cursor == end ? cursor : 0;
	list_end(c, l, sizeof(*l) + l->n * sizeof(l->e[0]));
}

void control_lease_list(struct control *c)
{
	struct proto_lease_list *l = list_begin(c);
	size_t max = (PROTO_MAX_SIZE - sizeof(*l)) / sizeof(l->e[0]);
	uint32_t cursor = cursor_of(c);
	struct binding b;

	if (!l)
		return;
	while (l->n < max && binding_next(c->sw->bindings, &cursor, &b))
		l->e[l->n++] = (struct proto_lease_entry){
			.port = b.port, .segment = b.segment, .mac = b.mac, .address = b.address
		};
	l->next = l->n == max ? cursor : 0;
	list_end(c, l, sizeof(*l) + l->n * sizeof(l->e[0]));
}
