// SPDX-License-Identifier: BSD-3-Clause
// Port kind vhost-user, what the far end may say: every message passes here before librte_vhost
// handles it (known request, exact size, index and count in range) and after (are the fds it kept
// what they should be). Also answers GET_QUEUE_NUM, which librte_vhost would answer with 128. Runs
// on librte_vhost's event thread. What a ring rests on changes while no worker has it: the rings of
// the attached device are taken before such a message and given back after it. A refusal closes the
// connection. Message layout: QEMU docs/interop/vhost-user.rst.

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <rte_version.h>
#include "vswitch/vhost_port.h"

enum vhost_request {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	RESET_OWNER = 4,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	SET_VRING_ERR = 14,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
	NET_SET_MTU = 20,
	SET_STATUS = 39,
	GET_STATUS = 40,
	REQUEST_COUNT
};

enum {
	FLAG_REPLY = 1 << 2,
	FLAG_NEED_REPLY = 1 << 3,
	REGIONS_MAX = VIRTQ_REGIONS_MAX,
	VRING_INDEX_MASK = 0xff,
	// Bytes of librte_vhost's message payload union, behind which it keeps the fds received.
	PAYLOAD_SIZE = 632,
};

struct vhost_message {
	uint32_t request, flags, size;
	union {
		uint64_t u64;
		struct vhost_vring_state state;
		struct vhost_vring_addr addr;
		struct {
			uint32_t n_regions, padding;
			struct vhost_region regions[REGIONS_MAX];
		} memory;
		uint8_t bytes[PAYLOAD_SIZE];
	};
	int fds[REGIONS_MAX];
	int n_fds;
} __attribute__((packed));
static_assert(
	RTE_VERSION >= RTE_VERSION_NUM(22, 11, 0, 0) && RTE_VERSION < RTE_VERSION_NUM(23, 0, 0, 0),
	"struct vhost_message mirrors this version's");

// Bit per vring: its size was given since the connection began or the ring was last stopped, so
// that librte_vhost has the tables it indexes by it. Per device; event thread (and, before the
// first message, the reconnect thread).
static uint32_t sized[RTE_MAX_VHOST_DEVICE];

// Per device, as above: a message that librte_vhost must finish has begun.
static bool pending[RTE_MAX_VHOST_DEVICE];

// Payload bytes; -1: not spoken here (dirty log, IOTLB, postcopy, inflight, config, crypto, RARP).
static int payload_size(uint32_t request)
{
	static const int8_t sizes[REQUEST_COUNT] = {
		[SET_FEATURES] = 8,
		[SET_MEM_TABLE] = 8, // at least
		[SET_VRING_NUM] = sizeof(struct vhost_vring_state),
		[SET_VRING_ADDR] = sizeof(struct vhost_vring_addr),
		[SET_VRING_BASE] = sizeof(struct vhost_vring_state),
		[GET_VRING_BASE] = sizeof(struct vhost_vring_state),
		[SET_VRING_KICK] = 8,
		[SET_VRING_CALL] = 8,
		[SET_VRING_ERR] = 8,
		[SET_PROTOCOL_FEATURES] = 8,
		[SET_VRING_ENABLE] = sizeof(struct vhost_vring_state),
		[NET_SET_MTU] = 8,
		[SET_STATUS] = 8,
	};

	switch (request) {
	case GET_FEATURES:
	case SET_OWNER:
	case RESET_OWNER:
	case GET_PROTOCOL_FEATURES:
	case GET_QUEUE_NUM:
	case GET_STATUS:
		return 0;
	}
	return request < REQUEST_COUNT && sizes[request] != 0 ? sizes[request] : -1;
}

static bool memory_ok(int vid, const struct vhost_message *m)
{
	struct vhost_region regions[REGIONS_MAX]; // by copy: unaligned in the message
	int fds[REGIONS_MAX];
	uint32_t n = m->memory.n_regions;

	if (n == 0 || n > REGIONS_MAX || m->n_fds != (int)n ||
		m->size != sizeof(uint64_t) + n * sizeof(struct vhost_region))
		return false;
	memcpy(regions, m->memory.regions, sizeof(regions));
	memcpy(fds, m->fds, sizeof(fds));
	return vhost_memory_ok(vid, regions, fds, n);
}

static bool message_ok(int vid, const struct vhost_port *vp, const struct vhost_message *m)
{
	uint32_t n_vrings = 2U * vp->port->n_queues;
	int size = payload_size(m->request);

	if (size < 0 || m->flags & FLAG_REPLY || m->size > PAYLOAD_SIZE)
		return false;
	if (size > 0 && m->request != SET_MEM_TABLE && m->size != (uint32_t)size)
		return false;

	switch (m->request) {
	case SET_MEM_TABLE:
		return memory_ok(vid, m);
	case SET_VRING_NUM: // virtio 1.2 §2.7: a power of two, at most 32768
		return m->state.index < n_vrings && m->state.num >= 1 &&
		       m->state.num <= VIRTQ_SIZE_MAX && (m->state.num & (m->state.num - 1)) == 0;
	case SET_VRING_BASE:
		return m->state.index < n_vrings && m->state.num <= UINT16_MAX;
	case GET_VRING_BASE:
	case SET_VRING_ENABLE:
		return m->state.index < n_vrings;
	case SET_VRING_ADDR:
		return m->addr.index < n_vrings;
	case SET_VRING_KICK:
	case SET_VRING_CALL:
	case SET_VRING_ERR:
		return (m->u64 & VRING_INDEX_MASK) < n_vrings;
	}
	return true;
}

