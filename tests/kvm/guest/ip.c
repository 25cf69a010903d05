// SPDX-License-Identifier: BSD-3-Clause
// IPv4, ICMP echo and UDP of the test guest: see net.h.
#include "base.h"
#include "ip.h"
#include "net.h"
#include "tcp.h"

enum { PROTOCOL_ICMP = 1, PROTOCOL_TCP = 6, PROTOCOL_UDP = 17, TTL = 64, UDP_MAX_PORTS = 8 };

static struct {
	uint16_t port;
	udp_handler *handler;
	void *arg;
} listeners[UDP_MAX_PORTS];

struct ipv4_text ipv4_text(be32 ip)
{
	const uint8_t *b = (const uint8_t *)&ip;
	struct ipv4_text t;

	text_format(t.text, sizeof(t.text), "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
	return t;
}

struct nic_tx *ip_begin(struct net *net, be32 dst, uint8_t **ret_payload)
{
	const struct mac *mac = neighbour_find(net, dst);
	struct nic_tx *tx = mac ? nic_tx_begin(&net->nic) : NULL;
	struct eth_hdr *eth;
	struct ipv4_hdr *ip;

	if (!tx)
		return NULL;
	eth = (struct eth_hdr *)tx->data;
	ip = (struct ipv4_hdr *)(eth + 1);
	*eth = (struct eth_hdr){ *mac, net->nic.mac, htons(ETHTYPE_IPV4) };
	*ip = (struct ipv4_hdr){ .version_ihl = 0x45,
		.frag_off = htons(IPV4_FLAG_DF),
		.ttl = TTL,
		.src = net->ip,
		.dst = dst };
	*ret_payload = (uint8_t *)(ip + 1);
	return tx;
}

void ip_send(struct net *net, struct nic_tx *tx, uint8_t protocol, size_t payload_size)
{
	struct ipv4_hdr *ip = (struct ipv4_hdr *)(tx->data + ETH_HDR_SIZE);

	ip->proto = protocol;
	ip->id = htons(net->ip_id++);
	ip->total_len = htons((uint16_t)(sizeof(*ip) + payload_size));
	ip->csum = csum_finish(csum_add(0, ip, sizeof(*ip)));
	nic_send(&net->nic, tx, NET_HEADERS + payload_size);
}

void ip_checksum(struct net *net, struct nic_tx *tx, uint8_t protocol, size_t payload_size,
	uint16_t csum_offset)
{
	struct ipv4_hdr *ip = (struct ipv4_hdr *)(tx->data + ETH_HDR_SIZE);
	uint8_t *payload = (uint8_t *)(ip + 1);
	uint32_t sum = csum_pseudo_ipv4(ip->src, ip->dst, protocol, (uint16_t)payload_size);
	be16_field *field = (be16_field *)(payload + csum_offset);

	*field = 0;
	if (net->nic.checksums) {
		*field = csum_fold(sum);
		tx->offload.hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		tx->offload.hdr.csum_start = NET_HEADERS;
		tx->offload.hdr.csum_offset = csum_offset;
	} else {
		*field = csum_not_zero(csum_finish(csum_add(sum, payload, payload_size)));
	}
}

bool ip_checksum_is_right(const struct packet *p, uint8_t protocol)
{
	uint32_t sum = csum_pseudo_ipv4(p->src, p->dst, protocol, (uint16_t)p->size);

	if (p->frame->offload->flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID))
		return true;
	return csum_finish(csum_add(sum, p->data, p->size)) == 0;
}

void (*echo_seen)(const uint8_t *payload, size_t size);

static void echo_answer(const struct packet *p)
{
	struct nic_tx *tx;
	struct icmp_hdr *icmp;
	uint8_t *payload;

	neighbour_learn(p->net, p->src, &p->eth->src);
	if (p->size > NIC_TX_SIZE - NET_HEADERS || !(tx = ip_begin(p->net, p->src, &payload)))
		return;
	memcpy(payload, p->data, p->size);
	icmp = (struct icmp_hdr *)payload;
	icmp->type = ICMP_ECHO_REPLY;
	icmp->csum = 0;
	icmp->csum = csum_finish(csum_add(0, payload, p->size));
	ip_send(p->net, tx, PROTOCOL_ICMP, p->size);
	p->net->n_echoes++;
	if (echo_seen)
		echo_seen(p->data + sizeof(*icmp), p->size - sizeof(*icmp));
}

static void icmp_input(const struct packet *p)
{
	const struct icmp_hdr *icmp = (const struct icmp_hdr *)p->data;
	struct net *net = p->net;

	if (p->size < sizeof(*icmp) || csum_finish(csum_add(0, p->data, p->size)) != 0)
		net->n_dropped++;
	else if (icmp->type == ICMP_ECHO_REQUEST && net->ip != 0)
		echo_answer(p);
	else if (icmp->type == ICMP_ECHO_REPLY && icmp->id == htons(net->echo_id) &&
		 icmp->seq == htons(net->echo_seq))
		net->echo_answered = true;
}

