// SPDX-License-Identifier: BSD-3-Clause
// Port kind ethdev: any DPDK device by devargs ("net_null0", "net_ring0", …). "0000:01:00.0" is
// a PCI device that is bound to vfio-pci; insulad sends VFIO's fds along (vfio.h).
// create and destroy run on the control thread, rx on the queue's worker, tx on any worker; link
// and removal events on DPDK's interrupt thread. A driver without rx interrupts has no event fd:
// its worker polls.

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_spinlock.h>
#include "control/devargs.h"
#include "vswitch/driver_interrupts.h"
#include "vswitch/driver_leftovers.h"
#include "vswitch/driver_patience.h"
#include "vswitch/driver_words.h"
#include "vswitch/port.h"
#include "vswitch/vfio.h"

enum {
	N_DESCRIPTORS = 512,
	// Per queue: both rings full, and what is under way in workers' hands and caches.
	MBUFS_PER_QUEUE = 2 * N_DESCRIPTORS + 1024,
	POOLS_MAX = 64,
	// All of a driver's waits for who serves its socket. insulad gives a removal 2 s.
	CREATE_MS = 1000,
	DESTROY_MS = 500,
};

static_assert((int)PROTO_MAX_DEVICES <= RTE_MAX_ETHPORTS, "insulad refuses more");

struct ethdev_queue {
	rte_spinlock_t tx_lock; // several workers send on one queue
	int event_fd; // immutable; -1: no rx interrupts
} __attribute__((aligned(64)));

struct ethdev {
	uint16_t dev; // DPDK's port id; immutable
	struct rte_device *device; // immutable
	struct rte_mempool *pool; // immutable
	bool multi_segs; // immutable: sends chains
	bool link_events; // immutable
	// immutable: its far end has hung up, and the driver does not dial again
	bool dead_when_down;
	struct ethdev_queue queues[PORT_MAX_QUEUES];
};

// Pools of removed ports whose mbufs have not all come back: another device's tx ring may hold
// some. Control thread.
static struct rte_mempool *retired[POOLS_MAX];

static void retire_pool(struct rte_mempool *pool)
{
	for (unsigned i = 0; i < POOLS_MAX; i++) {
		if (retired[i] == NULL) {
			retired[i] = pool;
			pool = NULL;
		}
		if (retired[i] != NULL && rte_mempool_in_use_count(retired[i]) == 0) {
			rte_mempool_free(retired[i]);
			retired[i] = NULL;
		}
	}
	// With all places taken the pool is leaked: freeing it would be worse.
}

// One name for all ways to write a PCI address.
static void canonical(const char *name, char ret_name[RTE_DEV_NAME_MAX_LEN])
{
	char address[DEVARGS_ADDRESS_SIZE];

	snprintf(ret_name, RTE_DEV_NAME_MAX_LEN, "%.*s", RTE_DEV_NAME_MAX_LEN - 1,
		devargs_address(name, address) ? address : name);
	ret_name[strcspn(ret_name, ",")] = 0;
}

// By the device's name: DPDK's iterator would parse the devargs once more, by another grammar. Of a
// device with several ports the first.
static int find_device(const char *devargs, uint16_t *ret_dev)
{
	char wanted[RTE_DEV_NAME_MAX_LEN], name[RTE_DEV_NAME_MAX_LEN];

	canonical(devargs, wanted);
	for (unsigned dev = rte_eth_find_next(0); dev < RTE_MAX_ETHPORTS;
		dev = rte_eth_find_next((uint16_t)(dev + 1))) {
		struct rte_eth_dev_info info;

		if (rte_eth_dev_info_get((uint16_t)dev, &info) != 0 || info.device == NULL)
			continue;
		canonical(rte_dev_name(info.device), name);
		if (strcmp(name, wanted) == 0) {
			*ret_dev = (uint16_t)dev;
			return 0;
		}
	}
	return -ENODEV;
}

static uint32_t map_offloads(uint64_t capa, uint64_t *ret_tx)
{
	const uint64_t csum = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	// The IPv4 header checksum of each segment comes along with TSO.
	const uint64_t tso = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM |
			     RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	uint32_t offloads = 0;

	*ret_tx = capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	if ((capa & csum) == csum) {
		*ret_tx |= csum;
		offloads |= PORT_OFFLOAD_CSUM;
		if ((capa & tso) == tso) {
			*ret_tx |= tso;
			offloads |= PORT_OFFLOAD_TSO4 | PORT_OFFLOAD_TSO6;
		}
	}
	return offloads;
}

