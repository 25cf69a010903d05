// SPDX-License-Identifier: BSD-3-Clause
// DHCPv4 for tenants. A configured port's address is durable since apply: the worker answers alone.
// On a `clients: many` port the message is parked with control until insulad's commit. Workers.
#include <errno.h>
#include <unistd.h>
#include "vswitch/message.h"
#include "vswitch/service.h"
#include "vswitch/switch.h"

// Tells control; false when the table or the ring is full.
static bool tell_control(struct worker *w, const struct packet *p, uint32_t segment_id,
	enum proto_lease_kind kind, be32 address, const struct dhcp4_msg *msg)
{
	struct worker_message *wm;
	uint64_t one = 1;

	if (rte_mempool_get(w->sw->messages, (void **)&wm) < 0)
		return false;
	*wm = (struct worker_message){ .kind = MESSAGE_LEASE,
		.port = p->in_port,
		.segment_id = segment_id,
		.lease = { .kind = kind, .address = address, .msg = *msg } };
	if (rte_ring_enqueue(w->to_control, wm) < 0) {
		rte_mempool_put(w->sw->messages, wm);
		w->ring_full++;
		return false;
	}
	return write(w->sw->control_event_fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN;
}

static enum proto_lease_kind parked_kind(const struct dhcp4_msg *msg)
{
	return msg->type == DHCP4_DISCOVER ? PROTO_LEASE_DISCOVER : PROTO_LEASE_REQUEST;
}

static enum drop_reason answer(struct worker *w, const struct burst *b, struct rte_mbuf *m,
	const struct dhcp4_msg *msg, const struct dhcp4_config *cfg, const struct dhcp4_decision *d)
{
	uint8_t frame[DHCP4_REPLY_MAX];
	uint32_t port = packet_of(m)->in_port, segment = packet_of(m)->segment;
	uint32_t trace = packet_of(m)->trace;
	int size = dhcp4_build(msg, cfg, d, frame, sizeof(frame));

	if (size < 0)
		return DROP_SERVICE_DHCP_IGNORED;
	rte_pktmbuf_free(m);
	worker_emit(w, b->policy, port, segment, trace, frame, (size_t)size);
	return PACKET_CONSUMED;
}

static enum drop_reason consume(struct rte_mbuf *m)
{
	rte_pktmbuf_free(m);
	return PACKET_CONSUMED;
}

// Option 12 is the instance's part of the port's name: "TENANT/INSTANCE.NIC".
static void host_name(const struct policy_port *p, char ret_name[POLICY_NAME_SIZE])
{
	const char *slash = strrchr(p->name, '/');

	memset(ret_name, 0, POLICY_NAME_SIZE);
	memccpy(ret_name, slash ? slash + 1 : p->name, 0, POLICY_NAME_SIZE - 1);
	ret_name[strcspn(ret_name, ".")] = 0;
}

enum drop_reason service_dhcp(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	const struct policy_prt *prt = policy_port(b->policy, p->in_port);
	const struct policy_seg *seg = packet_segment(b, p);
	bool dynamic = (prt->p->flags & POLICY_PORT_CLIENTS_MANY) != 0;
	be32 address = prt->p->address;
	struct dhcp4_config cfg = seg->dhcp;
	struct dhcp4_decision d;
	struct dhcp4_msg msg;
	struct binding bound;
	char name[POLICY_NAME_SIZE];

	if (!seg->s->gateway)
		return DROP_NONE; // pure L2: the tenant's own affair
	if (rte_pktmbuf_linearize(m) < 0 ||
		dhcp4_parse(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, &msg) != DHCP4_OK)
		return DROP_SERVICE_DHCP_MALFORMED;
	// Which lease is a client's own depends on its identifier, which control knows.
	if (dynamic && msg.type != DHCP4_DISCOVER)
		address =
			binding_by_mac(w->sw->bindings, seg->s->id, &msg.chaddr, b->now_ns, &bound)
				? bound.address
				: 0;
	host_name(prt->p, name);
	cfg.hostname = dynamic ? NULL : name;
	d = dhcp4_decide(&msg, &cfg, address, dynamic);
	if (dynamic && d.action == DHCP4_DO_ACK)
		d.action = DHCP4_DO_PARK; // the lease's new end must be durable first
	switch (d.action) {
	case DHCP4_DO_OFFER:
	case DHCP4_DO_NAK:
	case DHCP4_DO_INFORM_ACK:
		return answer(w, b, m, &msg, &cfg, &d);
	case DHCP4_DO_ACK:
		tell_control(w, p, seg->s->id, PROTO_LEASE_BOUND, d.yiaddr, &msg);
		return answer(w, b, m, &msg, &cfg, &d);
	case DHCP4_DO_PARK:
		// RENEWING and REBINDING name their address in ciaddr.
		if (!tell_control(w, p, seg->s->id, parked_kind(&msg),
			    msg.requested_ip ? msg.requested_ip : msg.ciaddr, &msg))
			return DROP_SERVICE_DHCP_BUSY;
		return consume(m);
	case DHCP4_DO_RELEASE:
		return tell_control(w, p, seg->s->id, PROTO_LEASE_RELEASE, msg.ciaddr, &msg)
			       ? consume(m)
			       : DROP_SERVICE_DHCP_BUSY;
	case DHCP4_DO_DECLINE:
		return tell_control(w, p, seg->s->id, PROTO_LEASE_DECLINE, msg.requested_ip, &msg)
			       ? consume(m)
			       : DROP_SERVICE_DHCP_BUSY;
	case DHCP4_DO_NOTHING:
		break;
	}
	return DROP_SERVICE_DHCP_IGNORED;
}
