// SPDX-License-Identifier: BSD-3-Clause
// dhcp/dhcp4_build.c: replies read back by dhcp4_reply.h, which shares no code with the server.
// HOSTILE H-43: no byte of a reply is uninitialised.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <cmocka.h>
#include "tests/unit/dhcp4_client.h"
#include "tests/unit/dhcp4_reply.h"

#define SERVER ip4(10, 0, 0, 1)
#define MINE ip4(10, 0, 0, 11)
#define BROADCAST ip4(255, 255, 255, 255)

static const struct mac server_mac = { { 0x02, 0xaa, 0, 0, 0, 1 } };
static const struct mac client_mac = CLIENT_MAC;
static const struct mac broadcast_mac = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };

static uint8_t frame[DHCP4_REPLY_MAX];

static struct dhcp4_config config(void)
{
	return (struct dhcp4_config){
		.server_ip = SERVER,
		.server_mac = server_mac,
		.subnet = ip4(10, 0, 0, 0),
		.prefix_len = 24,
		.router = SERVER,
		.mtu = 1450,
		.n_dns = 2,
		.dns = { ip4(9, 9, 9, 9), ip4(1, 1, 1, 1) },
		.lease_s = 3600,
		.hostname = "red-1",
	};
}

static struct dhcp4_msg message(void)
{
	return (struct dhcp4_msg){
		.type = DHCP4_REQUEST,
		.xid = htonl(0xdeadbeef),
		.src_mac = client_mac,
		.chaddr = client_mac,
		.dst_ip = BROADCAST,
		.client_id_size = 7,
		.client_id = { 1, 2, 0, 0, 0, 0, 0x11 },
	};
}

static struct dhcp4_decision decided(enum dhcp4_action action)
{
	return (struct dhcp4_decision){
		.action = action,
		.yiaddr = action == DHCP4_DO_OFFER || action == DHCP4_DO_ACK ? MINE : 0,
		.reason = "because",
	};
}

static struct dhcp4_reply build(
	const struct dhcp4_msg *msg, const struct dhcp4_config *cfg, enum dhcp4_action action)
{
	struct dhcp4_decision d = decided(action);
	struct dhcp4_reply r;
	int size = dhcp4_build(msg, cfg, &d, frame, sizeof(frame));

	assert_true(size > 0);
	const char *wrong = dhcp4_reply_read(frame, (size_t)size, &r);
	if (wrong != NULL)
		fail_msg("%s", wrong);
	return r;
}

static void expect_option(const struct dhcp4_reply *r, uint8_t code, const void *data, uint8_t size)
{
	if (r->option[code] == NULL)
		fail_msg("option %u is missing", code);
	assert_int_equal(r->option[code][0], size);
	assert_memory_equal(r->option[code] + 1, data, size);
}

static void expect_type(const struct dhcp4_reply *r, uint8_t type)
{
	expect_option(r, 53, &type, 1);
}

static void expect_to(const struct dhcp4_reply *r, const struct mac *mac, be32 ip)
{
	assert_memory_equal(r->frame, mac, 6);
	assert_memory_equal(r->frame + 6, &server_mac, 6);
	assert_memory_equal(r->frame + 26, &(be32){ SERVER }, 4);
	assert_memory_equal(r->frame + 30, &ip, 4);
}

static void expect_field(const struct dhcp4_reply *r, size_t at, be32 value)
{
	assert_memory_equal(r->bootp + at, &value, 4);
}

enum { XID = 4, CIADDR = 12, YIADDR = 16, SIADDR = 20, GIADDR = 24 };

static void offer(void **state)
{
	struct dhcp4_msg msg = message();
	struct dhcp4_config cfg = config();

	msg.type = DHCP4_DISCOVER;
	struct dhcp4_reply r = build(&msg, &cfg, DHCP4_DO_OFFER);
	expect_type(&r, 2);
	expect_to(&r, &client_mac, MINE);
	expect_field(&r, XID, htonl(0xdeadbeef));
	expect_field(&r, YIADDR, MINE);
	expect_field(&r, CIADDR, 0);
	expect_field(&r, SIADDR, 0);
	expect_field(&r, GIADDR, 0);
	assert_memory_equal(r.bootp + 28, &client_mac, 6);
	expect_option(&r, 54, "\x0a\x00\x00\x01", 4);
	expect_option(&r, 51, "\x00\x00\x0e\x10", 4);
	expect_option(&r, 58, "\x00\x00\x07\x08", 4);
	expect_option(&r, 59, "\x00\x00\x0c\x4e", 4);
	expect_option(&r, 1, "\xff\xff\xff\x00", 4);
	expect_option(&r, 3, "\x0a\x00\x00\x01", 4);
	expect_option(&r, 6, "\x09\x09\x09\x09\x01\x01\x01\x01", 8);
	expect_option(&r, 26, "\x05\xaa", 2);
	expect_option(&r, 28, "\x0a\x00\x00\xff", 4);
	expect_option(&r, 12, "red-1", 5);
	expect_option(&r, 61, "\x01\x02\x00\x00\x00\x00\x11", 7); // RFC 6842
}

