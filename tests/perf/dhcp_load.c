// SPDX-License-Identifier: BSD-3-Clause
// DHCP clients for the benchmark: on one interface, each with a MAC of its own, through DISCOVER,
// OFFER, REQUEST, ACK. Closed loop: so many are under way, and one that has its address makes room
// for the next; what is not answered is sent again. Started by figures_dhcp.py.
//   dhcp_load INTERFACE WINDOW SECONDS CLIENTS FIRST
// WINDOW: clients under way; CLIENTS: how many there are, the first being number FIRST.
// Prints one line of JSON; exits with 1 if nobody got an address or somebody was refused.

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	WINDOW_MAX = 256, // a slot's number is the low byte of its transaction id
	RESEND_MS = 300,
	DISCOVER = 1,
	OFFER = 2,
	REQUEST = 3,
	ACK = 5,
	NAK = 6,
	OPTION_REQUESTED = 50,
	OPTION_TYPE = 53,
	OPTION_SERVER = 54,
	OPTION_END = 255,
	BUFFER = 4 << 20,
};

struct bootp {
	uint8_t op, htype, hlen, hops;
	uint32_t xid;
	uint16_t secs, flags;
	uint32_t ciaddr, yiaddr, siaddr, giaddr;
	uint8_t chaddr[16], sname[64], file[128];
	uint8_t cookie[4], options[312];
} __attribute__((packed));

struct frame {
	struct ether_header eth;
	struct iphdr ip;
	struct udphdr udp;
	struct bootp bootp;
} __attribute__((packed));

struct slot {
	uint8_t mac[6];
	uint32_t xid, address, server; // address 0: no offer yet
	uint64_t sent_ms;
};

