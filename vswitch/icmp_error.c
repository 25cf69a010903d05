// SPDX-License-Identifier: BSD-3-Clause
// Stage: ICMP errors belong to the session of the packet they quote. Through SNAT the quoted packet
// is translated back as well (RFC 5508 §4: REQ-3, REQ-4, REQ-5). An error never ends or renews a
// session. Workers.
#include "vswitch/rewrite.h"

// The quoted packet, inside the ICMP message of a parsed packet.
struct quote {
	struct icmp_hdr *icmp;
	struct ipv4_hdr *ip;
	uint8_t *l4; // at least 8 bytes (RFC 792)
	size_t l4_size; // bytes of it in the first segment
};

static bool find_quote(struct rte_mbuf *m, struct quote *q)
{
	struct packet *p = packet_of(m);
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	size_t ip_off = p->l4_off + sizeof(struct icmp_hdr);
	size_t l3_end = p->l3_off + p->l3_len;
	size_t end = l3_end < m->data_len ? l3_end : m->data_len;
	size_t ihl;

	if (ip_off + sizeof(struct ipv4_hdr) + 8 > end)
		return false;
	q->icmp = packet_l4(m);
	q->ip = (struct ipv4_hdr *)(data + ip_off);
	ihl = (q->ip->version_ihl & 0x0f) * 4u;
	if (q->ip->version_ihl >> 4 != 4 || ihl < sizeof(struct ipv4_hdr) || ip_off + ihl + 8 > end)
		return false;
	if (q->ip->frag_off & htons(IPV4_FRAG_OFFSET_MASK))
		return false; // not the first fragment: no ports
	q->l4 = data + ip_off + ihl;
	q->l4_size = end - ip_off - ihl;
	return true;
}

// The quoted packet was sent to us (or through us) on its way out: the session knows it as the
// opposite of what its receiver would answer.
static bool quote_key(const struct packet *p, const struct quote *q, struct session_key *key)
{
	be16 ports[2] = { 0, 0 };

	*key = (struct session_key){
		.zone = p->zone, .src = q->ip->dst, .dst = q->ip->src, .proto = q->ip->proto
	};
	switch (q->ip->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		memcpy(ports, q->l4, sizeof(ports));
		break;
	case IPPROTO_ICMP: {
		const struct icmp_hdr *inner = (const struct icmp_hdr *)q->l4;

		if (inner->type != ICMP_ECHO_REQUEST && inner->type != ICMP_ECHO_REPLY)
			return false; // RFC 1122 §3.2.2: no error about an error
		ports[0] = ports[1] = inner->id;
		break;
	}
	}
	key->src_port = ports[1];
	key->dst_port = ports[0];
	return true;
}

// Changes a 16-bit field of the quoted packet; both sums that cover it follow.
static void set16(struct quote *q, be16_field *field, be16 to, be16_field *inner_csum)
{
	be16 old = *field;

	*field = to;
	q->icmp->csum = csum_update16(q->icmp->csum, old, to);
	if (inner_csum) {
		be16 before = *inner_csum;

		*inner_csum = csum_update16(before, old, to);
		q->icmp->csum = csum_update16(q->icmp->csum, before, *inner_csum);
	}
}

static void set32(struct quote *q, be32_field *field, be32 to, be16_field *inner_csum)
{
	be16_field *half = (be16_field *)(void *)field;
	be16 words[2];

	memcpy(words, &to, sizeof(words));
	set16(q, &half[0], words[0], inner_csum);
	set16(q, &half[1], words[1], inner_csum);
}

// Where the quoted transport header keeps its checksum, if that part was quoted and is in use.
static be16_field *quoted_csum(const struct quote *q)
{
	be16_field *csum = NULL;

	if (q->ip->proto == IPPROTO_TCP && q->l4_size >= sizeof(struct tcp_hdr))
		csum = &((struct tcp_hdr *)q->l4)->csum;
	else if (q->ip->proto == IPPROTO_UDP)
		csum = &((struct udp_hdr *)q->l4)->csum;
	else if (q->ip->proto == IPPROTO_ICMP)
		csum = &((struct icmp_hdr *)q->l4)->csum;
	return csum && (*csum || q->ip->proto != IPPROTO_UDP) ? csum : NULL;
}

