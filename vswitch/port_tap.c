// SPDX-License-Identifier: BSD-3-Clause
// Port kind tap: queue fds of a kernel tap (IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE) that
// insulad opened. Offloads pass through in virtio_net_hdr, so a 64 KiB super-frame is one read and
// one write. A tap knows no batches: one system call per frame. create and destroy run on the
// control thread; rx on the worker that polls the queue; tx on any worker (the kernel serialises
// writes).
#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include "vswitch/port_fd.h"
#include "vswitch/vnet_hdr.h"

// Constants that Debian 12's kernel headers lack (Linux 6.2).
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum { TAP_HDR_SIZE = sizeof(struct virtio_net_hdr_mrg_rxbuf) };

static int check_fd(
	int fd, const struct port_params *params, struct ifreq *first, char *err, size_t err_size);
static int set_offloads(struct port *p, int fd, char *err, size_t err_size);

static int port_tap_create(
	struct port *p, const struct port_params *params, char *err, size_t err_size)
{
	struct ifreq first = { 0 };
	int r;

	r = port_fd_check(params, err, err_size);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < params->n_fds; i++) {
		r = check_fd(params->fds[i], params, &first, err, err_size);
		if (r < 0)
			return r;
	}
	r = set_offloads(p, params->fds[0], err, err_size);
	if (r < 0)
		return r;
	atomic_store_explicit(&p->up, 1, memory_order_relaxed);
	return 0;
}

