// SPDX-License-Identifier: BSD-3-Clause
// The commands about sockets between guest and host. ../README.md has what each does.
#include "base.h"
#include "cpu.h"
#include "run_lists.h"
#include "vsock.h"

enum { WAIT_SECONDS = 10, FIRST_PORT = 1000, SHUT_BOTH = 3 };

#define SECOND_NS 1000000000ull

static struct vsock vsock;
static uint32_t next_port = FIRST_PORT;
static uint8_t expected[VSOCK_DATA];

static uint64_t late(void)
{
	return time_ns() + WAIT_SECONDS * SECOND_NS;
}

static struct vsock *vsock_current(void)
{
	int r = vsock.cid ? 0 : vsock_open(&vsock);

	if (r < 0) {
		say("fail vsock: cannot be opened: error %d", -r);
		cpu_end(false);
	}
	return &vsock;
}

static void begin(struct vsock *v, uint32_t port, uint32_t peer_port)
{
	v->port = port;
	v->peer_port = peer_port;
	v->sent = v->received = v->peer_room = v->peer_forwarded = 0;
}

// The next packet of the connection's; others are given back. 0: none came.
static uint16_t next_op(struct vsock *v, struct vsock_packet **ret_packet)
{
	const uint64_t until = late();

	while ((*ret_packet = vsock_wait(v, until))) {
		const struct virtio_vsock_hdr *h = &(*ret_packet)->header;

		if (h->dst_cid == v->cid && h->dst_port == v->port && h->src_port == v->peer_port)
			return h->op;
		vsock_end(v, *ret_packet);
	}
	return 0;
}

// An op that is followed by nothing else; what comes before it is dropped.
static bool wait_op(struct vsock *v, uint16_t op)
{
	struct vsock_packet *p;
	uint16_t got;

	do {
		got = next_op(v, &p);
		if (p)
			vsock_end(v, p);
	} while (got != op && got != VIRTIO_VSOCK_OP_RST && got != 0);
	return got == op;
}

static uint16_t dial(struct vsock *v, uint32_t port)
{
	struct vsock_packet *p;
	uint16_t op;

	begin(v, next_port++, port);
	if (!vsock_send(v, VIRTIO_VSOCK_OP_REQUEST, 0, 0))
		return 0;
	op = next_op(v, &p);
	if (p)
		vsock_end(v, p);
	return op;
}

// What came back is what was sent.
static bool is_right(const struct vsock_packet *p, uint64_t seed, uint64_t at)
{
	for (uint32_t i = 0; i < p->header.len; i++) {
		const uint64_t word = (at + i) & ~7ull;

		if (i == 0 || (at + i) % 8 == 0)
			pattern_fill(expected, 8, seed, word);
		if (p->data[i] != expected[(at + i) % 8])
			return false;
	}
	return true;
}

static bool close_nicely(struct vsock *v)
{
	return vsock_send(v, VIRTIO_VSOCK_OP_SHUTDOWN, SHUT_BOTH, 0) &&
	       wait_op(v, VIRTIO_VSOCK_OP_RST);
}

// Both ways at once, as the peer has room.
static bool echo(struct vsock *v, uint64_t size, uint64_t seed)
{
	struct vsock_packet *p;
	uint64_t out = 0, in = 0;

	while (in < size) {
		uint64_t n = size - out < VSOCK_DATA ? size - out : VSOCK_DATA;
		const uint32_t room = vsock_credit(v) & ~7u; // the pattern is of words

		if (n > room)
			n = room;
		if (n > 0) {
			pattern_fill(v->out->data, (size_t)n, seed, out);
			if (!vsock_send(v, VIRTIO_VSOCK_OP_RW, 0, (uint32_t)n))
				return false;
			out += n;
		}
		while ((p = vsock_wait(v, n > 0 ? time_ns() : late()))) {
			const bool good = p->header.op == VIRTIO_VSOCK_OP_RW
						  ? is_right(p, seed, in)
						  : p->header.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE;

			in += p->header.op == VIRTIO_VSOCK_OP_RW ? p->header.len : 0;
			vsock_end(v, p);
			if (!good)
				return false;
			n = 1;
		}
		if (n == 0)
			return false;
		// as much again as it may send: it waits for no more than it was told of
		if (!vsock_send(v, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0))
			return false;
	}
	return true;
}

