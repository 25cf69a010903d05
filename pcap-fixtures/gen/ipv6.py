# SPDX-License-Identifier: BSD-3-Clause
# IPv6 as it is today: from tenants and uplinks dropped by name, whatever is in it; from trunks it
# stays in its segment.
from lib import BROADCAST, DB_IP, GATEWAY, RED_DB, RED_WEB, ROUTER, UPLINK, WEB_IP, Dot1Q, Ether
from lib import capture, patched
from scapy.all import (ICMPv6EchoRequest, ICMPv6MLReport2, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA,
                       ICMPv6ND_Redirect, ICMPv6ND_RS, ICMPv6NDOptSrcLLAddr, IP,
                       IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
                       IPv6ExtHdrRouting, TCP, UDP)
from vlan import LAB, tagged

WEB, DB, LOCAL, ALL_NODES = "fd00::11", "fd00::12", "fe80::11", "ff02::1"


def frame(payload, src=WEB, dst=DB, mac=RED_DB, **ip):
    return Ether(src=RED_WEB, dst=mac) / IPv6(src=src, dst=dst, **ip) / payload


def group(payload, src=LOCAL, dst=ALL_NODES):
    return frame(payload, src, dst, "33:33:00:00:00:01", hlim=255)


@capture
def unicast():
    yield frame(UDP(sport=4000, dport=5000) / b"hello")
    yield frame(TCP(sport=4000, dport=80, flags="S"))
    yield frame(ICMPv6EchoRequest(id=7, seq=1))
    yield frame(UDP(sport=4000, dport=5000), dst="2001:db8::1", mac=GATEWAY)


@capture
def neighbours():  # H-37: solicitation, DAD from ::, advertisements for others, a redirect
    yield group(ICMPv6ND_NS(tgt=DB) / ICMPv6NDOptSrcLLAddr(lladdr=RED_WEB))
    yield group(ICMPv6ND_NS(tgt=LOCAL), src="::")
    yield group(ICMPv6ND_NA(tgt=DB, R=0, S=0, O=1))
    yield frame(ICMPv6ND_Redirect(tgt=LOCAL, dst="2001:db8::1"), src=LOCAL, hlim=255)


@capture
def router_solicitation():
    yield group(ICMPv6ND_RS(), dst="ff02::2")


@capture
def router_advertisement():  # H-37
    yield group(ICMPv6ND_RA(routerlifetime=1800))
    yield frame(ICMPv6ND_RA(routerlifetime=1800), src=LOCAL, hlim=255)


@capture
def advertisement_hidden():  # H-37, RFC 7113: behind extension headers, in fragments
    ra = ICMPv6ND_RA(routerlifetime=1800)
    yield group(IPv6ExtHdrHopByHop() / ra)
    yield group(IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / ra)
    yield group(IPv6ExtHdrFragment(id=1, m=1, offset=0) / IPv6ExtHdrDestOpt(nh=58))
    yield group(IPv6ExtHdrFragment(id=1, m=0, offset=1, nh=58) / bytes(ra))


@capture
def neighbours_hidden():  # H-37 (CVE-2023-5366): an advertisement behind a header
    yield group(IPv6ExtHdrDestOpt() / ICMPv6ND_NA(tgt=DB, R=0, S=0, O=1))


@capture
def extensions():
    yield frame(IPv6ExtHdrRouting(addresses=["fd00::1"]) / UDP(sport=1, dport=2))
    yield frame(b"", nh=59)  # no next header
    yield frame(b"\0" * 8, nh=0)  # Pad1 to the end
    yield frame(b"\x3c\xff" + bytes(6), nh=60)  # one that says it is longer than the packet


@capture
def jumbo():
    # RFC 2675: length 0 and the true one in an option.
    yield patched(frame(b"\x3b\0\xc2\4\0\1\0\0" + bytes(32), nh=0), 18, b"\0\0")


@capture
def fragments():
    yield frame(IPv6ExtHdrFragment(id=1, m=1) / UDP(sport=4000, dport=5000, len=24) / bytes(8))
    yield frame(IPv6ExtHdrFragment(id=1, m=0, offset=2, nh=17) / bytes(8))
    yield frame(IPv6ExtHdrFragment(id=2, m=0) / UDP(sport=4000, dport=5000))  # atomic


@capture
def multicast_listener():
    yield group(IPv6ExtHdrHopByHop() / ICMPv6MLReport2(), dst="ff02::16")


@capture
def dhcp():  # H-37: a client's message and a server's
    yield group(UDP(sport=546, dport=547) / b"\1\0\0\1", dst="ff02::1:2")
    yield frame(UDP(sport=547, dport=546) / b"\2\0\0\1", src=LOCAL)


@capture
def padding():
    # Bytes behind the packet are nobody's business.
    yield bytes(frame(UDP(sport=4000, dport=5000))) + b"\xaa" * 20


@capture
def wrong_type():
    # An IPv6 packet that calls itself IPv4, and the other way round.
    yield patched(frame(UDP(sport=4000, dport=5000)), 12, b"\x08\0")
    yield patched(Ether(src=RED_WEB, dst=RED_DB) / IP(src=WEB_IP, dst=DB_IP, id=1) / bytes(30),
                  12, b"\x86\xdd")


@capture
def in_ipv4():
    # A tunnel between guests is their own affair.
    yield Ether(src=RED_WEB, dst=RED_DB) / IP(src=WEB_IP, dst=DB_IP, id=1) / IPv6(
        src=WEB, dst=DB) / UDP(sport=4000, dport=5000)


@capture
def source_mac():
    # Guard names the first thing that is wrong.
    yield Ether(src=RED_DB, dst=BROADCAST) / IPv6(src=WEB, dst=DB) / b""


@capture
def from_uplink():
    yield Ether(src=ROUTER, dst=UPLINK) / IPv6(src=WEB, dst=DB) / UDP(sport=4000, dport=5000)
    yield Ether(src=ROUTER, dst="33:33:00:00:00:01") / IPv6(
        src=LOCAL, dst=ALL_NODES, hlim=255) / ICMPv6ND_RA(routerlifetime=1800)


@capture
def from_trunk():
    yield tagged(Ether(src=LAB, dst=RED_WEB) / IPv6(src=WEB, dst=DB) / UDP(sport=1, dport=2),
                 Dot1Q(vlan=10))
    yield tagged(Ether(src=LAB, dst="33:33:00:00:00:01") / IPv6(
        src=LOCAL, dst=ALL_NODES, hlim=255) / ICMPv6ND_NS(tgt=DB), Dot1Q(vlan=10))


@capture
def errors_from_trunk():
    # Bridged as all else; the third quotes what would be an IPv4 packet of a session.
    quoted = bytes(IP(src=WEB_IP, dst=DB_IP, id=1) / UDP(sport=4000, dport=5000))
    for kind in (1, 2, 3, 4):
        yield tagged(Ether(src=LAB, dst=RED_WEB) / IPv6(src=WEB, dst=DB, nh=58) / (
            bytes([kind, 0, 0, 0, 0, 0, 0, 0]) + quoted), Dot1Q(vlan=10))
