#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Frames for tests/net/test_vhost_testpmd.sh.
#   vhost_frames.py write mixed|super FILE       makes a capture with a fixed seed
#   vhost_frames.py same FILE FILE [ignore-csum]  0 if both hold the same frames in the same order
import random
import sys

from scapy.all import Dot1Q, Ether, IP, IPv6, TCP, UDP, Raw, rdpcap, wrpcap


def payload(rng, size):
    return Raw(bytes(rng.randrange(256) for _ in range(size)))


def mixed(rng):
    for i in range(120):
        eth = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        if i % 5 == 4:
            eth /= Dot1Q(vlan=100 + i)
        ip = IPv6(src="fd00::1", dst="fd00::2") if i % 3 == 2 else IP(
            src="10.0.0.1", dst="10.0.0.2", id=i)
        l4 = TCP(sport=1000 + i, dport=80, seq=i * 1000, flags="PA") if i % 2 else UDP(
            sport=2000 + i, dport=53)
        yield eth / ip / l4 / payload(rng, rng.choice([8, 64, 501, 1400]))


def super_frames(rng):
    for i in range(8):
        yield (Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") /
               IP(src="10.0.0.1", dst="10.0.0.2", id=100 * i) /
               TCP(sport=3000, dport=80, seq=i * 8000, flags="A") / payload(rng, 8000))


def without_csum(frame):
    data = bytearray(bytes(frame))
    if TCP in frame or UDP in frame:
        l4 = frame[TCP] if TCP in frame else frame[UDP]
        off = len(data) - len(bytes(l4)) + (16 if TCP in frame else 6)
        data[off:off + 2] = b"\0\0"
    return bytes(data)


def main():
    if sys.argv[1] == "write":
        rng = random.Random(7)
        wrpcap(sys.argv[3], list(mixed(rng) if sys.argv[2] == "mixed" else super_frames(rng)))
        return 0
    a, b = rdpcap(sys.argv[2]), rdpcap(sys.argv[3])
    view = without_csum if len(sys.argv) > 4 else bytes
    if len(a) != len(b):
        print(f"{len(a)} frames in, {len(b)} out")
        return 1
    for i, (x, y) in enumerate(zip(a, b)):
        if view(x) != view(y):
            print(f"frame {i} differs:\n {bytes(x).hex()}\n {bytes(y).hex()}")
            return 1
    return 0


sys.exit(main())
