// SPDX-License-Identifier: BSD-3-Clause
// dhcp/dhcp4_decide.c: RFC 2131 §4.3 as a table: message, what the server knows -> what it does.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/unit/dhcp4_client.h"

#define SERVER ip4(10, 0, 0, 1)
#define OTHER_SERVER ip4(10, 0, 0, 2)
#define MINE ip4(10, 0, 0, 11)
#define OTHERS ip4(10, 0, 0, 12)
#define FOREIGN ip4(192, 168, 7, 7)
#define BROADCAST ip4(255, 255, 255, 255)

static const char *const action_names[] = { "NOTHING", "OFFER", "ACK", "NAK", "INFORM_ACK",
	"RELEASE", "DECLINE", "PARK" };
static const char *const state_names[] = { "NONE", "SELECTING", "INIT_REBOOT", "RENEWING",
	"REBINDING" };

struct scenario {
	const char *what;
	enum dhcp4_type type;
	be32 dst_ip, server_id, requested_ip, ciaddr; // of the message
	be32 address; // what the server knows
	bool dynamic;
	enum dhcp4_action action; // what it must do
	enum dhcp4_request_state state;
	be32 yiaddr;
};

static struct dhcp4_config config(void)
{
	return (struct dhcp4_config){
		.server_ip = SERVER,
		.subnet = ip4(10, 0, 0, 0),
		.prefix_len = 24,
		.lease_s = 3600,
	};
}

static void run(const struct scenario *s)
{
	struct dhcp4_config cfg = config();
	struct dhcp4_msg msg = {
		.type = s->type,
		.dst_ip = s->dst_ip,
		.server_id = s->server_id,
		.requested_ip = s->requested_ip,
		.ciaddr = s->ciaddr,
	};
	struct dhcp4_decision d = dhcp4_decide(&msg, &cfg, s->address, s->dynamic);

	if (d.action != s->action || d.state != s->state || d.yiaddr != s->yiaddr)
		fail_msg("%s: %s in %s, yiaddr %08x; want %s in %s, yiaddr %08x", s->what,
			action_names[d.action], state_names[d.state], ntohl(d.yiaddr),
			action_names[s->action], state_names[s->state], ntohl(s->yiaddr));
	assert_non_null(d.reason);
	assert_true(d.reason[0] != '\0');
}

#define RUN(...) \
	do { \
		const struct scenario list[] = { __VA_ARGS__ }; \
		for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) \
			run(&list[i]); \
	} while (0)

#define ACTION(a) DHCP4_DO_##a
#define STATE(s) DHCP4_STATE_##s

static void discover(void **state)
{
	RUN({ "configured", DHCP4_DISCOVER, BROADCAST, 0, 0, 0, MINE, false, ACTION(OFFER),
		    STATE(NONE), MINE },
		{ "wish for another is not granted", DHCP4_DISCOVER, BROADCAST, 0, OTHERS, 0, MINE,
			false, ACTION(OFFER), STATE(NONE), MINE },
		{ "no address", DHCP4_DISCOVER, BROADCAST, 0, 0, 0, 0, false, ACTION(NOTHING),
			STATE(NONE), 0 },
		{ "pool, new client", DHCP4_DISCOVER, BROADCAST, 0, 0, 0, 0, true, ACTION(PARK),
			STATE(NONE), 0 },
		{ "pool, known client", DHCP4_DISCOVER, BROADCAST, 0, 0, 0, MINE, true,
			ACTION(OFFER), STATE(NONE), MINE });
}

