# SPDX-License-Identifier: BSD-3-Clause
# Offloads of a guest: partial checksums, super-frames cut for a port that takes none, lies in the
# header.
import struct

from lib import (DB_IP, GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_UDP, RED_DB, RED_WEB, TCP, UDP, WEB_IP,
                 Dot1Q, Ether, Vnet, capture, tcp, udp)
from scapy.all import IPv6
from vlan import LAB, tagged

GSO_ECN = 0x80
DATA = bytes(i & 255 for i in range(4000))


def super_tcp(flags="PA"):
    return tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, flags, seq=1000, data=DATA)


@capture
def super_frames():
    yield Vnet(super_tcp(), GSO_TCP4, 1448)
    yield Vnet(udp(RED_WEB, RED_DB, WEB_IP, DB_IP, data=DATA), GSO_UDP, 1400)


@capture
def partial_checksum():
    yield Vnet(udp(RED_WEB, RED_DB, WEB_IP, DB_IP))
    yield Vnet(tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "S"))
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP)


@capture
def lies():
    yield Vnet(super_tcp(), GSO_TCP4, 0)  # no size
    yield Vnet(super_tcp(), GSO_TCP6, 1448)  # the other protocol
    yield Vnet(super_tcp(), 3, 1448)  # UFO, which nobody negotiated
    yield Vnet(super_tcp(), GSO_TCP4, 1448, start=33)  # not where TCP is
    yield Vnet(udp(RED_WEB, RED_DB, WEB_IP, DB_IP), start=60000)  # behind the frame
    yield Vnet(tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "PA", seq=1000, data=DATA * 2), GSO_TCP4,
               48)  # 167 frames, of 128 at most


@capture
def too_large():
    yield super_tcp()  # a large frame without a word that it may be cut


@capture
def congestion():
    # RFC 3168 6.1.2: of the frames that it becomes, only the first has CWR.
    yield Vnet(super_tcp("PAC"), GSO_TCP4, 1448)
    yield Vnet(super_tcp("PAC"), GSO_TCP4 | GSO_ECN, 1448)


@capture
def partial_zero():
    # The two bytes that make the sum zero: UDP writes ffff for it, TCP does not.
    for make, more in ((udp, ()), (tcp, ("PA",))):
        frame = make(RED_WEB, RED_DB, WEB_IP, DB_IP, *more, data=bytes(2))
        frame = Ether(bytes(frame))
        yield Vnet(make(RED_WEB, RED_DB, WEB_IP, DB_IP, *more,
                        data=frame.payload.payload.chksum.to_bytes(2, "big")))


@capture
def super_zero():
    # Cut, the second frame's sum is zero: UDP writes ffff for it, TCP does not.
    size = 1400
    for make, gso, whole, cut in (
        (udp, GSO_UDP, (), ()),
        (tcp, GSO_TCP4, ("PA", 4000, 80, 1000), ("PA", 4000, 80, 1000 + size)),
    ):
        second = make(RED_WEB, RED_DB, WEB_IP, DB_IP, *cut, data=bytes(2) + DATA[2:size])
        total = Ether(bytes(second)).payload.payload.chksum.to_bytes(2, "big")
        yield Vnet(make(RED_WEB, RED_DB, WEB_IP, DB_IP, *whole,
                        data=DATA[:size] + total + DATA[2:size]), gso, size)


@capture
def jumbo():
    # policies/jumbo.yaml: frames longer than one buffer, and an odd rest.
    yield Vnet(tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "PA", seq=1000, data=DATA * 5 + b"x"),
               GSO_TCP4, 8948)
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP, data=DATA * 2)


def vnet6(payload, gso, size, proto=6):
    """From a trunk: VLAN 10, IPv6, a partial checksum."""
    start, field = 58, 16 if proto == 6 else 6
    ip = IPv6(src="fd00::77", dst="fd00::11", nh=proto)
    ip.plen = len(payload)
    frame = bytearray(bytes(tagged(Ether(src=LAB, dst=RED_WEB) / ip, Dot1Q(vlan=10))) + payload)
    words = frame[26:58] + len(payload).to_bytes(4, "big") + bytes([0, 0, 0, proto])
    total = sum(int.from_bytes(words[i : i + 2], "big") for i in range(0, len(words), 2))
    total = (total & 0xFFFF) + (total >> 16)
    frame[start + field : start + field + 2] = total.to_bytes(2, "big")
    made = Vnet.__new__(Vnet)
    made.data = struct.pack("<BBHHHH", 1, gso, 0, size, start, field) + frame
    return made


def tcp6(flags, data):
    return bytes(TCP(sport=4000, dport=80, flags=flags, seq=1000, chksum=0)) + data


def udp6():
    return bytes(UDP(sport=4000, dport=5000, len=8 + len(DATA), chksum=0)) + DATA


@capture
def ipv6_from_trunk():
    yield vnet6(tcp6("PA", DATA), GSO_TCP6, 1428)
    yield vnet6(tcp6("PA", b"small"), GSO_NONE, 0)
    yield vnet6(udp6(), GSO_UDP, 1400, 17)


@capture
def ipv6_lies():
    yield vnet6(tcp6("S", DATA), GSO_TCP6, 1428)  # would open several connections
    yield vnet6(tcp6("PA", DATA), GSO_TCP4, 1428)  # the other protocol
    yield vnet6(udp6(), GSO_TCP6, 1400, 17)
