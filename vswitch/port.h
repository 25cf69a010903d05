// SPDX-License-Identifier: BSD-3-Clause
// Ports: what a worker can receive from and send to. One ops table per kind; the pipeline knows
// nothing else of them. A port is made and destroyed by the control thread; a queue of it is polled
// by exactly one worker at a time; tx to any queue may come from any worker, see `tx`.
#pragma once

#include <stdatomic.h>
#include "control/proto.h"
#include "vlan/storm.h"
#include "vswitch/packet.h"

struct worker;
struct port;

enum {
	PORT_MAX_QUEUES = PROTO_MAX_QUEUES,
	BURST_MAX = 32,
	WORKER_MAX = 16,
	PORT_TOLD_NOTHING = 3,
};

// What the far end takes without help; software does the rest before ops->tx (gso.h).
enum port_offloads {
	PORT_OFFLOAD_CSUM = 1,
	PORT_OFFLOAD_TSO4 = 2,
	PORT_OFFLOAD_TSO6 = 4,
	PORT_OFFLOAD_USO = 8,
};

// Per worker and port: written by that worker only, read by control, which has a row of its own.
struct port_counters {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t drops[DROP_COUNT];
};

struct port_params {
	uint32_t id;
	enum proto_port_kind kind;
	uint16_t flags;
	uint32_t mtu, n_queues;
	// tap, packet: one per queue; ethdev: enum vfio_fd; the port owns them once created
	int fds[PORT_MAX_QUEUES];
	unsigned n_fds;
	char name[POLICY_NAME_SIZE];
	char arg[256];
};

// What became of packets that were to be sent.
struct port_sent {
	uint64_t bytes; // of those that the far end accepted
	enum drop_reason why; // the others were not
};

struct port_ops {
	const char *name;
	// The caller has filled id, params (a copy of *params) and n_queues. Fills port->priv and
	// port->offloads; 0 or -errno with a sentence in err. Control thread.
	// On failure the fds stay the caller's.
	int (*create)(struct port *p, const struct port_params *params, char *err, size_t err_size);
	// No worker polls the port any more (a grace period has passed). Closes its fds. Control
	// thread.
	void (*destroy)(struct port *p);
	// Receives up to n packets of a queue. Each mbuf has: data = the frame as on the wire (tags
	// included), packet_of(m) zeroed, then in_port, in_queue, flags (NEEDS_CSUM, DATA_VALID),
	// csum_*, gso_* set as the sender claims (unchecked: parse checks). `now_ns` for pcap's
	// virtual time. The first segment holds min(frame, 256) bytes at least.
	uint16_t (*rx)(struct worker *w, struct port *p, uint16_t queue, struct rte_mbuf **ret_pkts,
		uint16_t n, uint64_t now_ns);
	// Sends n packets of offloads the port takes; takes ownership of all. Returns how many the
	// far end accepted, and their bytes in *sent; the rest were freed, and sent->why, TX_FULL
	// as the caller has set it, becomes TX_NO_PORT where nobody is there. `queue` is chosen by
	// the caller (worker index modulo n_queues); a kind whose queues are not thread-safe for
	// several workers locks for itself.
	uint16_t (*tx)(struct worker *w, struct port *p, uint16_t queue, struct rte_mbuf **pkts,
		uint16_t n, struct port_sent *sent);
	// The fd that becomes readable when the queue has packets, or -1 (then the port must be
	// polled: with arm == NULL the worker cannot sleep).
	int (*event_fd)(struct port *p, uint16_t queue);
	// Before sleep: asks for a notification; returns false if packets are waiting already.
	// NULL: level-triggered fd, nothing to arm. disarm undoes it after waking up.
	bool (*arm)(struct port *p, uint16_t queue);
	void (*disarm)(struct port *p, uint16_t queue);
	// Duplicates the queue fds for re-adoption by insulad; returns how many, 0 if it has none.
	unsigned (*get_fds)(struct port *p, int ret_fds[PORT_MAX_QUEUES]);
};

struct port {
	uint32_t id; // immutable
	const struct port_ops *ops; // immutable
	struct port_params params; // immutable after create
	uint16_t n_queues; // immutable after create
	_Atomic uint32_t offloads; // enum port_offloads; a vhost port changes it on negotiation
	_Atomic uint32_t up; // the other end is there; written by the kind's own code
	_Atomic uint32_t epoch; // grows when event fds changed; workers then read them again
	_Atomic uint32_t dead; // an fd failed for good; control reports it
	struct storm storm; // see storm.h
	bool served; // control: workers have its queues
	bool held; // control: waits for the policy it was made for; not in switch.open_ports
	uint32_t told; // control: what insulad was last told of up and dead; PORT_TOLD_NOTHING
	void *priv; // the kind's
	struct port_counters *counters[WORKER_MAX + 1]; // one per worker, then control's own
};

extern const struct port_ops port_tap_ops, port_packet_ops, port_vhost_ops, port_ethdev_ops,
	port_pcap_ops;

// Pools for the kinds' rx. Small: PACKET_SMALL_ROOM of data; big: PACKET_BIG_ROOM, for the tail of
// super-frames. Both have packet metadata in the private area. NULL when exhausted.
struct rte_mempool *worker_small_pool(struct worker *w);
struct rte_mempool *worker_big_pool(struct worker *w);
unsigned worker_index(const struct worker *w);
