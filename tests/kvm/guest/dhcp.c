// SPDX-License-Identifier: BSD-3-Clause
// A DHCP client: see dhcp.h.
#include "base.h"
#include "cpu.h"
#include "dhcp.h"
#include "io.h"

enum {
	CLIENT_PORT = 68,
	SERVER_PORT = 67,
	BOOT_REQUEST = 1,
	BOOT_REPLY = 2,
	ETHERNET = 1,
	COOKIE = 0x63825363,
	BROADCAST = 0x8000,
	PAD = 0,
	MASK = 1,
	ROUTER = 3,
	REQUESTED_IP = 50,
	LEASE_TIME = 51,
	TYPE = 53,
	SERVER_ID = 54,
	WANTED = 55,
	END = 255,
	DISCOVER = 1,
	OFFER = 2,
	REQUEST = 3,
	ACK = 5,
	AGAIN_NS = 500000000,
};

// RFC 2131 §2, figure 1, and the cookie of its options.
struct message {
	uint8_t op, htype, hlen, hops;
	be32 xid;
	be16 secs, flags;
	be32 ciaddr, yiaddr, siaddr, giaddr;
	uint8_t chaddr[16], sname[64], file[128];
	be32 cookie;
	uint8_t options[64];
} WIRE_PACKED;

struct exchange {
	struct net *net;
	be32 xid;
	uint8_t awaited; // OFFER or ACK; 0: came
	struct dhcp_lease lease;
};

static uint32_t option_be32(const uint8_t *option)
{
	uint32_t v = 0;

	if (option[1] >= 4)
		memcpy(&v, option + 2, 4);
	return v;
}

// All options of a reply that lie within it.
static uint8_t options_read(const uint8_t *at, const uint8_t *end, struct dhcp_lease *lease)
{
	uint8_t type = 0;

	while (at < end && *at != END) {
		if (*at == PAD) {
			at++;
			continue;
		}
		if (end - at < 2 || at[1] > end - at - 2)
			break;
		if (*at == TYPE && at[1] == 1)
			type = at[2];
		else if (*at == MASK)
			lease->mask = option_be32(at);
		else if (*at == ROUTER)
			lease->router = option_be32(at);
		else if (*at == SERVER_ID)
			lease->server = option_be32(at);
		else if (*at == LEASE_TIME)
			lease->seconds = ntohl(option_be32(at));
		at += 2 + at[1];
	}
	return type;
}

static void reply_take(const struct datagram *d, void *arg)
{
	const struct message *m = (const struct message *)d->data;
	struct exchange *x = arg;
	struct dhcp_lease lease = { 0 };

	if (d->net != x->net || d->size < offsetof(struct message, options) ||
		m->op != BOOT_REPLY || m->xid != x->xid || m->cookie != htonl(COOKIE))
		return;
	lease.ip = m->yiaddr;
	if (options_read(m->options, d->data + d->size, &lease) != x->awaited || x->awaited == 0)
		return;
	x->lease = lease;
	x->awaited = 0;
}

static uint8_t *option_add(uint8_t *at, uint8_t option, const void *value, uint8_t size)
{
	at[0] = option;
	at[1] = size;
	memcpy(at + 2, value, size);
	return at + 2 + size;
}

static void message_send(struct exchange *x, uint8_t type)
{
	static const uint8_t wanted[] = { MASK, ROUTER };
	struct message m = { .op = BOOT_REQUEST,
		.htype = ETHERNET,
		.hlen = 6,
		.xid = x->xid,
		.flags = htons(BROADCAST),
		.cookie = htonl(COOKIE) };
	uint8_t *at = m.options;

	memcpy(m.chaddr, &x->net->nic.mac, sizeof(x->net->nic.mac));
	at = option_add(at, TYPE, &type, 1);
	at = option_add(at, WANTED, wanted, sizeof(wanted));
	if (type == REQUEST) {
		at = option_add(at, REQUESTED_IP, &x->lease.ip, 4);
		at = option_add(at, SERVER_ID, &x->lease.server, 4);
	}
	*at = END;
	udp_send(x->net, 0xffffffff, CLIENT_PORT, SERVER_PORT, &m, sizeof(m));
}

static bool has_come(void *arg)
{
	return ((struct exchange *)arg)->awaited == 0;
}

static bool message_exchange(struct exchange *x, uint8_t type, uint8_t answer, uint64_t until_ns)
{
	x->awaited = answer;
	while (x->awaited != 0 && time_ns() < until_ns) {
		uint64_t again = time_ns() + AGAIN_NS;

		message_send(x, type);
		net_wait(has_come, x, again < until_ns ? again : until_ns);
	}
	return x->awaited == 0;
}

bool dhcp_ask(struct net *net, uint64_t until_ns, struct dhcp_lease *ret_lease)
{
	struct exchange x = { .net = net, .xid = (be32)tsc() };
	bool good;

	net->ip = net->gateway = 0;
	net->prefix_len = 0;
	udp_listen(CLIENT_PORT, reply_take, &x);
	good = message_exchange(&x, DISCOVER, OFFER, until_ns) &&
	       message_exchange(&x, REQUEST, ACK, until_ns);
	udp_listen(CLIENT_PORT, NULL, NULL);
	if (good)
		*ret_lease = x.lease;
	return good;
}