// vsock-echo:PORT:BYTES:SEED
static bool run_echo(const struct arguments *args)
{
	struct vsock *v = vsock_current();
	const uint64_t size = argument_number(args, 2, 1), start = time_ns();
	const bool good =
		dial(v, (uint32_t)argument_number(args, 1, 0)) == VIRTIO_VSOCK_OP_RESPONSE &&
		echo(v, size, argument_number(args, 3, 1)) && close_nicely(v);

	say("%s %s %lu bytes in %lu us", good ? "ok" : "fail", args->text[0], size,
		(time_ns() - start) / 1000);
	return good;
}

// vsock-refused:PORT
static bool run_refused(const struct arguments *args)
{
	const uint16_t op = dial(vsock_current(), (uint32_t)argument_number(args, 1, 0));
	const bool good = op == VIRTIO_VSOCK_OP_RST;

	say("%s %s: op %u", good ? "ok" : "fail", args->text[0], op);
	return good;
}

// vsock-many:PORT:COUNT: connections that nobody ends, until one is refused
static bool run_many(const struct arguments *args)
{
	const uint64_t count = argument_number(args, 2, 1);
	struct vsock *v = vsock_current();
	uint64_t n = 0;

	while (n < count &&
		dial(v, (uint32_t)argument_number(args, 1, 0)) == VIRTIO_VSOCK_OP_RESPONSE)
		n++;
	say("ok %s %lu accepted", args->text[0], n);
	for (uint64_t i = 0; i < n; i++) {
		v->port = next_port - 2 - (uint32_t)i + (n == count);
		if (!vsock_send(v, VIRTIO_VSOCK_OP_RST, 0, 0))
			return false;
	}
	return true;
}

static bool serve(struct vsock *v)
{
	struct vsock_packet *p;
	uint16_t op = 0;

	while ((op = next_op(v, &p)) == VIRTIO_VSOCK_OP_RW || op == VIRTIO_VSOCK_OP_CREDIT_UPDATE) {
		const uint32_t n = p->header.len;

		memcpy(v->out->data, p->data, n);
		vsock_end(v, p);
		while (vsock_credit(v) < n && wait_op(v, VIRTIO_VSOCK_OP_CREDIT_UPDATE))
			;
		if (n > 0 && !vsock_send(v, VIRTIO_VSOCK_OP_RW, 0, n))
			return false;
	}
	if (p)
		vsock_end(v, p);
	return op == VIRTIO_VSOCK_OP_SHUTDOWN && close_nicely(v);
}

// vsock-listen:PORT: echoes what one program of the host's sends
static bool run_listen(const struct arguments *args)
{
	const uint32_t port = (uint32_t)argument_number(args, 1, 0);
	struct vsock *v = vsock_current();
	struct vsock_packet *p;
	bool good;

	say("ok %s listens", args->text[0]);
	while ((p = vsock_wait(v, late()))) {
		const struct virtio_vsock_hdr h = p->header;

		vsock_end(v, p);
		if (h.op != VIRTIO_VSOCK_OP_REQUEST)
			continue;
		begin(v, h.dst_port, h.src_port);
		v->peer_room = h.buf_alloc;
		if (h.dst_port == port)
			break;
		vsock_send(v, VIRTIO_VSOCK_OP_RST, 0, 0);
	}
	good = p && vsock_send(v, VIRTIO_VSOCK_OP_RESPONSE, 0, 0) && serve(v);
	say("%s %s from port %u, %u bytes", good ? "ok" : "fail", args->text[0], v->peer_port,
		v->sent);
	return good;
}

struct lie {
	const char *name;
	struct virtio_vsock_hdr header; // 0: as it should be
	uint32_t size; // of the data
	enum { NOTHING, RST, BROKEN } answer;
	bool connected;
};