static int on_event(uint16_t dev, enum rte_eth_event_type type, void *arg, void *ret)
{
	struct port *p = arg;
	struct rte_eth_link link = { 0 };

	if (type == RTE_ETH_EVENT_INTR_RMV) {
		atomic_store(&p->dead, 1);
		atomic_store(&p->up, 0);
	} else if (rte_eth_link_get_nowait(dev, &link) == 0) {
		atomic_store(&p->up, link.link_status == RTE_ETH_LINK_UP);
		if (link.link_status == RTE_ETH_LINK_DOWN &&
			((const struct ethdev *)p->priv)->dead_when_down)
			atomic_store(&p->dead, 1);
	}
	return 0;
}

// Of a device whose driver did not get to ask all that it had to, whatever it made of that.
static int describe_lost(const struct port_params *params, int lost, char *err, size_t err_size)
{
	if (lost == -ETIMEDOUT)
		snprintf(err, err_size,
			"no device '%.100s': who serves its socket does not answer within %d s",
			params->arg, CREATE_MS / 1000);
	else
		snprintf(err, err_size, "no device '%.100s': who serves its socket hangs up",
			params->arg);
	return -EIO;
}

static int setup_queues(struct ethdev *e, const struct port_params *params,
	const struct rte_eth_dev_info *info, const struct rte_eth_conf *conf)
{
	uint16_t n = (uint16_t)params->n_queues, n_rx = N_DESCRIPTORS, n_tx = N_DESCRIPTORS;
	struct rte_eth_rxconf rx = info->default_rxconf;
	struct rte_eth_txconf tx = info->default_txconf;
	int r;

	r = rte_eth_dev_configure(e->dev, n, n, conf);
	if (r == 0)
		r = rte_eth_dev_adjust_nb_rx_tx_desc(e->dev, &n_rx, &n_tx);
	rx.offloads = conf->rxmode.offloads;
	tx.offloads = conf->txmode.offloads;
	for (uint16_t q = 0; q < n && r == 0; q++) {
		r = rte_eth_rx_queue_setup(e->dev, q, n_rx, SOCKET_ID_ANY, &rx, e->pool);
		if (r == 0)
			r = rte_eth_tx_queue_setup(e->dev, q, n_tx, SOCKET_ID_ANY, &tx);
	}
	if (r == 0)
		r = rte_eth_dev_set_mtu(e->dev, (uint16_t)params->mtu);
	if (r == -ENOTSUP && params->mtu <= RTE_ETHER_MTU)
		r = 0;
	return r == 0 ? rte_eth_dev_start(e->dev) : r;
}

// Can the worker ask after arming whether a packet is there already? Without that it could
// oversleep.
static bool can_look(uint16_t dev, uint16_t queue)
{
	return rte_eth_rx_queue_count(dev, queue) >= 0;
}

static int configure(struct port *p, struct ethdev *e, const struct port_params *params, char *err,
	size_t err_size)
{
	struct rte_eth_conf conf = { .intr_conf.rxq = 1 };
	struct rte_eth_dev_info info;
	uint32_t offloads;
	int r = rte_eth_dev_info_get(e->dev, &info);

	if (r != 0) {
		snprintf(err, err_size, "the device does not describe itself: %s", strerror(-r));
		return r;
	}
	offloads = map_offloads(info.tx_offload_capa, &conf.txmode.offloads);
	e->multi_segs = conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
	if (params->n_queues > 1 && info.flow_type_rss_offloads != 0) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf =
			info.flow_type_rss_offloads &
			(RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
	}
	e->link_events = *info.dev_flags & RTE_ETH_DEV_INTR_LSC;
	conf.intr_conf.lsc = e->link_events;
	e->dead_when_down = strcmp(info.driver_name, "net_virtio_user") == 0;
	r = setup_queues(e, params, &info, &conf);
	if (r != 0) { // a driver may refuse rx interrupts only when it starts
		conf.intr_conf.rxq = 0;
		r = setup_queues(e, params, &info, &conf);
	}
	if (r != 0) {
		snprintf(err, err_size, "%s cannot be started with %u queues and MTU %u: %s",
			info.driver_name, params->n_queues, params->mtu, strerror(-r));
		return r;
	}
	for (uint16_t q = 0; q < params->n_queues; q++) {
		rte_spinlock_init(&e->queues[q].tx_lock);
		e->queues[q].event_fd = conf.intr_conf.rxq && can_look(e->dev, q)
						? rte_eth_dev_rx_intr_ctl_q_get_fd(e->dev, q)
						: -1;
	}
	atomic_store(&p->offloads, offloads);
	return 0;
}

