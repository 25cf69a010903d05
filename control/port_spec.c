// SPDX-License-Identifier: BSD-3-Clause
// Candidates of a port, see port_spec.h. Called by ports.c, apply.c and describe.c.
#include "control/port_spec.h"

#include <stdio.h>

static struct port_spec *next(struct port_spec *specs, unsigned *n, enum proto_port_kind kind,
	uint32_t mtu, uint32_t n_queues)
{
	struct port_spec *s = &specs[(*n)++];

	memset(s, 0, sizeof(*s));
	s->kind = (uint16_t)kind;
	s->mtu = mtu;
	s->n_queues = n_queues;
	return s;
}

static void put_tap(struct port_spec *s, const char *netns, const char *ifname, struct mac mac)
{
	snprintf(s->netns, sizeof(s->netns), "%s", netns);
	snprintf(s->ifname, sizeof(s->ifname), "%s", ifname);
	snprintf(s->arg, sizeof(s->arg), "%s/%s", netns, ifname);
	s->mac = mac;
}

static void put_packet(struct port_spec *s, const char *ifname)
{
	snprintf(s->ifname, sizeof(s->ifname), "%s", ifname);
	snprintf(s->arg, sizeof(s->arg), "%s", ifname);
}

static void put_nat(struct port_spec *s, const struct model_uplink *u)
{
	bool given = u->mode == MODEL_UPLINK_NAT && u->address;

	s->host_nat = 1;
	s->nat_switch = given ? u->address : htonl(DESIRED_NAT_SWITCH);
	s->nat_host = given ? u->gateway : htonl(DESIRED_NAT_HOST);
	s->nat_prefix = given ? u->prefix_len : DESIRED_NAT_PREFIX;
}

static unsigned uplink_candidates(
	const struct desired_port *p, unsigned workers, struct port_spec specs[])
{
	const struct model_uplink *u = p->uplink;
	bool nat = u->mode == MODEL_UPLINK_NAT;
	unsigned n = 0;

	if (!nat && u->devargs[0])
		memcpy(next(specs, &n, PROTO_PORT_ETHDEV, u->mtu, workers)->arg, u->devargs,
			sizeof(u->devargs));
	if (!nat && u->interface[0])
		put_packet(next(specs, &n, PROTO_PORT_PACKET, u->mtu, 1), u->interface);
	if (p->no_nat)
		return n;
	struct port_spec *s = next(specs, &n, PROTO_PORT_TAP, u->mtu, 1);
	put_nat(s, u);
	put_tap(s, "", nat && u->interface[0] ? u->interface : DESIRED_NAT_INTERFACE, p->host_mac);
	return n;
}

static unsigned trunk_candidates(
	const struct desired_port *p, unsigned workers, struct port_spec specs[])
{
	const struct model_trunk *t = p->trunk;
	unsigned n = 0;

	if (t->devargs[0])
		memcpy(next(specs, &n, PROTO_PORT_ETHDEV, p->mtu, workers)->arg, t->devargs,
			sizeof(t->devargs));
	if (t->interface[0] || !n)
		put_packet(next(specs, &n, PROTO_PORT_PACKET, p->mtu, 1), t->interface);
	return n;
}

static unsigned nic_candidates(const struct desired_port *p, const char *run_dir, unsigned workers,
	struct port_spec specs[])
{
	const struct model_nic *nic = p->nic;
	uint32_t queues = nic->n_queues ? nic->n_queues : workers;
	// A multi-queue tap takes the kernel 30 ms to make (256 queues, whatever is asked for), a
	// plain one under 1 ms; workers share ports, so a tap gains by more queues only when it is
	// alone.
	uint32_t tap_queues = nic->n_queues ? nic->n_queues : 1;
	char ifname[16];
	unsigned n = 0;

	snprintf(ifname, sizeof(ifname), "ins%u", p->id);
	if (nic->interface[0])
		memcpy(ifname, nic->interface, sizeof(ifname));
	switch (nic->type) {
	case MODEL_NIC_VHOST_USER: {
		bool vm = p->instance->kind == MODEL_INSTANCE_VM;
		if (vm && !nic->n_queues)
			queues = 1;
		struct port_spec *s = next(specs, &n, PROTO_PORT_VHOST, p->mtu, queues);
		s->flags = nic->vhost_server ? PROTO_PORT_VHOST_SERVER : 0;
		if (nic->socket[0]) {
			memcpy(s->arg, nic->socket, sizeof(nic->socket));
		} else {
			port_spec_vhost_path(p, run_dir, s->arg, sizeof(s->arg));
		}
		if (vm) // the machine is behind the one or nothing
			break;
		put_tap(next(specs, &n, PROTO_PORT_TAP, p->mtu, tap_queues), nic->netns, ifname,
			p->mac);
		break;
	}
	case MODEL_NIC_TAP:
		put_tap(next(specs, &n, PROTO_PORT_TAP, p->mtu, tap_queues), nic->netns, ifname,
			p->mac);
		break;
	case MODEL_NIC_PACKET:
		put_packet(next(specs, &n, PROTO_PORT_PACKET, p->mtu, nic->n_queues ? queues : 1),
			nic->interface);
		break;
	case MODEL_NIC_ETHDEV:
		memcpy(next(specs, &n, PROTO_PORT_ETHDEV, p->mtu, queues)->arg, nic->devargs,
			sizeof(nic->devargs));
		break;
	case MODEL_NIC_TYPE_COUNT:
		break;
	}
	return n;
}

