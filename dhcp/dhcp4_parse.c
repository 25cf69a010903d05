// SPDX-License-Identifier: BSD-3-Clause
// DHCPv4 messages from clients: Ethernet frame -> struct dhcp4_msg. Called by the service stage on
// a worker with bytes a guest wrote; the guest's file and sname fields may carry options too.
// Lengths are checked from the frame inwards. Checksums are not: the IPv4 one was verified by the
// parse stage, and only that stage knows whether UDP's is partial (offload on a tap).
#include "dhcp/dhcp4.h"
#include "dhcp/dhcp4_wire.h"

enum {
	PROTO_UDP = 17,
	OPTION_MAX = 255,
};

// The options we read. Pieces of one code are joined over all areas (RFC 3396 §7).
enum wanted {
	WANT_HOSTNAME,
	WANT_REQUESTED_IP,
	WANT_OVERLOAD,
	WANT_TYPE,
	WANT_SERVER_ID,
	WANT_PRL,
	WANT_MAX_SIZE,
	WANT_CLIENT_ID,
	WANT_COUNT
};

// Lengths by RFC 2132, except that an empty host name passes: it harms nobody, and refusing an
// address over it would.
static const struct {
	uint8_t code, min, max;
} wanted_options[WANT_COUNT] = {
	[WANT_HOSTNAME] = { OPTION_HOSTNAME, 0, OPTION_MAX },
	[WANT_REQUESTED_IP] = { OPTION_REQUESTED_IP, 4, 4 },
	[WANT_OVERLOAD] = { OPTION_OVERLOAD, 1, 1 },
	[WANT_TYPE] = { OPTION_TYPE, 1, 1 },
	[WANT_SERVER_ID] = { OPTION_SERVER_ID, 4, 4 },
	[WANT_PRL] = { OPTION_PRL, 1, OPTION_MAX },
	[WANT_MAX_SIZE] = { OPTION_MAX_SIZE, 2, 2 },
	[WANT_CLIENT_ID] = { OPTION_CLIENT_ID, 2, DHCP4_MAX_CLIENT_ID },
};

struct option_value {
	bool present;
	uint16_t size; // of all pieces; bytes beyond OPTION_MAX are counted, not kept
	uint8_t data[OPTION_MAX]; // valid up to size
};

struct options {
	struct option_value values[WANT_COUNT];
};

static void option_append(struct option_value *v, const uint8_t *data, uint8_t size)
{
	size_t room = v->size < OPTION_MAX ? (size_t)(OPTION_MAX - v->size) : 0;

	if (room > 0)
		memcpy(v->data + v->size, data, size < room ? size : room);
	v->present = true;
	v->size = (uint16_t)(v->size + size); // an area is < 64 KiB, and so is the sum
}

// Walks one area once, front to back. An area without End ends with its last byte.
static enum dhcp4_error collect(struct options *opts, const uint8_t *area, size_t size)
{
	size_t i = 0;

	while (i < size && area[i] != OPTION_END) {
		if (area[i] == OPTION_PAD) {
			i++;
			continue;
		}
		if (size - i < 2 || size - i - 2 < area[i + 1])
			return DHCP4_TRUNCATED;
		for (unsigned w = 0; w < WANT_COUNT; w++) {
			if (wanted_options[w].code == area[i])
				option_append(&opts->values[w], area + i + 2, area[i + 1]);
		}
		i += 2u + area[i + 1];
	}
	return DHCP4_OK;
}

// RFC 2132 §9.3: file, then sname, each at most once. Overload inside them would be a loop: it
// is joined to the first one, whose length is then wrong.
static enum dhcp4_error collect_all(
	struct options *opts, const struct bootp *bootp, const uint8_t *area, size_t size)
{
	const struct option_value *overload = &opts->values[WANT_OVERLOAD];
	enum dhcp4_error e = collect(opts, area, size);