// Which of the others it is, the policy will say.
static enum devargs_user user_of(const struct port_params *params)
{
	return strchr(params->name, '/') ? DEVARGS_NIC : DEVARGS_TRUNK;
}

// Why DPDK gave no device, and what to do. said: the driver's own words.
static void describe_refusal(
	const struct port_params *params, int r, const char *said, char *err, size_t err_size)
{
	const char *devargs = params->arg;
	bool pci = vfio_is_pci(devargs);

	if (pci && r == -ENODEV)
		snprintf(err, err_size, "no PCI device '%.100s'; `lspci -D` lists them", devargs);
	else if (devargs_out_of_reach(devargs, user_of(params), err, err_size))
		return;
	else if (r == -EFAULT || (pci && r == -ENOTSUP)) // no bus or no driver knows it
		devargs_no_driver(devargs, err, err_size);
	else if (said[0])
		snprintf(err, err_size, "no device '%.100s': its driver says: %s", devargs, said);
	else // -1 is many drivers' word for any failure
		snprintf(err, err_size, "no device '%.100s': %s", devargs,
			r == -1 ? "its driver refuses it without a word; look at its arguments"
				: strerror(-r));
}

// A driver that took the device and made no port of it, as some do that refuse: with the device
// there DPDK would ask no driver when it is wanted again.
static void forget_device(const char *devargs)
{
	char name[RTE_DEV_NAME_MAX_LEN];

	canonical(devargs, name);
	rte_eal_hotplug_remove(vfio_is_pci(devargs) ? "pci" : "vdev", name);
}

// ret_said: the driver's own words.
static int probe_bus(const struct port_params *params, char ret_said[DRIVER_WORDS_SIZE], char *err,
	size_t err_size)
{
	const char *mistake = devargs_mistake(params->arg);
	uint16_t dev;
	int r;

	if (mistake != NULL) {
		if (!devargs_out_of_reach(params->arg, user_of(params), err, err_size))
			snprintf(err, err_size, "'%.60s' %s", params->arg, mistake);
		return -EINVAL;
	}
	if (find_device(params->arg, &dev) == 0) { // DPDK would give it a second time
		snprintf(err, err_size, "'%.100s' is another port's device", params->arg);
		return -EBUSY;
	}
	if (params->n_fds > VFIO_FD_COUNT) {
		snprintf(err, err_size, "%u fds for '%.100s'", params->n_fds, params->arg);
		return -EINVAL;
	}
	r = vfio_is_pci(params->arg) ? vfio_lend(params->fds, params->n_fds, err, err_size) : 0;
	if (r != 0)
		return r;
	driver_words_listen(ret_said);
	driver_leftovers_watch();
	r = rte_dev_probe(params->arg);
	driver_leftovers_end(r != 0);
	driver_words_end(params->arg);
	if (!vfio_lend_end()) {
		snprintf(err, err_size,
			"another program has '%.100s' or its IOMMU group; `fuser -v /dev/vfio/*` "
			"names it",
			params->arg);
		return -EBUSY;
	}
	if (r != 0 && driver_patience_lost() != 0)
		return describe_lost(params, driver_patience_lost(), err, err_size);
	if (r != 0) {
		describe_refusal(params, r, ret_said, err, err_size);
		return r == -EFAULT ? -ENODEV : r;
	}
	return 0;
}

// The device of the devargs, with as many queues as wanted; nothing is left of it on failure.
static int probe(struct ethdev *e, const struct port_params *params, char *err, size_t err_size)
{
	struct rte_eth_dev_info info;
	char said[DRIVER_WORDS_SIZE];
	int r = probe_bus(params, said, err, err_size);

	if (r != 0)
		return r;
	r = find_device(params->arg, &e->dev);
	if (r != 0 || rte_eth_dev_info_get(e->dev, &info) != 0) {
		forget_device(params->arg);
		describe_refusal(params, -1, said, err, err_size);
		return -ENODEV;
	}
	e->device = info.device;
	if (params->n_queues > info.max_rx_queues || params->n_queues > info.max_tx_queues) {
		snprintf(err, err_size, "%u queues wanted, %s has %u rx and %u tx",
			params->n_queues, info.driver_name, info.max_rx_queues, info.max_tx_queues);
		rte_dev_remove(e->device);
		return -EINVAL;
	}
	return 0;
}