unsigned port_spec_candidates(const struct desired_port *p, const char *run_dir, unsigned workers,
	struct port_spec ret_specs[PORT_MAX_CANDIDATES])
{
	if (workers > PROTO_MAX_QUEUES)
		workers = PROTO_MAX_QUEUES;
	switch (p->kind) {
	case DESIRED_UPLINK:
		return uplink_candidates(p, workers, ret_specs);
	case DESIRED_TRUNK:
		return trunk_candidates(p, workers, ret_specs);
	case DESIRED_NIC:
		return nic_candidates(p, run_dir, workers, ret_specs);
	case DESIRED_PORT_KIND_COUNT:
		break;
	}
	return 0;
}

uint32_t port_spec_device_queues(const struct desired_port *p, unsigned workers)
{
	struct port_spec specs[PORT_MAX_CANDIDATES];
	unsigned n = port_spec_candidates(p, "", workers, specs);

	for (unsigned i = 0; i < n; i++)
		if (specs[i].kind == PROTO_PORT_ETHDEV)
			return specs[i].n_queues;
	return 0;
}

const char *port_spec_kind_name(const struct port_spec *s)
{
	static const char *const names[PROTO_PORT_KIND_COUNT] = { "tap", "packet", "vhost-user",
		"ethdev", "pcap" };

	return s->host_nat ? "nat" : names[s->kind];
}

void port_spec_describe(const struct port_spec *s, char *ret_text, size_t size)
{
	switch ((enum proto_port_kind)s->kind) {
	case PROTO_PORT_TAP:
		snprintf(ret_text, size, "%stap %s%s%s", s->host_nat ? "nat through " : "",
			s->ifname, s->netns[0] ? " in netns " : "", s->netns);
		break;
	case PROTO_PORT_PACKET:
		snprintf(ret_text, size, "packet socket on %s", s->ifname);
		break;
	case PROTO_PORT_VHOST:
		snprintf(ret_text, size, "vhost-user %s %s",
			s->flags & PROTO_PORT_VHOST_SERVER ? "server" : "client", s->arg);
		break;
	case PROTO_PORT_ETHDEV:
		snprintf(ret_text, size, "DPDK device %s", s->arg);
		break;
	case PROTO_PORT_PCAP:
	case PROTO_PORT_KIND_COUNT:
		snprintf(ret_text, size, "?");
		break;
	}
}

static bool same_device(const struct port_spec *a, const struct port_spec *b)
{
	return a->kind == PROTO_PORT_TAP && b->kind == PROTO_PORT_TAP &&
	       strcmp(a->netns, b->netns) == 0 && strcmp(a->ifname, b->ifname) == 0;
}

// Can the device itself stay? One with one queue is another kind than one with several, and the
// host's address on a nat tap goes with the tap.
static bool can_stay(const struct port_spec *a, const struct port_spec *b)
{
	return (a->n_queues > 1) == (b->n_queues > 1) && a->host_nat == b->host_nat &&
	       a->nat_host == b->nat_host && a->nat_prefix == b->nat_prefix;
}

bool port_spec_same_tap(const struct port_spec *a, const struct port_spec *b)
{
	return same_device(a, b) && can_stay(a, b);
}

bool port_spec_replaces_tap(const struct port_spec *a, const struct port_spec *b)
{
	return same_device(a, b) && !can_stay(a, b);
}

void port_spec_vhost_path(
	const struct desired_port *p, const char *run_dir, char *ret_path, size_t size)
{
	char name[DESIRED_NAME_SIZE];

	if (p->instance->kind == MODEL_INSTANCE_VM) {
		snprintf(ret_path, size, "%s/vm/%u.net", run_dir, p->id);
		return;
	}
	memcpy(name, p->name, sizeof(name));
	*strchr(name, '/') = '.';
	snprintf(ret_path, size, "%s/vhost/%s", run_dir, name);
}