struct load {
	int fd;
	unsigned window, clients, first, next; // next: of the clients
	struct slot slots[WINDOW_MAX];
	uint64_t done, refused, resent;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint8_t *option(uint8_t *at, uint8_t code, const void *data, uint8_t size)
{
	at[0] = code;
	at[1] = size;
	memcpy(at + 2, data, size);
	return at + 2 + size;
}

static uint16_t checksum(const void *data, size_t size)
{
	const uint8_t *p = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < size; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	sum = (sum >> 16) + (sum & 0xffff);
	return htons((uint16_t) ~((sum >> 16) + sum));
}

// DISCOVER, or REQUEST once there is an offer (RFC 2131 §4.4.1).
static void say(struct load *l, struct slot *s)
{
	struct frame f = { 0 };
	uint8_t type = s->address ? REQUEST : DISCOVER, *at = f.bootp.options;

	memset(f.eth.ether_dhost, 0xff, 6);
	memcpy(f.eth.ether_shost, s->mac, 6);
	f.eth.ether_type = htons(ETHERTYPE_IP);
	f.bootp = (struct bootp){ .op = 1,
		.htype = 1,
		.hlen = 6,
		.xid = s->xid,
		.flags = htons(0x8000),
		.cookie = { 99, 130, 83, 99 } };
	memcpy(f.bootp.chaddr, s->mac, 6);
	at = option(at, OPTION_TYPE, &type, 1);
	if (s->address) {
		at = option(at, OPTION_REQUESTED, &s->address, 4);
		at = option(at, OPTION_SERVER, &s->server, 4);
	}
	*at = OPTION_END;
	f.udp = (struct udphdr){ .source = htons(68),
		.dest = htons(67),
		.len = htons(sizeof(f.udp) + sizeof(f.bootp)) };
	f.ip = (struct iphdr){ .version = 4,
		.ihl = 5,
		.tot_len = htons(sizeof(f) - sizeof(f.eth)),
		.ttl = 64,
		.protocol = IPPROTO_UDP,
		.daddr = UINT32_MAX };
	f.ip.check = checksum(&f.ip, sizeof(f.ip));
	s->sent_ms = now_ms();
	if (send(l->fd, &f, sizeof(f), 0) < 0 && errno != ENOBUFS && errno != EAGAIN)
		perror("dhcp_load: send");
}

// The next client into this slot.
static void begin(struct load *l, unsigned slot)
{
	struct slot *s = &l->slots[slot];
	unsigned number = l->first + l->next++ % l->clients;

	*s = (struct slot){ .mac = { 0x0a, 0, 0, (uint8_t)(number >> 16), (uint8_t)(number >> 8),
				    (uint8_t)number },
		.xid = htonl(l->next << 8 | slot) };
	say(l, s);
}

// The message type, and the server's address if it is there.
static uint8_t read_options(const struct frame *f, size_t size, uint32_t *ret_server)
{
	const uint8_t *at = f->bootp.options, *end = (const uint8_t *)f + size;
	uint8_t type = 0;

	while (at + 2 <= end && *at != OPTION_END && at + 2 + at[1] <= end) {
		if (*at == 0) {
			at++;
			continue;
		}
		if (*at == OPTION_TYPE && at[1] == 1)
			type = at[2];
		else if (*at == OPTION_SERVER && at[1] == 4)
			memcpy(ret_server, at + 2, 4);
		at += 2 + at[1];
	}
	return type;
}

static void hear(struct load *l, const struct frame *f, size_t size)
{
	uint32_t server = 0;
	struct slot *s;
	unsigned slot;
	uint8_t type;

	if (size < offsetof(struct frame, bootp.options) || f->udp.dest != htons(68) ||
		f->bootp.op != 2)
		return;
	slot = ntohl(f->bootp.xid) & 0xff;
	s = &l->slots[slot];
	if (slot >= l->window || f->bootp.xid != s->xid || memcmp(f->bootp.chaddr, s->mac, 6) != 0)
		return;
	type = read_options(f, size, &server);
	if (type == OFFER && !s->address) {
		s->address = f->bootp.yiaddr;
		s->server = server;
		say(l, s);
	} else if ((type == ACK || type == NAK) && s->address) {
		l->done += type == ACK;
		l->refused += type == NAK;
		begin(l, slot);
	}
}

// Until each client has had its lease once, at most so long; how long it took, in ms.
static uint64_t run(struct load *l, unsigned seconds)
{
	uint64_t begun = now_ms(), end = begun + seconds * 1000ull;
	struct pollfd p = { .fd = l->fd, .events = POLLIN };
	struct frame f;

	for (uint64_t now = begun; now < end && l->done < l->clients; now = now_ms()) {
		ssize_t n;

		while ((n = recv(l->fd, &f, sizeof(f), MSG_DONTWAIT)) > 0)
			hear(l, &f, (size_t)n);
		for (unsigned i = 0; i < l->window; i++) {
			if (now < l->slots[i].sent_ms + RESEND_MS)
				continue;
			l->resent++;
			say(l, &l->slots[i]);
		}
		poll(&p, 1, 1);
	}
	return now_ms() - begun;
}

static int open_interface(const char *name)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_IP),
		.sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_IP)), one = 1, size = BUFFER;

	if (fd < 0 || at.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0) {
		fprintf(stderr, "dhcp_load: %s: %s\n", name, strerror(errno));
		return -1;
	}
	return fd;
}

int main(int argc, char **argv)
{
	static struct load l;
	unsigned seconds;
	uint64_t took_ms;

	if (argc != 6) {
		fprintf(stderr, "usage: dhcp_load INTERFACE WINDOW SECONDS CLIENTS FIRST\n");
		return 2;
	}
	l.fd = open_interface(argv[1]);
	l.window = (unsigned)strtoul(argv[2], NULL, 10);
	seconds = (unsigned)strtoul(argv[3], NULL, 10);
	l.clients = (unsigned)strtoul(argv[4], NULL, 10);
	l.first = (unsigned)strtoul(argv[5], NULL, 10);
	if (l.fd < 0 || l.window == 0 || l.window > WINDOW_MAX || l.clients <= l.window || !seconds)
		return 2;
	for (unsigned i = 0; i < l.window; i++)
		begin(&l, i);
	took_ms = run(&l, seconds);
	printf("{\"leases\": %lu, \"refused\": %lu, \"resent\": %lu, \"seconds\": %.3f}\n", l.done,
		l.refused, l.resent, (double)took_ms / 1000);
	return l.done == 0 || l.refused > 0;
}