static void selecting(void **state)
{
	RUN({ "chose us", DHCP4_REQUEST, BROADCAST, SERVER, MINE, 0, MINE, false, ACTION(ACK),
		    STATE(SELECTING), MINE },
		{ "chose another server", DHCP4_REQUEST, BROADCAST, OTHER_SERVER, MINE, 0, MINE,
			false, ACTION(NOTHING), STATE(SELECTING), 0 },
		{ "wants another's address", DHCP4_REQUEST, BROADCAST, SERVER, OTHERS, 0, MINE,
			false, ACTION(NAK), STATE(SELECTING), 0 },
		{ "nothing is known of it", DHCP4_REQUEST, BROADCAST, SERVER, MINE, 0, 0, false,
			ACTION(NAK), STATE(SELECTING), 0 },
		{ "no requested address", DHCP4_REQUEST, BROADCAST, SERVER, 0, 0, MINE, false,
			ACTION(NOTHING), STATE(SELECTING), 0 },
		{ "ciaddr must be zero", DHCP4_REQUEST, BROADCAST, SERVER, MINE, MINE, MINE, false,
			ACTION(NOTHING), STATE(SELECTING), 0 },
		{ "pool, new client", DHCP4_REQUEST, BROADCAST, SERVER, MINE, 0, 0, true,
			ACTION(PARK), STATE(SELECTING), 0 },
		{ "pool, known client", DHCP4_REQUEST, BROADCAST, SERVER, MINE, 0, MINE, true,
			ACTION(ACK), STATE(SELECTING), MINE },
		{ "pool, known by another address", DHCP4_REQUEST, BROADCAST, SERVER, OTHERS, 0,
			MINE, true, ACTION(PARK), STATE(SELECTING), 0 },
		{ "pool, foreign address", DHCP4_REQUEST, BROADCAST, SERVER, FOREIGN, 0, 0, true,
			ACTION(NAK), STATE(SELECTING), 0 });
}

static void init_reboot(void **state)
{
	RUN({ "same address", DHCP4_REQUEST, BROADCAST, 0, MINE, 0, MINE, false, ACTION(ACK),
		    STATE(INIT_REBOOT), MINE },
		{ "another address", DHCP4_REQUEST, BROADCAST, 0, OTHERS, 0, MINE, false,
			ACTION(NAK), STATE(INIT_REBOOT), 0 },
		{ "moved here from elsewhere", DHCP4_REQUEST, BROADCAST, 0, FOREIGN, 0, MINE, false,
			ACTION(NAK), STATE(INIT_REBOOT), 0 },
		{ "no record: MUST be silent", DHCP4_REQUEST, BROADCAST, 0, MINE, 0, 0, false,
			ACTION(NOTHING), STATE(INIT_REBOOT), 0 },
		{ "no record, wrong network", DHCP4_REQUEST, BROADCAST, 0, FOREIGN, 0, 0, false,
			ACTION(NAK), STATE(INIT_REBOOT), 0 },
		{ "names nothing", DHCP4_REQUEST, BROADCAST, 0, 0, 0, MINE, false, ACTION(NOTHING),
			STATE(INIT_REBOOT), 0 },
		{ "pool, unknown", DHCP4_REQUEST, BROADCAST, 0, MINE, 0, 0, true, ACTION(PARK),
			STATE(INIT_REBOOT), 0 },
		{ "pool, wrong network", DHCP4_REQUEST, BROADCAST, 0, FOREIGN, 0, 0, true,
			ACTION(NAK), STATE(INIT_REBOOT), 0 });
}

