// SPDX-License-Identifier: BSD-3-Clause
// A virtio-vsock device: see vsock.h.
#include "vsock.h"
#include <errno.h>
#include "base.h"
#include "cpu.h"
#include "io.h"

enum { QUEUE_SIZE = 32, NAP_NS = 1000000, IDLE_ROUNDS = 256 };

#define PATIENCE_NS 5000000000ull

static void offer(struct vsock *v, struct vsock_packet *p)
{
	struct piece pieces[] = { { &p->header, sizeof(p->header) }, { p->data, VSOCK_DATA } };

	virtq_add(&v->receive, pieces, 0, 2, p);
	virtq_kick(&v->receive);
}

int vsock_open(struct vsock *v)
{
	int r = virtio_find(VIRTIO_ID_VSOCK, 0, &v->device);

	if (r == 0)
		r = virtio_negotiate(&v->device, 0);
	if (r == 0)
		r = virtq_init(&v->device, 0, QUEUE_SIZE, &v->receive);
	if (r == 0)
		r = virtq_init(&v->device, 1, QUEUE_SIZE, &v->transmit);
	if (r < 0)
		return r;
	v->cid = mmio_read64(v->device.config);
	virtio_start(&v->device);
	if (!v->out)
		v->out = memory_take(sizeof(*v->out), 4096);
	for (unsigned i = 0; i < VSOCK_N_BUFFERS; i++) {
		if (!v->in[i])
			v->in[i] = memory_take(sizeof(*v->in[i]), 4096);
		offer(v, v->in[i]);
	}
	return 0;
}

// Until the queue has something done, at most until then.
static void *wait(struct virtq *q, uint64_t until_ns)
{
	uint32_t size;
	void *owner;

	for (unsigned idle = 0; !(owner = virtq_take(q, &size)); idle++) {
		uint64_t now = time_ns(), nap = q->has_vector ? until_ns : now + NAP_NS;

		if (now >= until_ns)
			return NULL;
		if (idle < IDLE_ROUNDS)
			continue;
		if (!virtq_arm(q))
			cpu_sleep(nap < until_ns ? nap : until_ns);
		virtq_disarm(q);
	}
	return owner;
}

bool vsock_send_raw(
	struct vsock *v, const struct virtio_vsock_hdr *h, uint32_t size, uint64_t until_ns)
{
	struct piece pieces[] = { { &v->out->header, sizeof(*h) }, { v->out->data, size } };

	v->out->header = *h;
	if (virtq_add(&v->transmit, pieces, size ? 2 : 1, 0, v->out) < 0)
		return false;
	virtq_kick(&v->transmit);
	return wait(&v->transmit, until_ns) != NULL;
}

bool vsock_send(struct vsock *v, uint16_t op, uint32_t flags, uint32_t size)
{
	const struct virtio_vsock_hdr h = { .src_cid = v->cid,
		.dst_cid = VSOCK_HOST,
		.src_port = v->port,
		.dst_port = v->peer_port,
		.len = size,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.flags = flags,
		.buf_alloc = VSOCK_ROOM,
		.fwd_cnt = v->received };

	v->sent += size;
	return vsock_send_raw(v, &h, size, time_ns() + PATIENCE_NS);
}

struct vsock_packet *vsock_wait(struct vsock *v, uint64_t until_ns)
{
	struct vsock_packet *p = wait(&v->receive, until_ns);

	if (!p || p->header.dst_port != v->port || p->header.src_port != v->peer_port)
		return p;
	v->peer_room = p->header.buf_alloc;
	v->peer_forwarded = p->header.fwd_cnt;
	if (p->header.op == VIRTIO_VSOCK_OP_RW)
		v->received += p->header.len;
	return p;
}

void vsock_end(struct vsock *v, struct vsock_packet *p)
{
	offer(v, p);
}

uint32_t vsock_credit(const struct vsock *v)
{
	return v->peer_room - (v->sent - v->peer_forwarded);
}
