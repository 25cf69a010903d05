// SPDX-License-Identifier: BSD-3-Clause
// DHCPv4 replies: OFFER, ACK, NAK and the ACK to INFORM, from a parsed message, the configuration
// and a decision. Called by the service stage on a worker. The reply is made of zeroed structures
// only: no byte of it comes from memory nobody wrote. Everything the server ever says fits the
// 576-byte datagram that each client must take (RFC 2131 §2), so options are never overloaded.
#include <errno.h>
#include "dhcp/dhcp4.h"
#include "dhcp/dhcp4_wire.h"

enum {
	PROTO_UDP = 17,
	REPLY_TTL = 64,
	HEADERS_SIZE = sizeof(struct eth_hdr) + sizeof(struct ipv4_hdr) + sizeof(struct udp_hdr),
	DATAGRAM_MAX = 576,
	OPTIONS_MAX = DATAGRAM_MAX - sizeof(struct ipv4_hdr) - sizeof(struct udp_hdr) -
		      sizeof(struct bootp),
	LEASE_INFINITE = 0xffffffff,
};

struct option_writer {
	size_t size;
	uint8_t data[OPTIONS_MAX];
};

// An option that does not fit is left out: options come most important first. One byte stays
// reserved for End.
static void put(struct option_writer *w, uint8_t code, const void *data, size_t size)
{
	if (size == 0 || size > 255 || size + 2 > sizeof(w->data) - 1 - w->size)
		return;
	w->data[w->size++] = code;
	w->data[w->size++] = (uint8_t)size;
	memcpy(w->data + w->size, data, size);
	w->size += size;
}

static void put_u8(struct option_writer *w, uint8_t code, uint8_t value)
{
	put(w, code, &value, sizeof(value));
}

static void put_u32(struct option_writer *w, uint8_t code, uint32_t value)
{
	be32 v = htonl(value);

	put(w, code, &v, sizeof(v));
}

static void put_addr(struct option_writer *w, uint8_t code, be32 addr)
{
	if (addr != 0)
		put(w, code, &addr, sizeof(addr));
}

static void put_lease(struct option_writer *w, uint32_t lease_s)
{
	bool infinite = lease_s == LEASE_INFINITE;

	put_u32(w, OPTION_LEASE_TIME, lease_s);
	put_u32(w, OPTION_T1, infinite ? LEASE_INFINITE : lease_s / 2);
	put_u32(w, OPTION_T2, infinite ? LEASE_INFINITE : (uint32_t)((uint64_t)lease_s * 7 / 8));
}

// One option a client may ask for by number. The subnet mask is not here: it is always sent, and
// before the router (RFC 2132 §3.3).
static void put_requested(struct option_writer *w, uint8_t code, const struct dhcp4_config *cfg)
{
	switch (code) {
	case OPTION_ROUTER:
		put_addr(w, code, cfg->router);
		break;
	case OPTION_DNS:
		put(w, code, cfg->dns,
			(cfg->n_dns < DHCP4_MAX_DNS ? cfg->n_dns : DHCP4_MAX_DNS) * sizeof(be32));
		break;
	case OPTION_HOSTNAME:
		// One label (RFC 1035 §2.3.4); half a name would be a wrong name.
		if (cfg->hostname != NULL && strlen(cfg->hostname) < DHCP4_MAX_HOSTNAME)
			put(w, code, cfg->hostname, strlen(cfg->hostname));
		break;
	case OPTION_MTU:
		if (cfg->mtu != 0) {
			be16 mtu = htons(cfg->mtu);
			put(w, code, &mtu, sizeof(mtu));
		}
		break;
	case OPTION_BROADCAST:
		if (cfg->prefix_len < 31)
			put_addr(w, code, cfg->subnet | htonl(~ipv4_mask(cfg->prefix_len)));
		break;
	}
}

static void put_network(
	struct option_writer *w, const struct dhcp4_msg *msg, const struct dhcp4_config *cfg)
{
	static const uint8_t unasked[] = { OPTION_ROUTER, OPTION_DNS, OPTION_MTU, OPTION_BROADCAST,
		OPTION_HOSTNAME };
	const uint8_t *list = msg->prl_size > 0 ? msg->prl : unasked;
	size_t n = msg->prl_size > 0 ? msg->prl_size : sizeof(unasked);
	bool done[256] = { false };

	put_u32(w, OPTION_SUBNET_MASK, ipv4_mask(cfg->prefix_len));
	for (size_t i = 0; i < n; i++) {
		if (!done[list[i]])
			put_requested(w, list[i], cfg);
		done[list[i]] = true;
	}
}

static void put_options(struct option_writer *w, const struct dhcp4_msg *msg,
	const struct dhcp4_config *cfg, const struct dhcp4_decision *d)
{
	bool nak = d->action == DHCP4_DO_NAK;

	put_u8(w, OPTION_TYPE,
		nak                           ? DHCP4_NAK
		: d->action == DHCP4_DO_OFFER ? DHCP4_OFFER
					      : DHCP4_ACK);
	put_addr(w, OPTION_SERVER_ID, cfg->server_ip);
	put(w, OPTION_CLIENT_ID, msg->client_id, msg->client_id_size); // RFC 6842 §3
	if (nak) { // only these, RFC 2131 table 3
		if (d->reason != NULL)
			put(w, OPTION_MESSAGE, d->reason, strlen(d->reason));
	} else {
		if (d->action != DHCP4_DO_INFORM_ACK)
			put_lease(w, cfg->lease_s);
		put_network(w, msg, cfg);
	}
	w->data[w->size++] = OPTION_END;
}

