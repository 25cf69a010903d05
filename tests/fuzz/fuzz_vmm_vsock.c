// SPDX-License-Identifier: BSD-3-Clause
// Packets of a guest to the socket device, what the host's programs do meanwhile, and resets, in
// the order that the input says: 8 bytes a step. Whatever they are: no connection holds more than
// its buffer, a packet to the guest is a sound one and within its room, and the guest's side is
// never sent what it did not ask for.
#include <errno.h>
#include "tests/fuzz/fuzz.h"
#include "tests/unit/vsock_rig.h"

enum { STEP = 8, STEPS = 200 };

static struct rig rig;

static void check_connections(void)
{
	for (unsigned int i = 0; i < VSOCK_CONNECTIONS; i++) {
		const struct vsock_connection *c = &rig.vsock.connections[i];

		CHECK(c->n_buffer <= VSOCK_BUFFER && c->at < VSOCK_BUFFER);
		CHECK(c->received - c->forwarded == c->n_buffer || c->state == VSOCK_CLOSING);
		CHECK((c->state == VSOCK_FREE || c->state == VSOCK_CLOSING) == (c->source.fd < 0));
		CHECK(c->state != VSOCK_FREE || (!c->buffer && !c->owes && !c->watched));
	}
	CHECK(rig.vsock.n_refusals <= VSOCK_REFUSALS);
}

static void check_received(void)
{
	const struct virtio_vsock_hdr *h;
	uint32_t size;

	while ((h = rig_receive(&rig, &size))) {
		CHECK(size == sizeof(*h) + h->len && size <= RIG_STEP);
		CHECK(h->dst_cid == RIG_CID);
		CHECK(h->op > VIRTIO_VSOCK_OP_INVALID && h->op <= VIRTIO_VSOCK_OP_CREDIT_UPDATE);
		CHECK((h->len > 0) == (h->op == VIRTIO_VSOCK_OP_RW));
	}
}

// Mostly such that it can be good: few ports, the ops that there are.
static void send_packet(const uint8_t *in)
{
	static const uint32_t LENS[] = { 0, 1, 8, 4096, 0x3000, 65536, 65537, UINT32_MAX };
	const uint32_t len = LENS[in[3] & 7];
	struct virtio_vsock_hdr h = { .src_cid = in[1] == 1 ? 8 : RIG_CID,
		.dst_cid = in[1] == 2 ? 3 : 2,
		.src_port = in[2] & 3,
		.dst_port = in[2] & 64 ? RIG_REFUSED : in[2] >> 2 & 3,
		.len = len,
		.type = in[1] == 3 ? in[4] : VIRTIO_VSOCK_TYPE_STREAM,
		.op = in[3] >> 3 & 15,
		.flags = in[4],
		.buf_alloc = (uint32_t)in[5] << (in[6] & 31),
		.fwd_cnt = in[7] };

	if (in[2] & 128) // what the host's programs began
		h.dst_port |= 1 << 30;
	rig_send(&rig, &h, in[1] == 4 ? in[5] : len < 65537 ? len : 0);
}

static void host_does(const uint8_t *in)
{
	static const uint8_t bytes[9000];
	const int end = rig.ends[in[1] % RIG_ENDS];
	uint8_t got[9000];

	switch (in[2] % 4) {
	case 0:
		if (end >= 0 && send(end, bytes, in[3] * 35u, MSG_NOSIGNAL) < 0)
			break;
		break;
	case 1:
		if (end >= 0 && recv(end, got, in[3] * 35u, 0) < 0)
			break;
		break;
	case 2:
		rig_end(&rig, in[1] % RIG_ENDS);
		break;
	case 3:
		if (end >= 0)
			shutdown(end, in[3] % 3);
		break;
	}
	rig_settle(&rig);
}

// By the listener, with a line that is good, or not.
static void host_connects(const uint8_t *in)
{
	char line[32];
	const int n = snprintf(line, sizeof(line), in[1] & 1 ? "CONNECT %u\n" : "%u", in[2] & 3);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	rig_must(fd >= 0);
	strcpy(a.sun_path, rig.path);
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0 &&
		send(fd, line, (size_t)n, MSG_NOSIGNAL) > 0 && rig.ends[in[3] % RIG_ENDS] < 0)
		rig.ends[in[3] % RIG_ENDS] = fd;
	else
		close(fd);
	rig_settle(&rig);
}

static void step(const uint8_t *in)
{
	switch (in[0] % 8) {
	case 0:
		host_does(in);
		break;
	case 1:
		host_connects(in);
		break;
	case 2:
	case 3:
		rig_room(&rig, in[1] * 60u % (RIG_STEP - 64));
		break;
	case 4:
		if (in[1] % 16 == 0) {
			rig_stop(&rig);
			rig_start(&rig);
			rig.vsock.next_port = 0;
			break;
		}
		rig.vsock.device.ops->hold(&rig.vsock.device, in[1] & 1);
		break;
	default:
		send_packet(in);
	}
}

static void remove_socket(void)
{
	unlink(rig.path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!rig.path[0]) {
		rig_init(&rig);
		atexit(remove_socket);
	}
	rig.vsock.next_port = 0;
	rig_start(&rig);
	for (unsigned int i = 0; size >= STEP && i < STEPS; i++) {
		step(data);
		check_connections();
		check_received();
		data += STEP;
		size -= STEP;
	}
	rig_stop(&rig);
	check_connections();
	return 0;
}
