# SPDX-License-Identifier: BSD-3-Clause
# Headers that contradict their frame or that nobody may send. One capture for each reason.
from lib import (BROADCAST, DB_IP, IP, RED_DB, RED_WEB, UDP, WEB_IP, Ether, arp, capture, ping,
                 tcp, udp)


def patched(frame, at, *values):
    data = bytearray(bytes(frame))
    data[at : at + len(values)] = bytes(values)
    return bytes(data)


def good():
    return udp(RED_WEB, RED_DB, WEB_IP, DB_IP)


@capture
def too_short():
    yield bytes(good())[:13]
    yield bytes(good())[:33]
    yield bytes(good())[:12] + b"\x81\x00\x00\x0a"  # a tag without what it tags


@capture
def ethertype():
    yield patched(good(), 12, 0x00, 0x2E)
    yield patched(good(), 12, 0x05, 0xFF)


@capture
def src_multicast():
    yield udp("03:00:00:00:0a:11", RED_DB, WEB_IP, DB_IP)
    yield udp("00:00:00:00:00:00", RED_DB, WEB_IP, DB_IP)


@capture
def reserved_dst():
    yield Ether(src=RED_WEB, dst="01:80:c2:00:00:00", type=0x88CC) / bytes(46)
    yield Ether(src=RED_WEB, dst="01:80:c2:00:00:0f", type=0x88CC) / bytes(46)


@capture
def ipv4_header():
    yield patched(good(), 14, 0x55)  # version 5
    yield patched(good(), 14, 0x44)  # 16 bytes of header
    yield patched(good(), 16, 0x00, 0x13)  # shorter than its header
    yield patched(good(), 16, 0x00, 0x40)  # longer than the frame


@capture
def ipv4_csum():
    yield patched(good(), 24, 0x12, 0x34)


@capture
def ipv4_options():
    ip = IP(src=WEB_IP, dst=DB_IP, id=1, options=[("NOP"), ("NOP"), ("NOP"), ("NOP")])
    yield Ether(src=RED_WEB, dst=RED_DB) / ip / UDP(sport=1, dport=2)


@capture
def ipv6_header():
    head = bytes.fromhex(BROADCAST.replace(":", "")) + bytes.fromhex("020000000a11") + b"\x86\xdd"
    yield head + b"\x50" + bytes(39)  # version 5
    yield head + b"\x60\0\0\0\0\x10\x11\x40" + bytes(32)  # 16 bytes that are not there


@capture
def l4_header():
    yield patched(good(), 38, 0x00, 0x07)  # UDP shorter than its header
    yield patched(good(), 38, 0x00, 0x40)  # and longer than IP
    yield patched(tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "S"), 46, 0x40)  # TCP of 16 bytes
    yield patched(tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "S"), 46, 0xF0)  # and of 60
    short = IP(src=WEB_IP, dst=DB_IP, id=1, proto=1) / b"\x08\0\0\0"
    yield Ether(src=RED_WEB, dst=RED_DB) / short


@capture
def malformed_arp():
    frame = arp(RED_WEB, 1, RED_WEB, WEB_IP, DB_IP)
    yield patched(frame, 14, 0, 6)  # not Ethernet
    yield patched(frame, 18, 8)  # hardware addresses of 8 bytes
    yield bytes(frame)[:40]


@capture
def martian():
    yield udp(RED_WEB, RED_DB, "127.0.0.1", DB_IP)
    yield udp(RED_WEB, RED_DB, "224.0.0.1", DB_IP)
    yield udp(RED_WEB, RED_DB, WEB_IP, "127.0.0.1")


@capture
def fragments():
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP, flags="MF")
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP, frag=100)


@capture
def not_first():
    yield ping(RED_WEB, RED_DB, WEB_IP, DB_IP, kind="echo-reply")
