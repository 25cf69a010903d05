# SPDX-License-Identifier: BSD-3-Clause
# Inside a segment: bridging, flooding, what the gateway answers, routing between a tenant's own.
from lib import (APP_IP, BLUE_DB, BLUE_WEB, BROADCAST, DB_IP, GATEWAY, GATEWAY_IP, RED_APP, RED_DB,
                 RED_WEB, SERVER_IP, UPLINK, WEB_IP, At, Dot1Q, arp, capture, patched, ping, tcp,
                 udp)
from vlan import LAB, tagged


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


@capture
def multicast():
    yield udp(RED_WEB, "01:00:5e:00:00:fb", WEB_IP, "224.0.0.251")
    yield udp(RED_WEB, "01:00:5e:7f:ff:fa", WEB_IP, "239.255.255.250")


@capture
def to_itself():
    yield udp(RED_WEB, RED_WEB, WEB_IP, WEB_IP)


@capture
def other_network():  # not but through the gateway
    yield udp(RED_WEB, RED_APP, WEB_IP, APP_IP)


@capture
def uplink_mac():
    yield udp(RED_WEB, UPLINK, WEB_IP, SERVER_IP)


@capture
def broadcast_address_unicast():  # at a host's MAC: the host's affair
    yield udp(RED_WEB, RED_DB, WEB_IP, "255.255.255.255")
    yield udp(RED_WEB, RED_DB, WEB_IP, "10.0.0.255")


@capture
def gateway_other_mac():  # the gateway's address, but not its MAC
    yield ping(RED_WEB, RED_DB, WEB_IP, GATEWAY_IP)
    yield ping(RED_WEB, BROADCAST, WEB_IP, GATEWAY_IP)


@capture
def gateway_closed():
    yield tcp(RED_WEB, GATEWAY, WEB_IP, GATEWAY_IP, "S", dport=22)
    yield udp(RED_WEB, GATEWAY, WEB_IP, GATEWAY_IP, proto=47)
    yield patched(ping(RED_WEB, GATEWAY, WEB_IP, GATEWAY_IP), 34, b"\x0d")  # timestamp request
    yield ping(RED_WEB, GATEWAY, WEB_IP, GATEWAY_IP, kind="echo-reply")


@capture
def gateway_of_other_network():
    yield ping(RED_WEB, GATEWAY, WEB_IP, "10.0.1.1")


@capture
def routed_to_groups():
    for dst in ("239.255.255.250", "240.0.0.1", "255.255.255.255"):
        yield udp(RED_WEB, GATEWAY, WEB_IP, dst)


@capture
def routed_ttl():  # H-42
    for ttl in (0, 1, 2):
        yield udp(RED_WEB, GATEWAY, WEB_IP, APP_IP, ttl=ttl)


@capture
def routed_there():
    yield udp(RED_WEB, GATEWAY, WEB_IP, APP_IP)
    yield At(0.2)
    yield udp(RED_WEB, GATEWAY, WEB_IP, APP_IP)


@capture
def routed_back():
    yield At(0.1)
    yield udp(RED_APP, GATEWAY, APP_IP, WEB_IP, sport=5000, dport=4000)


@capture
def routed_inside():  # H-42: to the neighbour and to itself, by the gateway
    yield udp(RED_WEB, GATEWAY, WEB_IP, DB_IP)
    yield udp(RED_WEB, GATEWAY, WEB_IP, WEB_IP)


@capture
def ttl_inside():  # a bridge does not look at it
    for ttl in (0, 1, 255):
        yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP, ttl=ttl)


def sized(ip_size, src=RED_WEB, dst=RED_DB, src_ip=WEB_IP, dst_ip=DB_IP):
    return udp(src, dst, src_ip, dst_ip, data=bytes(ip_size - 28))


@capture
def mtu():
    for size in (1500, 1501, 9000):
        yield sized(size)


@capture
def mtu_narrow():  # policies/limits.yaml: from a trunk into a network of 576
    for size in (576, 577, 1500):
        yield tagged(sized(size, LAB, RED_APP, "10.0.1.77", APP_IP), Dot1Q(vlan=20))


@capture
def ping_web():
    yield ping(RED_WEB, RED_DB, WEB_IP, DB_IP)


@capture
def ping_db():
    yield At(0.1)
    yield ping(RED_DB, RED_WEB, DB_IP, WEB_IP, kind="echo-reply")
    yield ping(RED_DB, RED_WEB, DB_IP, WEB_IP, kind="echo-reply", ident=8)


@capture
def same_in_blue():  # the same addresses and ports, another tenant
    for _ in range(3):
        yield udp(BLUE_WEB, BLUE_DB, WEB_IP, DB_IP)


@capture
def tcp_flags():  # H-35: none, SYN and FIN, all: inside a segment the hosts' affair
    for n, flags in enumerate(("", "SF", "FSRPAU", "SR")):
        yield tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, flags, sport=4000 + n)


@capture
def l4_csum():  # is not looked at, and not mended
    frame = udp(RED_WEB, RED_DB, WEB_IP, DB_IP)
    for csum in (0, 1, 0xFFFF):
        frame["UDP"].chksum = csum
        yield frame
    frame = tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "S")
    frame["TCP"].chksum = 0x1234
    yield frame