static void renewing(void **state)
{
	RUN({ "own address", DHCP4_REQUEST, SERVER, 0, 0, MINE, MINE, false, ACTION(ACK),
		    STATE(RENEWING), MINE },
		{ "tolerated: says it twice", DHCP4_REQUEST, SERVER, 0, MINE, MINE, MINE, false,
			ACTION(ACK), STATE(RENEWING), MINE },
		{ "contradicts itself", DHCP4_REQUEST, SERVER, 0, OTHERS, MINE, MINE, false,
			ACTION(NOTHING), STATE(RENEWING), 0 },
		{ "the address was changed", DHCP4_REQUEST, SERVER, 0, 0, OTHERS, MINE, false,
			ACTION(NAK), STATE(RENEWING), 0 },
		{ "the address was taken away", DHCP4_REQUEST, SERVER, 0, 0, MINE, 0, false,
			ACTION(NAK), STATE(RENEWING), 0 },
		{ "wrong network", DHCP4_REQUEST, SERVER, 0, 0, FOREIGN, MINE, false, ACTION(NAK),
			STATE(RENEWING), 0 },
		{ "of another server", DHCP4_REQUEST, OTHER_SERVER, 0, 0, MINE, MINE, false,
			ACTION(NOTHING), STATE(NONE), 0 },
		{ "pool", DHCP4_REQUEST, SERVER, 0, 0, MINE, 0, true, ACTION(PARK), STATE(RENEWING),
			0 });
}

static void rebinding(void **state)
{
	RUN({ "own address", DHCP4_REQUEST, BROADCAST, 0, 0, MINE, MINE, false, ACTION(ACK),
		    STATE(REBINDING), MINE },
		{ "another address", DHCP4_REQUEST, BROADCAST, 0, 0, OTHERS, MINE, false,
			ACTION(NAK), STATE(REBINDING), 0 },
		{ "no record", DHCP4_REQUEST, BROADCAST, 0, 0, MINE, 0, false, ACTION(NOTHING),
			STATE(REBINDING), 0 },
		{ "wrong network", DHCP4_REQUEST, BROADCAST, 0, 0, FOREIGN, 0, false, ACTION(NAK),
			STATE(REBINDING), 0 },
		{ "pool", DHCP4_REQUEST, BROADCAST, 0, 0, MINE, 0, true, ACTION(PARK),
			STATE(REBINDING), 0 });
}

static void decline(void **state)
{
	RUN({ "own address is in use", DHCP4_DECLINE, BROADCAST, SERVER, MINE, 0, MINE, false,
		    ACTION(DECLINE), STATE(NONE), MINE },
		{ "another's address", DHCP4_DECLINE, BROADCAST, SERVER, OTHERS, 0, MINE, false,
			ACTION(NOTHING), STATE(NONE), 0 },
		{ "another server's", DHCP4_DECLINE, BROADCAST, OTHER_SERVER, MINE, 0, MINE, false,
			ACTION(NOTHING), STATE(NONE), 0 },
		{ "no server", DHCP4_DECLINE, BROADCAST, 0, MINE, 0, MINE, false, ACTION(NOTHING),
			STATE(NONE), 0 },
		{ "no address", DHCP4_DECLINE, BROADCAST, SERVER, 0, MINE, MINE, false,
			ACTION(NOTHING), STATE(NONE), 0 },
		{ "pool: control knows", DHCP4_DECLINE, BROADCAST, SERVER, MINE, 0, 0, true,
			ACTION(DECLINE), STATE(NONE), MINE },
		{ "nothing known, no pool", DHCP4_DECLINE, BROADCAST, SERVER, MINE, 0, 0, false,
			ACTION(NOTHING), STATE(NONE), 0 });
}

static void release(void **state)
{
	RUN({ "own address", DHCP4_RELEASE, SERVER, SERVER, 0, MINE, MINE, false, ACTION(RELEASE),
		    STATE(NONE), MINE },
		{ "another's address", DHCP4_RELEASE, SERVER, SERVER, 0, OTHERS, MINE, true,
			ACTION(NOTHING), STATE(NONE), 0 },
		{ "names another server", DHCP4_RELEASE, SERVER, OTHER_SERVER, 0, MINE, MINE, false,
			ACTION(NOTHING), STATE(NONE), 0 },
		{ "no address", DHCP4_RELEASE, SERVER, SERVER, MINE, 0, MINE, false,
			ACTION(NOTHING), STATE(NONE), 0 },
		{ "pool: control knows", DHCP4_RELEASE, SERVER, SERVER, 0, MINE, 0, true,
			ACTION(RELEASE), STATE(NONE), MINE });
}