// RFC 2131 §4.1: ciaddr, else broadcast if asked, else the new address.
static void destinations(void **state)
{
	struct dhcp4_msg msg = message();
	struct dhcp4_config cfg = config();
	struct dhcp4_reply r = build(&msg, &cfg, DHCP4_DO_ACK);

	expect_to(&r, &client_mac, MINE);
	msg.flags = htons(0x8000);
	r = build(&msg, &cfg, DHCP4_DO_ACK);
	expect_to(&r, &broadcast_mac, BROADCAST);
	assert_memory_equal(r.bootp + 10, "\x80\x00", 2);
	msg.ciaddr = MINE;
	r = build(&msg, &cfg, DHCP4_DO_ACK);
	expect_to(&r, &client_mac, MINE);
	expect_field(&r, CIADDR, MINE);
	r = build(&msg, &cfg, DHCP4_DO_NAK);
	expect_to(&r, &broadcast_mac, BROADCAST);
	msg.flags = 0;
	r = build(&msg, &cfg, DHCP4_DO_NAK);
	expect_to(&r, &broadcast_mac, BROADCAST);
}

// RFC 2131 table 3: a NAK names no address and no options but these.
static void nak(void **state)
{
	struct dhcp4_msg msg = message();
	struct dhcp4_config cfg = config();

	msg.ciaddr = MINE;
	struct dhcp4_reply r = build(&msg, &cfg, DHCP4_DO_NAK);
	expect_type(&r, 6);
	expect_field(&r, YIADDR, 0);
	expect_field(&r, CIADDR, 0);
	expect_option(&r, 56, "because", 7);
	expect_option(&r, 61, msg.client_id, 7);
	assert_int_equal(r.n_options, 4); // 53, 54, 56, 61
}

static void inform_ack(void **state)
{
	struct dhcp4_msg msg = message();
	struct dhcp4_config cfg = config();

	msg.ciaddr = ip4(10, 0, 0, 77);
	struct dhcp4_reply r = build(&msg, &cfg, DHCP4_DO_INFORM_ACK);
	expect_type(&r, 5);
	expect_to(&r, &client_mac, msg.ciaddr);
	expect_field(&r, YIADDR, 0);
	expect_field(&r, CIADDR, msg.ciaddr);
	assert_null(r.option[51]);
	assert_null(r.option[58]);
	assert_null(r.option[59]);
	assert_non_null(r.option[1]);
	assert_non_null(r.option[6]);
}

static void no_client_id_none_returned(void **state)
{
	struct dhcp4_msg msg = message();
	struct dhcp4_config cfg = config();

	msg.client_id_size = 0;
	assert_null(build(&msg, &cfg, DHCP4_DO_ACK).option[61]);
	assert_null(build(&msg, &cfg, DHCP4_DO_NAK).option[61]);
}

static void request_list_chooses_and_orders(void **state)
{
	static const uint8_t prl[] = { 26, 6, 26, 119, 0, 255, 53, 51, 3, 1, 54 };
	struct dhcp4_msg msg = message();
	struct dhcp4_config cfg = config();

	memcpy(msg.prl, prl, sizeof(prl));
	msg.prl_size = sizeof(prl);
	struct dhcp4_reply r = build(&msg, &cfg, DHCP4_DO_ACK);
	assert_null(r.option[12]);
	assert_null(r.option[28]);
	static const uint8_t order[] = { 53, 54, 61, 51, 58, 59, 1, 26, 6, 3 };
	assert_int_equal(r.n_options, sizeof(order));
	assert_memory_equal(r.order, order, sizeof(order));
}

