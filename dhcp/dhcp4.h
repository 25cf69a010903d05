// SPDX-License-Identifier: BSD-3-Clause
// DHCPv4 server (RFC 2131, 2132) as parse -> decide -> build, each pure: no clock, no allocation,
// no I/O. The switch's service stage calls all three on a worker; fuzzers call them one by one.
#pragma once

#include "vlan/wire.h"

enum {
	DHCP4_SERVER_PORT = 67,
	DHCP4_CLIENT_PORT = 68,
	DHCP4_MAX_CLIENT_ID = 64,
	DHCP4_MAX_HOSTNAME = 64,
	DHCP4_MAX_PRL = 64,
	DHCP4_MAX_DNS = 3,
	DHCP4_REPLY_MAX =
		14 + 20 + 8 + 576, // most bytes dhcp4_build writes, Ethernet header included
};

enum dhcp4_type { // RFC 2132 §9.6
	DHCP4_DISCOVER = 1,
	DHCP4_OFFER,
	DHCP4_REQUEST,
	DHCP4_DECLINE,
	DHCP4_ACK,
	DHCP4_NAK,
	DHCP4_RELEASE,
	DHCP4_INFORM,
};

// A parsed client message: a validated copy, nothing points into the frame.
struct dhcp4_msg {
	enum dhcp4_type type;
	be32 xid;
	be16 flags;
	be32 ciaddr, giaddr;
	be32 src_ip, dst_ip; // of the IP header
	struct mac src_mac; // of the Ethernet header
	struct mac chaddr;
	be32 requested_ip; // option 50; 0 = absent
	be32 server_id; // option 54; 0 = absent
	uint16_t max_size; // option 57; 0 = absent
	uint8_t client_id_size;
	uint8_t client_id[DHCP4_MAX_CLIENT_ID]; // option 61
	uint8_t prl_size;
	uint8_t prl[DHCP4_MAX_PRL]; // option 55
	char hostname[DHCP4_MAX_HOSTNAME]; // option 12, sanitised, terminated
};

enum dhcp4_error {
	DHCP4_OK,
	DHCP4_NOT_DHCP, // not a client-to-server DHCP datagram: leave the frame alone
	DHCP4_TRUNCATED, // a length points past the end
	DHCP4_BAD_HEADER, // op, htype, hlen, cookie, chaddr != source MAC ...
	DHCP4_BAD_OPTION, // option length wrong for its code, overload loops, no message type
	DHCP4_ERROR_COUNT
};

// Parses an untagged Ethernet frame. `data`/`size` is the whole frame in contiguous memory.
// The caller has validated the IPv4 and UDP headers' lengths; they are checked again here.
// Handles option overload (52), split options (RFC 3396), pads and End. Verifies no checksum:
// IPv4's is the parse stage's, and only that stage knows whether UDP's is partial (offload).
enum dhcp4_error dhcp4_parse(const uint8_t *data, size_t size, struct dhcp4_msg *ret_msg);
const char *dhcp4_error_name(enum dhcp4_error e);

// What the server knows for the port a message came in on. Immutable (from a policy).
struct dhcp4_config {
	be32 server_ip; // the gateway address, also option 54
	struct mac server_mac;
	be32 subnet;
	uint8_t prefix_len;
	be32 router; // option 3; 0 = leave out
	uint16_t mtu; // option 26; 0 = leave out
	uint8_t n_dns;
	be32 dns[DHCP4_MAX_DNS];
	uint32_t lease_s; // T1 = 1/2, T2 = 7/8
	const char *hostname; // option 12; NULL or "" = leave out
};

// RFC 2131 §4.3.2: which of a client's states a REQUEST comes from.
enum dhcp4_request_state {
	DHCP4_STATE_NONE, // not a REQUEST
	DHCP4_STATE_SELECTING, // server id, requested ip, ciaddr 0
	DHCP4_STATE_INIT_REBOOT, // requested ip, no server id, ciaddr 0
	DHCP4_STATE_RENEWING, // ciaddr, unicast
	DHCP4_STATE_REBINDING, // ciaddr, broadcast
};

enum dhcp4_action {
	DHCP4_DO_NOTHING, // stay silent (another server's, or a malformed combination)
	DHCP4_DO_OFFER,
	DHCP4_DO_ACK,
	DHCP4_DO_NAK,
	DHCP4_DO_INFORM_ACK, // ACK without lease times and yiaddr
	DHCP4_DO_RELEASE, // tell control, no reply
	DHCP4_DO_DECLINE, // tell control, no reply
	DHCP4_DO_PARK, // dynamic pool: ask control, the reply follows its commit
};

struct dhcp4_decision {
	enum dhcp4_action action;
	enum dhcp4_request_state state;
	be32 yiaddr; // OFFER, ACK: the address; RELEASE, DECLINE: the address given back
	const char *reason; // static text, for trace and NAK's option 56
};

// address: the address that belongs to this client, 0 if none is known yet.
// dynamic: the port takes any client (`clients: many`); then a DISCOVER or a REQUEST for an
// address not known to be this client's parks; when control has answered, call again with
// dynamic = false. yiaddr of RELEASE and DECLINE is the address given back.
struct dhcp4_decision dhcp4_decide(
	const struct dhcp4_msg *msg, const struct dhcp4_config *cfg, be32 address, bool dynamic);

// Builds the reply frame (Ethernet, IPv4, UDP, BOOTP) for OFFER, ACK, NAK, INFORM_ACK.
// Every byte of the reply is written. ret: frame size, or -EMSGSIZE if buf_size is too small,
// -EINVAL for an action without reply. Destination as RFC 2131 §4.1 says (broadcast flag, ciaddr,
// NAK always broadcast); options by parameter request list, most important first.
int dhcp4_build(const struct dhcp4_msg *msg, const struct dhcp4_config *cfg,
	const struct dhcp4_decision *d, uint8_t *buf, size_t buf_size);
