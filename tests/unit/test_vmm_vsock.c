// SPDX-License-Identifier: BSD-3-Clause
// The socket device: its words, the line that a program of the host's says, credit both ways,
// refusals, a reset while connections are there.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include "tests/unit/vsock_rig.h"

static struct rig rig;

static bool parses(const char *words, uint32_t cid, const char *path)
{
	struct virtio_vsock_options o = { 0 };
	char text[100];
	struct error e;

	snprintf(text, sizeof(text), "%s", words);
	return virtio_vsock_parse(&o, text, &e) == 0 && o.cid == cid && strcmp(o.path, path) == 0;
}

static void words(void **state)
{
	static const char *const BAD[] = { "", "cid=3", "socket=a", "cid=2,socket=a",
		"cid=,socket=a", "cid=3,socket=", "cid=3,socket=a/", "cid=3x,socket=a",
		"cid=-5,socket=a", "cid=4294967295,socket=a", "cid=4294967299,socket=a",
		"cid=3,socket=a,b=c", "cid=99999999999999999999,socket=a" };
	struct virtio_vsock_options o;
	char text[100];
	struct error e;

	assert_true(parses("cid=3,socket=/a/b", 3, "/a/b"));
	assert_true(parses("socket=b,cid=4294967294", 4294967294, "b"));
	for (unsigned int i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
		snprintf(text, sizeof(text), "%s", BAD[i]);
		assert_int_equal(virtio_vsock_parse(&o, text, &e), -EINVAL);
		assert_memory_equal(e.text, "--vsock: ", 9);
	}
}

static void line(void **state)
{
	static const char *const BAD[] = { "", "\n", "CONNECT\n", "CONNECT \n", "CONNECT 1",
		"connect 1\n", "CONNECT -1\n", "CONNECT +1\n", "CONNECT  1\n", "CONNECT 1 \n",
		"CONNECT 4294967295\n", "CONNECT 4294967296\n", "CONNECT 1\r\n", "CONNECT 0x1\n" };
	uint32_t port;

	for (unsigned int i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++)
		assert_false(vsock_parse_line(BAD[i], &port));
	assert_true(vsock_parse_line("CONNECT 0\n", &port));
	assert_int_equal(port, 0);
	assert_true(vsock_parse_line("CONNECT 4294967294\n", &port));
	assert_int_equal(port, 4294967294);
}

static struct virtio_vsock_hdr header(uint16_t op, uint32_t len)
{
	return (struct virtio_vsock_hdr){ .src_cid = RIG_CID,
		.dst_cid = 2,
		.src_port = 5,
		.dst_port = 6,
		.len = len,
		.type = 1,
		.op = op,
		.buf_alloc = 100 };
}

static void say(uint16_t op, uint32_t len)
{
	const struct virtio_vsock_hdr h = header(op, len);

	rig_send(&rig, &h, len);
}

// One buffer; the op of the packet that takes it, with its length.
static uint16_t hear(uint32_t *ret_len)
{
	const struct virtio_vsock_hdr *h;
	uint32_t size;

	rig_room(&rig, 4096);
	h = rig_receive(&rig, &size);
	assert_non_null(h);
	assert_int_equal(h->src_cid, 2);
	assert_int_equal(h->dst_cid, RIG_CID);
	assert_int_equal(h->src_port, 6);
	assert_int_equal(h->dst_port, 5);
	assert_int_equal(size, sizeof(*h) + h->len);
	*ret_len = h->len;
	return h->op;
}

static void begin_connected(void)
{
	uint32_t len;

	rig_init(&rig);
	rig_start(&rig);
	say(VIRTIO_VSOCK_OP_REQUEST, 0);
	assert_int_equal(hear(&len), VIRTIO_VSOCK_OP_RESPONSE);
}

static void end(void)
{
	rig_stop(&rig);
	rig_free(&rig);
}