	if (e == DHCP4_OK && overload->present) {
		uint8_t where = overload->size == 1 ? overload->data[0] : 0;

		if (where < 1 || where > 3)
			return DHCP4_BAD_OPTION;
		if (where & 1)
			e = collect(opts, bootp->file, sizeof(bootp->file));
		if (e == DHCP4_OK && (where & 2))
			e = collect(opts, bootp->sname, sizeof(bootp->sname));
	}
	if (e != DHCP4_OK)
		return e;
	for (unsigned w = 0; w < WANT_COUNT; w++) {
		const struct option_value *v = &opts->values[w];

		// Too long is no fault where a shorter copy serves: host name and request list.
		bool too_long =
			wanted_options[w].max < OPTION_MAX && v->size > wanted_options[w].max;
		if (v->present && (v->size < wanted_options[w].min || too_long))
			return DHCP4_BAD_OPTION;
	}
	return DHCP4_OK;
}

// What may be shown in a terminal, a log or a resolver file.
static void copy_hostname(const struct option_value *v, char ret_name[DHCP4_MAX_HOSTNAME])
{
	size_t n = 0;

	while (n < v->size && n < DHCP4_MAX_HOSTNAME - 1 && v->data[n] != '\0') {
		uint8_t c = v->data[n];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			     (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';

		ret_name[n++] = plain ? (char)c : '-';
	}
	ret_name[n] = '\0';
}

static be32 option_be32(const struct option_value *v)
{
	be32 addr = 0;

	if (v->present)
		memcpy(&addr, v->data, sizeof(addr));
	return addr;
}

static bool is_client_type(uint8_t type)
{
	return type == DHCP4_DISCOVER || type == DHCP4_REQUEST || type == DHCP4_DECLINE ||
	       type == DHCP4_RELEASE || type == DHCP4_INFORM;
}

static enum dhcp4_error read_options(
	const struct bootp *bootp, const uint8_t *area, size_t size, struct dhcp4_msg *msg)
{
	struct options opts;

	for (unsigned w = 0; w < WANT_COUNT; w++) {
		opts.values[w].present = false;
		opts.values[w].size = 0;
	}
	enum dhcp4_error e = collect_all(&opts, bootp, area, size);
	if (e != DHCP4_OK)
		return e;

	const struct option_value *type = &opts.values[WANT_TYPE];
	if (!type->present || !is_client_type(type->data[0]))
		return DHCP4_BAD_OPTION;
	msg->type = type->data[0];
	msg->requested_ip = option_be32(&opts.values[WANT_REQUESTED_IP]);
	msg->server_id = option_be32(&opts.values[WANT_SERVER_ID]);

	const struct option_value *max_size = &opts.values[WANT_MAX_SIZE];
	if (max_size->present)
		msg->max_size = (uint16_t)(max_size->data[0] << 8 | max_size->data[1]);

	const struct option_value *client_id = &opts.values[WANT_CLIENT_ID];
	if (client_id->present) {
		msg->client_id_size = (uint8_t)client_id->size;
		memcpy(msg->client_id, client_id->data, client_id->size);
	}
	const struct option_value *prl = &opts.values[WANT_PRL];
	if (prl->present) {
		msg->prl_size = (uint8_t)(prl->size < DHCP4_MAX_PRL ? prl->size : DHCP4_MAX_PRL);
		memcpy(msg->prl, prl->data, msg->prl_size);
	}
	if (opts.values[WANT_HOSTNAME].present)
		copy_hostname(&opts.values[WANT_HOSTNAME], msg->hostname);
	return DHCP4_OK;
}

// Finds the UDP payload of an untagged frame to the server port.
static enum dhcp4_error find_payload(const uint8_t *data, size_t size, struct dhcp4_msg *msg,
	const uint8_t **ret_payload, size_t *ret_size)
{
	struct eth_hdr eth;
	struct ipv4_hdr ip;
	struct udp_hdr udp;

	if (size < sizeof(eth))
		return DHCP4_NOT_DHCP;
	memcpy(&eth, data, sizeof(eth));
	if (eth.type != htons(ETHTYPE_IPV4))
		return DHCP4_NOT_DHCP;
	data += sizeof(eth);
	size -= sizeof(eth);
	if (size < sizeof(ip))
		return DHCP4_TRUNCATED;
	memcpy(&ip, data, sizeof(ip));
	if (ip.proto != PROTO_UDP || (ip.frag_off & htons(IPV4_FRAG_OFFSET_MASK)) != 0)
		return DHCP4_NOT_DHCP;

	size_t ip_hdr_size = (ip.version_ihl & 0x0fu) * 4;
	size_t total_len = ntohs(ip.total_len);
	if (ip.version_ihl >> 4 != 4 || ip_hdr_size < sizeof(ip))
		return DHCP4_BAD_HEADER;
	if (total_len > size || total_len < ip_hdr_size + sizeof(udp))
		return DHCP4_TRUNCATED;
	memcpy(&udp, data + ip_hdr_size, sizeof(udp));
	if (udp.dst_port != htons(DHCP4_SERVER_PORT))
		return DHCP4_NOT_DHCP;
	if (ip.frag_off & htons(IPV4_FLAG_MF))
		return DHCP4_BAD_HEADER;
	if (ntohs(udp.len) < sizeof(udp))
		return DHCP4_BAD_HEADER;
	if (ntohs(udp.len) > total_len - ip_hdr_size)
		return DHCP4_TRUNCATED;

	msg->src_mac = eth.src;
	msg->src_ip = ip.src;
	msg->dst_ip = ip.dst;
	*ret_payload = data + ip_hdr_size + sizeof(udp);
	*ret_size = ntohs(udp.len) - sizeof(udp);
	return DHCP4_OK;
}

enum dhcp4_error dhcp4_parse(const uint8_t *data, size_t size, struct dhcp4_msg *ret_msg)
{
	struct dhcp4_msg msg;
	struct bootp bootp;
	const uint8_t *payload = NULL;
	size_t payload_size = 0;

	memset(&msg, 0, sizeof(msg));
	enum dhcp4_error e = find_payload(data, size, &msg, &payload, &payload_size);
	if (e != DHCP4_OK)
		return e;
	if (payload_size < sizeof(bootp))
		return DHCP4_TRUNCATED;
	memcpy(&bootp, payload, sizeof(bootp));
	if (bootp.op != BOOTP_REQUEST || bootp.htype != BOOTP_HTYPE_ETHERNET ||
		bootp.hlen != ETH_ALEN_ || bootp.cookie != htonl(DHCP4_COOKIE))
		return DHCP4_BAD_HEADER;
	// A client speaks for itself; and there are no relays on the ports this server answers.
	if (!mac_equal(&bootp.chaddr, &msg.src_mac) || mac_is_multicast(&bootp.chaddr) ||
		mac_is_zero(&bootp.chaddr) || bootp.giaddr != 0)
		return DHCP4_BAD_HEADER;

	msg.xid = bootp.xid;
	msg.flags = bootp.flags;
	msg.ciaddr = bootp.ciaddr;
	msg.giaddr = bootp.giaddr;
	msg.chaddr = bootp.chaddr;
	e = read_options(&bootp, payload + sizeof(bootp), payload_size - sizeof(bootp), &msg);
	if (e != DHCP4_OK)
		return e;
	*ret_msg = msg;
	return DHCP4_OK;
}

const char *dhcp4_error_name(enum dhcp4_error e)
{
	switch (e) {
	case DHCP4_OK:
		return "ok";
	case DHCP4_NOT_DHCP:
		return "not_dhcp";
	case DHCP4_TRUNCATED:
		return "truncated";
	case DHCP4_BAD_HEADER:
		return "bad_header";
	case DHCP4_BAD_OPTION:
		return "bad_option";
	case DHCP4_ERROR_COUNT:
		break;
	}
	return "unknown";
}
