// SPDX-License-Identifier: BSD-3-Clause
// DHCPv4: parse -> decide -> build over arbitrary bytes. Input: eight bytes that choose what the
// server knows, then the frame (or, by a flag, only the options of a well-formed message). Frame
// and reply lie in heap blocks of their exact size. HOSTILE H-43.
#include "tests/fuzz/fuzz.h"
#include "tests/unit/dhcp4_client.h"
#include "tests/unit/dhcp4_reply.h"

enum {
	PREFIX_SIZE = 8,
	FLAG_DYNAMIC = 1,
	FLAG_KNOW_REQUESTED = 2, // the server's address is the requested one
	FLAG_KNOW_CIADDR = 4,
	FLAG_OPTIONS_ONLY = 8,
	FLAG_UNICAST = 16, // options only: sent to the server
	FLAG_OWN_SUBNET = 32, // the server's subnet is the client's
};

static char hostname[256];

static struct dhcp4_config choose_config(const uint8_t *prefix, const struct dhcp4_msg *msg)
{
	struct dhcp4_config cfg = {
		.server_ip = ip4(10, 0, 0, 1),
		.server_mac = { { 0x02, 0xaa, 0, 0, 0, 1 } },
		.subnet = ip4(10, 0, 0, 0),
		.prefix_len = prefix[1] % 33,
		.router = prefix[1] & 0x80 ? ip4(10, 0, 0, 1) : 0,
		.mtu = (uint16_t)(prefix[4] << 8 | prefix[5]),
		.n_dns = prefix[2],
		.dns = { ip4(1, 1, 1, 1), ip4(9, 9, 9, 9), ip4(8, 8, 8, 8) },
		.lease_s = (uint32_t)prefix[6] << 24 | prefix[7],
		.hostname = hostname,
	};

	if (prefix[0] & FLAG_OWN_SUBNET) {
		cfg.subnet = msg->requested_ip != 0 ? msg->requested_ip : msg->ciaddr;
		if (msg->server_id != 0)
			cfg.server_ip = msg->server_id;
		else if (msg->dst_ip != 0xffffffff)
			cfg.server_ip = msg->dst_ip;
	}
	memset(hostname, 'h', prefix[3]);
	hostname[prefix[3]] = '\0';
	return cfg;
}

static void check_message(const struct dhcp4_msg *m)
{
	CHECK(m->type == DHCP4_DISCOVER || m->type == DHCP4_REQUEST || m->type == DHCP4_DECLINE ||
		m->type == DHCP4_RELEASE || m->type == DHCP4_INFORM);
	CHECK(mac_equal(&m->src_mac, &m->chaddr) && !mac_is_multicast(&m->chaddr));
	CHECK(m->giaddr == 0);
	CHECK(m->client_id_size <= DHCP4_MAX_CLIENT_ID && m->client_id_size != 1);
	CHECK(m->prl_size <= DHCP4_MAX_PRL);
	size_t n = strnlen(m->hostname, DHCP4_MAX_HOSTNAME);
	CHECK(n < DHCP4_MAX_HOSTNAME);
	for (size_t i = 0; i < n; i++)
		CHECK(m->hostname[i] > ' ' && m->hostname[i] < 0x7f && m->hostname[i] != '%');
}

static void check_reply(const uint8_t *frame, size_t size, const struct dhcp4_msg *msg,
	const struct dhcp4_config *cfg, const struct dhcp4_decision *d)
{
	struct dhcp4_reply r;
	bool lease = d->action == DHCP4_DO_OFFER || d->action == DHCP4_DO_ACK;
	be32 yiaddr = lease ? d->yiaddr : 0;
	uint8_t type = d->action == DHCP4_DO_OFFER ? 2 : d->action == DHCP4_DO_NAK ? 6 : 5;

	CHECK(dhcp4_reply_read(frame, size, &r) == NULL);
	CHECK(memcmp(r.bootp + 4, &msg->xid, 4) == 0);
	CHECK(memcmp(r.bootp + 16, &yiaddr, 4) == 0);
	CHECK(memcmp(r.bootp + 28, &msg->chaddr, 6) == 0);
	CHECK(memcmp(frame, &msg->chaddr, 6) == 0 ||
		memcmp(frame, "\xff\xff\xff\xff\xff\xff", 6) == 0);
	CHECK(memcmp(r.option[54] + 1, &cfg->server_ip, 4) == 0);
	CHECK(r.option[53][1] == type);
	CHECK((r.option[51] != NULL) == lease);
	CHECK((r.option[61] != NULL) == (msg->client_id_size > 0));
	if (r.option[61] != NULL)
		CHECK(r.option[61][0] == msg->client_id_size &&
			memcmp(r.option[61] + 1, msg->client_id, msg->client_id_size) == 0);
}

