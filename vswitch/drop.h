// SPDX-License-Identifier: BSD-3-Clause
// Every reason a packet may be dropped for, once: this list makes the enum, the counters, the
// CLI's text, the metric names and the documentation. Add at the end of a group; the text says what
// a tenant's engineer needs to hear.
#pragma once

// X(symbol, metric name, text)
#define DROP_REASONS(X) \
	/* parse */ \
	X(PARSE_TOO_SHORT, "parse_too_short", "frame shorter than its own headers") \
	X(PARSE_ETHERTYPE, "parse_ethertype", "LLC/SNAP or unknown EtherType below 0x600") \
	X(PARSE_SRC_MULTICAST, "parse_src_multicast", "source MAC is multicast or zero") \
	X(PARSE_RESERVED_DST, "parse_reserved_dst", \
		"link-local control destination 01:80:c2:00:00:0X") \
	X(PARSE_IPV4_HEADER, "parse_ipv4_header", \
		"IPv4 version, IHL or total length contradicts the frame") \
	X(PARSE_IPV4_CSUM, "parse_ipv4_csum", "IPv4 header checksum is wrong") \
	X(PARSE_IPV4_OPTIONS, "parse_ipv4_options", "IPv4 options are not carried") \
	X(PARSE_IPV6_HEADER, "parse_ipv6_header", \
		"IPv6 version or payload length contradicts the frame") \
	X(PARSE_L4_HEADER, "parse_l4_header", "TCP, UDP or ICMP header contradicts the IP length") \
	X(PARSE_ARP, "parse_arp", "malformed ARP") \
	X(PARSE_OFFLOAD, "parse_offload", \
		"offload metadata (checksum start, GSO type or size) contradicts the frame") \
	X(PARSE_MARTIAN, "parse_martian", \
		"source or destination address that no host may use here") \
	X(PARSE_VIRTQ, "parse_virtq", \
		"guest's virtqueue contradicts the standard: stopped until the guest resets it") \
	/* vlan ingress */ \
	X(PORT_NO_POLICY, "port_no_policy", "the policy does not know this port") \
	X(VLAN_TAGGED_ON_ACCESS, "vlan_tagged_on_access", "tagged frame on an access port") \
	X(VLAN_UNTAGGED_ON_TRUNK, "vlan_untagged_on_trunk", \
		"untagged frame on a trunk without native VLAN") \
	X(VLAN_NOT_ALLOWED, "vlan_not_allowed", "VLAN is not in the trunk's list") \
	X(VLAN_BAD_VID, "vlan_bad_vid", "VLAN id 0 or 4095 where a real one is needed") \
	X(VLAN_TOO_MANY_TAGS, "vlan_too_many_tags", "more stacked tags than this port takes") \
	X(VLAN_BAD_OUTER, "vlan_bad_outer", "802.1ad outer tag missing or not this port's") \
	X(VLAN_NATIVE_TAGGED, "vlan_native_tagged", "native VLAN arrived tagged") \
	X(VLAN_NO_SEGMENT, "vlan_no_segment", "no segment has this VLAN") \
	/* guard */ \
	X(GUARD_SRC_MAC, "guard_src_mac", "source MAC does not belong to this port") \
	X(GUARD_SRC_IPV4, "guard_src_ipv4", "source IPv4 address does not belong to this port") \
	X(GUARD_ARP, "guard_arp", "ARP speaks for a MAC or address that is not this port's") \
	X(GUARD_IPV6, "guard_ipv6", "IPv6 from tenant ports and uplinks is not carried yet") \
	X(GUARD_NON_IP, "guard_non_ip", "EtherType other than IP and ARP on an access port") \
	X(GUARD_DHCP_SERVER, "guard_dhcp_server", "DHCP server message from a tenant port") \
	X(GUARD_STORM, "guard_storm", "broadcast and multicast above the port's storm limit") \
	X(GUARD_MAC_LIMIT, "guard_mac_limit", "address learning limit of this port reached") \
	X(GUARD_MAC_MOVED, "guard_mac_moved", \
		"source MAC belongs to another port of this segment") \
	/* service: consumed, not lost, except where the text says so */ \
	X(SERVICE_ARP_UNWANTED, "service_arp_unwanted", \
		"ARP for an address nobody here has, or that tells nothing asked for") \
	X(SERVICE_DHCP_MALFORMED, "service_dhcp_malformed", "malformed DHCP message") \
	X(SERVICE_DHCP_IGNORED, "service_dhcp_ignored", \
		"DHCP message this server stays silent to") \
	X(SERVICE_DHCP_BUSY, "service_dhcp_busy", \
		"insulad, which has to know of this DHCP message, is away or behind") \
	X(SERVICE_DHCP_EXHAUSTED, "service_dhcp_exhausted", \
		"no address of the pool is left for this client") \
	X(SERVICE_GATEWAY_CLOSED, "service_gateway_closed", "the gateway offers no such service") \
	/* session and policy */ \
	X(POLICY_DENY, "policy_deny", "no rule allows it: between tenants everything is denied") \
	X(POLICY_UPLINK_UNSOLICITED, "policy_uplink_unsolicited", \
		"unsolicited packet from the uplink") \
	X(POLICY_FRAGMENT, "policy_fragment", "fragments are not carried yet") \
	X(POLICY_NOT_FIRST, "policy_not_first", \
		"ICMP error or reply without a session it belongs to") \
	X(SESSION_FULL, "session_full", \
		"the session table, or the tenant's or port's share of it, is full") \
	X(SESSION_TAKEN, "session_taken", \
		"its addresses and ports are those of a session that is not translated") \
	X(NAT_EXHAUSTED, "nat_exhausted", "no external port left for this tenant") \
	X(NAT_NO_UPLINK, "nat_no_uplink", "no uplink, or it has no address") \
	/* route and forward */ \
	X(ROUTE_NO_ROUTE, "route_no_route", "no route to the destination") \
	X(ROUTE_FROM_TRUNK, "route_from_trunk", \
		"who is behind a trunk is no configured host: nothing could be routed back") \
	X(ROUTE_TTL, "route_ttl", "TTL ran out at the gateway") \
	X(ROUTE_MULTICAST, "route_multicast", \
		"multicast or broadcast to the gateway is not routed") \
	X(ROUTE_LINK_LOCAL, "route_link_local", \
		"a link-local destination (169.254.0.0/16) is not routed") \
	X(ROUTE_MTU, "route_mtu", "packet is larger than the MTU of the way out") \
	X(NEXTHOP_UNRESOLVED, "nexthop_unresolved", "next hop did not answer ARP") \
	X(NEXTHOP_QUEUE_FULL, "nexthop_queue_full", "too many packets wait for this next hop") \
	X(NEXTHOP_SUPER_FRAME, "nexthop_super_frame", \
		"super-frame in several buffers, which does not wait for the next hop's ARP") \
	X(FDB_UNKNOWN_UNICAST, "fdb_unknown_unicast", \
		"unknown destination MAC is never flooded to tenant ports") \
	X(FDB_SAME_PORT, "fdb_same_port", "destination is behind the port it came from") \
	X(FLOOD_NO_RECEIVER, "flood_no_receiver", "nobody else is in this segment") \
	X(NO_MEMORY, "no_memory", "packet buffers ran out") \
	/* transmit */ \
	X(TX_VLAN, "tx_vlan", "VLAN is not carried on the way out") \
	X(TX_NO_PORT, "tx_no_port", \
		"the port it was to leave by is gone or down, or has no guest") \
	X(TX_FULL, "tx_full", "the receiver's queue is full") \
	X(TX_MTU, "tx_mtu", "frame is larger than the receiver's MTU") \
	X(TX_OFFLOAD, "tx_offload", "super-frame could not be segmented for the receiver")

enum drop_reason {
	DROP_NONE,
#define X(symbol, name, text) DROP_##symbol,
	DROP_REASONS(X)
#undef X
		DROP_COUNT
};

const char *drop_name(enum drop_reason r); // metric name, "none" for DROP_NONE
const char *drop_text(enum drop_reason r);