static void inform(void **state)
{
	RUN({ "configured by hand", DHCP4_INFORM, BROADCAST, 0, 0, OTHERS, MINE, false,
		    ACTION(INFORM_ACK), STATE(NONE), 0 },
		{ "unicast", DHCP4_INFORM, SERVER, 0, 0, MINE, MINE, false, ACTION(INFORM_ACK),
			STATE(NONE), 0 },
		{ "no lease is looked up", DHCP4_INFORM, BROADCAST, 0, 0, MINE, 0, true,
			ACTION(INFORM_ACK), STATE(NONE), 0 },
		{ "no address", DHCP4_INFORM, BROADCAST, 0, 0, 0, MINE, false, ACTION(NOTHING),
			STATE(NONE), 0 },
		{ "wrong network", DHCP4_INFORM, BROADCAST, 0, 0, FOREIGN, MINE, false,
			ACTION(NOTHING), STATE(NONE), 0 });
}

static void servers_messages_and_no_server(void **state)
{
	RUN({ "OFFER", DHCP4_OFFER, BROADCAST, 0, MINE, 0, MINE, true, ACTION(NOTHING), STATE(NONE),
		    0 },
		{ "ACK", DHCP4_ACK, BROADCAST, 0, MINE, 0, MINE, true, ACTION(NOTHING), STATE(NONE),
			0 },
		{ "NAK", DHCP4_NAK, BROADCAST, 0, MINE, 0, MINE, true, ACTION(NOTHING), STATE(NONE),
			0 });

	struct dhcp4_config cfg = config();
	struct dhcp4_msg msg = { .type = DHCP4_DISCOVER, .dst_ip = BROADCAST };

	cfg.server_ip = 0; // a pure L2 segment
	assert_int_equal(dhcp4_decide(&msg, &cfg, MINE, true).action, DHCP4_DO_NOTHING);
}

// An address is promised only if it is the client's own, whatever the message says.
static void never_promises_a_foreign_address(void **state)
{
	static const uint32_t addrs[] = { 0, 0x0a000001, 0x0a00000b, 0x0a00000c, 0xc0a80707 };
	struct dhcp4_config cfg = config();
	unsigned n = 0;

	for (unsigned type = 1; type <= 8; type++) {
		for (unsigned mix = 0; mix < 5 * 5 * 5 * 5 * 2 * 2; mix++) {
			unsigned m = mix;
			struct dhcp4_msg msg = { .type = type };
			bool dynamic = m % 2 != 0;
			msg.dst_ip = (m /= 2) % 2 != 0 ? SERVER : BROADCAST;
			msg.server_id = htonl(addrs[(m /= 2) % 5]);
			msg.requested_ip = htonl(addrs[(m /= 5) % 5]);
			msg.ciaddr = htonl(addrs[(m /= 5) % 5]);
			be32 address = htonl(addrs[(m /= 5) % 5]);
			struct dhcp4_decision d = dhcp4_decide(&msg, &cfg, address, dynamic);

			if (d.action == DHCP4_DO_OFFER || d.action == DHCP4_DO_ACK) {
				assert_true(address != 0 && d.yiaddr == address);
				n++;
			}
			if (!dynamic)
				assert_int_not_equal(d.action, DHCP4_DO_PARK);
		}
	}
	assert_true(n > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(discover),
		cmocka_unit_test(selecting),
		cmocka_unit_test(init_reboot),
		cmocka_unit_test(renewing),
		cmocka_unit_test(rebinding),
		cmocka_unit_test(decline),
		cmocka_unit_test(release),
		cmocka_unit_test(inform),
		cmocka_unit_test(servers_messages_and_no_server),
		cmocka_unit_test(never_promises_a_foreign_address),
	};

	return cmocka_run_group_tests_name("dhcp4_decide", tests, NULL, NULL);
}