// dir: the direction in which the error itself travels. Reverse: from outside to the internal host,
// whose own packet is quoted (its source is external). Forward: the internal host complains of what
// it got.
static void translate_quote(
	struct rte_mbuf *m, struct quote *q, const struct session_desc *d, unsigned dir)
{
	const struct session_key *in = &d->key[SESSION_FORWARD];
	const struct session_key *out = &d->key[SESSION_REVERSE];
	struct ipv4_hdr *ip = packet_l3(m);
	be16_field *ports = (be16_field *)(void *)q->l4;
	bool echo = q->ip->proto == IPPROTO_ICMP;
	be16_field *csum = quoted_csum(q);
	// ICMP has no pseudo header: its checksum covers no addresses.
	be16_field *address_csum = echo ? NULL : csum;
	be32 address = dir == SESSION_REVERSE ? in->src : out->dst;
	be16 port = dir == SESSION_REVERSE ? in->src_port : out->dst_port;
	be32_field *inner_addr = rewrite_address_field(q->ip, dir != SESSION_REVERSE);
	be16_field *inner_port = dir == SESSION_REVERSE ? &ports[0] : &ports[1];
	be16 ip_csum = q->ip->csum;
	be32 old = *inner_addr;

	set32(q, inner_addr, address, address_csum);
	set16(q, &q->ip->csum, csum_update32(ip_csum, old, address), NULL);
	set16(q, echo ? &((struct icmp_hdr *)q->l4)->id : inner_port, port, csum);
	if (csum && *csum == 0 && q->ip->proto == IPPROTO_UDP) // which would say that there is none
		set16(q, csum, 0xffff, NULL);
	rewrite_ipv4_address(m, rewrite_address_field(ip, dir == SESSION_REVERSE), address);
}

// An error is told to who sent what it quotes (RFC 792), and to nobody else. About what came in
// through SNAT, only who got it may complain: to others outside, a guest behind the same address
// would speak as him.
static bool is_party(const struct session_desc *d, unsigned dir, const struct quote *q,
	const struct ipv4_hdr *ip)
{
	if (ip->dst != q->ip->src)
		return false;
	return dir == SESSION_REVERSE || !(d->flags & SESSION_F_SNAT) ||
	       ip->src == d->key[SESSION_FORWARD].src;
}

static enum drop_reason icmp_error(struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	struct packet *p = packet_of(m);
	struct session_record *rec;
	struct session_key key;
	enum session_dir dir;
	struct quote q;
	uint32_t id;
	bool routed;

	// IPv6 has no sessions yet, and its types and quotes mean something else.
	if (!(p->flags & PACKET_ICMP_ERROR) ||
		(p->flags & (PACKET_IPV6 | PACKET_FRAGMENT | PACKET_MULTICAST)))
		return DROP_NONE;
	// Source quench is no more (RFC 6633); a redirect is for one wire, not for those behind it.
	if (((const struct icmp_hdr *)packet_l4(m))->type != ICMP_UNREACHABLE &&
		((const struct icmp_hdr *)packet_l4(m))->type != ICMP_TIME_EXCEEDED &&
		((const struct icmp_hdr *)packet_l4(m))->type != ICMP_PARAMETER_PROBLEM)
		return DROP_POLICY_DENY;
	if (!find_quote(m, &q) || !quote_key(p, &q, &key))
		return DROP_PARSE_L4_HEADER;
	id = session_lookup(w->sw->sessions, &key, &dir);
	if (id == SESSION_NONE)
		return DROP_POLICY_NOT_FIRST;
	rec = session_get(w->sw->sessions, id);
	if (!is_party(&rec->d, dir, &q, packet_l3(m)))
		return DROP_POLICY_NOT_FIRST;
	routed = session_is_routed(b, m);
	if (!session_is_allowed(w, b, id, rec) || routed != !!(rec->d.flags & SESSION_F_ROUTED))
		return DROP_POLICY_NOT_FIRST;
	// Whoever sends an error may be anyone on the way, but nobody outside has an inside
	// address.
	if (p->segment == POLICY_NO_SEGMENT &&
		policy_is_inside(b->policy, rec->d.key[SESSION_FORWARD].zone,
			((const struct ipv4_hdr *)packet_l3(m))->src))
		return DROP_GUARD_SRC_IPV4;
	p->session = id;
	p->flags |= PACKET_HIT | (dir == SESSION_REVERSE ? PACKET_REVERSE : 0) |
		    (routed ? PACKET_ROUTED : 0);
	p->nexthop =
		routed ? __atomic_load_n(&rec->d.nexthop[dir], __ATOMIC_RELAXED) : NEXTHOP_NONE;
	if (!nexthop_get(w->sw->nexthops, p->nexthop))
		p->nexthop = NEXTHOP_NONE;
	if (rec->d.flags & SESSION_F_SNAT)
		translate_quote(m, &q, &rec->d, dir);
	return DROP_NONE;
}

void stage_icmp_error(struct worker *w, struct burst *b)
{
	burst_filter(w, b, icmp_error);
}