static void unset_options_are_left_out(void **state)
{
	struct dhcp4_msg msg = message();
	struct dhcp4_config cfg = config();

	cfg.router = 0;
	cfg.mtu = 0;
	cfg.n_dns = 0;
	cfg.hostname = NULL;
	cfg.prefix_len = 31;
	struct dhcp4_reply r = build(&msg, &cfg, DHCP4_DO_ACK);
	assert_null(r.option[3]);
	assert_null(r.option[26]);
	assert_null(r.option[6]);
	assert_null(r.option[12]);
	assert_null(r.option[28]); // RFC 3021: no broadcast on a /31
	expect_option(&r, 1, "\xff\xff\xff\xfe", 4);
	cfg.hostname = "";
	assert_null(build(&msg, &cfg, DHCP4_DO_ACK).option[12]);
}

static void lease_times(void **state)
{
	struct dhcp4_msg msg = message();
	struct dhcp4_config cfg = config();

	cfg.lease_s = 0xffffffff; // RFC 2131 §3.3: infinite, and so are T1 and T2
	struct dhcp4_reply r = build(&msg, &cfg, DHCP4_DO_ACK);
	expect_option(&r, 51, "\xff\xff\xff\xff", 4);
	expect_option(&r, 58, "\xff\xff\xff\xff", 4);
	expect_option(&r, 59, "\xff\xff\xff\xff", 4);
	cfg.lease_s = 0xfffffff0;
	r = build(&msg, &cfg, DHCP4_DO_ACK);
	expect_option(&r, 58, "\x7f\xff\xff\xf8", 4);
	expect_option(&r, 59, "\xdf\xff\xff\xf2", 4);
}

// The largest of everything still is a message every client takes, with nothing left out.
static void largest_reply_fits(void **state)
{
	struct dhcp4_msg msg = message();
	struct dhcp4_config cfg = config();
	char name[64];

	memset(name, 'h', 63);
	name[63] = '\0';
	cfg.hostname = name;
	cfg.n_dns = DHCP4_MAX_DNS;
	msg.client_id_size = DHCP4_MAX_CLIENT_ID;
	memset(msg.client_id, 0xc1, sizeof(msg.client_id));
	struct dhcp4_reply r = build(&msg, &cfg, DHCP4_DO_ACK);
	assert_int_equal(r.option[12][0], 63);
	assert_int_equal(r.option[6][0], 12);
	assert_int_equal(r.option[61][0], 64);
}

// Configuration beyond what the loader lets through stays inside the message.
static void absurd_configuration(void **state)
{
	struct dhcp4_msg msg = message();
	struct dhcp4_config cfg = config();
	char name[600];

	for (size_t size = 0; size < sizeof(name) - 1; size++) {
		memset(name, 'h', size);
		name[size] = '\0';
		cfg.hostname = name;
		cfg.n_dns = 255;
		struct dhcp4_reply r = build(&msg, &cfg, DHCP4_DO_ACK);
		assert_int_equal(r.option[6][0], 12);
		assert_int_equal(r.option[12] != NULL, size > 0 && size < 64);
	}
}

static void smallest_reply_is_bootp_sized(void **state)
{
	struct dhcp4_msg msg = message();
	struct dhcp4_config cfg = config();

	assert_int_equal(build(&msg, &cfg, DHCP4_DO_NAK).size, 14 + 20 + 8 + 300);
}

static void buffers_too_small(void **state)
{
	struct dhcp4_msg msg = message();
	struct dhcp4_config cfg = config();
	struct dhcp4_decision d = decided(DHCP4_DO_ACK);
	int need = dhcp4_build(&msg, &cfg, &d, frame, sizeof(frame));

	assert_true(need > 342);
	for (size_t size = 0; size < (size_t)need; size++) {
		memset(frame, 0x5a, sizeof(frame));
		assert_int_equal(dhcp4_build(&msg, &cfg, &d, frame, size), -EMSGSIZE);
		assert_int_equal(frame[0], 0x5a);
	}
	uint8_t *exact = malloc((size_t)need);
	assert_non_null(exact);
	assert_int_equal(dhcp4_build(&msg, &cfg, &d, exact, (size_t)need), need);
	free(exact);
}

static void actions_without_reply(void **state)
{
	static const enum dhcp4_action none[] = { DHCP4_DO_NOTHING, DHCP4_DO_RELEASE,
		DHCP4_DO_DECLINE, DHCP4_DO_PARK };
	struct dhcp4_msg msg = message();
	struct dhcp4_config cfg = config();

	for (unsigned i = 0; i < 4; i++) {
		struct dhcp4_decision d = decided(none[i]);
		assert_int_equal(dhcp4_build(&msg, &cfg, &d, frame, sizeof(frame)), -EINVAL);
	}
	struct dhcp4_decision d = decided(DHCP4_DO_ACK);
	d.yiaddr = 0; // nobody is told to use 0.0.0.0
	assert_int_equal(dhcp4_build(&msg, &cfg, &d, frame, sizeof(frame)), -EINVAL);
}

