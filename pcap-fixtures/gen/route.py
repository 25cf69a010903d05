# SPDX-License-Identifier: BSD-3-Clause
# Through the gateway of a network: what it answers, TTL, MTU, where nothing may go.
from lib import (APP_IP, BROADCAST, DB_IP, GATEWAY, GATEWAY_IP, GSO_TCP4, ICMP, RED_APP, RED_DB,
                 RED_WEB, ROUTER, SERVER_IP, UPLINK, UPLINK_IP, WEB_IP, At, Vnet, capture, ping,
                 router_answers, tcp, udp)

BLUE_IP = "10.9.0.11"  # policies/mtus.yaml: another tenant's, in a subnet red has not


@capture
def gateway_ping():
    # It answers what has run out of hops, too: it has arrived. And with its own TTL.
    yield ping(RED_WEB, GATEWAY, WEB_IP, GATEWAY_IP, ttl=1)
    yield ping(RED_WEB, GATEWAY, WEB_IP, GATEWAY_IP, seq=2, ttl=255)


@capture
def gateway_ping_large():
    frame = ping(RED_WEB, GATEWAY, WEB_IP, GATEWAY_IP)
    frame[ICMP].payload.load = bytes(k & 0xFF for k in range(1472))
    yield frame


@capture
def gateway_other_icmp():
    yield ping(RED_WEB, GATEWAY, WEB_IP, GATEWAY_IP, "echo-reply")
    yield ping(RED_WEB, GATEWAY, WEB_IP, GATEWAY_IP, "timestamp-request")
    yield ping(RED_WEB, BROADCAST, WEB_IP, GATEWAY_IP)
    yield ping(RED_WEB, RED_DB, WEB_IP, GATEWAY_IP)


@capture
def gateway_ping_code():
    frame = ping(RED_WEB, GATEWAY, WEB_IP, GATEWAY_IP)
    frame[ICMP].code = 1
    yield frame


@capture
def gateway_ping_fragment():
    yield ping(RED_WEB, GATEWAY, WEB_IP, GATEWAY_IP, flags="MF")


@capture
def gateway_ports():
    for port in (22, 53, 67, 80):
        yield tcp(RED_WEB, GATEWAY, WEB_IP, GATEWAY_IP, "S", dport=port)


@capture
def gateway_of_next():
    # The gateway of the tenant's other network, asked through this one's.
    yield ping(RED_WEB, GATEWAY, WEB_IP, "10.0.1.1")


@capture
def ttl():
    for ttl_ in (0, 1, 2):
        yield udp(RED_WEB, GATEWAY, WEB_IP, APP_IP, ttl=ttl_)


@capture
def ttl_of_session():
    # H-42: a session that stands excuses nobody from his TTL.
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, ttl=2)
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, ttl=1)


@capture
def multicast():
    for address in ("224.0.0.251", "239.1.1.1", "240.0.0.1", "255.255.255.255"):
        yield udp(RED_WEB, GATEWAY, WEB_IP, address)


@capture
def link_local():
    # RFC 3927 section 7: nobody forwards to 169.254.0.0/16; to its neighbours, as to anybody.
    for dst in ("169.254.0.0", "169.254.169.254", "169.254.255.255"):
        yield udp(RED_WEB, GATEWAY, WEB_IP, dst)
        yield tcp(RED_WEB, GATEWAY, WEB_IP, dst, "S")
        yield ping(RED_WEB, GATEWAY, WEB_IP, dst)
    yield udp(RED_WEB, GATEWAY, WEB_IP, "169.253.255.255")
    yield udp(RED_WEB, GATEWAY, WEB_IP, "169.255.0.0")


@capture
def name_server():
    # policies/link_local.yaml: what lan's name server is asked, and nothing else that is there.
    server = "169.254.169.254"
    yield udp(RED_WEB, GATEWAY, WEB_IP, server, dport=53)
    yield tcp(RED_WEB, GATEWAY, WEB_IP, server, "S", dport=53)
    yield udp(RED_WEB, GATEWAY, WEB_IP, server, dport=54)
    yield tcp(RED_WEB, GATEWAY, WEB_IP, server, "S", sport=53, dport=80)
    yield ping(RED_WEB, GATEWAY, WEB_IP, server, ident=53)
    yield udp(RED_WEB, GATEWAY, WEB_IP, "169.254.169.253", dport=53)
    yield udp(RED_WEB, GATEWAY, WEB_IP, "169.254.0.53", dport=53)


