# SPDX-License-Identifier: BSD-3-Clause
# IPv4 fragments: none is carried yet, whatever it says and whoever sends it. Offsets are in units
# of 8 bytes.
from lib import (BROADCAST, DB_IP, GATEWAY, GATEWAY_IP, RED_DB, RED_WEB, ROUTER, SERVER_IP, UPLINK,
                 UPLINK_IP, WEB_IP, Dot1Q, Ether, capture, ping, udp)
from dhcp import message
from scapy.all import IP, UDP
from vlan import LAB, tagged

DATAGRAM = bytes(udp(RED_WEB, RED_DB, WEB_IP, DB_IP, data=bytes(range(40)))["UDP"])  # 48 bytes


def piece(data, offset=0, flags="", dst=RED_DB, dst_ip=DB_IP, src_ip=WEB_IP, proto=17):
    return Ether(src=RED_WEB, dst=dst) / IP(
        src=src_ip, dst=dst_ip, id=1, frag=offset, flags=flags, proto=proto) / data


@capture
def whole_datagram():  # first, middle, last
    yield piece(DATAGRAM[:16], 0, "MF")
    yield piece(DATAGRAM[16:32], 2, "MF")
    yield piece(DATAGRAM[32:], 4)


@capture
def out_of_order():
    yield piece(DATAGRAM[32:], 4)
    yield piece(DATAGRAM[16:32], 2, "MF")
    yield piece(DATAGRAM[:16], 0, "MF")


@capture
def overlap():  # H-37: teardrop, and one that writes over the ports
    yield piece(DATAGRAM[:32], 0, "MF")
    yield piece(DATAGRAM[16:32], 3)
    yield piece(bytes(16), 0, "MF")


@capture
def tiny():  # H-37: the ports do not fit into the first (RFC 1858)
    for size in (0, 1, 8):
        yield piece(DATAGRAM[:size], 0, "MF")
    yield piece(DATAGRAM[8:16], 1)


@capture
def past_64k():  # the end of this one would be behind 65535
    yield piece(DATAGRAM, 8191)


@capture
def established():
    # A session that is there does not carry them either.
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP)
    yield piece(DATAGRAM[:16], 0, "MF")
    yield piece(DATAGRAM[16:], 2)
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP)


@capture
def flags_without_fragments():
    # Don't-fragment, and the flag that is reserved.
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP, flags="DF")
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP, flags="evil")


@capture
def df_and_mf():
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP, flags="DF+MF")


@capture
def source():  # H-37: guard judges fragments, too
    yield piece(DATAGRAM[:16], 0, "MF", src_ip=DB_IP)
    yield piece(DATAGRAM[16:], 2, src_ip="0.0.0.0")


@capture
def broadcast():
    yield piece(DATAGRAM[:16], 0, "MF", dst=BROADCAST, dst_ip="10.0.0.255")


@capture
def to_gateway():
    frame = ping(RED_WEB, GATEWAY, WEB_IP, GATEWAY_IP)
    frame["IP"].flags = "MF"
    yield frame
    yield piece(bytes(32), 5, dst=GATEWAY, dst_ip=GATEWAY_IP, proto=1)


@capture
def through_gateway():
    yield piece(DATAGRAM[:16], 0, "MF", dst=GATEWAY, dst_ip=SERVER_IP)
    yield piece(DATAGRAM[16:], 2, dst=GATEWAY, dst_ip=SERVER_IP)


@capture
def dhcp_server():  # H-37 (RFC 7113 does it with RAs): an offer that hides in fragments
    offer = UDP(sport=67, dport=68) / bytes(280)
    data = bytes(IP(src=WEB_IP, dst=DB_IP) / offer)[20:]
    yield piece(data[:8], 0, "MF")
    yield piece(data[8:], 1)


@capture
def dhcp_client():
    # 0.0.0.0 is a DHCP client's alone, and nobody can see that this is one.
    frame = message([("message-type", "discover")])
    frame["IP"].flags = "MF"
    yield frame


@capture
def from_uplink():
    for offset, flags in ((0, "MF"), (2, "")):
        yield udp(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, frag=offset, flags=flags)


@capture
def from_trunk():
    for offset, flags in ((0, "MF"), (2, "")):
        yield tagged(udp(LAB, RED_WEB, "10.0.0.77", WEB_IP, frag=offset, flags=flags),
                     Dot1Q(vlan=10))
