// SPDX-License-Identifier: BSD-3-Clause
// An IPv4 host on each nic: ARP, ICMP echo, UDP; TCP is in tcp.h. Frames are handled in net_wait,
// which whoever waits for something calls.
#pragma once

#include "nic.h"

enum { NET_MAX = 4, NET_NEIGHBOURS = 32, NET_HEADERS = ETH_HDR_SIZE + IPV4_MIN_HDR_SIZE };

struct neighbour {
	be32 ip;
	struct mac mac;
};

struct net {
	struct nic nic;
	be32 ip, gateway; // 0: none
	uint8_t prefix_len;
	struct neighbour neighbours[NET_NEIGHBOURS];
	unsigned n_neighbours; // ever; the oldest is replaced
	uint16_t ip_id;
	uint16_t echo_id, echo_seq; // asked last
	bool echo_answered;
	uint64_t n_echoes, n_dropped; // echo requests answered; frames not understood or damaged
};

// What a handler is told of a packet: the payload is that of IP, its checksum not yet looked at.
struct packet {
	struct net *net;
	const struct nic_frame *frame;
	const struct eth_hdr *eth;
	be32 src, dst;
	const uint8_t *data;
	size_t size;
};

struct datagram {
	struct net *net;
	be32 src, dst;
	uint16_t src_port, dst_port;
	const uint8_t *data;
	size_t size;
};

typedef void udp_handler(const struct datagram *datagram, void *arg);

// The nic that commands are about, opened if it is not; ends the guest if there is none.
struct net *net_current(void);
void net_select(unsigned nth);

// Handles frames until done(arg), or the time. Sleeps when there is nothing to do, unless the
// command line says poll. Returns whether it is done.
bool net_wait(bool (*done)(void *arg), void *arg, uint64_t until_ns);

// Whether the neighbour on the way to an address is known, after asking for it if need be.
bool net_resolve(struct net *net, be32 ip, uint64_t until_ns);

// Tells the neighbours its address, by a request for it (RFC 5227, section 3).
void net_announce(struct net *net);

// A packet to fill at *ret_payload, up to NIC_TX_SIZE - NET_HEADERS; NULL if there is no buffer or
// the next hop's MAC is not known.
struct nic_tx *ip_begin(struct net *net, be32 dst, uint8_t **ret_payload);
void ip_send(struct net *net, struct nic_tx *tx, uint8_t protocol, size_t payload_size);
// Of UDP and TCP, whose field lies at csum_offset: by the device where it can.
void ip_checksum(struct net *net, struct nic_tx *tx, uint8_t protocol, size_t payload_size,
	uint16_t csum_offset);
// Whether the UDP or TCP checksum is right, or the device vouches for it.
bool ip_checksum_is_right(const struct packet *packet, uint8_t protocol);

// payload: NULL, a pattern.
bool echo_send(
	struct net *net, be32 dst, uint16_t id, uint16_t seq, const uint8_t *payload, size_t size);
// Told of each echo request that is answered; NULL: nobody is.
extern void (*echo_seen)(const uint8_t *payload, size_t size);
bool udp_send(struct net *net, be32 dst, uint16_t src_port, uint16_t dst_port, const void *data,
	size_t size);
// handler NULL: no longer.
void udp_listen(uint16_t port, udp_handler *handler, void *arg);

struct ipv4_text {
	char text[16];
};
struct ipv4_text ipv4_text(be32 ip);
