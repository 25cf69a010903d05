// SPDX-License-Identifier: BSD-3-Clause
// Port kind packet: AF_PACKET raw sockets bound to a kernel interface, opened by insulad with
// PACKET_VNET_HDR (offloads pass through, super-frames stay whole), PACKET_AUXDATA (the kernel
// takes the outer VLAN tag out of received frames and tells it there) and PACKET_IGNORE_OUTGOING.
// create and destroy run on the control thread; rx on the worker that polls the queue; tx on any
// worker (the kernel serialises).
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <linux/if_ether.h>
#include "vswitch/port_fd.h"
#include "vswitch/vnet_hdr.h"
// Last: its macro PACKET_MULTICAST (a packet type) hides our flag of that name, unused here.
#include <linux/if_packet.h>

// Constants that Debian 12's kernel headers may lack.
#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23 // Linux 4.20
#endif
#ifndef PACKET_VNET_HDR_SZ
#define PACKET_VNET_HDR_SZ 24 // Linux 6.5
#endif

struct packet_port {
	uint32_t
		hdr_size; // of the virtio_net_hdr before each frame: 10, or 12 if so set. Immutable
};

// Room for the one control message PACKET_AUXDATA sends.
union auxdata_buffer {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
};

static int check_fd(int fd, const struct port_params *params, struct sockaddr_ll *first,
	uint32_t *ret_hdr_size, char *err, size_t err_size);
static void insert_tag(struct rte_mbuf *m, struct msghdr *msg);
static void check_gone(struct port *p, int fd);

static int port_packet_create(
	struct port *p, const struct port_params *params, char *err, size_t err_size)
{
	struct sockaddr_ll first = { 0 };
	uint32_t hdr_size = 0, offloads;
	struct packet_port *priv;
	int r;

	r = port_fd_check(params, err, err_size);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < params->n_fds; i++) {
		r = check_fd(params->fds[i], params, &first, &hdr_size, err, err_size);
		if (r < 0)
			return r;
	}
	priv = malloc(sizeof(*priv));
	if (priv == NULL) {
		snprintf(err, err_size, "packet %s: out of memory", params->name);
		return -ENOMEM;
	}
	priv->hdr_size = hdr_size;
	p->priv = priv;
	// The kernel segments in software what the device cannot; UDP_L4 came before the header's
	// size became an option, so who has that has USO.
	offloads = PORT_OFFLOAD_CSUM | PORT_OFFLOAD_TSO4 | PORT_OFFLOAD_TSO6;
	r = 0;
	if (getsockopt(params->fds[0], SOL_PACKET, PACKET_VNET_HDR_SZ, &r,
		    &(socklen_t){ sizeof(r) }) == 0)
		offloads |= PORT_OFFLOAD_USO;
	atomic_store_explicit(&p->offloads, offloads, memory_order_release);
	atomic_store_explicit(&p->up, 1, memory_order_relaxed);
	return 0;
}

static void port_packet_destroy(struct port *p)
{
	port_fd_close(p);
	free(p->priv);
}

// One frame, its header and its tag. Bytes of the frame, or -errno.
static ssize_t receive_frame(const struct port *p, uint16_t queue, struct msghdr *msg,
	struct virtio_net_hdr_mrg_rxbuf *hdr, struct rte_mbuf *small, struct rte_mbuf *big)
{
	const struct packet_port *priv = p->priv;
	struct iovec iov[3] = {
		{ hdr, priv->hdr_size },
		{ rte_pktmbuf_mtod(small, void *), rte_pktmbuf_tailroom(small) },
		{ rte_pktmbuf_mtod(big, void *), rte_pktmbuf_tailroom(big) },
	};
	ssize_t n;

	msg->msg_iov = iov;
	msg->msg_iovlen = 3;
	do
		n = recvmsg(p->params.fds[queue], msg, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	msg->msg_iov = NULL;
	if (n < 0)
		return -errno;
	return n > priv->hdr_size ? n - priv->hdr_size : 0;
}

static void set_up(struct port *p, uint32_t up)
{
	// Read first: the line is shared with every worker, and almost never changes.
	if (atomic_load_explicit(&p->up, memory_order_relaxed) != up)
		atomic_store_explicit(&p->up, up, memory_order_relaxed);
}

// The pair lives for one burst only, as in port_tap.c.
static uint16_t port_packet_rx(struct worker *w, struct port *p, uint16_t queue,
	struct rte_mbuf **ret_pkts, uint16_t n, uint64_t now_ns)
{
	struct rte_mbuf *small = NULL, *big = rte_pktmbuf_alloc(worker_big_pool(w));
	uint16_t count = 0;