struct destination {
	struct mac mac;
	be32 ip;
};

// RFC 2131 §4.1, without relays.
static struct destination choose_destination(
	const struct dhcp4_msg *msg, const struct dhcp4_decision *d)
{
	struct destination to = { .mac = msg->chaddr };

	if (d->action != DHCP4_DO_NAK && msg->ciaddr != 0) {
		to.ip = msg->ciaddr;
	} else if (d->action == DHCP4_DO_NAK || (msg->flags & htons(BOOTP_FLAG_BROADCAST)) != 0) {
		memset(&to.mac, 0xff, sizeof(to.mac));
		to.ip = htonl(INADDR_BROADCAST);
	} else {
		to.ip = d->yiaddr;
	}
	return to;
}

static void write_headers(uint8_t *buf, const struct dhcp4_config *cfg,
	const struct destination *to, size_t bootp_size)
{
	struct eth_hdr eth = {
		.dst = to->mac, .src = cfg->server_mac, .type = htons(ETHTYPE_IPV4)
	};
	struct udp_hdr udp = {
		.src_port = htons(DHCP4_SERVER_PORT),
		.dst_port = htons(DHCP4_CLIENT_PORT),
		.len = htons((uint16_t)(sizeof(udp) + bootp_size)),
	};
	struct ipv4_hdr ip = {
		.version_ihl = 0x45,
		.total_len = htons((uint16_t)(sizeof(ip) + sizeof(udp) + bootp_size)),
		.frag_off = htons(IPV4_FLAG_DF),
		.ttl = REPLY_TTL,
		.proto = PROTO_UDP,
		.src = cfg->server_ip,
		.dst = to->ip,
	};

	ip.csum = csum_finish(csum_add(0, &ip, sizeof(ip)));
	uint32_t sum = csum_pseudo_ipv4(ip.src, ip.dst, ip.proto, ntohs(udp.len));
	sum = csum_add(sum, &udp, sizeof(udp));
	sum = csum_add(sum, buf + HEADERS_SIZE, bootp_size);
	udp.csum = csum_finish(sum);
	if (udp.csum == 0) // RFC 768: zero on the wire means "none"
		udp.csum = 0xffff;

	memcpy(buf, &eth, sizeof(eth));
	memcpy(buf + sizeof(eth), &ip, sizeof(ip));
	memcpy(buf + sizeof(eth) + sizeof(ip), &udp, sizeof(udp));
}

// RFC 2131 table 3: whether the action has a reply, and one that makes sense.
static bool has_reply(const struct dhcp4_decision *d)
{
	switch (d->action) {
	case DHCP4_DO_OFFER:
	case DHCP4_DO_ACK:
		return d->yiaddr != 0;
	case DHCP4_DO_NAK:
	case DHCP4_DO_INFORM_ACK:
		return true;
	case DHCP4_DO_NOTHING:
	case DHCP4_DO_RELEASE:
	case DHCP4_DO_DECLINE:
	case DHCP4_DO_PARK:
		break;
	}
	return false;
}

int dhcp4_build(const struct dhcp4_msg *msg, const struct dhcp4_config *cfg,
	const struct dhcp4_decision *d, uint8_t *buf, size_t buf_size)
{
	struct option_writer options = { .size = 0 };

	if (!has_reply(d))
		return -EINVAL;
	put_options(&options, msg, cfg, d);

	size_t bootp_size = sizeof(struct bootp) + options.size;
	if (bootp_size < BOOTP_MIN_SIZE)
		bootp_size = BOOTP_MIN_SIZE;
	size_t frame_size = HEADERS_SIZE + bootp_size;
	if (buf_size < frame_size)
		return -EMSGSIZE;

	bool lease = d->action == DHCP4_DO_OFFER || d->action == DHCP4_DO_ACK;
	bool keeps_ciaddr = d->action == DHCP4_DO_ACK || d->action == DHCP4_DO_INFORM_ACK;
	struct bootp bootp = {
		.op = BOOTP_REPLY,
		.htype = BOOTP_HTYPE_ETHERNET,
		.hlen = ETH_ALEN_,
		.xid = msg->xid,
		.flags = msg->flags,
		.ciaddr = keeps_ciaddr ? msg->ciaddr : 0,
		.yiaddr = lease ? d->yiaddr : 0,
		.giaddr = msg->giaddr,
		.chaddr = msg->chaddr,
		.cookie = htonl(DHCP4_COOKIE),
	};
	memset(buf, 0, frame_size);
	memcpy(buf + HEADERS_SIZE, &bootp, sizeof(bootp));
	memcpy(buf + HEADERS_SIZE + sizeof(bootp), options.data, options.size);

	struct destination to = choose_destination(msg, d);
	write_headers(buf, cfg, &to, bootp_size);
	return (int)frame_size;
}