static const struct lie LIES[] = {
	{ "unknown type", { .type = 77, .op = VIRTIO_VSOCK_OP_REQUEST }, 0, RST, false },
	{ "seqpacket", { .type = 2, .op = VIRTIO_VSOCK_OP_REQUEST }, 0, RST, false },
	{ "op 0", { .op = 0 }, 0, RST, true },
	{ "op 99", { .op = 99 }, 0, RST, true },
	{ "unknown op, no connection", { .op = 99 }, 0, RST, false },
	{ "other's cid", { .src_cid = 4, .op = VIRTIO_VSOCK_OP_REQUEST }, 0, NOTHING, false },
	{ "to another cid", { .dst_cid = 77, .op = VIRTIO_VSOCK_OP_REQUEST }, 0, RST, false },
	{ "reset of nothing", { .op = VIRTIO_VSOCK_OP_RST }, 0, NOTHING, false },
	{ "data for nobody", { .op = VIRTIO_VSOCK_OP_RW, .len = 8 }, 8, RST, false },
	{ "connects twice", { .op = VIRTIO_VSOCK_OP_REQUEST }, 0, RST, true },
	{ "answers unasked", { .op = VIRTIO_VSOCK_OP_RESPONSE }, 0, RST, true },
	{ "len beyond the buffer", { .op = VIRTIO_VSOCK_OP_RW, .len = 9 }, 8, BROKEN, true },
	{ "len 4 GiB", { .op = VIRTIO_VSOCK_OP_RW, .len = UINT32_MAX }, 8, BROKEN, true },
};

static bool lie_tell(struct vsock *v, const struct lie *lie)
{
	struct virtio_vsock_hdr h = lie->header;
	struct vsock_packet *p = NULL;
	uint16_t op = 0;
	uint64_t wait_ns = lie->answer == NOTHING ? SECOND_NS / 20 : WAIT_SECONDS * SECOND_NS;
	bool broken;

	h.src_cid = h.src_cid ? h.src_cid : v->cid;
	h.dst_cid = h.dst_cid ? h.dst_cid : VSOCK_HOST;
	h.type = h.type ? h.type : VIRTIO_VSOCK_TYPE_STREAM;
	h.src_port = v->port;
	h.dst_port = v->peer_port;
	vsock_send_raw(
		v, &h, lie->size, time_ns() + (lie->answer == BROKEN ? SECOND_NS / 20 : wait_ns));
	if (lie->answer != BROKEN && (p = vsock_wait(v, time_ns() + wait_ns))) {
		op = p->header.op;
		vsock_end(v, p);
	}
	broken = virtio_status(&v->device) & VIRTIO_CONFIG_S_NEEDS_RESET;
	return broken == (lie->answer == BROKEN) &&
	       op == (lie->answer == RST ? VIRTIO_VSOCK_OP_RST : 0);
}

// More than there is room for: 4 KiB at a time, and nobody reads.
static bool overrun(struct vsock *v, uint32_t port)
{
	struct vsock_packet *p;
	unsigned n = 0;

	if (dial(v, port) != VIRTIO_VSOCK_OP_RESPONSE)
		return false;
	for (; n < 4096; n++) {
		if (!vsock_send(v, VIRTIO_VSOCK_OP_RW, 0, VSOCK_DATA))
			return false;
		while ((p = vsock_wait(v, time_ns()))) {
			const bool reset = p->header.op == VIRTIO_VSOCK_OP_RST;

			vsock_end(v, p);
			if (reset)
				return true;
		}
	}
	return false;
}

// vsock-hostile:PORT: each lie, then the device is of use, after a reset if it asks for one
static bool run_hostile(const struct arguments *args)
{
	const uint32_t port = (uint32_t)argument_number(args, 1, 0);
	struct vsock *v = vsock_current();

	for (unsigned i = 0; i < LENGTH_OF(LIES); i++) {
		bool good = true;

		begin(v, next_port++, port);
		if (LIES[i].connected)
			good = dial(v, port) == VIRTIO_VSOCK_OP_RESPONSE;
		good = good && lie_tell(v, &LIES[i]);
		if (good && LIES[i].answer == BROKEN)
			good = vsock_open(v) == 0;
		if (!good) {
			say("fail %s: %s", args->text[0], LIES[i].name);
			return false;
		}
	}
	if (!overrun(v, port)) {
		say("fail %s: overrun", args->text[0]);
		return false;
	}
	say("ok %s lies %u", args->text[0], (unsigned)LENGTH_OF(LIES) + 1);
	return true;
}

const struct command commands_vsock[] = {
	{ "vsock-echo", 2, 3, run_echo },
	{ "vsock-refused", 1, 1, run_refused },
	{ "vsock-many", 2, 2, run_many },
	{ "vsock-listen", 1, 1, run_listen },
	{ "vsock-hostile", 1, 1, run_hostile },
	{ 0 },
};
