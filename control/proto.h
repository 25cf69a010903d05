// SPDX-License-Identifier: BSD-3-Clause
// Control protocol between insulad and insula-switch: SOCK_SEQPACKET unix socket, one message per
// packet, fds by SCM_RIGHTS. The switch listens; insulad connects (the newest connection wins).
// Every message begins with proto_header; a request gets exactly one reply of the same type and seq
// with PROTO_REPLY set; events come from the switch with seq 0. Each side checks version, size and
// fd count of everything it reads; what is malformed closes the connection.
#pragma once

#include "control/policy.h"

enum {
	PROTO_MAGIC = 0x31434e49, // "INC1"
	PROTO_VERSION = 4,
	PROTO_MAX_SIZE = 64 << 10,
	PROTO_MAX_FDS = 64,
	PROTO_REPLY = 0x8000,
	PROTO_TEXT_SIZE = 240,
	PROTO_MAX_QUEUES = 16,
	PROTO_MAX_DEVICES = 32, // ports of DPDK devices: as many as DPDK is built for
	// librte_vhost watches 1,023 sockets: connections, and those it listens on.
	PROTO_MAX_VHOST_PLACES = 1000,
	PROTO_DEVICE_QUEUES = 4, // for each worker: room for so many of their queues by default
	// What RUN_DIR/sessions takes: a page, and so many bytes for each session there may be.
	PROTO_SESSION_FILE_HEADER = 4096,
	PROTO_SESSION_SIZE = 128,
	// What RUN_DIR/mappings takes when it is full.
	PROTO_MAPPING_FILE_SIZE = 4096 + 65536 * 64,
};

// Packet memory of a switch with so many workers, and room for so many queues of DPDK devices,
// unless it is told otherwise: a worker's own pools take 20 MiB, such a queue 6 and, of pages
// of 4 KiB, DPDK wants to see 10 free.
// Of ordinary memory, what is not used is not resident, until a PCI device comes.
static inline uint32_t proto_switch_memory_mib(uint32_t n_workers, uint32_t device_queues)
{
	uint32_t usual = PROTO_DEVICE_QUEUES * n_workers;

	return 24 + 20 * n_workers + 6 * usual +
	       (device_queues > usual ? 10 * (device_queues - usual) : 0);
}

enum proto_type {
	PROTO_HELLO = 1, // -> proto_hello
	PROTO_PORT_ADD, // proto_port_add + fds -> status
	PROTO_PORT_DEL, // proto_port_id -> status
	PROTO_PORT_LIST, // proto_cursor -> proto_port_list
	PROTO_PORT_FDS, // proto_port_id -> status + fds: the port's queue fds, for re-adoption
	PROTO_SECTION_PUT, // proto_section_put + 1 memfd -> status; held until the next commit
	PROTO_POLICY_COMMIT, // + 1 memfd (root) -> proto_policy_ack; sections put or current
	PROTO_PORT_STATS, // proto_cursor -> proto_stats_list
	PROTO_DROPS, // proto_port_id (0 = all) -> proto_drops
	PROTO_SESSIONS, // proto_cursor -> proto_session_list
	PROTO_LEASE_ANSWER, // proto_lease_answer -> status: an offer, or a refusal
	PROTO_LEASE_SET, // proto_lease_set -> status: a dynamic lease given, restored or ended
	PROTO_SYNC, // -> status, once each worker has begun a round since; else -ETIMEDOUT
	PROTO_LEASE_LIST, // proto_cursor -> proto_lease_list: the dynamic leases in force
	PROTO_EVENT_LEASE, // event: proto_lease_event
	PROTO_EVENT_PORT, // event: proto_port_event
	PROTO_EVENT_ALIVE, // event, once a second: proto_alive_event
	PROTO_TYPE_COUNT
};

struct proto_header {
	uint32_t magic;
	uint16_t version, type; // enum proto_type | PROTO_REPLY
	uint32_t seq;
	uint32_t size; // of the whole message in bytes, this header included
};

// Every reply begins so; `text` is a sentence for a person when error != 0.
struct proto_status {
	struct proto_header h;
	int32_t error; // 0 or -errno
	uint32_t spare;
	char text[PROTO_TEXT_SIZE];
};

struct proto_hello {
	struct proto_status s;
	uint32_t pid, n_workers;
	uint64_t generation; // of the policy in force; 0 = none
	uint64_t started_ns; // CLOCK_BOOTTIME
	uint8_t root_hash[POLICY_HASH_SIZE]; // SHA-256 of the root in force
};

struct proto_section_put { // + 1 sealed memfd of ref.size bytes
	struct proto_header h;
	struct policy_section_ref ref;
};

struct proto_policy_ack {
	struct proto_status s;
	uint64_t generation; // in force now, also when the new one was refused; 0 = none
	uint8_t root_hash[POLICY_HASH_SIZE];
};