// Written twice over different garbage, a reply is the same: all of it was written.
static void h43_every_byte_is_written(void **state)
{
	static const enum dhcp4_action actions[] = { DHCP4_DO_OFFER, DHCP4_DO_ACK, DHCP4_DO_NAK,
		DHCP4_DO_INFORM_ACK };
	struct dhcp4_msg msg = message();
	struct dhcp4_config cfg = config();
	uint8_t other[DHCP4_REPLY_MAX];

	for (unsigned i = 0; i < 4; i++) {
		struct dhcp4_decision d = decided(actions[i]);

		memset(frame, 0x00, sizeof(frame));
		memset(other, 0xff, sizeof(other));
		int size = dhcp4_build(&msg, &cfg, &d, frame, sizeof(frame));
		assert_true(size > 0);
		assert_int_equal(dhcp4_build(&msg, &cfg, &d, other, sizeof(other)), size);
		assert_memory_equal(frame, other, (size_t)size);
		for (size_t at = (size_t)size; at < sizeof(other); at++)
			assert_int_equal(other[at], 0xff); // and nothing beyond
	}
}

// RFC 768: a sum of zero is sent as 0xffff. One of 65536 transaction ids makes it so.
static void udp_checksum_zero(void **state)
{
	struct dhcp4_msg msg = message();
	struct dhcp4_config cfg = config();
	unsigned n = 0;

	for (uint32_t xid = 0; xid < 65536; xid++) {
		msg.xid = htonl(xid);
		struct dhcp4_reply r = build(&msg, &cfg, DHCP4_DO_NAK);
		n += r.frame[40] == 0xff && r.frame[41] == 0xff;
	}
	assert_in_range(n, 1, 2);
}

// The whole way: the two exchanges of a client that joins, through all three steps.
static void dora(void **state)
{
	struct dhcp4_config cfg = config();
	struct client_frame f = client_start(DHCP4_DISCOVER);
	struct dhcp4_msg msg;
	struct dhcp4_reply r;

	client_finish(&f);
	assert_int_equal(client_parse(&f, &msg), DHCP4_OK);
	struct dhcp4_decision d = dhcp4_decide(&msg, &cfg, MINE, false);
	int size = dhcp4_build(&msg, &cfg, &d, frame, sizeof(frame));
	assert_true(size > 0);
	assert_null(dhcp4_reply_read(frame, (size_t)size, &r));
	expect_type(&r, 2);

	f = client_start(DHCP4_REQUEST);
	client_option(&f, 50, r.bootp + YIADDR, 4);
	client_option(&f, 54, r.option[54] + 1, 4);
	client_finish(&f);
	assert_int_equal(client_parse(&f, &msg), DHCP4_OK);
	d = dhcp4_decide(&msg, &cfg, MINE, false);
	assert_int_equal(d.state, DHCP4_STATE_SELECTING);
	size = dhcp4_build(&msg, &cfg, &d, frame, sizeof(frame));
	assert_true(size > 0);
	assert_null(dhcp4_reply_read(frame, (size_t)size, &r));
	expect_type(&r, 5);
	expect_field(&r, YIADDR, MINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offer),
		cmocka_unit_test(destinations),
		cmocka_unit_test(nak),
		cmocka_unit_test(inform_ack),
		cmocka_unit_test(no_client_id_none_returned),
		cmocka_unit_test(request_list_chooses_and_orders),
		cmocka_unit_test(unset_options_are_left_out),
		cmocka_unit_test(lease_times),
		cmocka_unit_test(largest_reply_fits),
		cmocka_unit_test(absurd_configuration),
		cmocka_unit_test(smallest_reply_is_bootp_sized),
		cmocka_unit_test(buffers_too_small),
		cmocka_unit_test(actions_without_reply),
		cmocka_unit_test(h43_every_byte_is_written),
		cmocka_unit_test(udp_checksum_zero),
		cmocka_unit_test(dora),
	};

	return cmocka_run_group_tests_name("H-43 dhcp4_build", tests, NULL, NULL);
}
