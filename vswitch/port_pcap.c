// SPDX-License-Identifier: BSD-3-Clause
// Port kind pcap: frames from a capture file on virtual time, and into one. For replay: `now` is
// the capture's clock, rx gives what is due by then, tx writes with the time of the latest rx. The
// far end takes no offloads, so the file has whole frames with right checksums. arg is "in=FILE",
// "out=FILE" or both with a comma between. create, destroy: control thread; rx: one worker; tx:
// any, under a lock.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <pcap/pcap.h>
#include <rte_spinlock.h>
#include "vswitch/port_fd.h"
#include "vswitch/port_pcap.h"

enum {
	SECOND_NS = 1000000000,
	MAX_FRAME = PACKET_SMALL_ROOM + PACKET_BIG_ROOM,
	SNAP_SIZE = 262144, // libpcap's usual maximum
};

struct pcap_port {
	pcap_t *in; // NULL: nothing to receive. Control at create, then the polling worker
	const struct pcap_pkthdr *hdr; // the frame that is due next; NULL at the end. Same owner
	const uint8_t *data;
	_Atomic uint64_t now_ns; // of the latest rx; read by tx on any worker
	rte_spinlock_t lock; // guards the rest
	pcap_t *dead; // libpcap's handle for a file that is only written
	pcap_dumper_t *out; // NULL: what is sent is counted as accepted and gone
	uint8_t frame[MAX_FRAME]; // a chain made flat
};

static int parse_arg(const char *arg, char in[256], char out[256], char *err, size_t err_size);
static int open_in(struct pcap_port *pp, const char *path, char *err, size_t err_size);
static int open_out(struct pcap_port *pp, const char *path, char *err, size_t err_size);
static void next_frame(struct port *p);
static void close_files(struct pcap_port *pp);

static int port_pcap_create(
	struct port *p, const struct port_params *params, char *err, size_t err_size)
{
	char in[sizeof(params->arg)] = "", out[sizeof(params->arg)] = "";
	struct pcap_port *pp;
	int r;

	r = parse_arg(params->arg, in, out, err, err_size);
	if (r < 0)
		return r;
	if (params->n_queues != 1 || params->n_fds != 0) {
		snprintf(err, err_size, "pcap: %u queues and %u fds; 1 and 0 are possible",
			params->n_queues, params->n_fds);
		return -EINVAL;
	}
	pp = calloc(1, sizeof(*pp));
	if (pp == NULL) {
		snprintf(err, err_size, "pcap: out of memory");
		return -ENOMEM;
	}
	rte_spinlock_init(&pp->lock);
	if (in[0] != '\0')
		r = open_in(pp, in, err, err_size);
	if (r == 0 && out[0] != '\0')
		r = open_out(pp, out, err, err_size);
	if (r < 0) {
		close_files(pp);
		free(pp);
		return r;
	}
	p->priv = pp;
	atomic_store_explicit(&p->offloads, 0, memory_order_release);
	atomic_store_explicit(&p->up, 1, memory_order_relaxed);
	next_frame(p);
	return 0;
}

static void port_pcap_destroy(struct port *p)
{
	close_files(p->priv);
	free(p->priv);
}

static uint64_t due_ns(const struct pcap_port *pp)
{
	// Opened with nanosecond precision: tv_usec holds nanoseconds.
	return (uint64_t)pp->hdr->ts.tv_sec * SECOND_NS + (uint64_t)pp->hdr->ts.tv_usec;
}

bool port_pcap_next(const struct port *p, uint64_t *ret_ns)
{
	const struct pcap_port *pp = p->priv;

	if (pp->hdr == NULL)
		return false;
	*ret_ns = due_ns(pp);
	return true;
}

// The due frame as an mbuf; NULL without memory.
static struct rte_mbuf *copy_frame(struct worker *w, const struct pcap_port *pp)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(worker_small_pool(w)), *tail = NULL;
	uint32_t size = pp->hdr->caplen, first = RTE_MIN(size, (uint32_t)PACKET_SMALL_ROOM);

	if (m == NULL)
		return NULL;
	if (size > first) {
		tail = rte_pktmbuf_alloc(worker_big_pool(w));
		if (tail == NULL) {
			rte_pktmbuf_free(m);
			return NULL;
		}
		memcpy(rte_pktmbuf_mtod(tail, uint8_t *), pp->data + first, size - first);
	}
	memcpy(rte_pktmbuf_mtod(m, uint8_t *), pp->data, first);
	port_fd_rx_lengths(m, tail, size);
	return m;
}

static uint16_t port_pcap_rx(struct worker *w, struct port *p, uint16_t queue,
	struct rte_mbuf **ret_pkts, uint16_t n, uint64_t now_ns)
{
	struct pcap_port *pp = p->priv;
	uint16_t count = 0;

