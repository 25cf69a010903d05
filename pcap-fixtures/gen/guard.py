# SPDX-License-Identifier: BSD-3-Clause
# A port speaks only for itself: source MAC, source address, ARP, protocols it may not use.
from lib import (APP_IP, BLUE_WEB, BROADCAST, DB_IP, GATEWAY, GATEWAY_IP, RED_DB, RED_WEB, UPLINK,
                 UPLINK_IP, WEB_IP, At, Ether, arp, capture, udp)


@capture
def src_mac():
    yield udp("02:00:00:00:0a:99", RED_DB, WEB_IP, DB_IP)
    yield udp(RED_DB, RED_WEB, WEB_IP, DB_IP)


@capture
def src_ipv4():
    yield udp(RED_WEB, RED_DB, DB_IP, DB_IP)
    yield udp(RED_WEB, GATEWAY, "192.0.2.1", "203.0.113.7")
    yield udp(RED_WEB, RED_DB, "0.0.0.0", DB_IP)


@capture
def arp_spoof():
    yield arp(RED_WEB, 2, RED_WEB, GATEWAY_IP, DB_IP, dst=RED_DB, tha=RED_DB)
    yield arp(RED_WEB, 2, RED_DB, WEB_IP, DB_IP, dst=RED_DB, tha=RED_DB)
    yield arp(RED_WEB, 1, RED_WEB, DB_IP, DB_IP)
    yield arp(RED_WEB, 1, RED_WEB, "0.0.0.0", DB_IP)  # a probe: allowed


@capture
def protocols():
    yield Ether(src=RED_WEB, dst=BROADCAST, type=0x88CC) / bytes(46)
    yield Ether(src=RED_WEB, dst="33:33:00:00:00:01", type=0x86DD) / bytes(
        [0x60, 0, 0, 0, 0, 0, 59, 64] + [0xFE, 0x80] + [0] * 13 + [1] + [0xFF, 2] + [0] * 13 + [1])
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP, sport=67, dport=68)


@capture
def storm():
    for _ in range(130):  # at one time; 128 may go
        yield At(0)
        yield udp(RED_WEB, BROADCAST, WEB_IP, "10.0.0.255")


@capture
def src_mac_of_switch():  # H-36: the gateway's, the uplink's, another tenant's
    for src in (GATEWAY, UPLINK, BLUE_WEB):
        yield udp(src, RED_DB, WEB_IP, DB_IP)


@capture
def src_mac_any_protocol():  # H-36
    yield arp(RED_DB, 1, RED_WEB, WEB_IP, DB_IP)
    yield Ether(src=RED_DB, dst=BROADCAST, type=0x86DD) / bytes.fromhex(
        "6000000000003b40" + "fd" + "00" * 15 + "fd" + "00" * 15)
    yield Ether(src=RED_DB, dst=BROADCAST, type=0x88CC) / bytes(46)
    yield udp(RED_DB, BROADCAST, "0.0.0.0", "255.255.255.255", sport=68, dport=67)


@capture
def src_ipv4_of_switch():  # the gateway's, the network's ends, the other network's, the uplink's
    for src in (GATEWAY_IP, "10.0.0.0", "10.0.0.255", APP_IP, UPLINK_IP, "240.0.0.1"):
        yield udp(RED_WEB, RED_DB, src, DB_IP)


@capture
def src_ipv4_flood():
    yield udp(RED_WEB, BROADCAST, DB_IP, "10.0.0.255")
    yield udp(RED_WEB, "01:00:5e:00:00:fb", "0.0.0.0", "224.0.0.251")


@capture
def src_ipv4_session():
    # A session does not excuse who speaks for its other end.
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP)
    yield udp(RED_WEB, RED_WEB, DB_IP, WEB_IP, sport=5000, dport=4000)


# H-37: ARP's two sender fields, and Ethernet's. Requests and answers alike.


@capture
def arp_mac():
    for op in (1, 2):
        yield arp(RED_WEB, op, RED_DB, WEB_IP, DB_IP)


@capture
def arp_address():
    for op in (1, 2):
        for ip in (DB_IP, "10.0.0.99", "10.0.0.255", APP_IP, "255.255.255.255"):
            yield arp(RED_WEB, op, RED_WEB, ip, DB_IP)


@capture
def arp_mac_and_address():
    for op in (1, 2):
        yield arp(RED_WEB, op, RED_DB, DB_IP, DB_IP)


@capture
def arp_ethernet():
    for sha in (RED_WEB, RED_DB):
        for ip in (WEB_IP, DB_IP):
            yield arp(RED_DB, 1, sha, ip, DB_IP)


@capture
def arp_no_probe():  # an answer from 0.0.0.0, a probe of another's MAC
    yield arp(RED_WEB, 2, RED_WEB, "0.0.0.0", DB_IP)
    yield arp(RED_WEB, 1, RED_DB, "0.0.0.0", DB_IP)


@capture
def dhcp_server():  # H-37: clients look at the port it comes to, not at the one it comes from
    for sport in (67, 68, 1067):
        yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP, sport=sport, dport=68)
        yield udp(RED_WEB, BROADCAST, WEB_IP, "255.255.255.255", sport=sport, dport=68)
    yield udp(RED_WEB, RED_DB, GATEWAY_IP, DB_IP, sport=67, dport=68)


@capture
def non_ip():  # H-36, H-41: MPLS, PPPoE, 802.1X, AoE, IPX, LLDP to a station, PTP, the last one
    for ethertype in (0x8847, 0x8848, 0x8863, 0x8864, 0x888E, 0x88A2, 0x8137, 0x88CC, 0x88F7,
                      0xFFFF):
        yield Ether(src=RED_WEB, dst=RED_DB, type=ethertype) / bytes(46)


@capture
def non_ip_allowed():
    # policies/limits.yaml: what the port may send is flooded; LLC and the link's own stay out.
    yield Ether(src=RED_WEB, dst=BROADCAST, type=0x88CC) / bytes(46)
    yield Ether(src=RED_WEB, dst=BROADCAST, type=46) / bytes(46)
    yield Ether(src=RED_WEB, dst="01:80:c2:00:00:0e", type=0x88CC) / bytes(46)


GUEST = "02:de:5c:00:00:01"  # behind red/guests, where many may be


@capture
def stranger():  # without a lease nothing but DHCP, allow_non_ip or not
    yield udp(GUEST, RED_WEB, "10.0.0.100", WEB_IP)
    yield arp(GUEST, 1, GUEST, "10.0.0.100", WEB_IP)
    yield arp(GUEST, 1, GUEST, "0.0.0.0", "10.0.0.100")
    yield Ether(src=GUEST, dst=BROADCAST, type=0x88CC) / bytes(46)
    yield Ether(src=GUEST, dst=BROADCAST, type=0x86DD) / bytes.fromhex(
        "6000000000003b40" + "fd" + "00" * 15 + "fd" + "00" * 15)
    yield udp(GUEST, BROADCAST, "0.0.0.0", "255.255.255.255", sport=67, dport=68)


@capture
def stranger_renews():
    # From an address that it had: to the server alone, by unicast.
    yield udp(GUEST, RED_WEB, "10.0.0.100", WEB_IP, sport=68, dport=67)
    yield udp(GUEST, BROADCAST, "10.0.0.100", "255.255.255.255", sport=68, dport=67)
    yield udp(GUEST, GATEWAY, "10.0.0.100", GATEWAY_IP, sport=68, dport=67)  # empty: malformed
