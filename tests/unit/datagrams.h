// SPDX-License-Identifier: BSD-3-Clause
// UDP through the switch of the fixture: a datagram, its way out through SNAT to a neighbour that
// answers ARP, and the answer to it.
#pragma once

#include "tests/unit/switch_fixture.h"
#include "dhcp/arp.h"

struct datagram {
	struct eth_hdr eth;
	struct ipv4_hdr ip;
	struct udp_hdr udp;
	uint8_t payload[8];
} WIRE_PACKED;

static inline struct datagram udp(struct mac src, struct mac dst, const char *from, uint16_t sport,
	const char *to, uint16_t dport)
{
	struct datagram d = { .eth = { dst, src, htons(ETHTYPE_IPV4) },
		.ip = { 0x45, 0, htons(36), 1, htons(IPV4_FLAG_DF), 64, IPPROTO_UDP, 0, addr(from),
			addr(to) },
		.udp = { htons(sport), htons(dport), htons(16), 0 },
		.payload = "payload" };

	d.ip.csum = csum_finish(csum_add(0, &d.ip, sizeof(d.ip)));
	d.udp.csum = csum_finish(
		csum_add(csum_pseudo_ipv4(d.ip.src, d.ip.dst, IPPROTO_UDP, 16), &d.udp, 16));
	return d;
}

static const struct mac red_gw = { { 2, 0, 0, 0, 1, RED } };
static const struct mac blue_gw = { { 2, 0, 0, 0, 1, BLUE } };
static const struct mac world = { { 2, 9, 9, 9, 9, 9 } };

static inline void assert_sums(const uint8_t *frame)
{
	const struct datagram *d = (const void *)frame;

	assert_int_equal(csum_fold(csum_add(0, &d->ip, sizeof(d->ip))), 0xffff);
	if (d->ip.proto == IPPROTO_UDP)
		assert_int_equal(
			csum_fold(csum_add(csum_pseudo_ipv4(d->ip.src, d->ip.dst, IPPROTO_UDP, 16),
				&d->udp, 16)),
			0xffff);
}

static inline void send_udp(uint32_t port, const struct datagram *d)
{
	fixture_send(port, d, sizeof(*d));
}

// The uplink's neighbour answers the ARP request that waits on its wire.
static inline void answer_arp(const char *address)
{
	struct arp_msg arp;
	uint8_t frame[ARP_FRAME_SIZE];
	const uint8_t *got = wires[UPLINK]->out[0];

	assert_int_equal(wires[UPLINK]->n_out, 1);
	assert_int_equal(arp_parse(got, wires[UPLINK]->out_size[0], &arp), 0);
	assert_int_equal(arp.tpa, addr(address));
	fixture_clear();
	arp_build_reply(&arp, &world, frame);
	fixture_send(UPLINK, frame, sizeof(frame));
}

// Sends from inside to 203.0.113.9:53 and returns what leaves on the uplink.
static inline struct datagram out_through_snat(uint32_t port, struct mac gw, uint16_t sport)
{
	struct datagram d = udp(mac_of(port), gw, "10.0.0.11", sport, "203.0.113.9", 53), o;
	const uint8_t *got;

	send_udp(port, &d);
	if (wires[UPLINK]->n_out && wires[UPLINK]->out[0][13] == 6)
		answer_arp("198.51.100.1");
	got = fixture_received(UPLINK, NULL);
	assert_non_null(got);
	memcpy(&o, got, sizeof(o));
	assert_sums(got);
	assert_int_equal(o.ip.src, addr("198.51.100.2"));
	assert_int_equal(o.ip.ttl, 63);
	assert_memory_equal(&o.eth.dst, &world, sizeof(world));
	assert_memory_equal(o.payload, "payload", 8);
	return o;
}

static inline void answer_arrives(uint32_t port, uint16_t sport, be16 ext_port)
{
	struct datagram d =
		udp(world, mac_of(UPLINK), "203.0.113.9", 53, "198.51.100.2", ntohs(ext_port));
	const uint8_t *got;
	struct datagram i;

	send_udp(UPLINK, &d);
	got = fixture_received(port, NULL);
	assert_non_null(got);
	assert_sums(got);
	memcpy(&i, got, sizeof(i));
	assert_int_equal(i.ip.dst, addr("10.0.0.11"));
	assert_int_equal(ntohs(i.udp.dst_port), sport);
	assert_int_equal(i.eth.dst.b[5], port);
}
