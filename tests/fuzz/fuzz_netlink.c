// SPDX-License-Identifier: BSD-3-Clause
// What the kernel says by netlink, through the code that reads it: events of interfaces and of
// nf_tables (libmnl), answers about one interface, dumps of addresses and acknowledgements (libnl,
// whose sending and receiving are this file's own). Each datagram lies in a heap block of its exact
// size. Input: a byte that chooses the reader; then datagrams, each a 16-bit size (its top bit:
// make the first header's length, and every sequence number, right) and the bytes.
#include <errno.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netlink/handlers.h>
#include <netlink/msg.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>
#include "control/host_care.h"
#include "control/link.h"
#include "control/linkwatch.h"
#include "tests/fuzz/fuzz.h"

const char *__lsan_default_suppressions(void);

// libnl 3.7 forgets the interface it found when the acknowledgement after it is none
// (rtnl_link_get_kernel).
const char *__lsan_default_suppressions(void)
{
	return "leak:libnl-3.so\nleak:libnl-route-3.so\n";
}

static struct nl_sock *socket_;

// What is left of the input, and what the last request was numbered.
static const uint8_t *input;
static size_t left;
static uint32_t seq;

static void mend(uint8_t *datagram, size_t size)
{
	struct nlmsghdr h;

	for (size_t at = 0; at + sizeof(h) <= size;) {
		memcpy(&h, datagram + at, sizeof(h));
		h.nlmsg_seq = seq;
		if (at == 0 && (h.nlmsg_len < sizeof(h) || h.nlmsg_len > size))
			h.nlmsg_len = (uint32_t)size;
		memcpy(datagram + at, &h, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > size - at)
			return;
		at += NLMSG_ALIGN(h.nlmsg_len);
	}
}

// The next datagram, to be freed; NULL at the end.
static uint8_t *next(size_t *ret_size)
{
	uint8_t *copy;
	size_t n;
	bool fix;

	if (left < 3)
		return NULL;
	n = (size_t)(input[0] & 0x7f) << 8 | input[1];
	fix = input[0] & 0x80;
	input += 2;
	left -= 2;
	n = n == 0 ? 1 : n < left ? n : left; // the kernel sends no empty one
	copy = malloc(n);
	CHECK(copy != NULL);
	memcpy(copy, input, n);
	input += n;
	left -= n;
	if (fix)
		mend(copy, n);
	*ret_size = n;
	return copy;
}

static int on_send(struct nl_sock *s, struct nl_msg *msg)
{
	seq = nlmsg_hdr(msg)->nlmsg_seq;
	return (int)nlmsg_hdr(msg)->nlmsg_len;
}

static int on_receive(
	struct nl_sock *s, struct sockaddr_nl *from, unsigned char **buffer, struct ucred **creds)
{
	size_t size;

	*from = (struct sockaddr_nl){ .nl_family = AF_NETLINK };
	*buffer = next(&size);
	return *buffer != NULL ? (int)size : 0;
}

static void on_link(void *arg, const char *ifname, bool gone, bool running)
{
	CHECK(strlen(ifname) < IFNAMSIZ);
}

static void read_events(bool nft)
{
	const struct linkwatch_handler handler = { .link = on_link };
	uint8_t *datagram;
	size_t size;

	while ((datagram = next(&size)) != NULL) {
		if (nft)
			host_care_table_touched(datagram, size);
		else
			linkwatch_read(datagram, size, &handler);
		free(datagram);
	}
}

static void ask_link(void)
{
	struct link_info info, before;

	memset(&info, 0xa5, sizeof(info));
	before = info;
	int r = link_get(socket_, "eth0", &info);
	CHECK(r <= 0);
	if (r < 0)
		CHECK(memcmp(&info, &before, sizeof(info)) == 0);
	else
		CHECK(strnlen(info.alias, sizeof(info.alias)) < sizeof(info.alias) &&
			strnlen(info.kind, sizeof(info.kind)) < sizeof(info.kind));
}

// A socket for each input: one whose request went unanswered takes no later answer, since the
// sequence number it expects is behind.
static struct nl_sock *open_socket(void)
{
	struct nl_sock *s = nl_socket_alloc();
	struct nl_cb *cb;

	CHECK(s != NULL);
	cb = nl_socket_get_cb(s);
	nl_cb_overwrite_send(cb, on_send);
	nl_cb_overwrite_recv(cb, on_receive);
	nl_cb_put(cb);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct link_change change = { .mtu = 1500, .up = true };
	static const char *const ifnames[] = { "eth0", "eth1" };
	int ifindex = -1;

	if (size < 1)
		return 0;
	input = data + 1;
	left = size - 1;
	seq = 0;
	socket_ = open_socket();
	switch (data[0] % 7) {
	case 0:
	case 1:
		read_events(data[0] % 7);
		break;
	case 2:
		ask_link();
		break;
	case 3:
		CHECK(link_find_address(socket_, htonl(0x0a000001), &ifindex) <= 0);
		break;
	case 4:
		CHECK(link_set(socket_, 1, &change) <= 0);
		break;
	case 5:
		CHECK(link_add_address(socket_, 1, htonl(0x0a000001), 24) <= 0);
		break;
	case 6:
		CHECK(link_delete_many(socket_, ifnames, 2) <= 0);
		break;
	}
	link_socket_close(socket_);
	return 0;
}
