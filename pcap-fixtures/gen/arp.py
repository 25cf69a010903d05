# SPDX-License-Identifier: BSD-3-Clause
# ARP: the gateway's answers, what guests ask each other, and who speaks for whom.
from lib import (APP_IP, BLUE_WEB, BROADCAST, DB_IP, GATEWAY, GATEWAY_IP, RED_DB, RED_WEB, WEB_IP,
                 At, Dot1Q, arp, capture)
from vlan import LAB, tagged

ANY = "0.0.0.0"


def asks(who, **more):
    return arp(RED_WEB, 1, RED_WEB, WEB_IP, who, **more)


@capture
def gateway_unicast():  # a neighbour made sure of (RFC 1122)
    yield asks(GATEWAY_IP, dst=GATEWAY)
    yield asks(GATEWAY_IP, dst=GATEWAY, tha=GATEWAY)


@capture
def gateway_padded():  # the padding does not come back
    yield bytes(asks(GATEWAY_IP)).ljust(60, b"\xaa")
    yield bytes(asks(DB_IP)).ljust(60, b"\xaa")


@capture
def gateway_probed():  # RFC 5227: the gateway has its address already
    yield arp(RED_WEB, 1, RED_WEB, ANY, GATEWAY_IP)


@capture
def gateway_of_other_network():  # is no proxy
    yield asks("10.0.1.1")


@capture
def gateway_for_others():  # at its MAC, but for an address that is not its own
    yield asks(DB_IP, dst=GATEWAY)
    yield asks("203.0.113.7", dst=GATEWAY)
    yield arp(RED_WEB, 2, RED_WEB, WEB_IP, GATEWAY_IP, dst=GATEWAY, tha=GATEWAY)


@capture
def gateway_spoofed():  # H-37: announced, answered, probed for
    for dst in (BROADCAST, RED_DB):
        yield arp(RED_WEB, 1, RED_WEB, GATEWAY_IP, GATEWAY_IP, dst=dst)
        yield arp(RED_WEB, 2, RED_WEB, GATEWAY_IP, DB_IP, dst=dst, tha=RED_DB)
        yield arp(RED_WEB, 2, GATEWAY, GATEWAY_IP, DB_IP, dst=dst, tha=RED_DB)


@capture
def probe():  # RFC 5227: its own address, and another's that it would like
    yield arp(RED_WEB, 1, RED_WEB, ANY, WEB_IP)
    yield arp(RED_WEB, 1, RED_WEB, ANY, DB_IP)


@capture
def announcement():  # RFC 5227, and the older form
    yield asks(WEB_IP)
    yield arp(RED_WEB, 2, RED_WEB, WEB_IP, WEB_IP, tha=BROADCAST)


@capture
def announcement_of_others():  # H-37
    for ip in (DB_IP, "10.0.0.99", APP_IP):
        yield arp(RED_WEB, 1, RED_WEB, ip, ip)
        yield arp(RED_WEB, 2, RED_WEB, ip, ip, tha=BROADCAST)


@capture
def nobody():  # the switch does not answer for addresses that nobody has
    yield asks("10.0.0.99")


@capture
def to_itself():
    yield asks(WEB_IP, dst=RED_WEB)


@capture
def resolution_web():
    yield asks(DB_IP)


@capture
def resolution_db():
    yield At(0.1)
    yield arp(RED_DB, 2, RED_DB, DB_IP, WEB_IP, dst=RED_WEB, tha=RED_WEB)


@capture
def same_in_blue():
    yield arp(BLUE_WEB, 1, BLUE_WEB, WEB_IP, DB_IP)


@capture
def no_gateway():  # policies/vlans.yaml: pure L2 has nobody at .1
    mac = "02:00:00:00:01:11"
    yield arp(mac, 1, mac, "10.1.0.11", "10.1.0.1")


@capture
def trunk_gateway_spoofed():  # H-37
    yield tagged(arp(LAB, 1, LAB, GATEWAY_IP, GATEWAY_IP), Dot1Q(vlan=10))
    yield tagged(arp(LAB, 2, LAB, GATEWAY_IP, WEB_IP, dst=RED_WEB, tha=RED_WEB), Dot1Q(vlan=10))


@capture
def trunk_unguarded():
    # Behind a trunk anybody may be: but for the gateway's, addresses are not guarded there.
    yield tagged(arp(LAB, 1, LAB, "10.0.0.78", WEB_IP), Dot1Q(vlan=10))
