# SPDX-License-Identifier: BSD-3-Clause
# A port speaks only for itself: source MAC, source address, ARP, protocols it may not use.
from lib import (BROADCAST, DB_IP, GATEWAY, GATEWAY_IP, RED_DB, RED_WEB, WEB_IP, At, Ether,
                 arp, capture, udp)


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