// The guest has said 100 bytes: not one more is sent before it says so.
static void guest_credit(void **state)
{
	struct virtio_vsock_hdr h = header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	char bytes[300] = { 0 };
	uint32_t len, size;

	begin_connected();
	assert_int_equal(write(rig.ends[0], bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(hear(&len), VIRTIO_VSOCK_OP_RW);
	assert_int_equal(len, 100);
	rig_room(&rig, 4096);
	assert_null(rig_receive(&rig, &size));
	h.fwd_cnt = 60;
	rig_send(&rig, &h, 0);
	assert_int_equal(rig_receive(&rig, &size)->len, 60);
	h.fwd_cnt = 1000; // a lie: as if nothing had room
	rig_send(&rig, &h, 0);
	rig_room(&rig, 4096);
	assert_null(rig_receive(&rig, &size));
	h.fwd_cnt = 160;
	h.buf_alloc = UINT32_MAX;
	rig_send(&rig, &h, 0);
	assert_int_equal(rig_receive(&rig, &size)->len, 140);
	assert_false(rig_broken(&rig));
	end();
}

// What the host does not read stays within the buffer; one byte more ends the connection only.
static void host_credit(void **state)
{
	const struct vsock_connection *c = &rig.vsock.connections[0];
	const int least = 1;
	uint32_t len, n = 0;

	begin_connected();
	// a socket that takes little
	assert_int_equal(setsockopt(c->source.fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)), 0);
	while (c->n_buffer + 4096 <= VSOCK_BUFFER) {
		say(VIRTIO_VSOCK_OP_RW, 4096);
		n += 4096;
		assert_int_equal(c->state, VSOCK_OPEN);
		assert_int_equal(c->received - c->forwarded, c->n_buffer);
	}
	say(VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
	assert_int_equal(hear(&len), VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	say(VIRTIO_VSOCK_OP_RW, VSOCK_BUFFER - c->n_buffer);
	assert_int_equal(c->n_buffer, VSOCK_BUFFER);
	say(VIRTIO_VSOCK_OP_RW, 1);
	assert_int_equal(hear(&len), VIRTIO_VSOCK_OP_RST);
	assert_int_equal(c->state, VSOCK_FREE);
	assert_false(rig_broken(&rig));
	say(VIRTIO_VSOCK_OP_REQUEST, 0);
	assert_int_equal(hear(&len), VIRTIO_VSOCK_OP_RESPONSE);
	end();
}

// A guest that has no room for answers is not listened to; a reset forgets all of them.
static void refusals(void **state)
{
	const struct vring_used *u;
	uint32_t len;

	rig_init(&rig);
	rig_start(&rig);
	u = rig_at(&rig, (4 * VSOCK_TRANSMIT + 2) * RIG_RING);
	for (unsigned int i = 0; i < VSOCK_REFUSALS + 10; i++)
		say(VIRTIO_VSOCK_OP_RW, 0);
	assert_int_equal(rig.vsock.n_refusals, VSOCK_REFUSALS);
	assert_int_equal(u->idx, VSOCK_REFUSALS);
	for (unsigned int i = 0; i < VSOCK_REFUSALS + 10; i++)
		assert_int_equal(hear(&len), VIRTIO_VSOCK_OP_RST);
	assert_int_equal(u->idx, VSOCK_REFUSALS + 10);
	say(VIRTIO_VSOCK_OP_RST, 0); // is never answered
	say(VIRTIO_VSOCK_OP_RW, 0);
	assert_int_equal(rig.vsock.n_refusals, 1);
	rig_stop(&rig);
	assert_int_equal(rig.vsock.n_refusals, 0);
	rig_free(&rig);
}

// The guest closes: what it said goes out first. The host closes: the guest is told, and agrees.
static void closing(void **state)
{
	uint32_t len, size;
	char bytes[10];

	begin_connected();
	say(VIRTIO_VSOCK_OP_RW, 8);
	struct virtio_vsock_hdr h = header(VIRTIO_VSOCK_OP_SHUTDOWN, 0);
	h.flags = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;
	rig_send(&rig, &h, 0);
	assert_int_equal(hear(&len), VIRTIO_VSOCK_OP_RST);
	assert_int_equal(read(rig.ends[0], bytes, 10), 8);
	assert_int_equal(read(rig.ends[0], bytes, 10), 0);
	rig_end(&rig, 0);
	say(VIRTIO_VSOCK_OP_REQUEST, 0);
	assert_int_equal(hear(&len), VIRTIO_VSOCK_OP_RESPONSE);
	assert_int_equal(write(rig.ends[0], "last", 4), 4);
	rig_end(&rig, 0);
	assert_int_equal(hear(&len), VIRTIO_VSOCK_OP_RW);
	assert_int_equal(len, 4);
	assert_int_equal(hear(&len), VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(rig.vsock.connections[0].state, VSOCK_CLOSING);
	say(VIRTIO_VSOCK_OP_RST, 0);
	assert_int_equal(rig.vsock.connections[0].state, VSOCK_FREE);
	// half of it: the other way goes on
	say(VIRTIO_VSOCK_OP_REQUEST, 0);
	assert_int_equal(hear(&len), VIRTIO_VSOCK_OP_RESPONSE);
	shutdown(rig.ends[0], SHUT_WR);
	assert_int_equal(hear(&len), VIRTIO_VSOCK_OP_SHUTDOWN);
	say(VIRTIO_VSOCK_OP_RW, 8);
	assert_int_equal(read(rig.ends[0], bytes, 10), 8);
	rig_room(&rig, 1);
	assert_null(rig_receive(&rig, &size));
	end();
}

// Held, neither side's bytes move.
static void held(void **state)
{
	struct virtio_device *d = &rig.vsock.device;
	char bytes[10];
	uint32_t size;

	begin_connected();
	d->ops->hold(d, true);
	assert_int_equal(write(rig.ends[0], "x", 1), 1);
	rig_room(&rig, 4096);
	say(VIRTIO_VSOCK_OP_RW, 8);
	assert_null(rig_receive(&rig, &size));
	assert_int_equal(read(rig.ends[0], bytes, 10), -1);
	d->ops->hold(d, false);
	rig_settle(&rig);
	assert_int_equal(rig_receive(&rig, &size)->op, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(read(rig.ends[0], bytes, 10), 8);
	end();
}

// Room for a header and nothing else, or for less, is none.
static void room(void **state)
{
	begin_connected();
	rig_room(&rig, 0);
	rig_settle(&rig);
	assert_int_equal(write(rig.ends[0], "x", 1), 1);
	rig_settle(&rig);
	assert_true(rig_broken(&rig));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(words), cmocka_unit_test(line),
		cmocka_unit_test(guest_credit), cmocka_unit_test(host_credit),
		cmocka_unit_test(refusals), cmocka_unit_test(closing), cmocka_unit_test(held),
		cmocka_unit_test(room) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
