# SPDX-License-Identifier: BSD-3-Clause
# Truncations: every header at every length, the headers before it whole and telling the truth of
# what is there. Behind the pieces comes the whole one, so that it is the length that was wrong.
from lib import (DB_IP, RED_DB, RED_WEB, WEB_IP, At, Dot1AD, Dot1Q, Ether, arp, capture, patched,
                 ping, tcp, udp)
from dhcp import message
from scapy.all import ICMPv6EchoRequest, IP, IPv6, TCP, UDP
from vlan import LAB, tagged

IPV4, IPV6 = 14, 14 + 40  # where IPv4 begins, and what IPv6 carries


def cut(frame, first, last):
    """The frame, cut to each size from first to last."""
    for size in range(first, last + 1):
        yield bytes(frame)[:size]


def ipv4_of(proto, payload, **ip):
    return Ether(src=RED_WEB, dst=RED_DB) / IP(
        src=WEB_IP, dst=DB_IP, id=1, proto=proto, **ip) / payload


def ipv6_of(nh, payload):
    return Ether(src=RED_WEB, dst=RED_DB) / IPv6(src="fd00::11", dst="fd00::12", nh=nh) / payload


def pieces(make, number, payload, last, first=0):
    """Whole packets of `number` with the first bytes of their payload."""
    for size in range(first, last + 1):
        yield make(number, bytes(payload)[:size])


TCP_BARE = bytes(tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "S")["TCP"])
TCP_OPTIONS = patched(TCP_BARE, 12, b"\xf0") + b"\1" * 40
UDP_BARE = bytes(udp(RED_WEB, RED_DB, WEB_IP, DB_IP, data=b"")["UDP"])


@capture
def ethernet():
    yield from cut(udp(RED_WEB, RED_DB, WEB_IP, DB_IP), 0, 13)


@capture
def dot1q():
    frame = tagged(udp(LAB, RED_WEB, "10.0.0.77", WEB_IP), Dot1Q(vlan=10))
    yield from cut(frame, 14, 17)
    yield frame


@capture
def qinq():
    frame = tagged(udp(LAB, RED_WEB, "10.0.0.77", WEB_IP), Dot1AD(vlan=500), Dot1Q(vlan=10))
    yield from cut(frame, 14, 21)
    yield frame


@capture
def arp_packet():
    frame = arp(RED_WEB, 1, RED_WEB, WEB_IP, DB_IP)
    yield from cut(frame, 14, 41)
    yield frame


@capture
def ipv4_header():
    frame = udp(RED_WEB, RED_DB, WEB_IP, DB_IP)
    yield from cut(frame, IPV4, IPV4 + 19)
    yield frame


@capture
def ipv4_payload():
    # The header is whole and tells of more than there is.
    frame = udp(RED_WEB, RED_DB, WEB_IP, DB_IP)
    yield from cut(frame, IPV4 + 20, len(frame) - 1)
    yield frame


@capture
def ipv4_long_header():
    # A header of 60 bytes in a packet of 20 to 59; whole it is dropped for its options.
    for size in range(20, 61):
        yield ipv4_of(17, b"\1" * (size - 20), ihl=15, len=size)


@capture
def udp_header():
    yield from pieces(ipv4_of, 17, UDP_BARE, 8)


@capture
def tcp_header():
    yield from pieces(ipv4_of, 6, TCP_BARE, 20)


@capture
def tcp_options():
    yield from pieces(ipv4_of, 6, TCP_OPTIONS, 60, first=20)


@capture
def icmp_header():
    echo = ping(RED_WEB, RED_DB, WEB_IP, DB_IP)["ICMP"]
    echo.remove_payload()
    yield from pieces(ipv4_of, 1, echo, 8)


@capture
def ipv6_header():
    frame = ipv6_of(59, b"")
    yield from cut(frame, 14, 14 + 39)
    yield frame


@capture
def ipv6_payload():
    frame = ipv6_of(17, UDP(sport=4000, dport=5000) / b"hello")
    yield from cut(frame, IPV6, len(frame) - 1)
    yield frame


@capture
def ipv6_udp():
    yield from pieces(ipv6_of, 17, UDP_BARE, 8)


@capture
def ipv6_tcp():
    yield from pieces(ipv6_of, 6, TCP_BARE, 20)


@capture
def ipv6_icmp():
    yield from pieces(ipv6_of, 58, ICMPv6EchoRequest(id=7, seq=1), 8)


def dhcp_pieces(options, first, last):
    whole = bytes(message(options)["UDP"].payload)
    for size in range(first, last + 1):
        yield Ether(src=RED_WEB, dst="ff:ff:ff:ff:ff:ff") / IP(
            src="0.0.0.0", dst="255.255.255.255", id=1) / UDP(sport=68, dport=67) / whole[:size]


@capture
def dhcp_header():  # H-43: 236 bytes of BOOTP and the cookie
    yield from dhcp_pieces([("message-type", "discover")], 0, 240)
    yield At(1)
    yield message([("message-type", "discover")])


@capture
def dhcp_options():
    # H-43: the type comes last, so every piece lacks it. The last two are whole: without End and
    # with it.
    yield from dhcp_pieces([("hostname", "web"), ("message-type", "discover")], 240, 249)