@capture
def name_server_of_others():
    yield At(0.1)
    yield udp(RED_APP, GATEWAY, APP_IP, "169.254.169.254", dport=53)


@capture
def name_server_answers():
    yield At(0.05)
    yield router_answers()
    yield At(0.2)
    yield udp(ROUTER, UPLINK, "169.254.169.254", UPLINK_IP, sport=53, dport=40000)


@capture
def martian():
    for src in ("127.0.0.1", "224.0.0.1", "255.255.255.255"):
        yield udp(RED_WEB, GATEWAY, src, APP_IP)
    for dst in ("127.0.0.1", "0.0.0.0", "0.1.2.3"):
        yield udp(RED_WEB, GATEWAY, WEB_IP, dst)


@capture
def martian_outside():
    for src in ("127.0.0.1", "224.0.0.1", "255.255.255.255"):
        yield udp(ROUTER, UPLINK, src, UPLINK_IP)
    yield udp(ROUTER, UPLINK, SERVER_IP, "127.0.0.1")


@capture
def next_hops():
    # Addresses on the uplink's wire that are no host's: this uplink itself, the net, the broadcast.
    yield udp(RED_WEB, GATEWAY, WEB_IP, UPLINK_IP)
    yield udp(RED_WEB, GATEWAY, WEB_IP, "198.51.100.0")
    yield udp(RED_WEB, GATEWAY, WEB_IP, "198.51.100.255")


@capture
def to_app():
    yield udp(RED_WEB, GATEWAY, WEB_IP, APP_IP)
    yield At(0.2)
    yield udp(RED_WEB, GATEWAY, WEB_IP, APP_IP)


@capture
def from_app():
    yield At(0.1)
    yield udp(RED_APP, GATEWAY, APP_IP, WEB_IP, sport=5000, dport=4000)


@capture
def from_app_first():
    # No direction is privileged between a tenant's own networks.
    yield tcp(RED_APP, GATEWAY, APP_IP, WEB_IP, "S", sport=4000)


@capture
def own_segment():
    yield udp(RED_WEB, GATEWAY, WEB_IP, DB_IP)


@capture
def own_segment_back():
    # The answer need not come by the gateway.
    yield At(0.1)
    yield udp(RED_DB, RED_WEB, DB_IP, WEB_IP, sport=5000, dport=4000)


@capture
def to_itself():
    yield udp(RED_WEB, GATEWAY, WEB_IP, WEB_IP)


@capture
def nobody():
    for address in ("10.0.0.99", "10.0.1.99", "10.0.0.255", "10.0.1.255", "10.0.1.0"):
        yield udp(RED_WEB, GATEWAY, WEB_IP, address)


@capture
def blue_from_app():
    yield udp(RED_APP, GATEWAY, APP_IP, BLUE_IP)


@capture
def blue_from_web():
    # To red it is an address like any other out there.
    yield udp(RED_WEB, GATEWAY, WEB_IP, BLUE_IP)


def sized(dst, size, gateway=GATEWAY):
    return udp(RED_WEB, gateway, WEB_IP, dst, data=bytes(size - 28))


@capture
def mtu_of_network():
    yield sized(APP_IP, 600)
    yield sized(APP_IP, 601)


@capture
def mtu_of_uplink():
    yield sized(SERVER_IP, 1400)
    yield sized(SERVER_IP, 1401)


@capture
def mtu_of_segment():
    yield sized(DB_IP, 1500, RED_DB)
    yield sized(DB_IP, 1501, RED_DB)


@capture
def mtu_of_super_frame():
    # What counts is what it becomes: 600 bytes each, then 601.
    frame = tcp(RED_WEB, GATEWAY, WEB_IP, APP_IP, "PA", data=bytes(2000))
    yield Vnet(frame, GSO_TCP4, 560)
    yield Vnet(frame, GSO_TCP4, 561)
