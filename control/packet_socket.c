// SPDX-License-Identifier: BSD-3-Clause
// Packet sockets, see packet_socket.h. Called by ports.c on the main thread.
#include "control/packet_socket.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "control/log.h"

static int set_int(int fd, int option, int value)
{
	return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

// Protocol 0 until everything is set: frames that came in before would lack their headers.
static int open_one(int ifindex, unsigned n_queues, uint16_t fanout_id, int *ret_fd)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	struct packet_mreq promiscuous = { .mr_ifindex = ifindex, .mr_type = PACKET_MR_PROMISC };
	struct sockaddr_ll ll = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = ifindex
	};
	int r = set_int(fd, PACKET_VNET_HDR, 1);
	if (r == 0)
		r = set_int(fd, PACKET_AUXDATA, 1);
	if (r == 0)
		r = set_int(fd, PACKET_IGNORE_OUTGOING, 1);
	if (r == 0 && setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous,
			      sizeof(promiscuous)) < 0)
		r = -errno;
	if (r == 0 && bind(fd, (struct sockaddr *)&ll, sizeof(ll)) < 0)
		r = -errno;
	if (r == 0 && n_queues > 1)
		r = set_int(fd, PACKET_FANOUT, fanout_id | PACKET_FANOUT_HASH << 16);
	if (r < 0) {
		close(fd);
		return r;
	}
	// Bursts of super-frames: the default buffer holds three of them.
	int size = 4 << 20;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	*ret_fd = fd;
	return 0;
}

static int refuse_name(int r, const char *ifname, char *err, size_t err_size)
{
	return log_reason(r, err, err_size, "interface %s: %s", ifname,
		r == -ENODEV ? "there is none of that name; `ip link` lists them" : strerror(-r));
}

int packet_socket_open(const char *ifname, uint32_t mtu, unsigned n_queues, uint16_t fanout_id,
	int ret_fds[PROTO_MAX_QUEUES], char *err, size_t err_size)
{
	struct nl_sock *nl = NULL;
	struct link_info before;
	unsigned n = 0;
	int r = link_socket_open(&nl);

	if (r < 0)
		return log_reason(
			r, err, err_size, "cannot open a netlink socket: %s", strerror(-r));
	r = link_get(nl, ifname, &before);
	if (r < 0) {
		refuse_name(r, ifname, err, err_size);
		goto out;
	}
	struct link_change change = { .mtu = mtu == before.mtu ? 0 : mtu, .up = true };
	r = link_set(nl, before.ifindex, &change);
	if (r < 0) {
		log_reason(r, err, err_size, "interface %s: cannot set it up with MTU %u: %s",
			ifname, mtu, strerror(-r));
		goto out;
	}
	while (r == 0 && n < n_queues) {
		r = open_one(before.ifindex, n_queues, fanout_id, &ret_fds[n]);
		n += r == 0;
	}
	if (r == 0)
		goto out;
	log_reason(r, err, err_size, "interface %s: cannot open a packet socket: %s%s", ifname,
		strerror(-r),
		r == -EPERM ? "; insulad needs CAP_NET_RAW and CAP_NET_ADMIN, run it as root" : "");
	while (n > 0)
		close(ret_fds[--n]);
	change = (struct link_change){ .mtu = before.mtu, .down = !(before.flags & IFF_UP) };
	link_set(nl, before.ifindex, &change);
out:
	link_socket_close(nl);
	return r;
}

int packet_socket_check(const char *ifname, char *err, size_t err_size)
{
	struct packet_link link;
	int r = packet_socket_state(ifname, &link);

	return r == -ENODEV ? refuse_name(r, ifname, err, err_size) : 0;
}

int packet_socket_state(const char *ifname, struct packet_link *ret_link)
{
	struct nl_sock *nl;
	struct link_info info;
	int r = link_socket_open(&nl);

	if (r < 0)
		return r;
	r = link_get(nl, ifname, &info);
	if (r == 0) {
		*ret_link = (struct packet_link){
			.mtu = info.mtu, .up = (info.flags & IFF_UP) != 0, .ifindex = info.ifindex
		};
		snprintf(ret_link->name, sizeof(ret_link->name), "%s", ifname);
	}
	link_socket_close(nl);
	return r;
}

int packet_socket_restore(const char *ifname, const struct packet_link *link)
{
	struct nl_sock *nl;
	struct link_info info;
	char now[IFNAMSIZ];
	int r = link_socket_open(&nl);

	if (r < 0)
		return r;
	if (!link->ifindex)
		r = link_get(nl, ifname, &info);
	else if (if_indextoname((unsigned)link->ifindex, now))
		r = link_get(nl, now, &info);
	else
		r = -ENODEV;
	if (r == 0) {
		struct link_change change = { .mtu = info.mtu == link->mtu ? 0 : link->mtu,
			.down = !link->up && (info.flags & IFF_UP) };
		if (change.mtu || change.down)
			r = link_set(nl, info.ifindex, &change);
	}
	link_socket_close(nl);
	return r == -ENODEV ? 0 : r;
}

void packet_link_print(const struct packet_link *link, char *text, size_t size)
{
	snprintf(text, size, "%u %d %d %s", link->mtu, link->up, link->ifindex, link->name);
}

bool packet_link_parse(const char *text, struct packet_link *ret_link)
{
	struct packet_link link = { 0 };
	int up;

	if (sscanf(text, "%u %d %d %15s", &link.mtu, &up, &link.ifindex, link.name) < 2)
		return false;
	link.up = up != 0;
	*ret_link = link;
	return true;
}

int packet_socket_ifindex(int fd, int *ret_ifindex)
{
	struct sockaddr_ll ll = { 0 };
	socklen_t size = sizeof(ll);

	if (getsockname(fd, (struct sockaddr *)&ll, &size) < 0)
		return -errno;
	if (ll.sll_ifindex <= 0) // it is -1 once the interface has left this namespace
		return -ENODEV;
	*ret_ifindex = ll.sll_ifindex;
	return 0;
}

int packet_socket_ifname(int fd, char ret_ifname[IFNAMSIZ])
{
	int ifindex, r = packet_socket_ifindex(fd, &ifindex);

	if (r < 0)
		return r;
	return if_indextoname((unsigned)ifindex, ret_ifname) ? 0 : -ENODEV;
}

const char *packet_socket_why_down(int fd)
{
	struct ifreq request = { 0 };

	// The switch's own socket would say so only when it has something to send.
	if (packet_socket_ifname(fd, request.ifr_name) < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return "its interface is gone";
	if (!(request.ifr_flags & IFF_UP))
		return "its interface is set down";
	return request.ifr_flags & IFF_RUNNING ? NULL : "its interface has no carrier";
}