static bool ring_in_use(int vid, unsigned vring)
{
	struct rte_vhost_vring v;

	return rte_vhost_get_vhost_vring(vid, (uint16_t)vring, &v) == 0 && v.desc != NULL;
}

// librte_vhost checks a ring's addresses against its size and the features once, when it starts: a
// ring in use keeps both, and one without a size does not start.
static bool order_ok(int vid, const struct vhost_port *vp, const struct vhost_message *m)
{
	uint64_t features;

	switch (m->request) {
	case SET_VRING_NUM:
		if (ring_in_use(vid, m->state.index))
			return false;
		sized[vid] |= 1U << m->state.index;
		break;
	case GET_VRING_BASE: // stops the ring
		sized[vid] &= ~(1U << m->state.index);
		break;
	case SET_VRING_ADDR:
		return sized[vid] & 1U << m->addr.index;
	case SET_VRING_KICK:
		return sized[vid] & 1U << (m->u64 & VRING_INDEX_MASK);
	case SET_FEATURES:
		for (unsigned i = 0; i < 2U * vp->port->n_queues; i++)
			if (ring_in_use(vid, i))
				return rte_vhost_get_negotiated_features(vid, &features) == 0 &&
				       features == m->u64;
		break;
	}
	return true;
}

// librte_vhost closes the fds of messages that it refuses itself, not of those answered here.
static void close_fds(struct vhost_message *m)
{
	for (int i = 0; i < m->n_fds && i < REGIONS_MAX; i++)
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	m->n_fds = 0;
}

// Messages under which no worker may have a ring.
static bool changes_rings(uint32_t request)
{
	switch (request) {
	case SET_FEATURES:
	case SET_MEM_TABLE:
	case SET_VRING_NUM:
	case SET_VRING_ADDR:
	case SET_VRING_BASE:
	case GET_VRING_BASE:
	case SET_VRING_KICK:
	case SET_VRING_CALL:
		return true;
	}
	return false;
}

static enum rte_vhost_msg_result before(int vid, void *msg)
{
	struct vhost_port *vp = vhost_events_port(vid);
	struct vhost_message *m = msg;

	// One still pending failed inside librte_vhost and was answered so: what it left is
	// unknown.
	if (vp == NULL || pending[vid] || vhost_memory_torn(vid) || !message_ok(vid, vp, m) ||
		!order_ok(vid, vp, m)) {
		close_fds(m);
		if (vp != NULL)
			atomic_fetch_add(&vp->refused, 1);
		// An asked-for acknowledgement would keep the connection: what lies is cut off.
		m->flags &= ~(uint32_t)FLAG_NEED_REPLY;
		return RTE_VHOST_MSG_RESULT_ERR;
	}
	switch (m->request) {
	case GET_QUEUE_NUM:
		close_fds(m);
		m->u64 = vp->port->n_queues;
		m->size = sizeof(m->u64);
		return RTE_VHOST_MSG_RESULT_REPLY;
	// no longer used, may be ignored; librte_vhost would leak the rings' tables
	case RESET_OWNER:
		close_fds(m);
		return RTE_VHOST_MSG_RESULT_OK;
	}
	if (changes_rings(m->request)) {
		pending[vid] = true;
		if (vp->vid == vid)
			vhost_rings_take(vp);
	}
	if (m->request == SET_MEM_TABLE)
		vhost_memory_forget(vid);
	vhost_memory_begin(vid);
	return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

// A worker writes to the call fd and sleeps on the kick fd: a pipe, a socket or another epoll set
// there could block or wake it at will.
static bool is_eventfd(int fd)
{
	char path[32], target[32];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';
	return strcmp(target, "anon_inode:[eventfd]") == 0;
}

static bool call_ok(int fd)
{
	int flags;

	if (fd < 0)
		return true; // none: the guest polls
	if (!is_eventfd(fd))
		return false;
	// A full counter must not hold the worker.
	flags = fcntl(fd, F_GETFL);
	return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

static enum rte_vhost_msg_result after(int vid, void *msg)
{
	struct vhost_port *vp = vhost_events_port(vid);
	struct vhost_message *m = msg;
	struct rte_vhost_vring vring;
	bool ok = true;

	pending[vid] = false;
	vhost_memory_end();
	switch (m->request) {
	case SET_MEM_TABLE:
		ok = vhost_memory_learn(vid);
		break;
	case SET_VRING_KICK:
	case SET_VRING_CALL:
		if (rte_vhost_get_vhost_vring(vid, (uint16_t)(m->u64 & VRING_INDEX_MASK), &vring) !=
			0)
			break;
		if (m->request == SET_VRING_CALL)
			ok = call_ok(vring.callfd);
		else
			ok = vring.kickfd < 0 || is_eventfd(vring.kickfd);
		break;
	}
	if (ok) {
		if (vp != NULL && vp->vid == vid && changes_rings(m->request))
			vhost_rings_give(vp);
		return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
	}
	// The rings stay with us until the connection is gone.
	if (vp != NULL)
		atomic_fetch_add(&vp->refused, 1);
	m->flags &= ~(uint32_t)FLAG_NEED_REPLY;
	return RTE_VHOST_MSG_RESULT_ERR;
}

void vhost_filter_start(int vid)
{
	static const struct rte_vhost_user_extern_ops ops = {
		.pre_msg_handle = before,
		.post_msg_handle = after,
	};

	sized[vid] = 0;
	pending[vid] = false;
	vhost_memory_start(vid);
	rte_vhost_extern_callback_register(vid, &ops, NULL);
}
