# SPDX-License-Identifier: BSD-3-Clause
# Inside a segment: bridging, flooding, what the gateway answers, routing between a tenant's own.
from lib import (APP_IP, BLUE_DB, BROADCAST, DB_IP, GATEWAY, GATEWAY_IP, RED_DB, RED_WEB, WEB_IP,
                 At, arp, capture, ping, tcp, udp)


@capture
def bridged_udp():
    for _ in range(3):
        yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP)


@capture
def bridged_tcp_burst():
    # With one stamp: the runner's variants send them in bursts, with each session's second packet.
    for n in range(80):
        yield At(0)
        yield tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "S", sport=4000 + n // 2)


@capture
def broadcast():
    yield udp(RED_WEB, BROADCAST, WEB_IP, "10.0.0.255")
    yield arp(RED_WEB, 1, RED_WEB, WEB_IP, DB_IP)


@capture
def unknown_unicast():
    yield udp(RED_WEB, "02:00:00:00:99:99", WEB_IP, "10.0.0.99")


@capture
def other_tenant():
    # The MAC of a port of blue, which has the same subnet: nobody red knows.
    yield udp(RED_WEB, BLUE_DB, WEB_IP, DB_IP)


@capture
def gateway():
    yield arp(RED_WEB, 1, RED_WEB, WEB_IP, GATEWAY_IP)
    yield ping(RED_WEB, GATEWAY, WEB_IP, GATEWAY_IP)
    yield udp(RED_WEB, GATEWAY, WEB_IP, GATEWAY_IP, dport=53)


@capture
def routed():
    yield udp(RED_WEB, GATEWAY, WEB_IP, APP_IP)
    yield udp(RED_WEB, GATEWAY, WEB_IP, APP_IP, ttl=1)
    yield udp(RED_WEB, GATEWAY, WEB_IP, "10.0.1.99")


@capture
def routed_multicast():
    yield udp(RED_WEB, GATEWAY, WEB_IP, "224.0.0.5")


@capture
def alone():
    yield udp("02:00:00:00:0b:11", BROADCAST, APP_IP, "10.0.1.255")