static int make_pool(struct ethdev *e, const struct port_params *params, char *err, size_t err_size)
{
	char name[RTE_MEMPOOL_NAMESIZE];
	unsigned n = params->n_queues * MBUFS_PER_QUEUE;

	snprintf(name, sizeof(name), "ethdev%u_%u", params->id, e->dev);
	e->pool = rte_pktmbuf_pool_create(name, n, 128,
		RTE_ALIGN(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN),
		PACKET_HEADROOM + PACKET_SMALL_ROOM, SOCKET_ID_ANY);
	if (e->pool == NULL) {
		snprintf(err, err_size,
			"no room for %u packet buffers in the switch's packet memory; `insula "
			"stop` and `insula start` reckon it anew",
			n);
		return -ENOMEM;
	}
	return 0;
}

static void follow_link(struct port *p, const struct ethdev *e)
{
	rte_eth_dev_callback_register(e->dev, RTE_ETH_EVENT_INTR_RMV, on_event, p);
	if (e->link_events) {
		rte_eth_dev_callback_register(e->dev, RTE_ETH_EVENT_INTR_LSC, on_event, p);
		on_event(e->dev, RTE_ETH_EVENT_INTR_LSC, p, NULL);
	} else {
		atomic_store(&p->up, 1);
	}
}

// Closes and detaches; what was not started is not stopped.
static void put_away(struct ethdev *e)
{
	rte_eth_dev_stop(e->dev);
	driver_interrupts_settle();
	rte_eth_dev_close(e->dev);
	rte_dev_remove(e->device);
	retire_pool(e->pool);
}

static int make_device(struct port *p, struct ethdev *e, const struct port_params *params,
	char *err, size_t err_size)
{
	int r = probe(e, params, err, err_size);

	if (r != 0)
		return r;
	r = make_pool(e, params, err, err_size);
	if (r != 0) {
		rte_dev_remove(e->device);
		return r;
	}
	r = configure(p, e, params, err, err_size);
	if (r == 0)
		rte_eth_promiscuous_enable(e->dev); // best effort: some know no other mode
	if (driver_patience_lost() != 0)
		r = describe_lost(params, driver_patience_lost(), err, err_size);
	if (r != 0)
		put_away(e);
	return r;
}

static int ethdev_create(
	struct port *p, const struct port_params *params, char *err, size_t err_size)
{
	struct ethdev *e;
	int r;

	if (params->n_queues == 0 || params->n_queues > PORT_MAX_QUEUES) {
		snprintf(err, err_size, "an ethdev port takes 1 to %d queues", PORT_MAX_QUEUES);
		return -EINVAL;
	}
	e = aligned_alloc(64, sizeof(*e));
	if (e == NULL) {
		snprintf(err, err_size, "out of memory");
		return -ENOMEM;
	}
	memset(e, 0, sizeof(*e));
	p->n_queues = (uint16_t)params->n_queues;
	p->priv = e;
	driver_patience_begin(CREATE_MS);
	r = make_device(p, e, params, err, err_size);
	driver_patience_end();
	if (r != 0) {
		p->priv = NULL;
		free(e);
		return r;
	}
	follow_link(p, e);
	for (; p->params.n_fds > 0; p->params.n_fds--) // DPDK has its own
		close(p->params.fds[p->params.n_fds - 1]);
	return 0;
}

static void ethdev_destroy(struct port *p)
{
	struct ethdev *e = p->priv;

	rte_eth_dev_callback_unregister(e->dev, RTE_ETH_EVENT_INTR_RMV, on_event, p);
	if (e->link_events)
		rte_eth_dev_callback_unregister(e->dev, RTE_ETH_EVENT_INTR_LSC, on_event, p);
	driver_patience_begin(DESTROY_MS);
	put_away(e);
	driver_patience_end();
	p->priv = NULL;
	free(e);
}

static uint16_t ethdev_rx(struct worker *w, struct port *p, uint16_t queue,
	struct rte_mbuf **ret_pkts, uint16_t n, uint64_t now_ns)
{
	struct ethdev *e = p->priv;
	uint16_t n_got = rte_eth_rx_burst(e->dev, queue, ret_pkts, n);