	// `tries` bounds the burst even if every frame is unfit.
	for (unsigned tries = 0; count < n && tries < 2 * BURST_MAX && big != NULL; tries++) {
		union auxdata_buffer aux;
		struct msghdr msg = { .msg_control = &aux, .msg_controllen = sizeof(aux) };
		struct virtio_net_hdr_mrg_rxbuf hdr;
		ssize_t size;

		if (small == NULL)
			small = rte_pktmbuf_alloc(worker_small_pool(w));
		if (small == NULL)
			break;
		size = receive_frame(p, queue, &msg, &hdr, small, big);
		if (size == -EINVAL) // a kind of super-frame that virtio_net_hdr cannot express
			size = 0;
		if (size < 0) {
			if (size == -ENETDOWN)
				check_gone(p, p->params.fds[queue]);
			break;
		}
		if (size < ETH_HDR_SIZE || (msg.msg_flags & MSG_TRUNC)) {
			port_fd_count_drop(
				w, p, size < ETH_HDR_SIZE ? DROP_PARSE_TOO_SHORT : DROP_NO_MEMORY);
			continue;
		}
		vnet_hdr_read(&hdr.hdr, port_fd_rx_packet(p, queue, small));
		if (port_fd_rx_lengths(small, big, (uint32_t)size))
			big = rte_pktmbuf_alloc(worker_big_pool(w));
		insert_tag(small, &msg);
		ret_pkts[count++] = small;
		small = NULL;
	}
	if (count > 0)
		set_up(p, 1);
	rte_pktmbuf_free(small);
	rte_pktmbuf_free(big);
	return count;
}

// Header and segments in one message; 0 or -errno.
static int send_frame(const struct port *p, uint16_t queue, struct rte_mbuf *m)
{
	const struct packet_port *priv = p->priv;
	struct virtio_net_hdr_mrg_rxbuf hdr = { 0 };
	struct iovec iov[1 + PORT_FD_MAX_SEGS];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 1 };
	ssize_t n;