	atomic_store_explicit(&pp->now_ns, now_ns, memory_order_relaxed);
	for (; count < n && pp->hdr != NULL && due_ns(pp) <= now_ns; next_frame(p)) {
		struct rte_mbuf *m;

		if (pp->hdr->caplen != pp->hdr->len || pp->hdr->caplen > MAX_FRAME) {
			port_fd_count_drop(w, p, DROP_PARSE_TOO_SHORT); // cut off by the capture
			continue;
		}
		m = copy_frame(w, pp);
		if (m == NULL)
			break;
		port_fd_rx_packet(p, queue, m);
		ret_pkts[count++] = m;
	}
	return count;
}

static uint16_t port_pcap_tx(struct worker *w, struct port *p, uint16_t queue,
	struct rte_mbuf **pkts, uint16_t n, struct port_sent *sent)
{
	struct pcap_port *pp = p->priv;
	uint64_t now = atomic_load_explicit(&pp->now_ns, memory_order_relaxed);
	uint16_t accepted = 0;

	rte_spinlock_lock(&pp->lock);
	for (uint16_t i = 0; i < n; i++) {
		uint32_t size = pkts[i]->pkt_len;
		struct pcap_pkthdr hdr = { .caplen = size, .len = size };
		const uint8_t *data;

		if (size > MAX_FRAME)
			continue;
		accepted++;
		sent->bytes += size;
		if (pp->out == NULL)
			continue;
		hdr.ts.tv_sec = (time_t)(now / SECOND_NS);
		hdr.ts.tv_usec = (suseconds_t)(now % SECOND_NS);
		data = rte_pktmbuf_read(pkts[i], 0, size, pp->frame);
		pcap_dump((uint8_t *)pp->out, &hdr, data);
	}
	if (pp->out != NULL &&
		ferror(pcap_dump_file(pp->out))) // disk full: say so instead of counting on
		port_fd_set_dead(p);
	rte_spinlock_unlock(&pp->lock);
	rte_pktmbuf_free_bulk(pkts, n);
	return accepted;
}

static int port_pcap_event_fd(struct port *p, uint16_t queue)
{
	return -1;
}

const struct port_ops port_pcap_ops = {
	.name = "pcap",
	.create = port_pcap_create,
	.destroy = port_pcap_destroy,
	.rx = port_pcap_rx,
	.tx = port_pcap_tx,
	.event_fd = port_pcap_event_fd,
	.get_fds = port_fd_dup,
};

static int parse_arg(const char *arg, char in[256], char out[256], char *err, size_t err_size)
{
	while (*arg != '\0') {
		size_t size = strcspn(arg, ",");
		char *to = strncmp(arg, "in=", 3) == 0 ? in : NULL;

		if (strncmp(arg, "out=", 4) == 0)
			to = out;
		if (to == NULL || to[0] != '\0' || size >= 256) {
			snprintf(err, err_size,
				"pcap: '%.*s'; in=FILE and out=FILE are possible, once", (int)size,
				arg);
			return -EINVAL;
		}
		size -= to == in ? 3 : 4;
		arg += to == in ? 3 : 4;
		memcpy(to, arg, size);
		to[size] = '\0';
		arg += size;
		arg += *arg == ',';
	}
	if (in[0] == '\0' && out[0] == '\0') {
		snprintf(err, err_size, "pcap: neither in=FILE nor out=FILE");
		return -EINVAL;
	}
	return 0;
}

static int open_in(struct pcap_port *pp, const char *path, char *err, size_t err_size)
{
	char why[PCAP_ERRBUF_SIZE];

	pp->in = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, why);
	if (pp->in == NULL) {
		snprintf(err, err_size, "pcap: %s", why);
		return -EINVAL;
	}
	if (pcap_datalink(pp->in) != DLT_EN10MB) {
		snprintf(err, err_size, "pcap: %s holds link type %d; Ethernet (1) is needed", path,
			pcap_datalink(pp->in));
		return -EINVAL;
	}
	return 0;
}

static int open_out(struct pcap_port *pp, const char *path, char *err, size_t err_size)
{
	pp->dead = pcap_open_dead_with_tstamp_precision(
		DLT_EN10MB, SNAP_SIZE, PCAP_TSTAMP_PRECISION_NANO);
	if (pp->dead == NULL) {
		snprintf(err, err_size, "pcap: out of memory");
		return -ENOMEM;
	}
	pp->out = pcap_dump_open(pp->dead, path);
	if (pp->out == NULL) {
		snprintf(err, err_size, "pcap: %s", pcap_geterr(pp->dead));
		return -EIO;
	}
	return 0;
}

// Reads ahead by one. At the end nothing is due; a file that breaks off ends the port's receiving,
// too, but as dead: a replay must not pass for complete.
static void next_frame(struct port *p)
{
	struct pcap_port *pp = p->priv;
	struct pcap_pkthdr *hdr = NULL;
	int r = pp->in == NULL ? PCAP_ERROR_BREAK : pcap_next_ex(pp->in, &hdr, &pp->data);

	pp->hdr = r == 1 ? hdr : NULL;
	if (r == PCAP_ERROR)
		port_fd_set_dead(p);
}

static void close_files(struct pcap_port *pp)
{
	if (pp->out != NULL)
		pcap_dump_close(pp->out);
	if (pp->dead != NULL)
		pcap_close(pp->dead);
	if (pp->in != NULL)
		pcap_close(pp->in);
}