	for (uint16_t i = 0; i < n_got; i++) {
		struct packet *pk = packet_of(ret_pkts[i]);

		ret_pkts[i]->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
		ret_pkts[i]->tx_offload = 0;
		memset(pk, 0, sizeof(*pk));
		pk->in_port = (uint16_t)p->id;
		pk->in_queue = queue;
	}
	return n_got;
}

static void offloads_out(struct rte_mbuf *m)
{
	const struct packet *pk = packet_of(m);

	m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	m->tx_offload = 0;
	if (!(pk->flags & PACKET_NEEDS_CSUM))
		return;
	// csum_start counts the tags pushed at egress, so l2 is what lies before the IP header.
	m->l3_len = (unsigned)(pk->l4_off - pk->l3_off) & 0x1ff;
	m->l2_len = (unsigned)(pk->csum_start - m->l3_len) & 0x7f;
	m->ol_flags |= pk->flags & PACKET_IPV4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
	m->ol_flags |= pk->proto == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
	if (pk->gso_type == PACKET_GSO_NONE)
		return;
	m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
	if (pk->flags & PACKET_IPV4)
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	m->tso_segsz = pk->gso_size;
	m->l4_len = (uint8_t)pk->l4_hdr_size;
}

static uint16_t ethdev_tx(struct worker *w, struct port *p, uint16_t queue, struct rte_mbuf **pkts,
	uint16_t n, struct port_sent *sent)
{
	struct ethdev *e = p->priv;
	uint16_t n_ready = 0, n_sent;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];

		offloads_out(m);
		if (m->nb_segs > 1 && !e->multi_segs && rte_pktmbuf_linearize(m) != 0)
			rte_pktmbuf_free(m); // does not fit: the device cannot take it
		else
			pkts[n_ready++] = m;
	}
	for (uint16_t i = 0; i < n_ready; i++)
		sent->bytes += pkts[i]->pkt_len; // what is sent is no more ours
	rte_spinlock_lock(&e->queues[queue].tx_lock);
	// Brings the pseudo header into the form the device wants; refuses what it cannot do.
	n_sent = rte_eth_tx_prepare(e->dev, queue, pkts, n_ready);
	n_sent = rte_eth_tx_burst(e->dev, queue, pkts, n_sent);
	rte_spinlock_unlock(&e->queues[queue].tx_lock);
	for (uint16_t i = n_sent; i < n_ready; i++)
		sent->bytes -= pkts[i]->pkt_len;
	rte_pktmbuf_free_bulk(pkts + n_sent, n_ready - n_sent);
	if (!atomic_load_explicit(&p->up, memory_order_relaxed))
		sent->why = DROP_TX_NO_PORT;
	return n_sent;
}

static int ethdev_event_fd(struct port *p, uint16_t queue)
{
	return ((struct ethdev *)p->priv)->queues[queue].event_fd;
}

static void ethdev_disarm(struct port *p, uint16_t queue)
{
	struct ethdev *e = p->priv;
	struct pollfd fd = { .fd = e->queues[queue].event_fd, .events = POLLIN };
	uint64_t count;

	if (fd.fd < 0)
		return;
	rte_eth_dev_rx_intr_disable(e->dev, queue);
	if (poll(&fd, 1, 0) == 1) // the driver's fd may block
		(void)!read(fd.fd, &count, sizeof(count));
}

static bool ethdev_arm(struct port *p, uint16_t queue)
{
	struct ethdev *e = p->priv;

	if (e->queues[queue].event_fd < 0 || rte_eth_dev_rx_intr_enable(e->dev, queue) != 0)
		return false; // must be polled
	if (rte_eth_rx_queue_count(e->dev, queue) == 0)
		return true;
	rte_eth_dev_rx_intr_disable(e->dev, queue);
	return false;
}

static unsigned ethdev_get_fds(struct port *p, int ret_fds[PORT_MAX_QUEUES])
{
	return 0; // nothing that outlives the process
}

const struct port_ops port_ethdev_ops = {
	.name = "ethdev",
	.create = ethdev_create,
	.destroy = ethdev_destroy,
	.rx = ethdev_rx,
	.tx = ethdev_tx,
	.event_fd = ethdev_event_fd,
	.arm = ethdev_arm,
	.disarm = ethdev_disarm,
	.get_fds = ethdev_get_fds,
};