bool echo_send(
	struct net *net, be32 dst, uint16_t id, uint16_t seq, const uint8_t *data, size_t size)
{
	struct icmp_hdr *icmp;
	uint8_t *payload;
	struct nic_tx *tx = ip_begin(net, dst, &payload);

	if (!tx)
		return false;
	net->echo_id = id;
	net->echo_seq = seq;
	net->echo_answered = false;
	icmp = (struct icmp_hdr *)payload;
	*icmp = (struct icmp_hdr){ .type = ICMP_ECHO_REQUEST, .id = htons(id), .seq = htons(seq) };
	if (data)
		memcpy(payload + sizeof(*icmp), data, size);
	else
		pattern_fill(payload + sizeof(*icmp), size, seq, 0);
	icmp->csum = csum_finish(csum_add(0, payload, sizeof(*icmp) + size));
	ip_send(net, tx, PROTOCOL_ICMP, sizeof(*icmp) + size);
	return true;
}

static void udp_input(const struct packet *p)
{
	const struct udp_hdr *udp = (const struct udp_hdr *)p->data;
	struct packet whole = *p;
	struct datagram d;

	if (p->size < sizeof(*udp) || ntohs(udp->len) < sizeof(*udp) || ntohs(udp->len) > p->size) {
		p->net->n_dropped++;
		return;
	}
	whole.size = ntohs(udp->len);
	if (udp->csum != 0 && !ip_checksum_is_right(&whole, PROTOCOL_UDP)) {
		p->net->n_dropped++;
		return;
	}
	d = (struct datagram){ p->net, p->src, p->dst, ntohs(udp->src_port), ntohs(udp->dst_port),
		p->data + sizeof(*udp), whole.size - sizeof(*udp) };
	for (unsigned i = 0; i < UDP_MAX_PORTS; i++) {
		if (listeners[i].handler && listeners[i].port == d.dst_port) {
			if (p->net->ip != 0)
				neighbour_learn(p->net, p->src, &p->eth->src);
			listeners[i].handler(&d, listeners[i].arg);
			return;
		}
	}
}

bool udp_send(struct net *net, be32 dst, uint16_t src_port, uint16_t dst_port, const void *data,
	size_t size)
{
	struct udp_hdr *udp;
	uint8_t *payload;
	struct nic_tx *tx;

	if (size > NIC_TX_SIZE - NET_HEADERS - sizeof(*udp) || !(tx = ip_begin(net, dst, &payload)))
		return false;
	udp = (struct udp_hdr *)payload;
	*udp = (struct udp_hdr){ htons(src_port), htons(dst_port),
		htons((uint16_t)(sizeof(*udp) + size)), 0 };
	memcpy(udp + 1, data, size);
	ip_checksum(net, tx, PROTOCOL_UDP, sizeof(*udp) + size, offsetof(struct udp_hdr, csum));
	ip_send(net, tx, PROTOCOL_UDP, sizeof(*udp) + size);
	return true;
}

void udp_listen(uint16_t port, udp_handler *handler, void *arg)
{
	unsigned slot = UDP_MAX_PORTS;

	for (unsigned i = UDP_MAX_PORTS; i-- > 0;) {
		if (!listeners[i].handler || listeners[i].port == port)
			slot = i;
		if (listeners[i].handler && listeners[i].port == port)
			break;
	}
	if (slot < UDP_MAX_PORTS) {
		listeners[slot].port = port;
		listeners[slot].handler = handler;
		listeners[slot].arg = arg;
	}
}

void ip_input(struct net *net, const struct nic_frame *frame)
{
	const struct ipv4_hdr *ip = (const struct ipv4_hdr *)(frame->data + ETH_HDR_SIZE);
	size_t size = frame->size - ETH_HDR_SIZE, header, total;
	struct packet p = {
		.net = net, .frame = frame, .eth = (const struct eth_hdr *)frame->data
	};

	header = size < sizeof(*ip) ? 0 : (ip->version_ihl & 15) * 4u;
	total = header ? ntohs(ip->total_len) : 0;
	if (header < sizeof(*ip) || ip->version_ihl >> 4 != 4 || total < header || total > size ||
		csum_finish(csum_add(0, ip, header)) != 0 ||
		(ntohs(ip->frag_off) & (IPV4_FLAG_MF | IPV4_FRAG_OFFSET_MASK))) {
		net->n_dropped++;
		return;
	}
	p.src = ip->src;
	p.dst = ip->dst;
	p.data = (const uint8_t *)ip + header;
	p.size = total - header;
	if (net->ip != 0 && ip->dst != net->ip && ip->dst != 0xffffffff)
		return;
	if (ip->proto == PROTOCOL_ICMP)
		icmp_input(&p);
	else if (ip->proto == PROTOCOL_UDP)
		udp_input(&p);
	else if (ip->proto == PROTOCOL_TCP && net->ip != 0)
		tcp_input(&p);
}
