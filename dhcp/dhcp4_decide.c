// SPDX-License-Identifier: BSD-3-Clause
// What a DHCPv4 server answers (RFC 2131 §4.3), by the state the client is in. Called by the
// service stage on a worker, once for a configured address, and for a dynamic one again when
// control has spoken. Pure: reads the message and the configuration, says what to do and why.
#include "dhcp/dhcp4.h"

static struct dhcp4_decision decision(
	enum dhcp4_action action, enum dhcp4_request_state state, be32 yiaddr, const char *reason)
{
	return (struct dhcp4_decision){
		.action = action, .state = state, .yiaddr = yiaddr, .reason = reason
	};
}

static struct dhcp4_decision silent(enum dhcp4_request_state state, const char *reason)
{
	return decision(DHCP4_DO_NOTHING, state, 0, reason);
}

static bool on_subnet(const struct dhcp4_config *cfg, be32 addr)
{
	return ipv4_in_prefix(addr, cfg->subnet, cfg->prefix_len);
}

// RFC 2131 §4.3.1
static struct dhcp4_decision decide_discover(be32 address, bool dynamic)
{
	if (address != 0)
		return decision(DHCP4_DO_OFFER, DHCP4_STATE_NONE, address, "address offered");
	if (dynamic)
		return decision(DHCP4_DO_PARK, DHCP4_STATE_NONE, 0, "address from the pool");
	return silent(DHCP4_STATE_NONE, "no address for this client");
}

// The client says it chose an offer.
static struct dhcp4_decision decide_selecting(
	const struct dhcp4_msg *msg, const struct dhcp4_config *cfg, be32 address, bool dynamic)
{
	enum dhcp4_request_state state = DHCP4_STATE_SELECTING;

	if (msg->server_id != cfg->server_ip)
		return silent(state, "another server was chosen");
	if (msg->requested_ip == 0 || msg->ciaddr != 0)
		return silent(state, "SELECTING needs a requested address and no client address");
	if (address != 0 && msg->requested_ip == address)
		return decision(DHCP4_DO_ACK, state, address, "lease granted");
	if (dynamic && on_subnet(cfg, msg->requested_ip))
		return decision(DHCP4_DO_PARK, state, 0, "lease from the pool");
	return decision(DHCP4_DO_NAK, state, 0, "requested address is not this client's");
}

// The client remembers an address from before its restart.
static struct dhcp4_decision decide_init_reboot(
	const struct dhcp4_msg *msg, const struct dhcp4_config *cfg, be32 address, bool dynamic)
{
	enum dhcp4_request_state state = DHCP4_STATE_INIT_REBOOT;

	if (msg->requested_ip == 0)
		return silent(state, "REQUEST names no address");
	if (address != 0 && msg->requested_ip == address)
		return decision(DHCP4_DO_ACK, state, address, "lease confirmed");
	if (!on_subnet(cfg, msg->requested_ip))
		return decision(DHCP4_DO_NAK, state, 0, "requested address is on another network");
	if (dynamic)
		return decision(DHCP4_DO_PARK, state, 0, "lease from the pool");
	if (address == 0) // MUST, §4.3.2
		return silent(state, "no record of this client");
	return decision(DHCP4_DO_NAK, state, 0, "requested address is not this client's");
}

// The client extends its lease: by unicast to us, or by broadcast when we seemed gone.
static struct dhcp4_decision decide_extend(
	const struct dhcp4_msg *msg, const struct dhcp4_config *cfg, be32 address, bool dynamic)
{
	bool unicast = msg->dst_ip == cfg->server_ip;
	enum dhcp4_request_state state = unicast ? DHCP4_STATE_RENEWING : DHCP4_STATE_REBINDING;

	if (msg->requested_ip != 0 && msg->requested_ip != msg->ciaddr)
		return silent(state, "requested address contradicts the client address");
	if (address != 0 && msg->ciaddr == address)
		return decision(DHCP4_DO_ACK, state, address, "lease extended");
	if (!on_subnet(cfg, msg->ciaddr))
		return decision(DHCP4_DO_NAK, state, 0, "client address is on another network");
	if (dynamic)
		return decision(DHCP4_DO_PARK, state, 0, "lease from the pool");
	if (address == 0 && !unicast)
		return silent(state, "no record of this client");
	return decision(DHCP4_DO_NAK, state, 0, "client address is not this client's");
}

// RFC 2131 §4.3.2; which state, by table 4 of §4.3.6.
static struct dhcp4_decision decide_request(
	const struct dhcp4_msg *msg, const struct dhcp4_config *cfg, be32 address, bool dynamic)
{
	if (msg->server_id != 0)
		return decide_selecting(msg, cfg, address, dynamic);
	if (msg->ciaddr == 0)
		return decide_init_reboot(msg, cfg, address, dynamic);
	return decide_extend(msg, cfg, address, dynamic);
}

// RELEASE and DECLINE give an address back (§4.3.3, §4.3.4): the client's own, in its own words.
// A dynamic client whose address we do not know is known to control.
static struct dhcp4_decision decide_give_back(
	const struct dhcp4_msg *msg, const struct dhcp4_config *cfg, be32 address, bool dynamic)
{
	bool release = msg->type == DHCP4_RELEASE;
	be32 given = release ? msg->ciaddr : msg->requested_ip;

	if (msg->server_id != cfg->server_ip)
		return silent(DHCP4_STATE_NONE, "meant for another server");
	if (given == 0)
		return silent(DHCP4_STATE_NONE, "names no address");
	if (given != address && !(dynamic && address == 0))
		return silent(DHCP4_STATE_NONE, "address is not this client's");
	return release ? decision(DHCP4_DO_RELEASE, DHCP4_STATE_NONE, given, "lease released")
		       : decision(DHCP4_DO_DECLINE, DHCP4_STATE_NONE, given, "address declined");
}

// RFC 2131 §4.3.5: the client has an address from elsewhere and wants the other options.
static struct dhcp4_decision decide_inform(
	const struct dhcp4_msg *msg, const struct dhcp4_config *cfg)
{
	if (msg->ciaddr == 0)
		return silent(DHCP4_STATE_NONE, "INFORM names no client address");
	if (!on_subnet(cfg, msg->ciaddr))
		return silent(DHCP4_STATE_NONE, "client address is on another network");
	return decision(DHCP4_DO_INFORM_ACK, DHCP4_STATE_NONE, 0, "options told");
}

struct dhcp4_decision dhcp4_decide(
	const struct dhcp4_msg *msg, const struct dhcp4_config *cfg, be32 address, bool dynamic)
{
	if (cfg->server_ip == 0)
		return silent(DHCP4_STATE_NONE, "no server address in this segment");
	if (msg->dst_ip != cfg->server_ip && msg->dst_ip != htonl(INADDR_BROADCAST))
		return silent(DHCP4_STATE_NONE, "addressed to another server");

	switch (msg->type) {
	case DHCP4_DISCOVER:
		return decide_discover(address, dynamic);
	case DHCP4_REQUEST:
		return decide_request(msg, cfg, address, dynamic);
	case DHCP4_DECLINE:
	case DHCP4_RELEASE:
		return decide_give_back(msg, cfg, address, dynamic);
	case DHCP4_INFORM:
		return decide_inform(msg, cfg);
	case DHCP4_OFFER:
	case DHCP4_ACK:
	case DHCP4_NAK:
		break; // a server's; the parser lets none through
	}
	return silent(DHCP4_STATE_NONE, "not a client's message");
}