// One frame into the pair: up to PACKET_SMALL_ROOM bytes in `small`, what is longer goes on in
// `big`.
static ssize_t read_frame(
	int fd, struct virtio_net_hdr_mrg_rxbuf *hdr, struct rte_mbuf *small, struct rte_mbuf *big)
{
	struct iovec iov[3] = {
		{ hdr, TAP_HDR_SIZE },
		{ rte_pktmbuf_mtod(small, void *), rte_pktmbuf_tailroom(small) },
		{ rte_pktmbuf_mtod(big, void *), rte_pktmbuf_tailroom(big) },
	};
	ssize_t n;

	do
		n = readv(fd, iov, 3);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

// EFAULT, EBADFD: the interface has been deleted; EIO: it is being deleted.
static bool is_fatal(ssize_t error)
{
	return error == -EBADFD || error == -EFAULT || error == -EIO || error == -ENODEV ||
	       error == -EBADF;
}

// The pair lives for one burst only: a tap that is idle holds no 64 KiB buffer, and the pool's
// cache hands the same, cache-warm one to the next tap.
static uint16_t port_tap_rx(struct worker *w, struct port *p, uint16_t queue,
	struct rte_mbuf **ret_pkts, uint16_t n, uint64_t now_ns)
{
	int fd = p->params.fds[queue];
	struct rte_mbuf *small = NULL, *big = rte_pktmbuf_alloc(worker_big_pool(w));
	uint16_t count = 0;

	if (big == NULL)
		return 0;
	while (count < n) {
		struct virtio_net_hdr_mrg_rxbuf hdr;
		struct packet *pkt;
		ssize_t size;

		if (small == NULL)
			small = rte_pktmbuf_alloc(worker_small_pool(w));
		if (small == NULL)
			break;
		size = read_frame(fd, &hdr, small, big);
		if (size < 0) {
			if (is_fatal(size))
				port_fd_set_dead(p);
			break;
		}
		if (size <= TAP_HDR_SIZE)
			continue;
		size -= TAP_HDR_SIZE;
		pkt = port_fd_rx_packet(p, queue, small);
		vnet_hdr_read(&hdr.hdr, pkt);
		if (port_fd_rx_lengths(small, big, (uint32_t)size))
			big = rte_pktmbuf_alloc(worker_big_pool(w));
		ret_pkts[count++] = small;
		small = NULL;
		if (big == NULL)
			break;
	}
	rte_pktmbuf_free(small);
	rte_pktmbuf_free(big);
	return count;
}

// Header and segments in one write; 0 or -errno.
static ssize_t write_frame(int fd, const struct rte_mbuf *m, const struct packet *pkt)
{
	struct virtio_net_hdr_mrg_rxbuf hdr = { 0 };
	struct iovec iov[1 + PORT_FD_MAX_SEGS];
	int n_iov = 0;
	ssize_t n;

	vnet_hdr_write(pkt, &hdr.hdr);
	iov[n_iov++] = (struct iovec){ &hdr, TAP_HDR_SIZE };
	for (const struct rte_mbuf *seg = m; seg != NULL; seg = seg->next) {
		if (n_iov > PORT_FD_MAX_SEGS)
			return -EMSGSIZE;
		iov[n_iov++] =
			(struct iovec){ rte_pktmbuf_mtod(seg, void *), rte_pktmbuf_data_len(seg) };
	}
	do
		n = writev(fd, iov, n_iov);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static uint16_t port_tap_tx(struct worker *w, struct port *p, uint16_t queue,
	struct rte_mbuf **pkts, uint16_t n, struct port_sent *sent)
{
	int fd = p->params.fds[queue];
	uint16_t accepted = 0;

	for (uint16_t i = 0; i < n; i++) {
		ssize_t r = write_frame(fd, pkts[i], packet_of(pkts[i]));

		if (r == 0) {
			accepted++;
			sent->bytes += pkts[i]->pkt_len;
		} else if (r == -EAGAIN || r == -ENOBUFS || r == -ENOMEM) {
			break; // a full queue
		} else if (is_fatal(r)) {
			// EIO means "not IFF_UP" here, which mends itself.
			sent->why = DROP_TX_NO_PORT;
			if (r != -EIO)
				port_fd_set_dead(p);
			break;
		} // else the kernel finds fault with this frame only (EINVAL)
	}
	rte_pktmbuf_free_bulk(pkts, n);
	return accepted;
}

static int port_tap_event_fd(struct port *p, uint16_t queue)
{
	return p->params.fds[queue];
}

const struct port_ops port_tap_ops = {
	.name = "tap",
	.create = port_tap_create,
	.destroy = port_fd_close,
	.rx = port_tap_rx,
	.tx = port_tap_tx,
	.event_fd = port_tap_event_fd,
	.get_fds = port_fd_dup,
};

// Is it a queue of the same tap as the others, in the mode we read it? Sets our header size.
static int check_fd(
	int fd, const struct port_params *params, struct ifreq *first, char *err, size_t err_size)
{
	// IFF_NO_PI cannot be asked for: TUNGETIFF's IFF_NOFILTER, nearly always set, is the same
	// bit.
	const short want = IFF_TAP | IFF_VNET_HDR;
	struct ifreq ifr = { 0 };
	int hdr_size = TAP_HDR_SIZE;

	if (ioctl(fd, TUNGETIFF, &ifr) < 0) {
		int r = -errno;

		snprintf(err, err_size, "tap %s: fd is not an attached tap queue: %s", params->name,
			strerror(-r));
		return r;
	}
	if ((ifr.ifr_flags & want) != want) {
		snprintf(err, err_size,
			"tap %s: %s has flags 0x%hx; IFF_TAP and IFF_VNET_HDR are needed",
			params->name, ifr.ifr_name, ifr.ifr_flags);
		return -EINVAL;
	}
	if (first->ifr_name[0] == '\0')
		*first = ifr;
	if (strncmp(first->ifr_name, ifr.ifr_name, IFNAMSIZ) != 0) {
		snprintf(err, err_size, "tap %s: queues of two interfaces, %s and %s", params->name,
			first->ifr_name, ifr.ifr_name);
		return -EINVAL;
	}
	if (ioctl(fd, TUNSETVNETHDRSZ, &hdr_size) < 0) {
		int r = -errno;

		snprintf(err, err_size, "tap %s: TUNSETVNETHDRSZ: %s", params->name, strerror(-r));
		return r;
	}
	return 0;
}

// What the kernel may hand us, which is also what it takes from us. One setting for all queues.
static int set_offloads(struct port *p, int fd, char *err, size_t err_size)
{
	const unsigned base = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	uint32_t offloads = PORT_OFFLOAD_CSUM | PORT_OFFLOAD_TSO4 | PORT_OFFLOAD_TSO6;

	if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)(base | TUN_F_USO4 | TUN_F_USO6)) == 0) {
		offloads |= PORT_OFFLOAD_USO;
	} else if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)base) < 0) {
		int r = -errno;

		snprintf(err, err_size, "tap: TUNSETOFFLOAD: %s", strerror(-r));
		return r;
	}
	atomic_store_explicit(&p->offloads, offloads, memory_order_release);
	return 0;
}