enum proto_port_kind {
	PROTO_PORT_TAP, // fds: one per queue
	PROTO_PORT_PACKET, // fds: one bound AF_PACKET socket per queue
	PROTO_PORT_VHOST, // arg: socket path
	PROTO_PORT_ETHDEV, // arg: devargs
	PROTO_PORT_PCAP, // replay only
	PROTO_PORT_KIND_COUNT
};

enum proto_port_flags {
	PROTO_PORT_VHOST_SERVER = 1, // the switch listens; else it connects and retries for ever
	// Made for a policy that comes: carries nothing before the next one that names it is in
	// force. In a list: it still waits.
	PROTO_PORT_HELD = 2,
};

struct proto_port_add {
	struct proto_header h;
	uint32_t id; // 1..POLICY_MAX_PORT_ID
	uint16_t kind; // enum proto_port_kind
	uint16_t flags; // enum proto_port_flags
	uint32_t mtu; // bytes of IP; a port drops what is longer
	uint32_t n_queues;
	char name[POLICY_NAME_SIZE];
	char arg[256]; // terminated
};

struct proto_port_id {
	struct proto_header h;
	uint32_t id, spare;
};

struct proto_cursor {
	struct proto_header h;
	uint32_t cursor, spare; // 0 to begin; a list's `next` to go on
};

struct proto_port_entry {
	uint32_t id;
	uint16_t kind, flags;
	uint32_t mtu, n_queues;
	uint32_t up; // carrier: the other end is attached
	uint32_t sleepless; // its device wakes nobody: a worker has to poll it all the time
	char name[POLICY_NAME_SIZE];
	char arg[256];
};

struct proto_port_list {
	struct proto_status s;
	uint32_t next, n; // next: cursor to go on with, 0 = end
	struct proto_port_entry e[];
};

struct proto_stats_entry {
	uint32_t id, spare;
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, drops;
};

struct proto_stats_list {
	struct proto_status s;
	uint32_t next, n;
	struct proto_stats_entry e[];
};

struct proto_drops { // indices: enum drop_reason; names come along so that readers need no table
	struct proto_status s;
	uint32_t n, spare;
	struct {
		char name[40];
		uint64_t count;
	} e[];
};

struct proto_session_entry {
	uint32_t id, zone[2];
	be32 src[2], dst[2]; // by direction, as on arrival
	be16 src_port[2], dst_port[2];
	uint8_t proto, state, flags, spare;
	uint32_t src_switch_port, dst_switch_port;
	uint32_t age_s, idle_s;
	uint64_t packets[2], bytes[2];
};

struct proto_session_list {
	struct proto_status s;
	uint32_t next, n;
	struct proto_session_entry e[];
};

enum proto_lease_kind {
	PROTO_LEASE_BOUND, // a configured port's client took its address (information)
	PROTO_LEASE_REQUEST, // a dynamic pool's REQUEST is parked under `token`
	PROTO_LEASE_DISCOVER, // a dynamic pool's DISCOVER is parked under `token`
	PROTO_LEASE_RELEASE,
	PROTO_LEASE_DECLINE,
	PROTO_LEASE_KIND_COUNT
};

struct proto_lease_event {
	struct proto_header h;
	uint32_t kind; // enum proto_lease_kind
	uint32_t port; // switch port
	uint32_t segment;
	uint32_t token;
	struct mac mac;
	uint8_t client_id_size, spare;
	be32 address; // bound, requested, released, declined; 0 = any
	char hostname[64];
	uint8_t client_id[64];
	uint8_t spare2[4];
};

#define PROTO_LEASE_NO_ANSWER 0xffffffffu // an address that says: silence, the client asks again

struct proto_lease_answer {
	struct proto_header h;
	uint32_t token;
	be32 address; // 0 = refuse (NAK a REQUEST, ignore a DISCOVER)
};

struct proto_lease_set {
	struct proto_header h;
	uint32_t port, segment;
	struct mac mac;
	uint8_t spare[2];
	be32 address;
	uint32_t token; // 0, or of the REQUEST it grants: its ACK goes once the guard is open
	uint64_t remaining_ns; // 0 = the lease ended: the guard closes
};

// Who may use which address, behind which port; some may have run out within the last second.
struct proto_lease_entry {
	uint32_t port, segment;
	struct mac mac;
	uint8_t spare[2];
	be32 address;
};

struct proto_lease_list {
	struct proto_status s;
	uint32_t next, n;
	struct proto_lease_entry e[];
};

struct proto_port_event {
	struct proto_header h;
	uint32_t id;
	uint32_t up; // 0, 1; 2 = the fd is dead (the device was deleted underneath)
};

struct proto_alive_event {
	struct proto_header h;
	uint32_t worker; // the one that has made no progress for the longest time
	uint32_t still_s; // so many seconds; it is woken from the second on, so idle ones show 2
};