static void build(
	const struct dhcp4_msg *msg, const struct dhcp4_config *cfg, const struct dhcp4_decision *d)
{
	uint8_t first[DHCP4_REPLY_MAX];
	bool replies = d->action == DHCP4_DO_OFFER || d->action == DHCP4_DO_ACK ||
		       d->action == DHCP4_DO_NAK || d->action == DHCP4_DO_INFORM_ACK;

	memset(first, 0xff, sizeof(first));
	int size = dhcp4_build(msg, cfg, d, first, sizeof(first));
	CHECK((size > 0) == replies);
	if (size <= 0)
		return;
	CHECK((size_t)size <= sizeof(first));
	uint8_t *exact = calloc(1, (size_t)size);
	CHECK(exact != NULL);
	CHECK(dhcp4_build(msg, cfg, d, exact, (size_t)size - 1) < 0);
	CHECK(dhcp4_build(msg, cfg, d, exact, (size_t)size) == size);
	CHECK(memcmp(exact, first, (size_t)size) == 0); // every byte was written, both times
	check_reply(exact, (size_t)size, msg, cfg, d);
	free(exact);
}

static enum dhcp4_error parse(
	const uint8_t *prefix, const uint8_t *rest, size_t size, struct dhcp4_msg *ret_msg)
{
	struct client_frame f;

	if (prefix[0] & FLAG_OPTIONS_ONLY) {
		f = client_start(0);
		if (prefix[0] & FLAG_UNICAST)
			client_addr(&f, 30, ip4(10, 0, 0, 1));
		client_bytes(&f, rest, size < 1400 ? size : 1400);
		client_lengths(&f);
	} else {
		f.size = size < CLIENT_MAX ? size : CLIENT_MAX;
		memcpy(f.data, rest, f.size);
	}
	return client_parse(&f, ret_msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dhcp4_msg msg, again;

	if (size < PREFIX_SIZE)
		return 0;
	memset(&msg, 0xa5, sizeof(msg));
	again = msg;
	enum dhcp4_error e = parse(data, data + PREFIX_SIZE, size - PREFIX_SIZE, &msg);
	CHECK(e < DHCP4_ERROR_COUNT);
	if (e != DHCP4_OK) {
		CHECK(memcmp(&msg, &again, sizeof(msg)) == 0);
		return 0;
	}
	memset(&again, 0x5a, sizeof(again));
	CHECK(parse(data, data + PREFIX_SIZE, size - PREFIX_SIZE, &again) == DHCP4_OK);
	CHECK(memcmp(&msg, &again, sizeof(msg)) == 0);
	check_message(&msg);

	struct dhcp4_config cfg = choose_config(data, &msg);
	be32 address = data[0] & FLAG_KNOW_REQUESTED ? msg.requested_ip
		       : data[0] & FLAG_KNOW_CIADDR  ? msg.ciaddr
						     : 0;
	bool dynamic = (data[0] & FLAG_DYNAMIC) != 0;
	struct dhcp4_decision d = dhcp4_decide(&msg, &cfg, address, dynamic);
	CHECK(d.reason != NULL);
	if (d.action == DHCP4_DO_OFFER || d.action == DHCP4_DO_ACK)
		CHECK(d.yiaddr == address && address != 0);
	if (d.action == DHCP4_DO_PARK)
		CHECK(dynamic);
	build(&msg, &cfg, &d);
	return 0;
}