	vnet_hdr_write(packet_of(m), &hdr.hdr);
	iov[0] = (struct iovec){ &hdr, priv->hdr_size };
	for (const struct rte_mbuf *seg = m; seg != NULL; seg = seg->next) {
		if (msg.msg_iovlen > PORT_FD_MAX_SEGS)
			return -EMSGSIZE;
		iov[msg.msg_iovlen++] =
			(struct iovec){ rte_pktmbuf_mtod(seg, void *), rte_pktmbuf_data_len(seg) };
	}
	do
		n = sendmsg(p->params.fds[queue], &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static uint16_t port_packet_tx(struct worker *w, struct port *p, uint16_t queue,
	struct rte_mbuf **pkts, uint16_t n, struct port_sent *sent)
{
	uint16_t accepted = 0;

	for (uint16_t i = 0; i < n; i++) {
		int r = send_frame(p, queue, pkts[i]);

		if (r == 0) {
			accepted++;
			sent->bytes += pkts[i]->pkt_len;
		} else if (r == -ENETDOWN || r == -ENXIO) {
			sent->why = DROP_TX_NO_PORT;
			check_gone(p, p->params.fds[queue]);
			break;
		} else if (r == -EAGAIN || r == -ENOBUFS || r == -ENOMEM) {
			break;
		} // else the kernel finds fault with this frame only (EMSGSIZE, EINVAL)
	}
	if (accepted > 0)
		set_up(p, 1);
	rte_pktmbuf_free_bulk(pkts, n);
	return accepted;
}

static int port_packet_event_fd(struct port *p, uint16_t queue)
{
	return p->params.fds[queue];
}

const struct port_ops port_packet_ops = {
	.name = "packet",
	.create = port_packet_create,
	.destroy = port_packet_destroy,
	.rx = port_packet_rx,
	.tx = port_packet_tx,
	.event_fd = port_packet_event_fd,
	.get_fds = port_fd_dup,
};

// A link that is down comes back on the same socket; an interface that was deleted does not: then
// the kernel has set the socket's interface to -1.
static void check_gone(struct port *p, int fd)
{
	struct sockaddr_ll ll = { 0 };
	socklen_t size = sizeof(ll);

	set_up(p, 0);
	if (getsockname(fd, (struct sockaddr *)&ll, &size) == 0 && ll.sll_ifindex <= 0)
		port_fd_set_dead(p);
}

// Puts back the outermost tag if the kernel took it out. Always fits: 128 bytes of headroom.
static void insert_tag(struct rte_mbuf *m, struct msghdr *msg)
{
	const struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	struct packet *pkt = packet_of(m);
	struct tpacket_auxdata aux;
	struct vlan_tag tag;
	uint8_t *data;

	if (c == NULL || c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA ||
		c->cmsg_len < CMSG_LEN(sizeof(aux)))
		return;
	memcpy(&aux, CMSG_DATA(c), sizeof(aux));
	if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
		return;
	tag.tpid = htons(
		(aux.tp_status & TP_STATUS_VLAN_TPID_VALID) ? aux.tp_vlan_tpid : ETHTYPE_VLAN);
	tag.tci = htons(aux.tp_vlan_tci);
	data = (uint8_t *)rte_pktmbuf_prepend(m, sizeof(tag));
	if (data == NULL)
		return;
	memmove(data, data + sizeof(tag), 2 * sizeof(struct mac));
	memcpy(data + 2 * sizeof(struct mac), &tag, sizeof(tag));
	if (pkt->flags & PACKET_NEEDS_CSUM)
		pkt->csum_start = (uint16_t)(pkt->csum_start + sizeof(tag));
}

static int get_option(int fd, int level, int option)
{
	socklen_t size = sizeof(int);
	int value = 0;

	return getsockopt(fd, level, option, &value, &size) < 0 ? -errno : value;
}

// Is it bound, raw, and set as we read it? The first fd's interface and header size bind the
// others.
static int check_fd(int fd, const struct port_params *params, struct sockaddr_ll *first,
	uint32_t *ret_hdr_size, char *err, size_t err_size)
{
	struct sockaddr_ll ll = { 0 };
	socklen_t size = sizeof(ll);
	const char *lacks = NULL;
	int hdr_size;

	if (get_option(fd, SOL_SOCKET, SO_DOMAIN) != AF_PACKET ||
		get_option(fd, SOL_SOCKET, SO_TYPE) != SOCK_RAW)
		lacks = "an AF_PACKET socket of type SOCK_RAW";
	else if (getsockname(fd, (struct sockaddr *)&ll, &size) < 0 || ll.sll_ifindex <= 0 ||
		 ll.sll_protocol != htons(ETH_P_ALL))
		lacks = "bound to an interface with protocol ETH_P_ALL";
	else if (get_option(fd, SOL_PACKET, PACKET_VNET_HDR) <= 0)
		lacks = "set to PACKET_VNET_HDR";
	else if (get_option(fd, SOL_PACKET, PACKET_AUXDATA) <= 0)
		lacks = "set to PACKET_AUXDATA";
	else if (get_option(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING) <= 0)
		lacks = "set to PACKET_IGNORE_OUTGOING";
	else if (first->sll_ifindex != 0 && first->sll_ifindex != ll.sll_ifindex)
		lacks = "bound to the same interface as the first";
	if (lacks == NULL) {
		hdr_size = get_option(fd, SOL_PACKET, PACKET_VNET_HDR_SZ);
		if (hdr_size <= 0) // before Linux 6.5 there was only the short one
			hdr_size = sizeof(struct virtio_net_hdr);
		if (hdr_size > (int)sizeof(struct virtio_net_hdr_mrg_rxbuf) ||
			(first->sll_ifindex != 0 && *ret_hdr_size != (uint32_t)hdr_size))
			lacks = "set to the header size of the first (10 or 12 bytes)";
	}
	if (lacks != NULL) {
		snprintf(err, err_size, "packet %s: fd %d is not %s", params->name, fd, lacks);
		return -EINVAL;
	}
	*first = ll;
	*ret_hdr_size = (uint32_t)hdr_size;
	return 0;
}
